//! What an unreachable hub changes, and what an absent assignment means.

use spillway_core::knowledge::Knowledge;

use super::fixture::{Fixture, ended, minutes, now, observed, running};
use crate::work::observe::{LocalWork, Observed};
use crate::work::plan::{Action, plan};

fn without_hub(local: LocalWork) -> Observed {
    Observed {
        assignments: Knowledge::Unknown,
        ..observed([], local)
    }
}

#[test]
fn a_hub_that_cannot_be_asked_ends_nothing_but_at_the_deadline() {
    let fixture = Fixture::new();
    let look = without_hub(fixture.pod_with(running()));
    assert!(plan(&look, &fixture.policy, now()).is_empty());
    assert!(plan(&look, &fixture.policy, minutes(14)).is_empty());
    assert!(matches!(
        plan(&look, &fixture.policy, minutes(15)).as_slice(),
        [Action::RemovePod { .. }]
    ));
}

#[test]
fn a_finished_pod_outlives_the_outage_so_that_its_report_arrives() {
    let fixture = Fixture::new();
    let look = without_hub(fixture.pod_with(ended(0, "{}")));
    assert!(plan(&look, &fixture.policy, minutes(600)).is_empty());
}

#[test]
fn an_assignment_known_to_be_absent_leaves_nothing_here() {
    let fixture = Fixture::new();
    let actions = fixture.plan(&observed([], fixture.pod_with(running())));
    assert!(matches!(actions.as_slice(), [Action::RemovePod { .. }]), "{actions:?}");
    let rest = LocalWork {
        pod: None,
        has_secret: false,
        has_policy: true,
    };
    let actions = fixture.plan(&observed([], rest));
    assert!(
        matches!(
            actions.as_slice(),
            [Action::RemoveRest {
                secret: false,
                policy: true,
                ..
            }]
        ),
        "{actions:?}"
    );
}
