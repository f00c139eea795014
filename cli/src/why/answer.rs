//! The answer as a value: pure, of what was seen. Its JSON form is documented in `docs/src/reference/cli.md`.

use anyhow::Context;
use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;
use spillway_core::money::MicroUsd;
use spillway_crds::{
    AttemptKind, AttemptState, AttemptStatus, Condition, InferenceJob, PlacementExplanation, ShardState, ShardStatus,
    ShardSummary, find_status_condition, is_status_condition_true, job_condition,
};

use super::Seen;
use super::live::Live;
use super::record::Candidates;

/// Where the job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum State {
    /// The operator has not looked at it yet.
    NotSeen,
    NotAccepted,
    Splitting,
    NoOfferFits,
    Queued,
    /// The job's budget, or a limit of its SpendPolicy.
    BudgetExhausted,
    SpendPolicyChanged,
    /// Every shard that needs an attempt has one.
    Placed,
    Publishing,
    /// It will fail, once the results that are there are judged.
    Failing,
    Complete,
    Failed,
    Deleting,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) state: State,
    /// The reason in one sentence: a condition's message.
    pub(super) message: String,
    /// Seconds since the condition that says so last changed.
    pub(super) since_seconds: Option<i64>,
    pub(super) shards: ShardSummary,
    /// Of the operator's last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) placement: Option<PlacementExplanation>,
    /// The market at this moment; absent when the caller may not read it, or when nothing waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<Live>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) money: Option<Money>,
    /// Of the shard that was asked for; else those that wait or run.
    pub(super) attempts: Vec<AttemptView>,
    /// All candidates of one attempt, from the hub's store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) candidates: Option<Candidates>,
}

/// Micro-USD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Money {
    pub(super) budget_micro: Option<u64>,
    pub(super) reserved_micro: u64,
    pub(super) spent_micro: u64,
    pub(super) spend_policy: Option<String>,
    pub(super) per_job: Option<String>,
    pub(super) per_day: Option<String>,
    pub(super) per_namespace_per_day: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttemptView {
    pub(super) shard: u32,
    pub(super) attempt: u16,
    pub(super) kind: AttemptKind,
    pub(super) state: AttemptState,
    pub(super) provider: Option<String>,
    pub(super) node: Option<String>,
    pub(super) unit_price_micro: Option<u64>,
    /// Why this node won.
    pub(super) decision: Option<String>,
    /// Nodes that it may be bound to, best first; empty once it is bound.
    pub(super) candidates: Vec<String>,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
}

impl Answer {
    /// # Errors
    /// When the job has no shard of that index.
    pub(super) fn of(seen: &Seen, shard: Option<u32>, now: Timestamp) -> anyhow::Result<Self> {
        let status = seen.job.status.clone().unwrap_or_default();
        let (state, condition) = state(&seen.job);
        let waits = matches!(state, State::NoOfferFits | State::Queued);
        Ok(Self {
            namespace: seen.job.namespace().unwrap_or_default(),
            name: seen.job.name_any(),
            state,
            message: message(state, condition.as_ref(), &status.summary),
            since_seconds: condition.map(|condition| now.duration_since(condition.last_transition_time.0).as_secs()),
            shards: status.summary.clone(),
            now: seen
                .market
                .as_ref()
                .filter(|_| waits)
                .and_then(|market| Live::of(&seen.job, market, seen.least_data_class)),
            money: matters(state).then(|| money(seen)),
            attempts: attempts(&status.shards, shard)?,
            placement: status.placement,
            candidates: None,
        })
    }
}

