//! The loop: asks chain and API server, finds orders, sends. What failed is tried again in the next pass.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::DynProvider;
use alloy::signers::local::PrivateKeySigner;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use spillway_core::batch::Leaf;
use spillway_core::knowledge::Knowledge;
use spillway_crds::{Condition, Settlement, SettlementSpec, names, settlement_condition};
use tokio_util::sync::CancellationToken;

use super::evidence::Evidence;
use super::plan;
use crate::chain::{BlockFact, Chain, Fault, Filed, PayerFact, Stage};
use crate::claim::{CallError, call, connect};
use crate::contract::{answer_order_calldata, answer_pay_calldata, show_order_calldata};
use crate::ticks::Ticks;

/// Of its own: the poster's and the reconciler's conditions stay theirs.
const FIELD_MANAGER: &str = "spillway-settlement-orders";

/// What the contract holds is asked again after this, by showing it once more: it refuses what it has.
const FORGET_HELD_SECONDS: u64 = 600;

/// One hub's orders. Sends by the first endpoint with a key of its own: the poster's nonces are counted by its log.
#[derive(Debug)]
pub struct OrderShower {
    settlements: Api<Settlement>,
    chain: Chain,
    rpc_url: String,
    signer: PrivateKeySigner,
    evidence: Evidence,
    /// Orders that the contract holds money for, or will not; forgotten at times, for a reorganisation may undo it.
    held: HashSet<B256>,
    /// Block time at which `held` was empty.
    held_since: u64,
    /// Disputes below it are closed with finality, and told.
    closed_below: u64,
    pub every: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl OrderShower {
    pub fn new(
        client: Client,
        namespace: &str,
        chain: Chain,
        rpc_url: String,
        signer: PrivateKeySigner,
        evidence: Evidence,
    ) -> Self {
        Self {
            settlements: Api::namespaced(client, namespace),
            chain,
            rpc_url,
            signer,
            evidence,
            held: HashSet::new(),
            held_since: 0,
            closed_below: 0,
            every: Duration::from_secs(30),
        }
    }

    /// # Errors
    /// None: a pass that failed is logged and made again.
    pub async fn run(mut self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = Ticks::every(self.every, cancelled);
        let failed = "orders could not be shown; it is safe to repeat";
        while ticks.pass(failed, || self.pass(Timestamp::now())).await {}
        Ok(())
    }

    /// Answers every open challenge and holds what leaving payers owe; how many orders were shown.
    ///
    /// # Errors
    /// When the API server cannot be asked or a transaction fails; what could not be known is left for the next pass.
    pub async fn pass(&mut self, now: Timestamp) -> Result<usize, ShowError> {
        let Knowledge::Known(block) = self.chain.common_block().await else {
            return Ok(0);
        };
        let answered = self.answer(block, now).await?;
        Ok(answered + self.hold(block).await?)
    }

    // Challenges

    async fn answer(&mut self, block: BlockFact, now: Timestamp) -> Result<usize, ShowError> {
        let Knowledge::Known(found) = self.chain.filings(self.closed_below, block).await else {
            return Ok(0);
        };
        let Some(disputes) = found.contract else {
            return Ok(0);
        };
        let mut answered = 0;
        for filed in found.listed.iter().filter(|one| one.stage == Stage::Open) {
            if self.answer_one(disputes, filed, block.time).await? {
                answered += 1;
            }
        }
        self.tell(&found.listed, now).await?;
        self.forget_closed().await;
        Ok(answered)
    }

    /// Only finality closes: a reorganisation can take an answer back.
    async fn forget_closed(&mut self) {
        let Knowledge::Known(block) = self.chain.final_block().await else {
            return;
        };
        if let Knowledge::Known(found) = self.chain.filings(self.closed_below, block).await {
            self.closed_below = self.closed_below.max(found.closed_below);
        }
    }

    async fn answer_one(&mut self, disputes: Address, filed: &Filed, block_time: u64) -> Result<bool, ShowError> {
        let &Filed {
            id, fault, deadline, ..
        } = filed;
        if block_time >= deadline {
            return Ok(false);
        }
        let answer = match fault {
            Fault::MissingOrder => self.order_of(filed).await?,
            Fault::WithheldPay => self.pay_of(filed).await?,
            // Verdicts wait for a veto of people.
            _ => return Ok(false),
        };
        let Knowledge::Known(answer) = answer else {
            return Ok(false);
        };
        let Some(calldata) = answer else {
            tracing::error!(id, ?fault, deadline, "a line is challenged and the store has no answer");
            return Ok(false);
        };
        let sent = self.send(disputes, calldata).await;
        tracing::info!(id, ?fault, ?sent, "answered a challenge");
        Ok(sent?)
    }

    /// The challenged line's order.
    async fn order_of(&mut self, filed: &Filed) -> kube::Result<Knowledge<Option<Bytes>>> {
        let Some(spec) = self.spec(filed.at.settlement).await? else {
            return Ok(Knowledge::Known(None));
        };
        let Knowledge::Known(leaves) = self.evidence.leaves(&spec).await else {
            return Ok(Knowledge::Unknown);
        };
        let index = usize::try_from(filed.at.line).unwrap_or(usize::MAX);
        let line = leaves.into_iter().nth(index);
        let Some(leaf) = line.filter(|leaf| leaf.hash() == filed.leaf_hash) else {
            return Ok(Knowledge::Known(None));
        };
        let order = self.evidence.order(&self.chain.place, &leaf).await;
        Ok(order.map(|order| {
            let its = order?;
            Some(answer_order_calldata(filed.id, &leaf, &its.order, its.signature))
        }))
    }

    /// Root mode: the place of the line's provider in the batch's pay root.
    async fn pay_of(&self, filed: &Filed) -> kube::Result<Knowledge<Option<Bytes>>> {
        let Some(spec) = self.spec(filed.at.settlement).await? else {
            return Ok(Knowledge::Known(None));
        };
        let contents = self.evidence.contents(&spec).await;
        Ok(contents.map(|contents| {
            let tree = contents.totals?.pay_tree()?;
            let (cumulative, proof) = tree.proof(filed.provider)?;
            Some(answer_pay_calldata(filed.id, &spec.header().ok()?, cumulative, proof))
        }))
    }

    async fn spec(&self, sequence: u64) -> kube::Result<Option<SettlementSpec>> {
        let found = self.settlements.get_opt(&names::settlement(sequence)).await?;
        Ok(found.map(|settlement| settlement.spec))
    }

    async fn tell(&self, filings: &[Filed], now: Timestamp) -> kube::Result<()> {
        let sequences: BTreeSet<u64> = filings.iter().map(|one| one.at.settlement).collect();
        for sequence in sequences {
            let name = names::settlement(sequence);
            let Some(settlement) = self.settlements.get_opt(&name).await? else {
                continue;
            };
            let of_it: Vec<Filed> = filings
                .iter()
                .filter(|one| one.at.settlement == sequence)
                .copied()
                .collect();
            let before = disputed(&settlement);
            let wanted = plan::condition(&of_it, before, now);
            if let Some(condition) = wanted.filter(|wanted| Some(wanted) != before) {
                self.write(&name, &condition).await?;
            }
        }
        Ok(())
    }

    async fn write(&self, settlement: &str, condition: &Condition) -> kube::Result<()> {
        let patch = json!({
            "apiVersion": Settlement::api_version(&()), "kind": Settlement::kind(&()),
            "metadata": {"name": settlement}, "status": {"conditions": [condition]},
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        self.settlements
            .patch_status(settlement, &parameters, &Patch::Apply(patch))
            .await
            .map(drop)
    }

    // Holds

    async fn hold(&mut self, block: BlockFact) -> Result<usize, ShowError> {
        if block.time >= self.held_since.saturating_add(FORGET_HELD_SECONDS) {
            self.held.clear();
            self.held_since = block.time;
        }
        let settlements = self.settlements.list(&ListParams::default()).await?.items;
        let mut shown = 0;
        for settlement in settlements.iter().filter(|one| plan::is_waiting(one)) {
            shown += self.hold_batch(settlement, block).await?;
        }
        Ok(shown)
    }

    async fn hold_batch(&mut self, settlement: &Settlement, block: BlockFact) -> Result<usize, ShowError> {
        let Knowledge::Known(leaves) = self.evidence.leaves(&settlement.spec).await else {
            return Ok(0);
        };
        let payers = self.payers(&leaves, block).await;
        let mut shown = 0;
        for leaf in plan::to_hold(&leaves, &payers, block.time) {
            if self.held.contains(&leaf.order) {
                continue;
            }
            let Knowledge::Known(found) = self.evidence.order(&self.chain.place, leaf).await else {
                continue;
            };
            let Some(its) = found else {
                tracing::error!(payer = %leaf.payer, order = %leaf.order, "a payer leaves and an order of it is not in the store");
                self.held.insert(leaf.order);
                continue;
            };
            let calldata = show_order_calldata(&its.order, its.signature);
            if self.send(self.chain.place.contract, calldata).await? {
                tracing::info!(payer = %leaf.payer, order = %leaf.order, "showed an order of a payer that leaves");
                shown += 1;
            }
            self.held.insert(leaf.order);
        }
        Ok(shown)
    }

    async fn payers(&self, leaves: &[Leaf], block: BlockFact) -> BTreeMap<Address, PayerFact> {
        let all: BTreeSet<Address> = leaves.iter().map(|leaf| leaf.payer).collect();
        let mut known = BTreeMap::new();
        for payer in all {
            if let Knowledge::Known(fact) = self.chain.payer(payer, block).await {
                known.insert(payer, fact);
            }
        }
        known
    }

    /// Whether it was mined; false when the contract refuses it, as it does what was shown before.
    async fn send(&self, to: Address, calldata: Bytes) -> Result<bool, CallError> {
        let endpoint = self.endpoint().await?;
        match call(&endpoint, to, calldata).await {
            Ok(_) => Ok(true),
            Err(CallError::Reverts(revert)) => {
                tracing::warn!(
                    reason = revert.reason,
                    message = revert.message,
                    "an order was not taken"
                );
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn endpoint(&self) -> Result<DynProvider, CallError> {
        connect(&self.rpc_url, self.chain.place.chain_id, self.signer.clone()).await
    }
}

fn disputed(settlement: &Settlement) -> Option<&Condition> {
    let conditions = &settlement.status.as_ref()?.conditions;
    conditions
        .iter()
        .find(|condition| condition.type_ == settlement_condition::DISPUTED)
}
