//! Rankings in plain words.

use crate::knowledge::Knowledge;
use crate::market::{Exclusion, Ranking};
use crate::money::UnitPrice;

impl Ranking {
    /// `0 of 14 offers fit: 6 over the price cap of 1.20 per GPU-hour, 3 of unknown latency`; commonest reason first.
    pub fn explain(&self) -> String {
        if self.offers == 0 {
            return "there are no offers: no provider offers GPUs".to_owned();
        }
        let plural = if self.offers == 1 { "offer fits" } else { "offers fit" };
        let summary = format!("{} of {} {plural}", self.candidates.len(), self.offers);
        let mut reasons: Vec<(&Exclusion, &u32)> = self.excluded.iter().collect();
        reasons.sort_by_key(|(exclusion, count)| (std::cmp::Reverse(**count), **exclusion));
        if reasons.is_empty() {
            return summary;
        }
        let reasons: Vec<String> = reasons
            .iter()
            .map(|(exclusion, count)| format!("{count} {exclusion}"))
            .collect();
        format!("{summary}: {}", reasons.join(", "))
    }

    /// Why a node won: `price 0.90, latency 4 ms, reputation unknown, score 0.81, best of 2`; `None` for a node that
    /// is no candidate.
    pub fn decision(&self, node: &str) -> Option<String> {
        let position = self.candidates.iter().position(|candidate| candidate.node == node)?;
        let candidate = &self.candidates[position];
        let latency = match candidate.latency {
            Knowledge::Known(latency) => milliseconds(latency.p95),
            Knowledge::Unknown => "unknown".to_owned(),
        };
        let reputation = match candidate.reputation {
            Knowledge::Known(reputation) => format!("{:.2}", reputation.lower_bound()),
            Knowledge::Unknown => "unknown".to_owned(),
        };
        Some(format!(
            "price {}, latency {latency}, reputation {reputation}, score {:.2}, {} of {}",
            decimal(candidate.price),
            candidate.score,
            place(position),
            self.candidates.len(),
        ))
    }
}

fn place(position: usize) -> String {
    match position {
        0 => "best".to_owned(),
        _ => format!("number {}", position + 1),
    }
}

/// USD with at least two decimals and no needless zeros: `0.90`, `0.000125`.
pub(super) fn decimal(price: UnitPrice) -> String {
    let full = price.to_string();
    let (whole, fraction) = full.split_once('.').unwrap_or((&full, ""));
    format!("{whole}.{:0<2}", fraction.trim_end_matches('0'))
}

/// Microseconds as `80 ms`, or `4.2 ms` below 10 ms.
pub(super) fn milliseconds(micros: u64) -> String {
    let tenths = micros % 1_000 / 100;
    match micros / 1_000 {
        whole if whole < 10 && tenths > 0 => format!("{whole}.{tenths} ms"),
        whole => format!("{whole} ms"),
    }
}
