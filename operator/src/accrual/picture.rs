//! What the watches say: what each job owes, what is sealed and not yet among the payers' facts, and the payers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, Client, ResourceExt};
use spillway_core::batch::select::{Allowance, PayerFacts};
use spillway_core::batch::{Totals, entry_parts};
use spillway_core::knowledge::Knowledge;
use spillway_core::order::job_id;
use spillway_crds::money::hash;
use spillway_crds::{
    Condition, InferenceJob, OrderSigningKey, PayerOnChain, Settlement, SettlementMode, SpendPolicy,
    spend_policy_condition,
};
use tokio::sync::Notify;

use super::plan::Payable;
use super::projection::Projection;
use super::sealed::payables;
use crate::dispatch::ChainPlace;

/// Facts that were seen longer ago are none. The settlement process writes them every minute.
pub const FACTS_LIVE: SignedDuration = SignedDuration::from_mins(5);

/// One job and what it owes.
#[derive(Debug)]
pub(super) struct JobOwes {
    pub id: B256,
    pub namespace: String,
    pub name: String,
    pub payables: Vec<Payable>,
}

/// What a Settlement takes from payers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debits {
    pub sequence: u64,
    /// Block that carries it, as far as the settlement process has said.
    pub block_number: Option<u64>,
    pub finalized_at: Option<Timestamp>,
    pub debits: Vec<(Address, u128)>,
}

/// A SpendPolicy's payer and what is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub name: String,
    pub payer: Address,
    pub order_signing_key: OrderSigningKey,
    pub chain: Option<PayerOnChain>,
    pub payable: Option<Condition>,
}

/// All three, followed by [`Picture::follow`].
#[derive(Debug)]
pub(super) struct Picture {
    pub jobs: Projection<JobOwes>,
    pub settlements: Projection<Debits>,
    pub policies: Projection<Policy>,
    pub changed: Arc<Notify>,
}

impl Picture {
    pub fn new() -> Self {
        let changed = Arc::new(Notify::new());
        Self {
            jobs: Projection::new(changed.clone()),
            settlements: Projection::new(changed.clone()),
            policies: Projection::new(changed.clone()),
            changed,
        }
    }

    pub async fn follow(&self, client: &Client, namespace: &str) {
        tokio::join!(
            self.jobs.follow(Api::all(client.clone()), |job| Some(owes(&job))),
            self.settlements
                .follow(Api::namespaced(client.clone(), namespace), |settlement| Some(debits(
                    &settlement
                ))),
            self.policies
                .follow(Api::all(client.clone()), |policy: SpendPolicy| policy_of(&policy)),
        );
    }

    pub async fn ready(&self) {
        self.jobs.ready().await;
        self.settlements.ready().await;
        self.policies.ready().await;
    }

    /// Namespace and name of jobs by their ids; those that are not here are gone, or new to us.
    pub fn places(&self, wanted: &BTreeSet<B256>) -> BTreeMap<B256, (String, String)> {
        self.jobs.look(|jobs| {
            let found = jobs.values().filter(|job| wanted.contains(&job.id));
            found
                .map(|job| (job.id, (job.namespace.clone(), job.name.clone())))
                .collect()
        })
    }

    /// Whether every Settlement up to this sequence has been seen.
    pub fn knows_settlement(&self, sequence: u64) -> bool {
        self.settlements
            .look(|settlements| settlements.values().any(|seen| seen.sequence >= sequence))
    }

    /// Facts are a few minutes old at most: a Settlement that has been final for longer is among all of them.
    pub fn forget_old_debits(&self, now: Timestamp) {
        self.settlements.each(|settlement| {
            let is_old = |time: Timestamp| now.duration_since(time) > FACTS_LIVE * 2;
            if settlement.finalized_at.is_some_and(is_old) {
                settlement.debits = Vec::new();
            }
        });
    }

    pub fn policies(&self) -> Vec<Policy> {
        self.policies.look(|policies| policies.values().cloned().collect())
    }
}

fn owes(job: &InferenceJob) -> JobOwes {
    JobOwes {
        id: job_id(&job.uid().unwrap_or_default()),
        namespace: job.namespace().unwrap_or_default(),
        name: job.name_any(),
        payables: payables(job),
    }
}

