//! One assignment from its arrival to `Gone`.

use serde_json::{Value, json};
use spillway_core::order::domain;
use spillway_core::shard::WorkReport;
use spillway_crds::{AssignmentState, Time, WorkAssignmentStatus};

use super::fixture::{
    Fixture, INPUT, OUTPUT, UID, container, deleted, ended, in_state, minutes, now, observed, reported, running,
};
use crate::work::observe::LocalWork;
use crate::work::plan::{Action, plan};

fn report(input: &str) -> String {
    written(&WorkReport::Completed {
        input_digest: input.to_owned(),
        output_digest: OUTPUT.to_owned(),
        output_bytes: 4096,
        requests: 25,
        failed_requests: 1,
        started_unix: 1_772_366_460,
        finished_unix: 1_772_366_580,
        metered_millis: 119_000,
        prompt_tokens: 700,
        completion_tokens: 0,
    })
}

fn failure(message: &str) -> String {
    written(&WorkReport::Failed {
        message: message.to_owned(),
    })
}

/// As the runner writes its termination message.
fn written(report: &WorkReport) -> String {
    serde_json::to_string(report).unwrap()
}

/// Status after the first look at a pod with this status.
fn after(fixture: &Fixture, pod: Value) -> WorkAssignmentStatus {
    reported(&fixture.plan(&observed([fixture.assignment()], fixture.pod_with(pod))))
}

#[test]
fn a_valid_assignment_is_started_and_then_accepted() {
    let fixture = Fixture::new();
    let actions = fixture.plan(&observed([fixture.assignment()], LocalWork::default()));
    assert!(matches!(actions.as_slice(), [Action::Start { .. }]), "{actions:?}");
    let pending = fixture.pod_with(json!({"phase": "Pending"}));
    let status = reported(&fixture.plan(&observed([fixture.assignment()], pending)));
    assert_eq!(
        status,
        WorkAssignmentStatus {
            state: AssignmentState::Accepted,
            ..WorkAssignmentStatus::default()
        }
    );
}

#[test]
fn a_converged_look_plans_nothing() {
    let fixture = Fixture::new();
    for pod in [json!({"phase": "Pending"}), running()] {
        let mut assignment = fixture.assignment();
        let local = fixture.pod_with(pod);
        assignment.status = Some(reported(&fixture.plan(&observed([assignment.clone()], local.clone()))));
        let again = fixture.plan(&observed([assignment], local));
        assert!(again.is_empty(), "{again:?}");
    }
}

#[test]
fn a_running_pod_is_running_since_its_runner_started() {
    let status = after(&Fixture::new(), running());
    assert_eq!(status.state, AssignmentState::Running);
    assert_eq!(status.started_at, Some(Time(minutes(1))));
}

#[test]
fn a_report_becomes_a_receipt_that_names_order_and_signer() {
    let fixture = Fixture::new();
    let status = after(&fixture, ended(0, &report(INPUT)));
    assert_eq!(status.state, AssignmentState::Completed);
    assert_eq!(status.finished_at, Some(Time(minutes(3))));
    let receipt = status.receipt.unwrap();
    assert_eq!(
        (
            receipt.output_digest.as_str(),
            receipt.metered_millis,
            receipt.failed_requests
        ),
        (OUTPUT, 119_000, 1)
    );

    let spec = fixture.assignment().spec;
    let order = spec
        .order
        .order(&spec.job.uid, spec.shard, spec.attempt, spec.kind)
        .unwrap();
    let signed = receipt.signed_part(order.hash()).unwrap();
    let terms = &fixture.policy.terms;
    let signer = signed.recover(
        &domain(terms.chain_id, terms.contract),
        &receipt.signature_bytes().unwrap(),
    );
    assert_eq!(signer, Ok(fixture.policy.keys.receipt_signer()));
}

