//! A provider, a payer and one valid assignment between them.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use spillway_core::knowledge::Knowledge;
use spillway_core::money::UnitPrice;
use spillway_core::order::{Order, domain, job_id};
use spillway_core::sealing::{Context, seal};
use spillway_crds::{
    AssignmentState, AttemptKind, Engine, HostClaim, Isolation, JobReference, SealedPayload, ShardInput, SignedOrder,
    Time, WorkAssignment, WorkAssignmentSpec, WorkAssignmentStatus,
};

use crate::bundle::Terms;
use crate::elastic::ElasticPools;
use crate::keys::Keys;
use crate::work::observe::{LocalWork, Observed};
use crate::work::plan::{Action, plan};
use crate::work::{PodSettings, Policy};

pub(super) const UID: &str = "11111111-2222-3333-4444-555555555555";
pub(super) const HOST: &str = "gpu-1";
pub(super) const INPUT: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(super) const OUTPUT: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const PAYOUT: &str = "0x00000000000000000000000000000000000000aA";
const CHAIN: u64 = 31337;

/// All of the fixture's times lie around this one.
pub(super) fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(super) fn minutes(count: i64) -> Timestamp {
    now() + SignedDuration::from_mins(count)
}

pub(super) struct Fixture {
    pub(super) policy: Policy,
    payer_key: PrivateKeySigner,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let payer_key = PrivateKeySigner::from_bytes(&B256::repeat_byte(3)).unwrap();
        let terms = Terms {
            provider: "acme".to_owned(),
            chain_id: CHAIN,
            contract: "0x5FbDB2315678afecb367f032d93F642f64180aa3".parse().unwrap(),
            order_signers: vec![payer_key.address()],
            payout: Some(PAYOUT.parse().unwrap()),
        };
        let pods = PodSettings {
            namespace: "spillway-work".to_owned(),
            runner_image: "spillway/runner:dev".to_owned(),
            image_pull_policy: Some("IfNotPresent".to_owned()),
            engine_concurrency: 8,
            isolation: None,
            elastic: ElasticPools::default(),
        };
        let policy = Policy {
            terms,
            keys: Keys::generate().unwrap(),
            price: UnitPrice(900_000),
            pods,
        };
        Self { policy, payer_key }
    }

    /// A valid assignment of one GPU on [`HOST`] for 15 minutes.
    pub(super) fn assignment(&self) -> WorkAssignment {
        self.assignment_where(|_| ())
    }

    /// As [`Self::assignment`]; `change` is applied before the order is signed and the URLs are sealed.
    pub(super) fn assignment_where(&self, change: impl FnOnce(&mut WorkAssignmentSpec)) -> WorkAssignment {
        let mut spec = self.unsigned();
        change(&mut spec);
        let terms = &self.policy.terms;
        let order: Order = spec
            .order
            .order(&spec.job.uid, spec.shard, spec.attempt, spec.kind)
            .unwrap();
        assert_eq!(order.job, job_id(&spec.job.uid));
        let hash = order.signing_hash(&domain(terms.chain_id, terms.contract));
        let signature = self.payer_key.sign_hash_sync(&hash).unwrap();
        spec.order.signature = format!("0x{}", hex::encode(signature.as_bytes()));
        spec.sealed = self.sealed(&spec);
        let mut assignment = WorkAssignment::new(&format!("{}-0-0", spec.job.uid), spec);
        assignment.metadata.uid = Some(UID.to_owned());
        assignment.metadata.creation_timestamp = Some(Time(now()));
        assignment
    }

    fn sealed(&self, spec: &WorkAssignmentSpec) -> SealedPayload {
        let context = Context {
            job_uid: &spec.job.uid,
            shard: spec.shard,
            attempt: spec.attempt,
            provider: &self.policy.terms.provider,
            not_after: spec.not_after.0.as_second(),
        };
        let clear =
            json!({"input": "https://store.example.com/in?sig=1", "output": "https://store.example.com/out?sig=2"});
        let public = self.policy.keys.sealing().public_key();
        let sealed = seal(&public, &context, clear.to_string().as_bytes(), &mut rand::rng()).unwrap();
        SealedPayload {
            encapsulated_key: sealed.encapsulated_key,
            ciphertext: sealed.ciphertext,
        }
    }

    fn unsigned(&self) -> WorkAssignmentSpec {
        let terms = &self.policy.terms;
        let not_after = minutes(15);
        WorkAssignmentSpec {
            job: JobReference {
                namespace: "team-a".to_owned(),
                name: "embed-reviews".to_owned(),
                uid: "99999999-8888-7777-6666-555555555555".to_owned(),
            },
            shard: 0,
            attempt: 0,
            kind: AttemptKind::Work,
            host: HOST.to_owned(),
            engine: engine(),
            gpus: 1,
            cpu: "2".to_owned(),
            memory: "4Gi".to_owned(),
            isolation: Isolation::Standard,
            input: ShardInput {
                digest: INPUT.to_owned(),
                bytes: 1000,
                requests: 25,
            },
            order: SignedOrder {
                chain_id: terms.chain_id,
                contract: terms.contract.to_string(),
                payer: "0x00000000000000000000000000000000000000bb".to_owned(),
                provider: PAYOUT.to_owned(),
                unit_price_micro: 900_000,
                upper_bound_micro: 225_000,
                expiry: u64::try_from(not_after.as_second()).unwrap(),
                signature: String::new(),
            },
            sealed: SealedPayload {
                encapsulated_key: String::new(),
                ciphertext: String::new(),
            },
            egress: vec!["store.example.com:443".to_owned()],
            not_after: Time(not_after),
        }
    }

    pub(super) fn plan(&self, observed: &Observed) -> Vec<Action> {
        plan(observed, &self.policy, now())
    }

    /// The pod that the plan would make for the valid assignment.
    pub(super) fn pod(&self) -> Pod {
        let actions = self.plan(&observed([self.assignment()], LocalWork::default()));
        match actions.as_slice() {
            [Action::Start { objects, .. }] => objects.pod.clone(),
            other => panic!("expected one start: {other:?}"),
        }
    }

    /// The pod, with this status; made at [`now`].
    pub(super) fn pod_with(&self, status: Value) -> LocalWork {
        let mut pod = self.pod();
        pod.metadata.creation_timestamp = Some(Time(now()));
        pod.status = Some(serde_json::from_value(status).unwrap());
        LocalWork {
            pod: Some(pod),
            has_secret: true,
            has_policy: true,
        }
    }
}

