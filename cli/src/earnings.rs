//! `kubectl spillway earnings`: what each provider has earned, from accepted to claimed, and what a claim would cost.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use alloy_primitives::{Address, hex};
use anyhow::{Context, ensure};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde::Serialize;
use spillway_core::earnings::{ClaimCost, Earnings};
use spillway_core::money::MicroUsd;
use spillway_crds::money::{accepted_receipts, credits_of};
use spillway_crds::{GpuProvider, InferenceJob, Settlement, SettlementState, names};
use spillway_settlement::claims::Claims;
use spillway_settlement::reconcile::Documents;

use crate::Output;
use crate::connect::{Connection, Hub};
use crate::place::{ChainArguments, reach};

/// A job's status may have hundreds of KiB.
const PER_PAGE: u32 = 50;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// A provider; without it, and without --payout, all of them.
    provider: Option<String>,
    /// A payout address, whether or not a provider has it today.
    #[arg(long, conflicts_with = "provider")]
    payout: Option<Address>,
    #[command(flatten)]
    chain: ChainArguments,
    /// USD per coin of the chain: shows what share of it a claim's gas would take.
    #[arg(long)]
    coin_price: Option<MicroUsd>,
    /// Where the leaves documents lie, for a contract in root mode: `https://host/prefix`, or the hub's `s3://bucket/prefix`.
    #[arg(long, env = "DOCUMENTS_URL")]
    documents_url: Option<String>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// One payout address. Amounts are micro-USD.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    payout: Address,
    /// Providers that are paid there.
    providers: Vec<String>,
    /// `None`: the chain could not be asked.
    earnings: Option<Earnings>,
    claim_cost: Option<ClaimCost>,
    claim_cost_micro: Option<u128>,
}

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<()> {
    let connection = hub.connect().await?;
    let chain = reach(&connection, &arguments.chain, Address::ZERO).await?;
    let documents = arguments.documents_url.as_deref().map(Documents::connect).transpose()?;
    let claims = Claims::new(chain, documents);
    let payouts = payouts(&connection, &arguments).await?;
    let mut off_chain = off_chain(&connection).await?;
    let mut rows = Vec::new();
    for (payout, providers) in payouts {
        let waiting = off_chain.remove(&payout).unwrap_or_default();
        rows.push(row(&claims, payout, providers, waiting, arguments.coin_price).await);
    }
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&rows)?),
        Output::Table => print!("{}", table(&rows)),
    }
    let unknown = rows.iter().filter(|row| row.earnings.is_none()).count();
    ensure!(
        unknown == 0,
        "the chain could not be asked for {unknown} payout address(es)"
    );
    Ok(())
}

async fn payouts(connection: &Connection, arguments: &Arguments) -> anyhow::Result<BTreeMap<Address, Vec<String>>> {
    let providers: Api<GpuProvider> = Api::all(connection.client.clone());
    let mut found = BTreeMap::<Address, Vec<String>>::new();
    for provider in providers
        .list(&ListParams::default())
        .await
        .context("read the GpuProviders")?
    {
        let name = provider.name_any();
        let payout = provider.spec.payout_address.parse();
        found
            .entry(payout.with_context(|| format!("GpuProvider {name}: spec.payoutAddress"))?)
            .or_default()
            .push(name);
    }
    if let Some(payout) = arguments.payout {
        let names = found.remove(&payout).unwrap_or_default();
        return Ok([(payout, names)].into());
    }
    if let Some(name) = &arguments.provider {
        found.retain(|_, names| names.contains(name));
        ensure!(!found.is_empty(), "there is no GpuProvider {name}");
    }
    Ok(found)
}

