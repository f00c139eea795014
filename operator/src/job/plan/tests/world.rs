//! A small hub in memory: applies plans as the API server and the store would, and lets tests play the other parts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use spillway_core::knowledge::Knowledge;
use spillway_core::market::{Isolation, Latencies, Offer, ProviderClass};
use spillway_core::memory::Bytes;
use spillway_core::money::UnitPrice;
use spillway_core::shard::{PublishedReport, ShardEntry, ShardManifest, digest};
use spillway_crds::{
    AssignmentState, AttemptState, AttemptStatus, DataClass, InferenceJob, Receipt, SpendPolicy, Time, Usage,
    WorkAssignmentStatus, names,
};

use crate::dispatch::phase_of;
use crate::job::observed::{AssignmentFact, Observed, PodFact, ProviderFact, RunnerPod};
use crate::job::plan::{Action, JobPlan, plan, questions};
use crate::verification::{Compared, Examined};

pub(super) const JOB: &str = "
metadata: {name: embed, namespace: team-a, uid: uid-1, generation: 1, creationTimestamp: '2026-01-01T00:00:00Z'}
spec:
  engine: {image: engine}
  input: {uri: 's3://in/reviews.jsonl', secretRef: store}
  output: {uri: 's3://out/reviews/', secretRef: store}
  price: {maxPerGpuHour: '1.20', budget: '5.00'}
  execution: {parallelism: 2, retries: 1, shardTimeout: 10m, deadline: 2h}
";

const POLICY: &str = "
metadata: {name: team-a}
spec:
  namespaces: [team-a]
  payer: '0x00000000000000000000000000000000000000aa'
  limits: {perJob: '10', perDay: '100'}
  orderSigningKey: {address: '0x00000000000000000000000000000000000000ab', secretRef: order-key}
";

#[derive(Clone)]
pub(super) struct World {
    pub observed: Observed,
    pub now: Timestamp,
    pub recorded: BTreeSet<(u32, u16, bool)>,
    /// Attempts whose candidates lie in the store.
    pub stored: BTreeSet<(u32, u16)>,
    pub story: String,
    pods_made: u32,
}

fn parse<T: serde::de::DeserializeOwned>(yaml: &str) -> T {
    serde_yaml::from_str(yaml).unwrap()
}

pub(in crate::job) fn offer(provider: &str, gpus: u32, price: u64) -> Offer {
    Offer {
        node: format!("spillway-{provider}-host"),
        provider: provider.to_owned(),
        host: "host".to_owned(),
        class: ProviderClass::Decentralized,
        region: "eu".to_owned(),
        jurisdiction: None,
        isolation: Isolation::Standard,
        qualified: Knowledge::Unknown,
        stake_headroom: Knowledge::Unknown,
        product: "NVIDIA-L4".to_owned(),
        gpu_memory: Bytes::mebibytes(24_000),
        compute_capability: Knowledge::Unknown,
        gpus_total: gpus,
        gpus_free: gpus,
        price: UnitPrice(price),
        start_time: None,
        revision: 1,
        latencies: Latencies::default(),
        reputation: Knowledge::Unknown,
        available: true,
    }
}

impl World {
    pub(super) fn new(job: &str, offers: Vec<Offer>) -> Self {
        let provider = |offer: &Offer| {
            let payout_address = format!("0x{}", hex::encode(format!("{:-<20}", offer.provider)));
            (
                offer.provider.clone(),
                ProviderFact {
                    payout_address,
                    offer_revision: 1,
                    silent: false,
                },
            )
        };
        let observed = Observed {
            job: parse::<InferenceJob>(&format!("apiVersion: spillway.dev/v1alpha1\nkind: InferenceJob{job}")),
            policies: vec![parse::<SpendPolicy>(&format!(
                "apiVersion: spillway.dev/v1alpha1\nkind: SpendPolicy{POLICY}"
            ))],
            default_data_class: DataClass::Public,
            spent_today: BTreeMap::new(),
            providers: offers.iter().map(provider).collect(),
            offers: Arc::new(offers.into()),
            promised: Vec::new(),
            pods: BTreeMap::new(),
            assignments: BTreeMap::new(),
            splitter: Default::default(),
            publisher: Default::default(),
            manifest: Knowledge::Known(None),
            published: Knowledge::Known(None),
            examined: BTreeMap::new(),
            compared: BTreeMap::new(),
            settlements: Vec::new(),
        };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Self {
            observed,
            now,
            recorded: BTreeSet::new(),
            stored: BTreeSet::new(),
            story: String::new(),
            pods_made: 0,
        }
    }