/// The first thing that stands in the way, in the order of a job's life.
fn state(job: &InferenceJob) -> (State, Option<Condition>) {
    let Some(status) = &job.status else {
        return (State::NotSeen, None);
    };
    let condition = |type_: &str| find_status_condition(&status.conditions, type_).cloned();
    let holds = |type_: &str| is_status_condition_true(&status.conditions, type_);
    if job.metadata.deletion_timestamp.is_some() {
        return (State::Deleting, None);
    }
    let ends = [
        (job_condition::FAILED, State::Failed),
        (job_condition::COMPLETE, State::Complete),
    ];
    for (type_, state) in ends {
        if holds(type_) {
            return (state, condition(type_));
        }
    }
    let Some(accepted) = condition(job_condition::ACCEPTED) else {
        return (State::NotSeen, None);
    };
    if accepted.status != "True" {
        return (State::NotAccepted, Some(accepted));
    }
    if holds(job_condition::FAILURE_TARGET) {
        return (State::Failing, condition(job_condition::COMPLETE));
    }
    if !holds(job_condition::SPLIT) {
        return (State::Splitting, condition(job_condition::SPLIT));
    }
    let placeable = condition(job_condition::PLACEABLE);
    let state = match placeable.as_ref().map(|condition| condition.reason.as_str()) {
        Some("NoOfferFits") => State::NoOfferFits,
        Some("Queued") => State::Queued,
        Some("BudgetExhausted" | "JobLimit" | "DailyLimit" | "NamespaceDailyLimit") => State::BudgetExhausted,
        Some("SpendPolicyChanged") => State::SpendPolicyChanged,
        _ if status.summary.accepted == status.summary.total => State::Publishing,
        _ => State::Placed,
    };
    let condition = if state == State::Publishing {
        condition(job_condition::COMPLETE)
    } else {
        placeable
    };
    (state, condition)
}

fn message(state: State, condition: Option<&Condition>, shards: &ShardSummary) -> String {
    match (state, condition) {
        (State::NotSeen, _) => "the operator has not looked at it yet: is it running, and does it lead?".to_owned(),
        (State::Deleting, _) => "the job is being deleted: providers are asked to stop its work".to_owned(),
        (State::Placed, _) => format!(
            "nothing waits for an offer: {} of {} shards accepted, {} being checked, {} running, {} on their way",
            shards.accepted, shards.total, shards.verifying, shards.running, shards.pending
        ),
        (_, Some(condition)) => condition.message.clone(),
        (_, None) => String::new(),
    }
}

fn matters(state: State) -> bool {
    matches!(state, State::BudgetExhausted | State::SpendPolicyChanged)
}

fn money(seen: &Seen) -> Money {
    let cost = seen.job.status.clone().unwrap_or_default().cost;
    let limits = seen.policy.as_ref().map(|policy| &policy.spec.limits);
    let payer = seen.job.status.as_ref().and_then(|status| status.payer.as_ref());
    Money {
        budget_micro: seen.job.spec.price.budget.parse().ok().map(|budget: MicroUsd| budget.0),
        reserved_micro: cost.reserved_micro,
        spent_micro: cost.work_micro.saturating_add(cost.checks_micro),
        spend_policy: payer.map(|payer| payer.spend_policy.clone()),
        per_job: limits.map(|limits| limits.per_job.clone()),
        per_day: limits.map(|limits| limits.per_day.clone()),
        per_namespace_per_day: limits.and_then(|limits| limits.per_namespace_per_day.clone()),
    }
}

fn attempts(shards: &[ShardStatus], wanted: Option<u32>) -> anyhow::Result<Vec<AttemptView>> {
    if let Some(wanted) = wanted {
        let shard = shards.iter().find(|shard| shard.index == wanted);
        let shard =
            shard.with_context(|| format!("--shard {wanted}: the job has {} shards, counted from 0", shards.len()))?;
        return Ok(shard.attempts.iter().map(|attempt| view(shard, attempt)).collect());
    }
    let open = shards
        .iter()
        .filter(|shard| !matches!(shard.state, ShardState::Accepted));
    let live = |attempt: &&AttemptStatus| {
        matches!(
            attempt.state,
            AttemptState::Expected | AttemptState::Assigned | AttemptState::Running
        )
    };
    let views = open.flat_map(|shard| shard.attempts.iter().filter(live).map(|attempt| view(shard, attempt)));
    Ok(views.collect())
}

fn view(shard: &ShardStatus, attempt: &AttemptStatus) -> AttemptView {
    AttemptView {
        shard: shard.index,
        attempt: attempt.number,
        kind: attempt.kind,
        state: attempt.state,
        provider: attempt.provider.clone(),
        node: attempt.node.clone(),
        unit_price_micro: attempt.unit_price_micro,
        decision: attempt.decision.clone(),
        candidates: attempt.candidates.clone(),
        reason: attempt.reason.clone(),
        message: attempt.message.clone(),
    }
}