/// What is accepted and in no batch, and what is sealed and not on chain, by payout address.
async fn off_chain(connection: &Connection) -> anyhow::Result<BTreeMap<Address, Earnings>> {
    let mut earnings = BTreeMap::<Address, Earnings>::new();
    let settlements: Api<Settlement> = Api::namespaced(connection.client.clone(), names::SYSTEM_NAMESPACE);
    let mut page = ListParams::default().limit(PER_PAGE);
    loop {
        let listed = settlements.list(&page).await.context("read the Settlements")?;
        for settlement in listed.items.iter().filter(|settlement| !is_on_chain(settlement)) {
            for (provider, amount) in credits_of(&settlement.spec)? {
                earnings.entry(provider).or_default().sealed += amount;
            }
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    let jobs: Api<InferenceJob> = Api::all(connection.client.clone());
    let mut page = ListParams::default().limit(PER_PAGE);
    loop {
        let listed = jobs.list(&page).await.context("read the InferenceJobs")?;
        for job in &listed.items {
            for receipt in accepted_receipts(job)?
                .into_iter()
                .filter(|one| one.settlement.is_none())
            {
                earnings.entry(receipt.leaf.provider).or_default().accepted += receipt.leaf.amount;
            }
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(earnings),
        }
    }
}

fn is_on_chain(settlement: &Settlement) -> bool {
    let state = settlement
        .status
        .as_ref()
        .map(|status| status.state)
        .unwrap_or_default();
    !matches!(
        state,
        SettlementState::Sealed | SettlementState::Signed | SettlementState::Broadcast | SettlementState::Failed
    )
}

async fn row(
    claims: &Claims,
    payout: Address,
    providers: Vec<String>,
    waiting: Earnings,
    coin: Option<MicroUsd>,
) -> Row {
    let found = claims.of(payout).await.known();
    let claim_cost = match &found {
        Some(found) => claims.chain.claim_cost(payout, &found.calldata).await.known(),
        None => None,
    };
    let earnings = found.map(|found| Earnings {
        in_window: found.earned.in_window,
        claimable: found.earned.claimable,
        claimed: found.earned.claimed,
        ..waiting
    });
    Row {
        payout,
        providers,
        earnings,
        claim_cost_micro: claim_cost.zip(coin).map(|(cost, coin)| cost.usd(coin)),
        claim_cost,
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<20} {:<42} {:>14} {:>14} {:>14} {:>14} {:>14}  CLAIM GAS\n",
        "PROVIDER", "PAYOUT", "ACCEPTED", "SEALED", "IN WINDOW", "CLAIMABLE", "CLAIMED"
    );
    for row in rows {
        let providers = if row.providers.is_empty() {
            "-".to_owned()
        } else {
            row.providers.join(",")
        };
        let payout = format!("0x{}", hex::encode(row.payout));
        let columns = match &row.earnings {
            None => format!(
                "{:>14} {:>14} {:>14} {:>14} {:>14}",
                "unknown", "unknown", "unknown", "unknown", "unknown"
            ),
            Some(earnings) => format!(
                "{:>14} {:>14} {:>14} {:>14} {:>14}",
                usd(earnings.accepted),
                usd(earnings.sealed),
                usd(earnings.in_window),
                usd(earnings.claimable),
                usd(earnings.claimed)
            ),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{providers:<20} {payout:<42} {columns}  {}", gas(row));
    }
    text.push_str("USD; sealed is not on chain yet, in window becomes claimable by itself\n");
    text
}

/// `61234 gas, 0.001224680000 coins, 1.02 % of what is claimable`.
fn gas(row: &Row) -> String {
    let Some(cost) = row.claim_cost else {
        return "unknown".to_owned();
    };
    let coins = cost.wei() / 1_000_000;
    let mut text = format!(
        "{} gas, {}.{:012} coins",
        cost.gas,
        coins / 1_000_000_000_000,
        coins % 1_000_000_000_000
    );
    let claimable = row.earnings.map(|earnings| earnings.claimable).unwrap_or_default();
    if let Some(micro) = row.claim_cost_micro.filter(|_| claimable > 0) {
        let share = micro.saturating_mul(10_000) / claimable;
        let _ = write!(text, ", {}.{:02} % of what is claimable", share / 100, share % 100);
    }
    text
}

fn usd(micro: u128) -> String {
    MicroUsd(u64::try_from(micro).unwrap_or(u64::MAX)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_every_step_and_what_a_claim_takes() {
        let row = Row {
            payout: Address::repeat_byte(0xb0),
            providers: vec!["alpha".to_owned()],
            earnings: Some(Earnings {
                accepted: 1,
                sealed: 2_000_000,
                in_window: 3_000_000,
                claimable: 100_000_000,
                claimed: 5_000_000,
            }),
            claim_cost: Some(ClaimCost {
                gas: 60_000,
                wei_per_gas: 20_000_000_000,
            }),
            claim_cost_micro: Some(3_600_000),
        };
        let text = table(&[row]);
        assert!(text.contains("0xb0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0"), "{text}");
        assert!(
            text.contains("0.000001       2.000000       3.000000     100.000000       5.000000"),
            "{text}"
        );
        assert!(
            text.contains("60000 gas, 0.001200000000 coins, 3.60 % of what is claimable"),
            "{text}"
        );
    }
}
