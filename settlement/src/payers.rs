//! Says on each SpendPolicy what the chain holds of its payer, so that the operator, which asks no chain, seals only
//! what can be posted. Facts that could not be asked are not written: the old ones age, and are none after five minutes.

use std::time::Duration;

use alloy::primitives::Address;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use spillway_core::knowledge::Knowledge;
use spillway_crds::{PayerOnChain, SettlementMode, SpendPolicy, Time};
use tokio_util::sync::CancellationToken;

use crate::chain::{BlockFact, Chain, PayerFact, Place};
use crate::ticks::Ticks;

const PERIOD: Duration = Duration::from_secs(10);
/// What has not changed is written again this often, so that the operator knows that it was asked.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// Of its own: applying the facts must not touch the operator's conditions.
const FIELD_MANAGER: &str = "spillway-settlement-payers";
/// What JSON schemas of Kubernetes hold.
const MOST: u64 = i64::MAX as u64;

/// Runs until cancelled.
#[derive(Debug)]
pub struct Payers {
    policies: Api<SpendPolicy>,
    chain: Chain,
    pub period: Duration,
}

impl Payers {
    pub fn new(client: Client, chain: Chain) -> Self {
        Self {
            policies: Api::all(client),
            chain,
            period: PERIOD,
        }
    }

    /// # Errors
    /// None: a pass that failed is logged and made again.
    pub async fn run(self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = Ticks::every(self.period, cancelled);
        let failed = "what payers have on chain could not be written";
        while ticks.pass(failed, || self.pass(Timestamp::now())).await {}
        Ok(())
    }

    /// Asks for every payer and writes what is new.
    ///
    /// # Errors
    /// When the API server cannot be asked or refuses.
    pub async fn pass(&self, now: Timestamp) -> kube::Result<()> {
        let policies = self.policies.list(&ListParams::default()).await?.items;
        let (Knowledge::Known(block), Knowledge::Known(mode)) =
            (self.chain.common_block().await, self.chain.mode().await)
        else {
            return Ok(());
        };
        for policy in policies {
            let Ok(payer) = policy.spec.payer.parse::<Address>() else {
                continue;
            };
            let Knowledge::Known(fact) = self.chain.payer(payer, block).await else {
                continue;
            };
            let Knowledge::Known(books) = self.books(mode, payer, block).await else {
                continue;
            };
            let facts = facts(&self.chain.place, payer, fact, books, block, now);
            let before = policy.status.as_ref().and_then(|status| status.chain.as_ref());
            if is_due(before, &facts) {
                self.write(&policy.name_any(), &facts).await?;
            }
        }
        Ok(())
    }

    async fn books(&self, mode: SettlementMode, payer: Address, block: BlockFact) -> Knowledge<Books> {
        let collected = match mode {
            SettlementMode::Ledger => None,
            SettlementMode::Root => match self.chain.collected(payer, block).await {
                Knowledge::Known(collected) => Some(collected),
                Knowledge::Unknown => return Knowledge::Unknown,
            },
        };
        Knowledge::Known(Books { mode, collected })
    }

    async fn write(&self, policy: &str, facts: &PayerOnChain) -> kube::Result<()> {
        let patch = json!({
            "apiVersion": SpendPolicy::api_version(&()), "kind": SpendPolicy::kind(&()),
            "metadata": {"name": policy}, "status": {"chain": facts},
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        match self
            .policies
            .patch_status(policy, &parameters, &Patch::Apply(patch))
            .await
        {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}

/// How the contract moves money, and in root mode what it has collected of a payer, micro-USD.
#[derive(Clone, Copy, Debug)]
struct Books {
    mode: SettlementMode,
    collected: Option<u128>,
}

fn facts(
    place: &Place,
    payer: Address,
    fact: PayerFact,
    books: Books,
    block: BlockFact,
    now: Timestamp,
) -> PayerOnChain {
    let most = |amount: u128| u64::try_from(amount).unwrap_or(MOST).min(MOST);
    PayerOnChain {
        chain_id: place.chain_id,
        contract: place.contract.to_string(),
        payer: payer.to_string(),
        deposit_micro: most(fact.deposit),
        withdraw_requested_micro: most(fact.withdraw_requested),
        order_key: fact.order_key.to_string(),
        cap_per_day_micro: most(fact.cap_per_day),
        spent_today_micro: most(fact.spent_today),
        order_key_expiry: fact.expiry.min(MOST),
        mode: books.mode,
        collected_micro: books.collected.map(most),
        block_number: block.number,
        block_hash: block.hash.to_string(),
        block_time: block.time,
        observed_at: Time(now),
    }
}

/// Something else than the block changed, or it was said a minute ago.
fn is_due(before: Option<&PayerOnChain>, facts: &PayerOnChain) -> bool {
    let Some(before) = before else { return true };
    let same = PayerOnChain {
        block_number: before.block_number,
        block_hash: before.block_hash.clone(),
        block_time: before.block_time,
        observed_at: before.observed_at.clone(),
        ..facts.clone()
    };
    same != *before || facts.observed_at.0.duration_since(before.observed_at.0) >= AGAIN
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;

    fn seen(second: i64, deposit: u128, block: u64) -> PayerOnChain {
        let place = Place {
            chain_id: 1,
            contract: Address::ZERO,
        };
        let fact = PayerFact {
            deposit,
            withdraw_requested: 0,
            order_key: Address::ZERO,
            cap_per_day: u128::MAX,
            spent_today: 0,
            expiry: u64::MAX,
        };
        let block = BlockFact {
            number: block,
            hash: B256::ZERO,
            time: 0,
        };
        let now = Timestamp::from_second(second).unwrap();
        let books = Books {
            mode: SettlementMode::Ledger,
            collected: None,
        };
        facts(&place, Address::ZERO, fact, books, block, now)
    }

    #[test]
    fn facts_are_written_when_they_change_and_once_a_minute() {
        assert!(is_due(None, &seen(0, 5, 1)));
        assert!(!is_due(Some(&seen(0, 5, 1)), &seen(59, 5, 7)));
        assert!(is_due(Some(&seen(0, 5, 1)), &seen(60, 5, 7)));
        assert!(is_due(Some(&seen(0, 5, 1)), &seen(1, 4, 2)));
    }

    #[test]
    fn amounts_fit_what_the_api_holds() {
        assert_eq!(seen(0, u128::MAX, 1).deposit_micro, MOST);
        assert_eq!(seen(0, 1, 1).order_key_expiry, MOST);
    }
}
