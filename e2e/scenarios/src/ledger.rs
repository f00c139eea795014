//! The chain and the leaves that were posted to it.

use std::collections::BTreeMap;
use std::time::Duration;

use alloy::primitives::Address;
use alloy::providers::{DynProvider, Provider as _, ProviderBuilder};
use anyhow::{Context as _, ensure};
use kube::api::ListParams;
use serde::Deserialize;
use spillway_core::batch::{Leaf, LeavesDocument};
use spillway_core::order::job_id;
use spillway_crds::money::invoice_of;
use spillway_crds::{InferenceJob, SettlementState};
use spillway_settlement::claim::claim;
use spillway_settlement::claims::Claims;
use spillway_settlement::contract::{Balances, SpillwaySettlement, TestToken};
use spillway_settlement::signer::from_plain_file;

use crate::ground::{demo_folder, local_url};
use crate::{Ground, Stores, until};

const QUIET_WITHIN: Duration = Duration::from_secs(180);

/// What `chain.json` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    chain_id: u64,
    contract: Address,
    token: Address,
    payer: Address,
}

#[derive(Debug)]
pub struct Ledger {
    place: Place,
    rpc_url: String,
    endpoint: DynProvider,
    /// Payout address by provider.
    pub payouts: BTreeMap<String, Address>,
}

/// Who holds how many micro-USD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// The payer's deposit.
    pub deposit: u128,
    /// What was ever credited, by provider: claimed or not.
    pub earned: BTreeMap<String, u128>,
    /// Tokens in the providers' own accounts.
    pub tokens: BTreeMap<String, u128>,
    /// Tokens in the contract's account.
    pub contract: u128,
}

impl Ledger {
    /// # Errors
    /// When the chain's addresses are not there.
    pub async fn connect(ground: &Ground) -> anyhow::Result<Self> {
        let bytes = std::fs::read(demo_folder()?.join("chain.json")).context("chain.json: run e2e/demo/install.sh")?;
        let rpc_url = local_url("SPILLWAY_CHAIN_PORT", "30545");
        let mut payouts = BTreeMap::new();
        for name in ground.providers.keys() {
            payouts.insert(
                name.clone(),
                ground.gpu_providers().get(name).await?.spec.payout_address.parse()?,
            );
        }
        let endpoint = ProviderBuilder::new().connect_http(rpc_url.parse()?).erased();
        Ok(Self {
            place: serde_json::from_slice(&bytes)?,
            rpc_url,
            endpoint,
            payouts,
        })
    }

    /// Of the chain, from this machine.
    pub fn rpc_url(&self) -> &str {
        &self.rpc_url
    }

    /// Waits until no job has unpaid work and every Settlement is final, then counts.
    ///
    /// # Errors
    /// When it does not become quiet.
    pub async fn quiet(&self, ground: &Ground) -> anyhow::Result<Holdings> {
        until("all accepted work settled with finality", QUIET_WITHIN, async || {
            Ok((all_sealed(ground).await? && all_final(ground).await?).then_some(()))
        })
        .await?;
        self.holdings().await
    }

    /// # Errors
    /// When the chain cannot be asked.
    pub async fn holdings(&self) -> anyhow::Result<Holdings> {
        let (mut earned, mut tokens) = (BTreeMap::new(), BTreeMap::new());
        for (name, payout) in &self.payouts {
            let balances = self.balances(*payout).await?;
            earned.insert(name.clone(), balances.pending + balances.claimable + balances.claimed);
            tokens.insert(name.clone(), self.tokens(*payout).await?);
        }
        let deposit = self.balances(self.place.payer).await?.deposit;
        Ok(Holdings {
            deposit,
            earned,
            tokens,
            contract: self.tokens(self.place.contract).await?,
        })
    }

    /// # Errors
    /// When the chain cannot be asked.
    pub async fn balances(&self, account: Address) -> anyhow::Result<Balances> {
        Ok(SpillwaySettlement::new(self.place.contract, &self.endpoint)
            .balances(account)
            .call()
            .await?)
    }

    async fn tokens(&self, account: Address) -> anyhow::Result<u128> {
        let held = TestToken::new(self.place.token, &self.endpoint)
            .balanceOf(account)
            .call()
            .await?;
        Ok(u128::try_from(held)?)
    }

    /// Claims all that a provider earned, as soon as it matured; returns the micro-USD paid.
    ///
    /// # Errors
    /// When it does not mature, or the call fails.
    pub async fn claim_all(&self, provider: &str) -> anyhow::Result<u128> {
        let payout = *self.payouts.get(provider).context("an unknown provider")?;
        until(
            &format!("maturity of what {provider} earned"),
            QUIET_WITHIN,
            async || Ok((self.balances(payout).await?.pending == 0).then_some(())),
        )
        .await?;
        // Anyone may call it: the payer has coins for the gas.
        let signer = from_plain_file(&demo_folder()?.join("keys/payer"))?;
        let place = spillway_settlement::chain::Place {
            chain_id: self.place.chain_id,
            contract: self.place.contract,
        };
        let claims = Claims::by(&self.rpc_url, 0, place, signer.address(), None)?;
        claims.chain.check().await?;
        let claimed = claim(&claims, &self.rpc_url, payout, signer).await?;
        ensure!(claimed.pending_micro == 0, "{provider} earned more meanwhile");
        Ok(claimed.paid_micro)
    }
}

async fn all_sealed(ground: &Ground) -> anyhow::Result<bool> {
    let jobs = kube::Api::<InferenceJob>::all(ground.hub.clone())
        .list(&ListParams::default())
        .await?;
    let statuses = jobs.iter().filter_map(|job| job.status.as_ref());
    let mut attempts = statuses
        .flat_map(|status| &status.shards)
        .flat_map(|shard| &shard.attempts);
    Ok(attempts.all(|attempt| attempt.amount_micro.is_none_or(|amount| amount == 0) || attempt.settlement.is_some()))
}

async fn all_final(ground: &Ground) -> anyhow::Result<bool> {
    let settlements = ground.settlements().list(&ListParams::default()).await?;
    let mut statuses = settlements
        .iter()
        .map(|settlement| settlement.status.clone().unwrap_or_default());
    Ok(statuses.all(|status| status.recorded && status.state == SettlementState::Final))
}

/// Every leaf of a job in all Settlements that were ever sealed.
///
/// # Errors
/// When a leaves document is missing.
pub async fn leaves(ground: &Ground, stores: &Stores, uid: &str) -> anyhow::Result<Vec<Leaf>> {
    let mut found = Vec::new();
    for settlement in ground.settlements().list(&ListParams::default()).await? {
        let document = LeavesDocument::parse(&stores.hub.get(&settlement.spec.data_key).await?)?;
        found.extend(document.leaves()?.into_iter().filter(|leaf| leaf.job == job_id(uid)));
    }
    Ok(found)
}

/// What the job's invoice asks for, in micro-USD.
///
/// # Errors
/// When the Settlements cannot be listed.
pub async fn invoice_total(ground: &Ground, job: &InferenceJob) -> anyhow::Result<u128> {
    let settlements = ground.settlements().list(&ListParams::default()).await?.items;
    let invoice = invoice_of(job, &settlements);
    ensure!(invoice.is_settled(), "the invoice is not settled: {invoice:?}");
    Ok(invoice.totals.total.0.into())
}
