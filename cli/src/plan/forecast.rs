//! What will happen to a manifest, as a value: pure, of what was seen. Its JSON form is documented in
//! `docs/src/reference/cli.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::ResourceExt;
use serde::Serialize;
use spillway_core::knowledge::Knowledge;
use spillway_core::market::{
    Candidate, Capacity, Estimate, Limit, Offer, Ranking, ShardTime, Workload, estimate, rank, smallest_change,
};
use spillway_core::money::MicroUsd;
use spillway_core::shard::ShardCount;
use spillway_crds::PlacementExplanation;
use spillway_crds::market::ValidatedJob;

use super::history::Pace;
use super::manifest::Manifest;
use super::money::{Allowance, Wallet};
use crate::Code;
use crate::market::{CAPACITY_ROLE, MARKET_ROLE, Market};
use crate::words::{span, usd};

/// Nodes that an attempt is pinned to.
const PINNED: usize = 16;
/// Requests per shard that `execution.shards: auto` aims at.
const AUTO_REQUESTS: u32 = 25;

/// Everything that the forecast follows from.
pub(super) struct Seen {
    pub(super) namespace: String,
    pub(super) manifest: Manifest,
    pub(super) market: Market,
    pub(super) wallet: Wallet,
    /// Of earlier jobs with this engine.
    pub(super) pace: Option<Pace>,
    /// As the caller says, in place of the pace.
    pub(super) shard_time: Option<Duration>,
    pub(super) asked_shards: Option<u32>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Forecast {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) input: Input,
    pub(super) placement: PlacementExplanation,
    /// Everyone who fits, busy or not, best first.
    pub(super) candidates: Vec<CandidateView>,
    /// Of the whole job, or of one shard where the count of shards is unknown; null when no offer fits.
    pub(super) estimate: Option<EstimateView>,
    pub(super) budget_micro: u64,
    pub(super) deadline_seconds: u64,
    /// Null where SpendPolicies may not be listed, or where none pays for the namespace.
    pub(super) allowance: Option<Allowance>,
    /// Why it would not run as it stands; decides the exit code.
    pub(super) problems: Vec<Problem>,
    /// What is worth knowing besides.
    pub(super) notes: Vec<String>,
}

/// Null is unknown until the splitter has read the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Input {
    pub(super) shards: Option<u32>,
    pub(super) requests: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidateView {
    pub(super) node: String,
    pub(super) provider: String,
    pub(super) unit_price_micro: u64,
    pub(super) latency_p95_micros: Option<u64>,
    pub(super) reputation: Option<f64>,
    pub(super) price_term: f64,
    pub(super) latency_term: f64,
    pub(super) reputation_term: f64,
    pub(super) score: f64,
    pub(super) gpus_total: u32,
    /// Null when the caller may not see who holds them.
    pub(super) gpus_free: Option<u32>,
}

