//! The forecast in words.

use std::fmt::Write as _;
use std::time::Duration;

use spillway_core::money::MicroUsd;

use super::forecast::{CandidateView, EstimateView, Forecast};
use crate::table::{align, plain};
use crate::words::{milliseconds, share, span, usd};

/// Candidates listed: as many as an attempt is pinned to.
const LISTED: usize = 16;

pub(super) fn render(forecast: &Forecast) -> String {
    let mut text = String::new();
    let mut line = |words: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", plain(words));
    };
    line(&format!(
        "{}/{}: {}",
        forecast.namespace,
        forecast.name,
        input(forecast)
    ));
    line(&format!("  {}", forecast.placement.message));
    for words in forecast
        .estimate
        .iter()
        .flat_map(|estimate| estimate_lines(forecast, estimate))
    {
        line(&format!("  {words}"));
    }
    line(&format!("  {}", limits(forecast)));
    for problem in &forecast.problems {
        line(&format!("PROBLEM {:?}: {}", problem.kind, problem.message));
    }
    for note in &forecast.notes {
        line(&format!("note: {note}"));
    }
    if !forecast.candidates.is_empty() {
        text.push('\n');
        text.push_str(&table(&forecast.candidates));
    }
    text
}

fn input(forecast: &Forecast) -> String {
    match (forecast.input.shards, forecast.input.requests) {
        (Some(shards), Some(requests)) => format!("{requests} requests in {shards} shards"),
        (Some(shards), None) => format!("{shards} shards"),
        (None, _) => "count of shards unknown".to_owned(),
    }
}

fn estimate_lines(forecast: &Forecast, estimate: &EstimateView) -> Vec<String> {
    let per = if forecast.input.shards.is_some() {
        ""
    } else {
        " per shard"
    };
    let amount = |micro: u64| usd(MicroUsd(micro));
    let time = |seconds: u64| span(Duration::from_secs(seconds));
    let mut lines = vec![format!(
        "Work attempts: {}, Checks: {}; shards at a time: {} (limited by {}); rounds: {}",
        estimate.shards, estimate.checks, estimate.at_once, estimate.limited_by, estimate.rounds
    )];
    if let Some(expected) = &estimate.expected {
        lines.push(format!(
            "expected     {} USD{per}: work {}, checks {} ({} %); {} ({})",
            amount(expected.cost_micro),
            amount(expected.work_micro),
            amount(expected.checks_micro),
            percent(expected.checks_micro, expected.cost_micro),
            time(expected.time_seconds),
            expected.basis
        ));
    }
    lines.push(format!(
        "upper bound  {} USD{per}: work {}, checks {} ({} %); {}",
        amount(estimate.cost_bound_micro),
        amount(estimate.work_bound_micro),
        amount(estimate.checks_bound_micro),
        percent(estimate.checks_bound_micro, estimate.cost_bound_micro),
        time(estimate.time_bound_seconds)
    ));
    lines
}

fn percent(part: u64, whole: u64) -> u128 {
    u128::from(part) * 100 / u128::from(whole.max(1))
}

fn limits(forecast: &Forecast) -> String {
    let budget = format!("budget       {} USD", usd(MicroUsd(forecast.budget_micro)));
    let Some(allowance) = &forecast.allowance else {
        return budget;
    };
    let today = allowance
        .today_micro
        .map_or_else(|| "unknown".to_owned(), |today| usd(MicroUsd(today)));
    format!(
        "{budget}; SpendPolicy {} allows {} per job and {} per day, taken today {today}",
        allowance.spend_policy,
        usd(MicroUsd(allowance.per_job_micro)),
        usd(MicroUsd(allowance.per_day_micro))
    )
}

fn table(candidates: &[CandidateView]) -> String {
    let names = [
        "CANDIDATE",
        "USD/GPU-H",
        "FREE",
        "LATENCY",
        "REPUTATION",
        "PRICE TERM",
        "LATENCY TERM",
        "REPUTATION TERM",
        "SCORE",
    ];
    let mut rows = vec![names.map(str::to_owned).to_vec()];
    rows.extend(candidates.iter().take(LISTED).map(|candidate| {
        let free = candidate
            .gpus_free
            .map_or_else(|| "?".to_owned(), |free| free.to_string());
        vec![
            candidate.node.clone(),
            usd(MicroUsd(candidate.unit_price_micro)),
            format!("{free}/{}", candidate.gpus_total),
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
    let mut text = align(&rows);
    if candidates.len() > LISTED {
        let _ = writeln!(text, "and {} more", candidates.len() - LISTED);
    }
    text
}
