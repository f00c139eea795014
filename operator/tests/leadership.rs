//! Two candidates for the operator's Lease on a real API server, with the rights that the chart gives the operator.

// clippy's leave for tests covers test functions, not what they call.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::client::Body;
use serde_json::json;
use spillway_crds::names::SYSTEM_NAMESPACE;
use spillway_e2e_control_plane::{ControlPlane, eventually};
use spillway_operator::leadership::Leadership;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LEASE: &str = "spillway-operator";
const LEASE_DURATION: Duration = Duration::from_secs(15);
const LIMIT: Duration = Duration::from_secs(60);

struct Ground {
    plane: ControlPlane,
    operator: Client,
    leases: Api<Lease>,
}

impl Ground {
    async fn new() -> Self {
        let plane = ControlPlane::start().await.unwrap();
        let operator = plane.chart_client("spillway-operator").await.unwrap();
        let leases = Api::namespaced(plane.client().await.unwrap(), SYSTEM_NAMESPACE);
        Self {
            plane,
            operator,
            leases,
        }
    }

    fn candidate(&self, identity: &str) -> Leadership {
        Leadership::new(self.operator.clone(), SYSTEM_NAMESPACE, LEASE, identity.to_owned())
    }

    async fn holder(&self) -> Option<String> {
        self.leases.get(LEASE).await.unwrap().spec?.holder_identity
    }

    async fn renewals(&self, wanted: usize) {
        let mut seen = self.leases.get(LEASE).await.unwrap().spec.unwrap().renew_time;
        for _ in 0..wanted {
            seen = eventually("a renewal", LIMIT, || async {
                let renewed = self.leases.get(LEASE).await.ok()?.spec?.renew_time;
                (renewed != seen).then_some(renewed)
            })
            .await
            .unwrap();
        }
    }
}

/// Ends with the leadership once it is acquired.
fn acquire(mut candidate: Leadership, cancelled: &CancellationToken) -> JoinHandle<Option<Leadership>> {
    let cancelled = cancelled.clone();
    tokio::spawn(async move { candidate.acquire(&cancelled).await.then_some(candidate) })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_the_other_waits_and_takes_over_after_release_or_death() {
    let ground = Ground::new().await;
    let never = CancellationToken::new();
    let mut first = ground.candidate("first");
    assert!(first.acquire(&never).await);
    let step_down = CancellationToken::new();
    let leading = tokio::spawn(first.keep(step_down.clone()));
    let second = acquire(ground.candidate("second"), &never);
    // Longer than the lease lasts without renewal.
    ground.renewals(6).await;
    assert!(!second.is_finished() && !leading.is_finished());
    assert_eq!(ground.holder().await.as_deref(), Some("first"));

    let released = Instant::now();
    step_down.cancel();
    leading.await.unwrap().unwrap();
    let second = second.await.unwrap().unwrap();
    assert!(released.elapsed() < LEASE_DURATION, "a release need not be waited out");
    assert_eq!(ground.holder().await.as_deref(), Some("second"));

    // The second dies without a word.
    drop(second);
    let died = Instant::now();
    let third = acquire(ground.candidate("third"), &never);
    let third = tokio::time::timeout(LIMIT, third).await.unwrap().unwrap().unwrap();
    assert!(died.elapsed() > LEASE_DURATION, "taken over after {:?}", died.elapsed());
    assert_eq!(ground.holder().await.as_deref(), Some("third"));

    // Whoever finds another name in the Lease must end, and leave the Lease alone.
    let usurped = json!({"spec": {"holderIdentity": "fourth"}});
    let taken = ground
        .leases
        .patch(LEASE, &PatchParams::default(), &Patch::Merge(&usurped))
        .await
        .unwrap();
    let lost = third.keep(never.clone()).await.unwrap_err();
    assert!(lost.to_string().contains("another process"), "{lost}");
    let now = ground.leases.get(LEASE).await.unwrap();
    assert_eq!(now.metadata.resource_version, taken.metadata.resource_version);
    drop(ground.plane);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_leads_and_the_waiting_can_be_called_off() {
    let ground = Ground::new().await;
    let cancelled = CancellationToken::new();
    let candidates: Vec<_> = (0..8)
        .map(|index| acquire(ground.candidate(&format!("candidate-{index}")), &cancelled))
        .collect();
    eventually("a leader", LIMIT, || async {
        candidates.iter().any(JoinHandle::is_finished).then_some(())
    })
    .await
    .unwrap();
    // The dead lease of the leader would be free after its duration: call off before.
    cancelled.cancel();
    let mut leaders = 0;
    for candidate in candidates {
        leaders += usize::from(candidate.await.unwrap().is_some());
    }
    assert_eq!(leaders, 1);
}

#[tokio::test]
async fn a_leader_whose_api_server_does_not_answer_ends_before_the_lease_does() {
    let silent =
        tower::service_fn(|_: http::Request<Body>| std::future::pending::<Result<http::Response<Body>, Infallible>>());
    let leader = Leadership::new(
        Client::new(silent, "default"),
        SYSTEM_NAMESPACE,
        LEASE,
        "leader".to_owned(),
    );
    let lost = tokio::time::timeout(LEASE_DURATION, leader.keep(CancellationToken::new())).await;
    let lost = lost.expect("another may lead by now").unwrap_err();
    assert!(lost.to_string().contains("could not be renewed"), "{lost}");
}
