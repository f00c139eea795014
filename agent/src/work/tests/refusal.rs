//! What the agent will not do, and what it answers.

use spillway_core::knowledge::Knowledge;
use spillway_crds::{AssignmentState, AttemptKind, Isolation, Time, WorkAssignment, WorkAssignmentSpec};

use super::fixture::{Fixture, UID, host, in_state, minutes, now, observed, reported, running};
use crate::work::observe::LocalWork;
use crate::work::plan::Action;

fn refusal(fixture: &Fixture, assignment: WorkAssignment) -> (String, String) {
    let status = reported(&fixture.plan(&observed([assignment], LocalWork::default())));
    assert_eq!(status.state, AssignmentState::Refused);
    (status.reason.unwrap(), status.message.unwrap())
}

#[test]
fn terms_that_do_not_suit_us_are_refused_though_signed() {
    type Change = fn(&mut WorkAssignmentSpec);
    let fixture = Fixture::new();
    let cases: [(&str, Change); 10] = [
        ("IsolationUnavailable", |spec| spec.isolation = Isolation::Sandboxed),
        ("PriceTooLow", |spec| spec.order.unit_price_micro = 899_999),
        ("WrongPayout", |spec| {
            spec.order.provider = "0x00000000000000000000000000000000000000cc".to_owned()
        }),
        ("OrderExpired", |spec| {
            spec.order.expiry = u64::try_from(now().as_second()).unwrap()
        }),
        ("Expired", |spec| spec.not_after = Time(now())),
        ("WrongContract", |spec| spec.order.chain_id = 1),
        ("UnknownHost", |spec| spec.host = "gpu-9".to_owned()),
        ("NoCapacity", |spec| spec.gpus = 3),
        ("NoGpu", |spec| spec.gpus = 0),
        ("InvalidEgress", |spec| {
            spec.egress.push("169.254.169.254:80".to_owned())
        }),
    ];
    for (reason, change) in cases {
        let (found, message) = refusal(&fixture, fixture.assignment_where(change));
        assert_eq!(found, reason, "{message}");
        assert!(!message.is_empty());
    }
}

#[test]
fn what_the_payer_did_not_sign_is_refused() {
    type Change = fn(&mut WorkAssignmentSpec);
    let fixture = Fixture::new();
    let cases: [(&str, Change); 7] = [
        ("UntrustedOrder", |spec| spec.order.upper_bound_micro += 1),
        ("UntrustedOrder", |spec| spec.kind = AttemptKind::Check),
        ("UntrustedOrder", |spec| spec.shard = 1),
        ("UntrustedOrder", |spec| spec.job.uid = "another".to_owned()),
        ("UntrustedOrder", |spec| {
            spec.order.signature = format!("0x{}", "00".repeat(65))
        }),
        ("InvalidOrder", |spec| spec.order.signature = "0xzz".to_owned()),
        ("InvalidOrder", |spec| spec.order.payer = "me".to_owned()),
    ];
    for (reason, change) in cases {
        let mut assignment = fixture.assignment();
        change(&mut assignment.spec);
        let (found, message) = refusal(&fixture, assignment);
        assert_eq!(found, reason, "{message}");
    }
}

#[test]
fn an_order_of_a_key_outside_the_bundle_is_refused() {
    let mut fixture = Fixture::new();
    let assignment = fixture.assignment();
    fixture.policy.terms.order_signers = vec![fixture.policy.keys.receipt_signer()];
    assert_eq!(refusal(&fixture, assignment).0, "UntrustedOrder");
}

#[test]
fn a_bundle_without_payout_takes_any_payee() {
    let mut fixture = Fixture::new();
    let payee = "0x00000000000000000000000000000000000000cc".to_owned();
    let assignment = fixture.assignment_where(|spec| spec.order.provider = payee);
    fixture.policy.terms.payout = None;
    let actions = fixture.plan(&observed([assignment], LocalWork::default()));
    assert!(matches!(actions.as_slice(), [Action::Start { .. }]), "{actions:?}");
}

#[test]
fn a_payload_of_another_attempt_is_refused_without_a_word_of_it() {
    let fixture = Fixture::new();
    let mut assignment = fixture.assignment();
    assignment.spec.sealed = fixture.assignment_where(|spec| spec.attempt = 1).spec.sealed;
    let (reason, message) = refusal(&fixture, assignment);
    assert_eq!(reason, "CannotOpen");
    assert!(!message.contains("store.example.com"), "{message}");
}

#[test]
fn room_is_what_live_pods_leave() {
    let fixture = Fixture::new();
    let mut second = fixture.assignment_where(|spec| {
        spec.shard = 1;
        spec.gpus = 2;
    });
    second.metadata.uid = Some("second".to_owned());
    let first = in_state(fixture.assignment(), AssignmentState::Running);
    let mut look = observed([first, second.clone()], fixture.pod_with(running()));
    let status = reported(&fixture.plan(&look)[1..]);
    assert_eq!(
        (status.state, status.reason.as_deref()),
        (AssignmentState::Refused, Some("NoCapacity"))
    );
    // A pod on its way out frees its GPU: the new pod waits for it at the scheduler.
    let pod = look.local.get_mut(UID).unwrap().pod.as_mut().unwrap();
    pod.metadata.deletion_timestamp = Some(Time(now()));
    let actions = fixture.plan(&look);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Start { assignment, .. }
        if assignment.metadata.uid == second.metadata.uid)),
        "{actions:?}"
    );
}

#[test]
fn two_assignments_of_one_pass_do_not_share_a_gpu() {
    let fixture = Fixture::new();
    let assignments = (0..3).map(|shard| {
        let mut assignment = fixture.assignment_where(|spec| spec.shard = shard);
        assignment.metadata.uid = Some(format!("uid-{shard}"));
        assignment.metadata.name = Some(format!("job-{shard}-0"));
        assignment.metadata.creation_timestamp = Some(Time(minutes(i64::from(shard))));
        assignment
    });
    let actions = fixture.plan(&observed(assignments, LocalWork::default()));
    assert!(
        matches!(
            actions.as_slice(),
            [Action::Start { .. }, Action::Start { .. }, Action::Report { .. }]
        ),
        "{actions:?}"
    );
    assert_eq!(reported(&actions[2..]).reason.as_deref(), Some("NoCapacity"));
}

#[test]
fn nothing_is_refused_before_our_nodes_were_seen() {
    let fixture = Fixture::new();
    let mut look = observed([fixture.assignment()], LocalWork::default());
    look.hosts = Knowledge::Unknown;
    assert!(fixture.plan(&look).is_empty());
    look.hosts = Knowledge::Known(vec![host("gpu-1", 0)]);
    assert_eq!(reported(&fixture.plan(&look)).reason.as_deref(), Some("NoCapacity"));
}
