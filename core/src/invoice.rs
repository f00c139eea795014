//! Invoice of a job: a line per accepted attempt, work and checks apart, and where each was paid.

mod render;
#[cfg(test)]
mod tests;

use alloy_primitives::B256;
use serde::Serialize;

use crate::money::{MicroUsd, UnitPrice};
use crate::order::Kind;

/// One accepted attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    pub shard: u32,
    pub attempt: u16,
    pub kind: Kind,
    pub provider: String,
    /// GPU-milliseconds that the amount follows from: the runner's meter, at most the wall time that the hub saw, at
    /// most what the order's bound pays for.
    pub gpu_millis: u64,
    #[serde(rename = "unitPriceMicro")]
    pub unit_price: UnitPrice,
    #[serde(rename = "amountMicro")]
    pub amount: MicroUsd,
    pub settlement: Option<Payment>,
    /// Hash of the leaf that pays this line; a Merkle proof of it is checkable on chain.
    pub leaf: Option<B256>,
}

/// The batch that pays a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    pub sequence: u64,
    /// State of the Settlement, as the API prints it; empty when it could not be found.
    pub state: String,
    pub transaction: Option<String>,
    /// Root that the contract holds for this batch.
    pub jobs_root: Option<String>,
    pub is_final: bool,
}

/// Sums in micro-USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    #[serde(rename = "workMicro")]
    pub work: MicroUsd,
    #[serde(rename = "checksMicro")]
    pub checks: MicroUsd,
    #[serde(rename = "totalMicro")]
    pub total: MicroUsd,
    /// Part of the total that is paid with finality.
    #[serde(rename = "settledMicro")]
    pub settled: MicroUsd,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    pub namespace: String,
    pub job: String,
    pub uid: String,
    pub payer: Option<String>,
    /// Attempts that made the result.
    pub work: Vec<Line>,
    /// Attempts that checked it.
    pub checks: Vec<Line>,
    pub totals: Totals,
}

/// Whose invoice it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    pub namespace: String,
    pub job: String,
    pub uid: String,
    pub payer: Option<String>,
}

impl Invoice {
    /// Lines in any order; a check or an arbitration goes to `checks`.
    pub fn new(heading: Heading, mut lines: Vec<Line>) -> Self {
        lines.sort_by_key(|line| (line.shard, line.attempt));
        let (checks, work): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(|line| is_check(line.kind));
        let totals = totals(&work, &checks);
        let Heading {
            namespace,
            job,
            uid,
            payer,
        } = heading;
        Self {
            namespace,
            job,
            uid,
            payer,
            work,
            checks,
            totals,
        }
    }

    /// Whether every line is paid with finality.
    pub fn is_settled(&self) -> bool {
        self.totals.settled == self.totals.total
    }
}

fn is_check(kind: Kind) -> bool {
    matches!(kind, Kind::Check | Kind::Arbitrate)
}

fn totals(work: &[Line], checks: &[Line]) -> Totals {
    let sum = |lines: &[Line]| lines.iter().map(|line| line.amount).sum::<MicroUsd>();
    let settled = work
        .iter()
        .chain(checks)
        .filter(|line| is_paid(line))
        .map(|line| line.amount)
        .sum();
    Totals {
        work: sum(work),
        checks: sum(checks),
        total: sum(work).saturating_add(sum(checks)),
        settled,
    }
}

fn is_paid(line: &Line) -> bool {
    line.settlement.as_ref().is_some_and(|payment| payment.is_final)
}