    pub(super) fn pass_time(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    }

    pub(super) fn plan(&self) -> JobPlan {
        plan(&self.observed, self.now)
    }

    /// Plans and applies until nothing is left to do; the story tells each pass under `title`.
    pub(super) fn settle(&mut self, title: &str) {
        let seconds = self
            .now
            .duration_since("2026-01-01T00:00:00Z".parse().unwrap())
            .as_secs();
        writeln!(self.story, "== {seconds} s: {title}").unwrap();
        for _ in 0..20 {
            let plan = self.plan();
            if self.is_converged(&plan) {
                self.tell_state(&plan);
                return;
            }
            for action in &plan.actions {
                writeln!(self.story, "  {action}").unwrap();
            }
            self.apply(&plan, usize::MAX);
            writeln!(self.story, "  --").unwrap();
        }
        panic!("does not converge:\n{}", self.story);
    }

    pub(super) fn is_converged(&self, plan: &JobPlan) -> bool {
        plan.actions.is_empty() && Some(&plan.status) == self.observed.job.status.as_ref()
    }

    fn tell_state(&mut self, plan: &JobPlan) {
        let status = &plan.status;
        let story = &mut self.story;
        writeln!(
            story,
            "  phase {}, total {}, reserved {}, look again in {} s",
            status.phase,
            status.cost.total,
            status.cost.reserved_micro,
            plan.requeue_after.as_secs()
        )
        .unwrap();
        for condition in &status.conditions {
            writeln!(
                story,
                "  {}={} {}: {}",
                condition.type_, condition.status, condition.reason, condition.message
            )
            .unwrap();
        }
        for shard in &status.shards {
            writeln!(story, "  shard {} {:?}", shard.index, shard.state).unwrap();
            for attempt in &shard.attempts {
                writeln!(story, "    {}", describe(attempt)).unwrap();
            }
        }
    }

    /// Runs a plan as `apply` does; `steps` limits how many of its writes happen before a crash.
    pub(super) fn apply(&mut self, plan: &JobPlan, steps: usize) {
        let (first, then): (Vec<_>, Vec<_>) = plan.actions.iter().partition(|action| action.precedes_status());
        let mut writes: Vec<Option<&Action>> = first.into_iter().map(Some).collect();
        writes.push(None);
        writes.extend(then.into_iter().map(Some));
        for write in writes.into_iter().take(steps) {
            match write {
                Some(action) => self.execute(action),
                None => self.observed.job.status = Some(plan.status.clone()),
            }
        }
        self.refresh_offers();
    }

    #[allow(clippy::too_many_lines, reason = "one arm per action")]
    fn execute(&mut self, action: &Action) {
        let observed = &mut self.observed;
        let job = observed.job.clone();
        let status = job.status.clone().unwrap_or_default();
        let attempt = |shard: u32, number: u16| {
            status.shards[shard as usize]
                .attempts
                .iter()
                .find(|attempt| attempt.number == number)
                .unwrap()
                .clone()
        };
        match action {
            Action::AddFinalizer => {
                observed.job.metadata.finalizers = Some(vec![super::super::JOB_FINALIZER.to_owned()])
            }
            Action::DeleteJob => observed.job.metadata.deletion_timestamp = Some(Time(self.now)),
            Action::RemoveFinalizer => observed.job.metadata.finalizers = None,
            Action::SplitInline => observed.manifest = Knowledge::Known(Some(Ok(manifest(1)))),
            Action::CreateSplitter => observed.splitter.pod = Some(runner_pod("Pending")),
            Action::CreatePublisher => observed.publisher.pod = Some(runner_pod("Pending")),
            Action::PublishInHub => observed.published = Knowledge::Known(Some(Ok(report()))),
            Action::DeleteSplitter => observed.splitter.pod = None,
            Action::DeletePublisher => observed.publisher.pod = None,
            Action::StoreCandidates(record) => {
                let attempts = record.attempts.iter();
                self.stored
                    .extend(attempts.map(|attempt| (attempt.shard, attempt.attempt)));
            }
            Action::CreatePod { shard, attempt } => {
                let name = names::attempt_pod("embed", *shard, *attempt);
                self.pods_made += 1;
                let uid = format!("pod-{}", self.pods_made);
                self.observed.pods.entry(name).or_insert(PodFact {
                    uid,
                    resource_version: "1".to_owned(),
                    ours: true,
                    node: None,
                    deleting: false,
                    phase: "Pending".to_owned(),
                });
            }
            Action::DeletePod { name, uid, .. } => observed.pods.retain(|other, pod| other != name || pod.uid != *uid),
            Action::MirrorPod { shard, attempt, state } => {
                let pod = observed
                    .pods
                    .get_mut(&names::attempt_pod("embed", *shard, *attempt))
                    .unwrap();
                pod.phase = phase_of(*state).unwrap().to_owned();
            }
            Action::CreateAssignment { shard, attempt: number } => {
                let attempt = attempt(*shard, *number);
                let provider = attempt.provider.clone().unwrap();
                let expiry = i64::try_from(attempt.order_expiry.unwrap()).unwrap();
                observed.assignments.entry((*shard, *number)).or_insert(AssignmentFact {
                    namespace: names::provider_namespace(&provider),
                    name: names::assignment("uid-1", *shard, *number),
                    uid: format!("assignment-{shard}-{number}"),
                    provider,
                    status: WorkAssignmentStatus::default(),
                    not_after: Time(Timestamp::from_second(expiry).unwrap()),
                    deleting: false,
                });
            }
            Action::DeleteAssignment { uid, .. } => {
                let found = observed
                    .assignments
                    .values_mut()
                    .filter(|assignment| assignment.uid == *uid);
                found.for_each(|assignment| assignment.deleting = true);
            }
            Action::ReleaseAssignment { uid, .. } => {
                observed.assignments.retain(|_, assignment| assignment.uid != *uid)
            }
            Action::RecordVerdict {
                shard,
                attempt,
                accepted,
            } => {
                self.recorded.insert((*shard, *attempt, *accepted));
            }
            Action::DeleteStored => {
                observed.manifest = Knowledge::Known(None);
                observed.published = Knowledge::Known(None);
                self.stored.clear();
            }
            Action::Event { .. } => {}
        }
    }

