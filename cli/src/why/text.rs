//! The answer in words.

use std::fmt::Write as _;
use std::time::Duration;

use spillway_core::money::MicroUsd;

use super::answer::{Answer, AttemptView, Money, State};
use super::live::{Live, Miss, Nearest};
use super::record::Candidates;
use crate::market::{CAPACITY_ROLE, MARKET_ROLE};
use crate::table::{align, plain};
use crate::words::{milliseconds, share, span, usd};

/// Attempts listed without `--shard`.
const ATTEMPTS: usize = 20;
/// Holders listed.
const HOLDERS: usize = 10;

pub(super) fn render(answer: &Answer) -> String {
    let mut text = Text::default();
    let since = answer.since_seconds.map(|seconds| {
        let time = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        format!(" for {}", span(time))
    });
    text.line(&format!(
        "{}/{}: {:?}{}",
        answer.namespace,
        answer.name,
        answer.state,
        since.unwrap_or_default()
    ));
    text.line(&format!("  {}", answer.message));
    if answer.state == State::Placed
        && let Some(placement) = &answer.placement
    {
        text.line(&format!("  {}", placement.message));
    }
    match &answer.now {
        Some(live) => live_text(&mut text, answer, live),
        None => recorded_change(&mut text, answer),
    }
    if let Some(money) = &answer.money {
        money_text(&mut text, money);
    }
    attempts_text(&mut text, &answer.attempts);
    if let Some(candidates) = &answer.candidates {
        candidates_text(&mut text, candidates);
    }
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{}", plain(line));
    }

    fn table(&mut self, rows: &[Vec<String>]) {
        self.0.push('\n');
        self.0.push_str(&align(rows));
    }
}

fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Without the market at hand the operator's own words must do.
fn recorded_change(text: &mut Text, answer: &Answer) {
    if answer.state != State::NoOfferFits {
        return;
    }
    if let Some(change) = answer
        .placement
        .as_ref()
        .and_then(|placement| placement.change.as_ref())
    {
        change_text(text, answer, &change.message);
    }
    text.line(&format!(
        "The live market is not shown: you may not list GpuProviders (ClusterRole {MARKET_ROLE} allows it)"
    ));
}

fn live_text(text: &mut Text, answer: &Answer, live: &Live) {
    let free = live
        .free
        .filter(|_| live.fitting > 0)
        .map(|free| format!(", {free} of them with free GPUs"))
        .unwrap_or_default();
    text.line(&format!(
        "Now: {} of {} offers fit{free} (shard {}, {:?})",
        live.fitting, live.offers, live.shard, live.kind
    ));
    if let Some(change) = &live.change {
        if live.fitting > 0 {
            text.line("Waiting helps. So does a change for which a free offer fits:");
        }
        change_text(text, answer, &change.message);
    } else if live.fitting == 0 {
        text.line("No change of this job would make an offer fit: a provider must come back, or another one join.");
    } else if live.free.is_none_or(|free| free > 0) && answer.state == State::NoOfferFits {
        text.line("The market has changed since the operator looked; it looks again within 30 s.");
    }
    holders_text(text, live);
    nearest_text(text, &live.nearest);
}

fn change_text(text: &mut Text, answer: &Answer, change: &str) {
    let (name, namespace) = (&answer.name, &answer.namespace);
    text.line(&format!("Smallest change: {change}"));
    text.line("A job's spec never changes. Write the change into its manifest, then:");
    text.line(&format!(
        "  kubectl delete inferencejob {name} -n {namespace} && kubectl apply -f MANIFEST"
    ));
    if answer.shards.accepted > 0 {
        text.line(&format!(
            "{} shards are accepted and owed already; applied anew, the job computes them again.",
            answer.shards.accepted
        ));
    }
}

fn holders_text(text: &mut Text, live: &Live) {
    let Some(holders) = &live.holders else {
        if live.fitting > 0 {
            text.line(&format!(
                "Who holds their GPUs is not shown: you may not list WorkAssignments (ClusterRole {CAPACITY_ROLE} allows it)"
            ));
        }
        return;
    };
    if live.fitting == 0 || holders.is_empty() {
        return;
    }
    let mut rows = vec![head(&["HELD BY", "GPUS"])];
    rows.extend(
        holders
            .iter()
            .take(HOLDERS)
            .map(|holder| vec![holder.job.clone(), holder.gpus.to_string()]),
    );
    text.table(&rows);
    if holders.len() > HOLDERS {
        text.line(&format!("and {} more jobs", holders.len() - HOLDERS));
    }
}