fn debits(settlement: &Settlement) -> Debits {
    let status = settlement.status.as_ref();
    let entries = settlement.spec.debits.iter();
    Debits {
        sequence: settlement.spec.sequence,
        block_number: status.and_then(|status| status.block_number),
        finalized_at: status.and_then(|status| Some(status.finalized_at.as_ref()?.0)),
        debits: entries
            .filter_map(|entry| Some(entry_parts(hash("spec.debits", entry).ok()?)))
            .collect(),
    }
}

fn policy_of(policy: &SpendPolicy) -> Option<Policy> {
    let status = policy.status.clone().unwrap_or_default();
    let is_payable = |condition: &Condition| condition.type_ == spend_policy_condition::PAYABLE;
    Some(Policy {
        name: policy.name_any(),
        payer: policy.spec.payer.parse().ok()?,
        order_signing_key: policy.spec.order_signing_key.clone(),
        chain: status.chain,
        payable: status.conditions.into_iter().find(is_payable),
    })
}

/// What each payer may still spend at `now`: its freshest facts, less what is sealed and not among them.
pub fn allowances<'a>(
    policies: &[Policy],
    settlements: impl Iterator<Item = &'a Debits>,
    place: &ChainPlace,
    now: Timestamp,
) -> BTreeMap<Address, Allowance> {
    let facts = freshest(policies, SettlementMode::Ledger, place, now);
    let mut in_flight = BTreeMap::<Address, u128>::new();
    for settlement in settlements {
        for (payer, amount) in &settlement.debits {
            let Some(seen) = facts.get(payer) else { continue };
            if settlement.block_number.is_none_or(|block| block > seen.block_number) {
                let sum = in_flight.entry(*payer).or_default();
                *sum = sum.saturating_add(*amount);
            }
        }
    }
    let allowance = |(payer, seen): (Address, &PayerOnChain)| {
        let in_flight = in_flight.get(&payer).copied().unwrap_or_default();
        let facts = Knowledge::Known(payer_facts(seen));
        (payer, Allowance { facts, in_flight })
    };
    facts.into_iter().map(allowance).collect()
}

/// The same in root mode: everything that was sealed and not collected yet will be taken from the deposit, and may be
/// all of it today.
pub fn root_allowances(
    policies: &[Policy],
    totals: &Totals,
    place: &ChainPlace,
    now: Timestamp,
) -> BTreeMap<Address, Allowance> {
    let facts = freshest(policies, SettlementMode::Root, place, now);
    let allowance = |(payer, seen): (Address, &PayerOnChain)| {
        let spent = totals.spent.get(&payer).copied().unwrap_or_default();
        let in_flight = spent.saturating_sub(seen.collected_micro?.into());
        let facts = Knowledge::Known(payer_facts(seen));
        Some((payer, Allowance { facts, in_flight }))
    };
    facts.into_iter().filter_map(allowance).collect()
}

/// Of each payer, as the contract of this mode had it last.
fn freshest<'a>(
    policies: &'a [Policy],
    mode: SettlementMode,
    place: &ChainPlace,
    now: Timestamp,
) -> BTreeMap<Address, &'a PayerOnChain> {
    let mut facts = BTreeMap::<Address, &PayerOnChain>::new();
    let told = policies
        .iter()
        .filter_map(|policy| Some((policy.payer, policy.chain.as_ref()?)));
    for (payer, seen) in told.filter(|(payer, seen)| seen.mode == mode && is_live(seen, *payer, place, now)) {
        let newest = facts.entry(payer).or_insert(seen);
        if newest.block_number < seen.block_number {
            *newest = seen;
        }
    }
    facts
}

fn is_live(seen: &PayerOnChain, payer: Address, place: &ChainPlace, now: Timestamp) -> bool {
    let same = |text: &str, address: Address| text.parse() == Ok(address);
    seen.chain_id == place.chain_id
        && same(&seen.contract, place.contract)
        && same(&seen.payer, payer)
        && now.duration_since(seen.observed_at.0) <= FACTS_LIVE
}

fn payer_facts(seen: &PayerOnChain) -> PayerFacts {
    let has_key = seen.order_key.parse::<Address>().is_ok_and(|key| !key.is_zero());
    PayerFacts {
        deposit: seen.deposit_micro.into(),
        withdraw_requested: seen.withdraw_requested_micro.into(),
        cap_per_day: seen.cap_per_day_micro.into(),
        spent_today: seen.spent_today_micro.into(),
        expiry: if has_key { seen.order_key_expiry } else { 0 },
        block_time: seen.block_time,
    }
}

#[cfg(test)]
mod tests;