    /// GPUs in use follow from the assignments, as in the hub.
    pub(super) fn refresh_offers(&mut self) {
        let held = self.gpus_held();
        self.change_offers(|offers| {
            for offer in offers {
                let used = held.get(&offer.node).copied().unwrap_or_default();
                offer.gpus_free = offer.gpus_total.saturating_sub(used);
            }
        });
    }

    pub(super) fn change_offers(&mut self, change: impl FnOnce(&mut Vec<Offer>)) {
        let mut offers = self.observed.offers.to_vec();
        change(&mut offers);
        self.observed.offers = Arc::new(offers.into());
    }

    pub(super) fn gpus_held(&self) -> BTreeMap<String, u32> {
        let mut held = BTreeMap::<String, u32>::new();
        for ((shard, number), assignment) in &self.observed.assignments {
            let state = assignment.status.state;
            let holds = matches!(
                state,
                AssignmentState::Pending | AssignmentState::Accepted | AssignmentState::Running
            );
            let node = self.attempt(*shard, *number).and_then(|attempt| attempt.node);
            if let Some(node) = node.filter(|_| holds) {
                *held.entry(node).or_default() += self.observed.job.spec.resources.gpus;
            }
        }
        held
    }

    pub(super) fn attempts(&self) -> Vec<(u32, AttemptStatus)> {
        let shards = self.observed.job.status.iter().flat_map(|status| &status.shards);
        shards
            .flat_map(|shard| shard.attempts.iter().map(|attempt| (shard.index, attempt.clone())))
            .collect()
    }

    pub(super) fn attempt(&self, shard: u32, number: u16) -> Option<AttemptStatus> {
        self.attempts()
            .into_iter()
            .find(|(index, attempt)| *index == shard && attempt.number == number)
            .map(|found| found.1)
    }

    // The other parts.

    pub(super) fn splitter_writes(&mut self, shards: u32) {
        self.observed.manifest = Knowledge::Known(Some(Ok(manifest(shards))));
        if let Some(pod) = &mut self.observed.splitter.pod {
            pod.phase = "Succeeded".to_owned();
        }
    }

    pub(super) fn bind(&mut self, shard: u32, attempt: u16, node: &str) {
        let pod = self
            .observed
            .pods
            .get_mut(&names::attempt_pod("embed", shard, attempt))
            .unwrap();
        pod.node = Some(node.to_owned());
    }

    /// Binds every waiting pod to its best candidate with a free GPU, as kube-scheduler would.
    pub(super) fn schedule(&mut self) {
        let mut free: BTreeMap<String, u32> = self
            .observed
            .offers
            .iter()
            .map(|offer| (offer.node.clone(), offer.gpus_free))
            .collect();
        for (shard, attempt) in self.attempts() {
            let name = names::attempt_pod("embed", shard, attempt.number);
            let waits = self.observed.pods.get(&name).is_some_and(|pod| pod.node.is_none());
            let place = attempt
                .candidates
                .iter()
                .find(|node| free.get(*node).is_some_and(|free| *free > 0));
            if let (true, AttemptState::Expected, Some(node)) = (waits, attempt.state, place) {
                *free.get_mut(node).unwrap() -= 1;
                self.bind(shard, attempt.number, node);
            }
        }
    }

