//! The Kubernetes half: every few seconds, each unfinished Settlement in sequence order takes its next steps. A step is
//! read → gather → advance → perform → status update with the resourceVersion of that read, so two posters cannot
//! both record one.

mod journal;
mod metrics;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use spillway_core::knowledge::Knowledge;
use spillway_crds::{Settlement, SettlementState, SettlementStatus, Time};
use spillway_process::Health;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::advance::{Facts, Moment, Policy, advance, foreign_transaction, is_on_chain, is_terminal};
use crate::chain::{Chain, ChainView};
use crate::perform::{PerformError, perform};
use crate::signer::PosterKey;

use journal::Journal;
pub use metrics::Metrics;

/// Steps of one Settlement in one pass: signing, storing and sending need three.
const STEPS_PER_PASS: usize = 6;

#[derive(Debug)]
pub struct Poster {
    pub settlements: Api<Settlement>,
    pub chain: Chain,
    pub key: PosterKey,
    pub policy: Policy,
    pub interval: Duration,
    pub metrics: Metrics,
    journal: watch::Sender<Journal>,
    /// When this process first saw the last attempt of an unfinished batch, by its hash.
    seen: Mutex<HashMap<String, Instant>>,
}

#[derive(Debug, thiserror::Error)]
pub enum PosterError {
    #[error("the API server cannot be asked: {0}")]
    Kube(#[from] kube::Error),
    #[error("settlement {name}: {source}")]
    Perform { name: String, source: PerformError },
}

/// What became of one step.
enum Taken {
    /// The status changed: there may be a next step at once.
    Stored(Box<Settlement>),
    /// Nothing to do before the next pass.
    Nothing(Box<Settlement>),
}

impl Poster {
    pub fn new(client: Client, namespace: &str, chain: Chain, key: PosterKey, metrics: Metrics) -> Self {
        Self {
            settlements: Api::namespaced(client, namespace),
            chain,
            key,
            policy: Policy::default(),
            interval: Duration::from_secs(3),
            metrics,
            journal: watch::Sender::default(),
            seen: Mutex::default(),
        }
    }

    /// Serves until cancelled. Ready once the settings fit the chain; nothing is signed before.
    ///
    /// # Errors
    /// None: failures are logged, counted and tried again.
    pub async fn run(self, health: Health, cancelled: CancellationToken) -> anyhow::Result<()> {
        let kept = journal::keep(self.settlements.clone(), self.chain.place, self.journal.clone());
        let work = async {
            self.wait_until_fitting().await;
            self.wait_for_logs().await;
            health.set_ready(true);
            let mut ticks = tokio::time::interval(self.interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                self.pass_logged().await;
            }
        };
        cancelled.run_until_cancelled(futures::future::join(kept, work)).await;
        health.set_ready(false);
        Ok(())
    }

    async fn wait_until_fitting(&self) {
        let mut ticks = tokio::time::interval(Duration::from_secs(10));
        loop {
            ticks.tick().await;
            match self.chain.check().await {
                Ok(()) => return tracing::info!(place = %self.chain.place, poster = %self.chain.poster, "ready"),
                Err(error) => tracing::error!(%error, "not ready: the settings do not fit the chain"),
            }
        }
    }

    async fn wait_for_logs(&self) {
        // The sender is ours, so waiting ends only with the first complete list.
        let complete = self
            .journal
            .subscribe()
            .wait_for(|journal| journal.is_complete)
            .await
            .is_ok();
        tracing::debug!(complete, "all logs are read");
    }

    async fn pass_logged(&self) {
        match self.pass().await {
            Ok(()) => self.metrics.passed(),
            Err(error) => {
                self.metrics.failed();
                tracing::warn!(%error, "a pass ended early; the next one starts anew");
            }
        }
    }

    /// One look at every unfinished Settlement, lowest sequence first. A batch is posted only when all before it are
    /// on chain, so one nonce is in flight.
    async fn pass(&self) -> Result<(), PosterError> {
        let (unfinished, elsewhere) = {
            let journal = self.journal.borrow();
            self.metrics.count(&journal.ours);
            let elsewhere: Vec<String> = journal.elsewhere.keys().cloned().collect();
            (journal.unfinished(), elsewhere)
        };
        for name in elsewhere {
            self.work_on(&name).await?;
        }
        self.compare_with_chain().await;
        for name in unfinished {
            if !self.work_on(&name).await? {
                break;
            }
        }
        Ok(())
    }