fn engine() -> Engine {
    serde_json::from_value(json!({
        "image": "registry.example.com/engine@sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
        "args": ["--model", "/model"],
        "env": [{"name": "LOG", "value": "info"}],
        "port": 8000,
        "healthPath": "/health",
    }))
    .unwrap()
}

pub(super) fn host(name: &str, gpus: u32) -> HostClaim {
    HostClaim {
        name: name.to_owned(),
        product: "NVIDIA-L4".to_owned(),
        gpus,
        memory_mebibytes: 23034,
        compute_capability: None,
        driver_version: None,
        cpu_millis: 4000,
        main_memory_mebibytes: 16000,
    }
}

/// These assignments (with UIDs), and local objects of [`UID`].
pub(super) fn observed(assignments: impl IntoIterator<Item = WorkAssignment>, local: LocalWork) -> Observed {
    let by_uid = assignments
        .into_iter()
        .map(|one| (one.metadata.uid.clone().unwrap(), one));
    let local = if local == LocalWork::default() {
        BTreeMap::new()
    } else {
        BTreeMap::from([(UID.to_owned(), local)])
    };
    Observed {
        assignments: Knowledge::Known(by_uid.collect()),
        local,
        hosts: Knowledge::Known(vec![host(HOST, 2)]),
        hub_rejected: false,
    }
}

pub(super) fn in_state(mut assignment: WorkAssignment, state: AssignmentState) -> WorkAssignment {
    assignment.status = Some(WorkAssignmentStatus {
        state,
        ..WorkAssignmentStatus::default()
    });
    assignment
}

pub(super) fn deleted(mut assignment: WorkAssignment) -> WorkAssignment {
    assignment.metadata.deletion_timestamp = Some(Time(now()));
    assignment
}

/// The one status that the plan writes.
pub(super) fn reported(actions: &[Action]) -> WorkAssignmentStatus {
    match actions {
        [Action::Report { status, .. }] => (**status).clone(),
        other => panic!("expected one report: {other:?}"),
    }
}

pub(super) fn running() -> Value {
    json!({
        "phase": "Running",
        "containerStatuses": [container("runner", &json!({"running": {"startedAt": "2026-03-01T12:01:00Z"}}))],
    })
}

/// The runner ended with this code and this termination message.
pub(super) fn ended(exit_code: i32, message: &str) -> Value {
    let terminated = json!({
        "exitCode": exit_code, "message": message, "reason": "Completed",
        "startedAt": "2026-03-01T12:01:00Z", "finishedAt": "2026-03-01T12:03:00Z",
    });
    json!({
        "phase": if exit_code == 0 { "Succeeded" } else { "Failed" },
        "containerStatuses": [container("runner", &json!({"terminated": terminated}))],
    })
}

pub(super) fn container(name: &str, state: &Value) -> Value {
    json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}