    pub(super) fn agent_says(&mut self, shard: u32, attempt: u16, state: AssignmentState) {
        let assignment = self.observed.assignments.get_mut(&(shard, attempt)).unwrap();
        assignment.status.state = state;
        if state == AssignmentState::Completed {
            assignment.status.receipt = Some(receipt().into());
        }
        self.refresh_offers();
    }

    /// Every agent moves all of its assignments to `state`; those being deleted are answered `Gone`.
    pub(super) fn agents_say(&mut self, state: AssignmentState) {
        for ((shard, attempt), assignment) in self.observed.assignments.clone() {
            let ended = matches!(
                assignment.status.state,
                AssignmentState::Completed | AssignmentState::Failed
            );
            if assignment.deleting {
                self.agent_says(shard, attempt, AssignmentState::Gone);
            } else if !ended {
                self.agent_says(shard, attempt, state);
            }
        }
    }

    /// The hub store answers every open question: all results valid and equal.
    pub(super) fn store_answers(&mut self) {
        let questions = questions(&self.observed.job);
        for key in questions.examine {
            self.observed.examined.entry(key).or_insert(valid());
        }
        for key in questions.compare {
            self.observed.compared.entry(key).or_insert(Compared::Accepted {
                method: "ExactDigest".to_owned(),
            });
        }
    }

    pub(super) fn publisher_writes(&mut self) {
        self.observed.published = Knowledge::Known(Some(Ok(report())));
    }

    pub(super) fn delete_job(&mut self) {
        self.observed.job.metadata.deletion_timestamp = Some(Time(self.now));
    }

    pub(super) fn is_gone(&self) -> bool {
        self.observed.is_deleting() && self.observed.job.metadata.finalizers.is_none()
    }
}

pub(super) fn valid() -> Examined {
    Examined::Valid {
        gpu_millis: 60_000,
        usage: Usage::default(),
    }
}

pub(super) fn runner_pod(phase: &str) -> RunnerPod {
    RunnerPod {
        uid: "runner".to_owned(),
        phase: phase.to_owned(),
        message: None,
        finished_at: None,
        ours: true,
        deleting: false,
    }
}

fn manifest(shards: u32) -> ShardManifest {
    let entry = |index| ShardEntry {
        index,
        bytes: 10,
        requests: 25,
        digest: digest(b"input"),
    };
    ShardManifest::new((0..shards).map(entry).collect())
}

pub(super) fn report() -> PublishedReport {
    PublishedReport {
        uri: "s3://out/reviews/results.jsonl".to_owned(),
        digest: digest(b"all"),
        lines: 50,
        errors: None,
    }
}

fn receipt() -> Receipt {
    Receipt {
        input_digest: digest(b"input"),
        output_digest: digest(b"output"),
        output_bytes: 10,
        requests: 25,
        failed_requests: 0,
        started: 1,
        finished: 61,
        metered_millis: 60_000,
        prompt_tokens: 100,
        completion_tokens: 0,
        signature: "0x".to_owned(),
    }
}

fn describe(attempt: &AttemptStatus) -> String {
    let mut text = format!("{} {:?} {:?}", attempt.number, attempt.kind, attempt.state);
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            write!(text, ", {name} {value}").unwrap();
        }
    };
    add("on", attempt.provider.clone());
    add(
        "candidates",
        Some(attempt.candidates.join(" ")).filter(|nodes| !nodes.is_empty()),
    );
    add("bound", Some(attempt.upper_bound_micro.to_string()));
    add("because", attempt.decision.clone());
    add(
        "verdict",
        attempt
            .verdict
            .as_ref()
            .map(|verdict| format!("{} {}", verdict.accepted, verdict.method)),
    );
    add("amount", attempt.amount_micro.map(|amount| amount.to_string()));
    add("settlement", attempt.settlement.map(|sequence| sequence.to_string()));
    add("reason", attempt.reason.clone());
    add("message", attempt.message.clone());
    text
}

/// A pod that somebody else made under an attempt's name.
pub(super) fn forged_pod() -> PodFact {
    PodFact {
        uid: "forged".to_owned(),
        resource_version: "1".to_owned(),
        ours: false,
        node: Some("spillway-a-host".to_owned()),
        deleting: false,
        phase: "Pending".to_owned(),
    }
}