    /// What the contract holds and no Settlement names was deleted, or lost with an old backup. It is told, never mended.
    async fn compare_with_chain(&self) {
        let (balance, next) = self.chain.standing().await;
        self.metrics.balance(balance);
        let missing = self.metrics.missing(next, &self.journal.borrow().ours);
        if missing > 0 {
            tracing::error!(
                missing,
                ?next,
                "the contract holds batches that no Settlement names: restore a newer backup"
            );
        }
    }

    /// Takes the steps that are due; whether the batch is on chain, so that the next one may go.
    async fn work_on(&self, name: &str) -> Result<bool, PosterError> {
        for _ in 0..STEPS_PER_PASS {
            match self.step(name).await? {
                None => return Ok(false),
                Some(Taken::Stored(settlement)) if is_terminal(state(&settlement)) => {
                    return Ok(is_on_chain(state(&settlement)));
                }
                Some(Taken::Stored(_)) => {}
                Some(Taken::Nothing(settlement)) => return Ok(is_on_chain(state(&settlement))),
            }
        }
        Ok(false)
    }

    /// `None`: it is gone, or somebody else wrote first.
    async fn step(&self, name: &str) -> Result<Option<Taken>, PosterError> {
        // A get without resourceVersion is a quorum read.
        let Some(settlement) = self.settlements.get_opt(name).await? else {
            return Ok(None);
        };
        let status = settlement.status.clone().unwrap_or_default();
        let view = self.chain.view(&settlement.spec, &status).await;
        let moment = Moment {
            now: Time(Timestamp::now()),
            waited_seconds: self.waited_seconds(&status),
        };
        let account = self.account(&view);
        let facts = Facts {
            view: &view,
            account: &account,
            place: &self.chain.place,
            policy: &self.policy,
            moment: &moment,
        };
        let step = advance(&settlement.spec, &status, &facts);
        tracing::debug!(name, ?step, ?view, "step");
        self.metrics.step(&step, &view);
        if let Some(alarm) = foreign_transaction(&status, &facts) {
            self.metrics.foreign_transaction();
            tracing::error!(name, alarm, "the poster's key is used elsewhere");
        }
        let next = perform(&self.chain, &self.key, &settlement.spec, &status, step, &moment.now)
            .await
            .map_err(|source| PosterError::Perform {
                name: name.to_owned(),
                source,
            })?;
        match next {
            None => Ok(Some(Taken::Nothing(Box::new(settlement)))),
            Some(next) => self.store(settlement, next).await,
        }
    }

    fn account(&self, view: &ChainView) -> crate::advance::Account {
        let time = match view.head {
            Knowledge::Known(head) => head.timestamp,
            Knowledge::Unknown => 0,
        };
        self.journal.borrow().account(self.key.address(), time)
    }

    /// On the monotonic clock, since this process first saw the last attempt.
    fn waited_seconds(&self, status: &SettlementStatus) -> u64 {
        let Some(last) = status.attempts.last() else { return 0 };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(last.hash.clone())
            .or_insert_with(Instant::now)
            .elapsed()
            .as_secs()
    }

    fn forget(&self, status: &SettlementStatus) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for attempt in &status.attempts {
            seen.remove(&attempt.hash);
        }
    }

    async fn store(&self, settlement: Settlement, next: SettlementStatus) -> Result<Option<Taken>, PosterError> {
        let name = settlement.metadata.name.clone().unwrap_or_default();
        tracing::info!(name, state = ?next.state, reason = next.reason, message = next.message, "recording");
        let updated = Settlement {
            status: Some(next),
            ..settlement
        };
        match self
            .settlements
            .replace_status(&name, &PostParams::default(), &updated)
            .await
        {
            Ok(stored) => {
                self.remember(&stored);
                Ok(Some(Taken::Stored(Box::new(stored))))
            }
            Err(kube::Error::Api(refusal)) if refusal.code == 409 || refusal.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The journal knows our own writes before the watch tells them.
    fn remember(&self, stored: &Settlement) {
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        self.journal.send_modify(|journal| {
            journal.put(stored, &self.chain.place);
            journal.shrink(now);
        });
        if let Some(status) = stored.status.as_ref().filter(|status| is_terminal(status.state)) {
            self.forget(status);
        }
    }
}

fn state(settlement: &Settlement) -> SettlementState {
    settlement
        .status
        .as_ref()
        .map(|status| status.state)
        .unwrap_or_default()
}
