//! Holds the three ledgers against each other: every ten minutes in the settlement process, and for
//! `kubectl spillway audit`.
//!
//! In: the contract's events, Settlements, jobs' statuses, leaves documents. Out: a [`Report`]; in the process also
//! metrics and the condition Reconciled of Settlements. Nothing is ever mended here: a drift is for a person.

mod documents;
mod gather;
mod metrics;
mod tell;

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Api, Client};
use spillway_core::reconcile::{Patience, Report, reconcile};
use spillway_crds::Settlement;
use tokio_util::sync::CancellationToken;

use crate::chain::{Books, Chain};

pub use documents::{Documents, StoreError};
pub use gather::{Reading, gather};
pub use metrics::Metrics;
pub use tell::conditions;

/// How the process does it.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub period: Duration,
    /// Leaves documents of Settlements that have been final for longer are left to `kubectl spillway audit`.
    pub documents_for: SignedDuration,
    pub patience: Patience,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(600),
            documents_for: SignedDuration::from_hours(24),
            patience: Patience::default(),
        }
    }
}

/// Runs until cancelled.
#[derive(Debug)]
pub struct Reconciler {
    reading: Reading,
    settlements: Api<Settlement>,
    books: Books,
    pub schedule: Schedule,
    metrics: Metrics,
}

impl Reconciler {
    /// Without `documents` the leaves documents are not compared. The contract did nothing before `from_block`.
    pub fn new(
        client: Client,
        namespace: &str,
        chain: Chain,
        documents: Option<Documents>,
        from_block: u64,
        metrics: Metrics,
    ) -> Self {
        Self {
            settlements: Api::namespaced(client.clone(), namespace),
            reading: Reading::new(client, namespace, chain, documents),
            books: Books::from_block(from_block),
            schedule: Schedule::default(),
            metrics,
        }
    }

    /// # Errors
    /// None: a pass that failed is logged and made again.
    pub async fn run(mut self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let passes = async {
            let mut ticks = tokio::time::interval(self.schedule.period);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if let Err(error) = self.pass(Timestamp::now()).await {
                    tracing::warn!(%error, "what was found could not be written");
                }
            }
        };
        cancelled.run_until_cancelled(passes).await;
        Ok(())
    }

    /// One comparison; told in metrics, logs and conditions.
    ///
    /// # Errors
    /// When a condition could not be written.
    pub async fn pass(&mut self, now: Timestamp) -> kube::Result<Report> {
        let read_since = now - self.schedule.documents_for;
        let ledgers = gather(&self.reading, &mut self.books, Some(read_since), now).await;
        let report = reconcile(&ledgers, &self.schedule.patience);
        self.metrics.show(&report, now);
        for drift in &report.drifts {
            tracing::error!(%drift, means = drift.meaning().means, next = drift.meaning().next, "the ledgers disagree");
        }
        for unknown in &report.unknown {
            tracing::warn!(unknown, "not compared");
        }
        tell::tell(&self.settlements, &report, now).await?;
        Ok(report)
    }
}