fn nearest_text(text: &mut Text, nearest: &[Nearest]) {
    if nearest.is_empty() {
        return;
    }
    let misses = |misses: &[Miss]| {
        let words: Vec<&str> = misses.iter().map(|miss| miss.message.as_str()).collect();
        words.join("; ")
    };
    let row = |offer: &Nearest| {
        vec![
            offer.node.clone(),
            usd(MicroUsd(offer.unit_price_micro)),
            misses(&offer.misses),
        ]
    };
    let mut rows = vec![head(&["NEAREST OFFERS", "USD/GPU-H", "MISSES"])];
    rows.extend(nearest.iter().map(row));
    text.table(&rows);
}

fn money_text(text: &mut Text, money: &Money) {
    let amount = |micro: u64| usd(MicroUsd(micro));
    let budget = money.budget_micro.map_or_else(|| "unknown".to_owned(), amount);
    text.line(&format!(
        "  budget {budget}, reserved {}, spent {}",
        amount(money.reserved_micro),
        amount(money.spent_micro)
    ));
    let Some(policy) = &money.spend_policy else { return };
    let limits = [
        ("per job", &money.per_job),
        ("per day", &money.per_day),
        ("per namespace and day", &money.per_namespace_per_day),
    ];
    let named = limits
        .iter()
        .filter_map(|(name, limit)| Some(format!("{} {name}", limit.as_ref()?)));
    let named: Vec<String> = named.collect();
    text.line(&if named.is_empty() {
        format!("  SpendPolicy {policy} (its limits are not shown: ClusterRole {MARKET_ROLE} allows it)")
    } else {
        format!("  SpendPolicy {policy} allows {}", named.join(", "))
    });
    text.line("  Running attempts finish, and free what they do not use. A smaller spec.execution.shardTimeout reserves less.");
}

fn attempts_text(text: &mut Text, attempts: &[AttemptView]) {
    if attempts.is_empty() {
        return;
    }
    let row = |attempt: &AttemptView| {
        vec![
            format!("{}/{}", attempt.shard, attempt.attempt),
            format!("{:?}", attempt.kind),
            format!("{:?}", attempt.state),
            attempt.provider.clone().unwrap_or_else(|| "-".to_owned()),
            attempt.why(),
        ]
    };
    let mut rows = vec![head(&["ATTEMPT", "KIND", "STATE", "PROVIDER", "WHY"])];
    rows.extend(attempts.iter().take(ATTEMPTS).map(row));
    text.table(&rows);
    if attempts.len() > ATTEMPTS {
        text.line(&format!(
            "and {} more attempts: see them with --shard N",
            attempts.len() - ATTEMPTS
        ));
    }
}

impl AttemptView {
    /// How it ended, else why its node won, else where it may go.
    fn why(&self) -> String {
        let ended = self.reason.as_ref().map(|reason| match &self.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason.clone(),
        });
        let pinned = || match self.candidates.as_slice() {
            [] => "-".to_owned(),
            candidates => format!("waits for a node among {}", candidates.join(", ")),
        };
        ended.or_else(|| self.decision.clone()).unwrap_or_else(pinned)
    }
}

fn candidates_text(text: &mut Text, record: &Candidates) {
    let excluded: Vec<String> = record
        .excluded
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let excluded = if excluded.is_empty() {
        String::new()
    } else {
        format!("; excluded: {}", excluded.join(", "))
    };
    text.line(&format!(
        "Planned {} ({:?}): {} of {} offers fit{excluded}",
        record.planned_at.0,
        record.kind,
        record.candidates.len(),
        record.offers
    ));
    let names = [
        "NODE",
        "USD/GPU-H",
        "LATENCY",
        "REPUTATION",
        "PRICE TERM",
        "LATENCY TERM",
        "REPUTATION TERM",
        "SCORE",
    ];
    let mut rows = vec![head(&names)];
    rows.extend(record.candidates.iter().map(|candidate| {
        vec![
            candidate.node.clone(),
            usd(MicroUsd(candidate.unit_price_micro)),
            candidate
                .latency_p95_micros
                .map_or_else(|| "unknown".to_owned(), milliseconds),
            share(candidate.reputation),
            format!("{:.3}", candidate.price_term),
            format!("{:.3}", candidate.latency_term),
            format!("{:.3}", candidate.reputation_term),
            format!("{:.4}", candidate.score),
        ]
    }));
    text.table(&rows);
}
