//! What the hub pod shows of an attempt that runs elsewhere.

use jiff::Timestamp;
use serde_json::{Value, json};
use spillway_crds::AttemptState;

/// `status.phase` that a hub pod has while its attempt is in this state; `None` for states without an assignment.
pub fn phase_of(state: AttemptState) -> Option<&'static str> {
    match state {
        AttemptState::Expected => None,
        AttemptState::Assigned => Some("Pending"),
        AttemptState::Running => Some("Running"),
        AttemptState::Completed => Some("Succeeded"),
        AttemptState::Failed | AttemptState::Lost | AttemptState::Cancelled => Some("Failed"),
    }
}

/// Strategic merge patch of a pod's status; `None` when nothing changes, and for a pod that already ended.
///
/// `since` is when the attempt entered the state.
pub fn mirror(
    current_phase: &str,
    state: AttemptState,
    reason: Option<&str>,
    message: Option<&str>,
    since: Timestamp,
) -> Option<Value> {
    let phase = phase_of(state)?;
    if phase == current_phase || matches!(current_phase, "Succeeded" | "Failed") {
        return None;
    }
    Some(json!({ "status": {
        "phase": phase,
        "reason": reason,
        "message": message,
        "conditions": conditions(state, since),
    }}))
}

fn conditions(state: AttemptState, since: Timestamp) -> Vec<Value> {
    let running = state == AttemptState::Running;
    let reason = (!running).then(|| format!("Attempt{state:?}"));
    let condition = |kind: &str, status: bool, reason: Option<&str>| {
        json!({
            "type": kind,
            "status": if status { "True" } else { "False" },
            "reason": reason,
            "lastTransitionTime": since,
        })
    };
    let mut conditions = vec![
        condition("Ready", running, reason.as_deref()),
        condition("ContainersReady", running, reason.as_deref()),
    ];
    if state == AttemptState::Lost {
        // The field's word for "ended by the infrastructure, not by itself".
        conditions.push(condition("DisruptionTarget", true, Some("ProviderLost")));
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(current: &str, state: AttemptState) -> Option<Value> {
        mirror(
            current,
            state,
            None,
            Some("words"),
            "2026-01-02T03:04:05Z".parse().unwrap(),
        )
    }

    #[test]
    fn each_state_has_its_phase() {
        insta::assert_yaml_snapshot!("running", patch("Pending", AttemptState::Running));
        insta::assert_yaml_snapshot!("lost", patch("Running", AttemptState::Lost));
        assert_eq!(
            patch("Pending", AttemptState::Completed).unwrap()["status"]["phase"],
            "Succeeded"
        );
        assert_eq!(
            patch("Running", AttemptState::Failed).unwrap()["status"]["phase"],
            "Failed"
        );
    }

    #[test]
    fn what_is_mirrored_is_not_written_again() {
        assert_eq!(patch("Pending", AttemptState::Expected), None);
        assert_eq!(patch("Pending", AttemptState::Assigned), None);
        assert_eq!(patch("Running", AttemptState::Running), None);
    }

    #[test]
    fn an_ended_pod_stays_ended() {
        for state in [
            AttemptState::Running,
            AttemptState::Failed,
            AttemptState::Completed,
            AttemptState::Lost,
        ] {
            assert_eq!(patch("Succeeded", state), None, "{state:?}");
            assert_eq!(patch("Failed", state), None, "{state:?}");
        }
    }
}
