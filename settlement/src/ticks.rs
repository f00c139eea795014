//! A pass now and then, for the loops of this process that need no more.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// At once, and then every period until cancelled.
pub(crate) struct Ticks {
    ticks: Interval,
    cancelled: CancellationToken,
}

impl Ticks {
    pub(crate) fn every(period: Duration, cancelled: CancellationToken) -> Self {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, cancelled }
    }

    /// Makes a pass at the next tick; one that failed is logged as `failed`. False when cancelled.
    pub(crate) async fn pass<T, E, Pass>(&mut self, failed: &'static str, pass: impl FnOnce() -> Pass) -> bool
    where
        E: Display,
        Pass: Future<Output = Result<T, E>>,
    {
        let cancelled = self.cancelled.clone();
        let passing = async {
            self.ticks.tick().await;
            if let Err(error) = pass().await {
                tracing::warn!(%error, "{failed}");
            }
        };
        cancelled.run_until_cancelled(passing).await.is_some()
    }
}
