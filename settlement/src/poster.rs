//! The Kubernetes half: every few seconds, each unfinished Settlement in sequence order takes its next steps. A step is
//! read → gather → advance → perform → status update with the resourceVersion of that read, so two posters cannot
//! both record one.

mod metrics;

use std::time::Duration;

use alloy::signers::local::PrivateKeySigner;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use spillway_crds::{Settlement, SettlementState, SettlementStatus, Time};
use spillway_process::Health;
use tokio_util::sync::CancellationToken;

use crate::advance::{Policy, advance, is_terminal};
use crate::chain::Chain;
use crate::perform::{PerformError, perform};

pub use metrics::Metrics;

/// Steps of one Settlement in one pass: signing, storing and sending need three.
const STEPS_PER_PASS: usize = 6;

#[derive(Debug)]
pub struct Poster {
    pub settlements: Api<Settlement>,
    pub chain: Chain,
    pub signer: PrivateKeySigner,
    pub policy: Policy,
    pub interval: Duration,
    pub metrics: Metrics,
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
    pub fn new(client: Client, namespace: &str, chain: Chain, signer: PrivateKeySigner, metrics: Metrics) -> Self {
        let settlements = Api::namespaced(client, namespace);
        let interval = Duration::from_secs(3);
        Self {
            settlements,
            chain,
            signer,
            policy: Policy::default(),
            interval,
            metrics,
        }
    }

    /// Serves until cancelled. Ready once the settings fit the chain; nothing is signed before.
    ///
    /// # Errors
    /// None: failures are logged, counted and tried again.
    pub async fn run(self, health: Health, cancelled: CancellationToken) -> anyhow::Result<()> {
        let work = async {
            self.wait_until_fitting().await;
            health.set_ready(true);
            let mut ticks = tokio::time::interval(self.interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                self.pass_logged().await;
            }
        };
        cancelled.run_until_cancelled(work).await;
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
    ///
    /// # Errors
    /// When the API server cannot be asked, or the log holds what cannot be sent.
    pub async fn pass(&self) -> Result<(), PosterError> {
        let mut unfinished = self.settlements.list(&ListParams::default()).await?.items;
        self.metrics.count(&unfinished);
        unfinished.retain(|settlement| !is_terminal(state(settlement)));
        unfinished.sort_by_key(|settlement| settlement.spec.sequence);
        for settlement in unfinished {
            let name = settlement.metadata.name.unwrap_or_default();
            if !self.work_on(&name).await? {
                break;
            }
        }
        Ok(())
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
        let now = Time(Timestamp::now());
        let step = advance(&settlement.spec, &status, &view, &self.chain.place, &self.policy, &now);
        tracing::debug!(name, ?step, ?view, "step");
        self.metrics.step(&step);
        let next = perform(&self.chain, &self.signer, &settlement.spec, &status, step, now)
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
            Ok(stored) => Ok(Some(Taken::Stored(Box::new(stored)))),
            Err(kube::Error::Api(refusal)) if refusal.code == 409 || refusal.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
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

fn is_on_chain(state: SettlementState) -> bool {
    matches!(
        state,
        SettlementState::Included | SettlementState::Safe | SettlementState::Final
    )
}