#[test]
fn what_is_no_report_of_this_input_is_a_failure() {
    let fixture = Fixture::new();
    let other = INPUT.replace("aaa", "ccc");
    let cases = [
        (ended(0, &report(&other)), "InputMismatch"),
        (ended(1, &report(INPUT)), "RunnerCrashed"),
        (ended(0, ""), "RunnerCrashed"),
        (ended(137, "killed"), "RunnerCrashed"),
        (ended(1, &failure("engine answered 500")), "WorkFailed"),
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
            "Evicted",
        ),
        (json!({"phase": "Failed", "reason": "", "message": ""}), "PodFailed"),
        (json!({"phase": "Failed", "reason": "OutOfnvidia.com/gpu"}), "PodFailed"),
    ];
    for (pod, reason) in cases {
        let status = after(&fixture, pod.clone());
        assert_eq!(
            (status.state, status.reason.as_deref()),
            (AssignmentState::Failed, Some(reason)),
            "{pod}"
        );
        assert_eq!(status.receipt, None);
    }
}

#[test]
fn a_failure_message_carries_no_presigned_query() {
    let message = failure("GET https://store/in?X-Amz-Signature=abc failed\ntwice");
    let status = after(&Fixture::new(), ended(1, &message));
    assert_eq!(status.message.as_deref(), Some("GET https://store/in?… failed\ntwice"));
}

#[test]
fn trouble_that_passes_is_told_and_trouble_that_does_not_ends_it() {
    let fixture = Fixture::new();
    let waiting = |reason: &str| {
        json!({"phase": "Pending", "initContainerStatuses": [
            container("engine", &json!({"waiting": {"reason": reason, "message": "words"}})),
        ]})
    };
    let crashing = |restarts: i32| {
        let mut engine = container("engine", &json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        engine["restartCount"] = json!(restarts);
        engine["lastState"] = json!({"terminated": {"exitCode": 139, "reason": "Error"}});
        json!({"phase": "Pending", "initContainerStatuses": [engine]})
    };
    let unschedulable = |since: &str| {
        json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "no GPU", "lastTransitionTime": since},
        ]})
    };
    let cases = [
        (waiting("PodInitializing"), AssignmentState::Accepted, None),
        (
            waiting("ErrImagePull"),
            AssignmentState::Accepted,
            Some("ImagePullBackOff"),
        ),
        (
            waiting("InvalidImageName"),
            AssignmentState::Failed,
            Some("InvalidImageName"),
        ),
        (
            waiting("CreateContainerConfigError"),
            AssignmentState::Failed,
            Some("CreateContainerConfigError"),
        ),
        (crashing(2), AssignmentState::Accepted, None),
        (crashing(3), AssignmentState::Failed, Some("EngineCrashed")),
        (
            unschedulable("2026-03-01T11:59:30Z"),
            AssignmentState::Accepted,
            Some("Unschedulable"),
        ),
        (
            unschedulable("2026-03-01T11:58:30Z"),
            AssignmentState::Failed,
            Some("Unschedulable"),
        ),
    ];
    for (pod, state, reason) in cases {
        let status = after(&fixture, pod.clone());
        assert_eq!((status.state, status.reason.as_deref()), (state, reason), "{pod}");
    }
}

#[test]
fn an_image_that_cannot_be_pulled_for_long_ends_it() {
    let fixture = Fixture::new();
    let pod = json!({"phase": "Pending", "initContainerStatuses": [
        container("engine", &json!({"waiting": {"reason": "ImagePullBackOff"}})),
    ]});
    let look = observed([fixture.assignment()], fixture.pod_with(pod));
    let at = |time| reported(&plan(&look, &fixture.policy, time)).state;
    assert_eq!(at(minutes(3)), AssignmentState::Accepted);
    assert_eq!(at(minutes(4)), AssignmentState::Failed);
}

#[test]
fn a_running_pod_that_vanished_is_lost_and_not_started_again() {
    let fixture = Fixture::new();
    let assignment = in_state(fixture.assignment(), AssignmentState::Running);
    let status = reported(&fixture.plan(&observed([assignment], LocalWork::default())));
    assert_eq!(
        (status.state, status.reason.as_deref()),
        (AssignmentState::Failed, Some("PodLost"))
    );
}