/// Amounts in micro-USD, times in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EstimateView {
    pub(super) shards: u32,
    pub(super) checks: u32,
    pub(super) at_once: u32,
    pub(super) limited_by: String,
    /// All GPUs that fit are busy: the wait for them comes on top.
    pub(super) queued: bool,
    /// Owners whose offers fit; a check needs a second one.
    pub(super) owners: u32,
    pub(super) rounds: u32,
    /// Reserved for one attempt.
    pub(super) attempt_bound_micro: u64,
    pub(super) work_bound_micro: u64,
    pub(super) checks_bound_micro: u64,
    pub(super) cost_bound_micro: u64,
    pub(super) time_bound_seconds: u64,
    /// Null when nobody knows how long a shard takes.
    pub(super) expected: Option<ExpectedView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExpectedView {
    pub(super) work_micro: u64,
    pub(super) checks_micro: u64,
    pub(super) cost_micro: u64,
    pub(super) time_seconds: u64,
    /// Where the time of a shard comes from.
    pub(super) basis: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    pub(super) kind: ProblemKind,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum ProblemKind {
    NoOfferFits,
    /// Checks go to another owner, and there is none.
    NoSecondOwner,
    OverBudget,
    OverJobLimit,
    OverDailyLimit,
    NoSpendPolicy,
}

impl Forecast {
    pub(super) fn of(seen: &Seen) -> Self {
        let terms = &seen.manifest.terms;
        let offers = seen.market.offers();
        let ranking = ranking(terms, &offers);
        let needs = terms.needs(&terms.requirement, seen.manifest.least_data_class);
        let change = smallest_change(|offer| needs.of(offer), &offers, Capacity::Idle);
        let by_node: BTreeMap<&str, &Offer> = offers.iter().map(|offer| (offer.node.as_str(), offer)).collect();
        let fitting = ranking
            .candidates
            .iter()
            .filter_map(|candidate| by_node.get(candidate.node.as_str()).copied());
        let fitting: Vec<&Offer> = fitting.collect();
        let input = input(seen);
        let estimate = estimated(seen, input, &fitting);
        let allowance = seen.wallet.as_ref().known().and_then(Option::as_ref);
        Self {
            namespace: seen.namespace.clone(),
            name: seen.manifest.job.name_any(),
            input,
            problems: problems(seen, estimate.as_ref(), &ranking.explain()),
            notes: notes(seen, input, estimate.as_ref()),
            candidates: candidates(&ranking.candidates, &by_node, &seen.market),
            placement: PlacementExplanation::of(&ranking, change.as_ref()),
            estimate: estimate.as_ref().map(|estimate| EstimateView::of(estimate, seen)),
            budget_micro: terms.budget.0,
            deadline_seconds: terms.deadline.as_secs(),
            allowance: allowance.cloned(),
        }
    }

    /// What does not fit at all comes before what costs too much.
    pub(super) fn code(&self) -> Code {
        let fits = |problem: &Problem| !matches!(problem.kind, ProblemKind::NoOfferFits | ProblemKind::NoSecondOwner);
        match self.problems.as_slice() {
            [] => Code::Success,
            problems if problems.iter().all(fits) => Code::OverBudget,
            _ => Code::NoOfferFits,
        }
    }
}

/// Everyone who fits once idle; with a burst one class after the other, as the classes open.
fn ranking(terms: &ValidatedJob, offers: &[Offer]) -> Ranking {
    let mut idle: Vec<Offer> = offers.iter().map(idle).collect();
    let mut whole = Ranking::default();
    let classes = terms.burst.iter().flat_map(|burst| burst.classes.iter().copied());
    for class in classes {
        let (of_class, others) = idle.into_iter().partition(|offer| offer.class == class);
        idle = others;
        let needs = terms.narrowed_to(terms.requirement.clone(), class);
        append(&mut whole, rank(&needs, &terms.weights, &of_class));
    }
    append(&mut whole, rank(&terms.requirement, &terms.weights, &idle));
    whole
}

fn append(whole: &mut Ranking, part: Ranking) {
    whole.offers = whole.offers.saturating_add(part.offers);
    whole.candidates.extend(part.candidates);
    for (exclusion, count) in part.excluded {
        *whole.excluded.entry(exclusion).or_default() += count;
    }
}

fn idle(offer: &Offer) -> Offer {
    Offer {
        gpus_free: offer.gpus_total,
        ..offer.clone()
    }
}

/// Inline input is cut as the operator will cut it; of a store's input only a wanted count is known.
fn input(seen: &Seen) -> Input {
    if let Some(cut) = &seen.manifest.cut {
        return Input {
            shards: u32::try_from(cut.shards.len()).ok(),
            requests: Some(cut.shards.iter().map(|shard| u64::from(shard.requests)).sum()),
        };
    }
    let wanted = match seen.manifest.terms.shards {
        ShardCount::Auto => None,
        ShardCount::Count(count) => Some(count),
    };
    Input {
        shards: seen.asked_shards.or(wanted),
        requests: None,
    }
}

fn estimated(seen: &Seen, input: Input, fitting: &[&Offer]) -> Option<Estimate> {
    let terms = &seen.manifest.terms;
    let workload = Workload {
        shards: input.shards.unwrap_or(1),
        parallelism: terms.parallelism,
        max_check_share: terms.max_check_share,
        budget: terms.budget,
        shard_time: shard_time(seen, input).map(|(time, _)| time),
    };
    let owner = |offer: &Offer| {
        seen.market
            .payout(&offer.provider)
            .unwrap_or_else(|| offer.provider.clone())
    };
    estimate(&terms.requirement, &workload, fitting, PINNED, owner)
}

/// How long a shard takes, and who says so.
fn shard_time(seen: &Seen, input: Input) -> Option<(ShardTime, String)> {
    if let Some(computing) = seen.shard_time {
        let time = ShardTime {
            computing,
            starting: Duration::ZERO,
        };
        return Some((time, "--shard-time".to_owned()));
    }
    let pace = seen.pace?;
    let requests = requests_per_shard(seen, input)?;
    let time = ShardTime {
        computing: pace.computing(requests),
        starting: Duration::from_millis(pace.starting_millis),
    };
    let basis = format!(
        "median of {} accepted attempts with this engine: {} ms a request",
        pace.attempts,
        pace.micros_per_request / 1_000
    );
    Some((time, basis))
}

fn requests_per_shard(seen: &Seen, input: Input) -> Option<u32> {
    let auto = seen.manifest.terms.shards == ShardCount::Auto;
    match (input.requests, input.shards) {
        (Some(requests), Some(shards)) => u32::try_from(requests.div_ceil(u64::from(shards.max(1)))).ok(),
        _ => auto.then_some(AUTO_REQUESTS),
    }
}

fn candidates(candidates: &[Candidate], offers: &BTreeMap<&str, &Offer>, market: &Market) -> Vec<CandidateView> {
    let free_is_known = matches!(market.holdings, Knowledge::Known(_));
    let view = |candidate: &Candidate| {
        let offer = offers.get(candidate.node.as_str());
        CandidateView {
            node: candidate.node.clone(),
            provider: candidate.provider.clone(),
            unit_price_micro: candidate.price.0,
            latency_p95_micros: candidate.latency.known().map(|latency| latency.p95),
            reputation: candidate.reputation.known().map(|reputation| reputation.lower_bound()),
            price_term: candidate.terms.price,
            latency_term: candidate.terms.latency,
            reputation_term: candidate.terms.reputation,
            score: candidate.score,
            gpus_total: offer.map(|offer| offer.gpus_total).unwrap_or_default(),
            gpus_free: offer.filter(|_| free_is_known).map(|offer| offer.gpus_free),
        }
    };
    candidates.iter().map(view).collect()
}

impl EstimateView {
    fn of(estimate: &Estimate, seen: &Seen) -> Self {
        let basis = shard_time(seen, input(seen))
            .map(|(_, basis)| basis)
            .unwrap_or_default();
        let expected = estimate.expected.map(|expected| ExpectedView {
            work_micro: expected.work.0,
            checks_micro: expected.checks.0,
            cost_micro: expected.cost().0,
            time_seconds: expected.time.as_secs(),
            basis,
        });
        Self {
            shards: estimate.shards,
            checks: estimate.checks,
            at_once: estimate.at_once,
            limited_by: format!("{:?}", estimate.limited_by),
            queued: estimate.queued,
            owners: estimate.owners,
            rounds: estimate.rounds,
            attempt_bound_micro: estimate.attempt_bound.0,
            work_bound_micro: estimate.work_bound.0,
            checks_bound_micro: estimate.checks_bound.0,
            cost_bound_micro: estimate.cost_bound().0,
            time_bound_seconds: estimate.time_bound.as_secs(),
            expected,
        }
    }
}

fn problems(seen: &Seen, estimate: Option<&Estimate>, explained: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |kind, message: String| problems.push(Problem { kind, message });
    match estimate {
        None => add(ProblemKind::NoOfferFits, explained.to_owned()),
        Some(estimate) if estimate.checks > 0 && estimate.owners < 2 => add(
            ProblemKind::NoSecondOwner,
            "every offer that fits is of one owner, and checks go to another: let a second one fit, or set spec.verification.maxShare to \"0\"".to_owned(),
        ),
        Some(_) => {}
    }
    if let Some(message) = estimate.and_then(|estimate| over_budget(seen, estimate)) {
        add(ProblemKind::OverBudget, message);
    }
    let budget = seen.manifest.terms.budget;
    match &seen.wallet {
        Knowledge::Unknown => {}
        Knowledge::Known(None) => add(
            ProblemKind::NoSpendPolicy,
            format!(
                "no SpendPolicy names namespace {}: ask the hub's admin to add it to spec.namespaces of one",
                seen.namespace
            ),
        ),
        Knowledge::Known(Some(allowance)) => {
            let per_job = MicroUsd(allowance.per_job_micro);
            if budget > per_job {
                add(
                    ProblemKind::OverJobLimit,
                    format!(
                        "spec.price.budget {} is above the {} that SpendPolicy {} allows per job: lower the budget",
                        usd(budget),
                        usd(per_job),
                        allowance.spend_policy
                    ),
                );
            }
            if let Some(message) = estimate.and_then(|estimate| over_day(allowance, &seen.namespace, estimate)) {
                add(ProblemKind::OverDailyLimit, message);
            }
        }
    }
    problems
}

/// The first shard and its check must fit; then what is expected, or, where nobody knows, the bound.
fn over_budget(seen: &Seen, estimate: &Estimate) -> Option<String> {
    let budget = seen.manifest.terms.budget;
    let least = estimate.least_budget();
    if least > budget {
        return Some(format!(
            "spec.price.budget {} does not cover the first shard and its check, for which up to {} are reserved: raise it, or lower spec.execution.shardTimeout",
            usd(budget),
            usd(least)
        ));
    }
    let (cost, what) = match estimate.expected {
        Some(expected) => (expected.cost(), "is expected"),
        None => (estimate.cost_bound(), "is the upper bound"),
    };
    (cost > budget).then(|| {
        format!(
            "spec.price.budget is {}, and {} {what} for {} shards with {} checks: raise it to {}",
            usd(budget),
            usd(cost),
            estimate.shards,
            estimate.checks,
            usd(cost)
        )
    })
}

fn over_day(allowance: &Allowance, namespace: &str, estimate: &Estimate) -> Option<String> {
    let least = estimate.least_budget();
    let own = format!("namespace {namespace}");
    let limits = [
        ("all of its jobs", Some(allowance.per_day_micro), allowance.today_micro),
        (
            own.as_str(),
            allowance.per_namespace_per_day_micro,
            allowance.namespace_today_micro,
        ),
    ];
    limits.into_iter().find_map(|(who, limit, today)| {
        let (limit, today) = (MicroUsd(limit?), MicroUsd(today?));
        (today.saturating_add(least) > limit).then(|| {
            format!(
                "SpendPolicy {} allows {who} {} per day, and {} is reserved or spent today: the first shard and its check need {}",
                allowance.spend_policy,
                usd(limit),
                usd(today),
                usd(least)
            )
        })
    })
}

fn notes(seen: &Seen, input: Input, estimate: Option<&Estimate>) -> Vec<String> {
    let mut notes = seen.manifest.notes.clone();
    let mut note = |text: String| notes.push(text);
    if input.shards.is_none() {
        note("how large the input is, is unknown until the splitter reads it: amounts are of one shard; give --shards N for the whole job".to_owned());
    } else if seen.manifest.cut.is_none() {
        note("the input lies in a store: fewer shards are made when it has fewer requests".to_owned());
    }
    if matches!(seen.market.holdings, Knowledge::Unknown) {
        note(format!(
            "you may not see who holds GPUs (ClusterRole {CAPACITY_ROLE} allows it): all count as free"
        ));
    }
    match &seen.wallet {
        Knowledge::Unknown => note(format!(
            "you may not read SpendPolicies (ClusterRole {MARKET_ROLE} allows it): their limits are not checked"
        )),
        Knowledge::Known(Some(allowance)) if allowance.today_micro.is_none() => {
            note(format!(
                "you may not list all jobs of SpendPolicy {}: what it spent today is not checked",
                allowance.spend_policy
            ));
        }
        Knowledge::Known(_) => {}
    }
    if let Some(estimate) = estimate {
        notes.extend(estimate_notes(seen, estimate));
    }
    notes
}

fn estimate_notes(seen: &Seen, estimate: &Estimate) -> Vec<String> {
    let terms = &seen.manifest.terms;
    let mut notes = Vec::new();
    if estimate.expected.is_none() {
        notes.push("no earlier job of the namespace ran this engine, so only bounds are known: give --shard-time 4m to estimate".to_owned());
    }
    if seen.shard_time.is_some_and(|time| time > terms.shard_timeout) {
        notes.push("a shard takes longer than spec.execution.shardTimeout: its attempts would be stopped".to_owned());
    }
    if estimate.queued {
        notes.push("all GPUs that fit are busy: the job queues until some are free".to_owned());
    }
    if estimate.limited_by == Limit::Budget && estimate.at_once > 0 {
        notes.push(format!(
            "the budget reserves room for {} shards at a time; a smaller spec.execution.shardTimeout reserves less for each",
            estimate.at_once
        ));
    }
    let time = estimate.expected.map_or(estimate.time_bound, |expected| expected.time);
    if time > terms.deadline {
        notes.push(format!(
            "{} is more than spec.execution.deadline {}: the job would fail",
            span(time),
            span(terms.deadline)
        ));
    }
    if estimate.expected.is_some() && estimate.cost_bound() > terms.budget {
        notes.push("the upper bound is above the budget: no new attempt starts once it is reached".to_owned());
    }
    notes
}