#[test]
fn work_past_its_deadline_is_failed_then_removed() {
    let fixture = Fixture::new();
    let local = fixture.pod_with(running());
    let look = observed(
        [in_state(fixture.assignment(), AssignmentState::Running)],
        local.clone(),
    );
    let status = reported(&plan(&look, &fixture.policy, minutes(15)));
    assert_eq!(
        (status.state, status.reason.as_deref()),
        (AssignmentState::Failed, Some("DeadlineExceeded"))
    );
    let failed = observed([in_state(fixture.assignment(), AssignmentState::Failed)], local);
    let actions = plan(&failed, &fixture.policy, minutes(15));
    assert!(matches!(actions.as_slice(), [Action::RemovePod { .. }]), "{actions:?}");
}

#[test]
fn an_order_that_ends_earlier_than_not_after_ends_the_work() {
    let fixture = Fixture::new();
    let expiry = u64::try_from(minutes(5).as_second()).unwrap();
    let assignment = fixture.assignment_where(|spec| spec.order.expiry = expiry);
    let actions = fixture.plan(&observed([assignment], LocalWork::default()));
    let [Action::Start { objects, .. }] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    assert_eq!(objects.pod.spec.as_ref().unwrap().active_deadline_seconds, Some(300));
}

#[test]
fn a_finished_assignment_leaves_nothing_here() {
    let fixture = Fixture::new();
    let pod = fixture.pod_with(ended(0, &report(INPUT)));
    let rest = LocalWork {
        pod: None,
        has_secret: true,
        has_policy: true,
    };
    for state in [AssignmentState::Completed, AssignmentState::Refused] {
        let look = |local: &LocalWork| fixture.plan(&observed([in_state(fixture.assignment(), state)], local.clone()));
        assert!(matches!(look(&pod).as_slice(), [Action::RemovePod { .. }]));
        assert!(matches!(
            look(&rest).as_slice(),
            [Action::RemoveRest {
                secret: true,
                policy: true,
                ..
            }]
        ));
        assert!(look(&LocalWork::default()).is_empty());
    }
}

#[test]
fn a_failed_pod_keeps_its_logs_until_the_deadline() {
    let fixture = Fixture::new();
    let look = observed(
        [in_state(fixture.assignment(), AssignmentState::Failed)],
        fixture.pod_with(ended(1, "")),
    );
    assert!(plan(&look, &fixture.policy, now()).is_empty());
    assert!(matches!(
        plan(&look, &fixture.policy, minutes(15)).as_slice(),
        [Action::RemovePod { .. }]
    ));
}

#[test]
fn deletion_removes_everything_before_gone_is_said() {
    let fixture = Fixture::new();
    let assignment = deleted(in_state(fixture.assignment(), AssignmentState::Running));
    let look = |local: LocalWork| fixture.plan(&observed([assignment.clone()], local));
    let mut local = fixture.pod_with(running());
    assert!(matches!(look(local.clone()).as_slice(), [Action::RemovePod { uid }] if uid == UID));
    local.pod.as_mut().unwrap().metadata.deletion_timestamp = Some(Time(now()));
    assert!(look(local.clone()).is_empty(), "a deletion on its way is not repeated");
    local.pod = None;
    assert!(matches!(look(local).as_slice(), [Action::RemoveRest { .. }]));
    assert_eq!(reported(&look(LocalWork::default())).state, AssignmentState::Gone);
    let gone = deleted(in_state(fixture.assignment(), AssignmentState::Gone));
    assert!(fixture.plan(&observed([gone], LocalWork::default())).is_empty());
}

#[test]
fn deletion_before_the_first_look_is_gone_at_once() {
    let fixture = Fixture::new();
    let status = reported(&fixture.plan(&observed([deleted(fixture.assignment())], LocalWork::default())));
    assert_eq!(status.state, AssignmentState::Gone);
}

#[test]
fn terminal_stays_terminal() {
    let fixture = Fixture::new();
    let states = [
        AssignmentState::Completed,
        AssignmentState::Failed,
        AssignmentState::Refused,
        AssignmentState::Gone,
    ];
    let pods = [running(), ended(0, &report(INPUT)), json!({"phase": "Pending"})];
    for state in states {
        for pod in &pods {
            let look = observed([in_state(fixture.assignment(), state)], fixture.pod_with(pod.clone()));
            let actions = fixture.plan(&look);
            assert!(
                !actions
                    .iter()
                    .any(|action| matches!(action, Action::Report { .. } | Action::Start { .. })),
                "{actions:?}"
            );
        }
    }
}
