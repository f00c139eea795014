//! `kubectl spillway verify JOB`: recomputes each line's leaf from the job's status, proves it against the batch's
//! Merkle root, and asks the chain whether that batch was posted. Trusts the hub in nothing that the proof covers.

use std::collections::BTreeMap;

use alloy::providers::{Provider, ProviderBuilder};
use alloy::sol;
use alloy_primitives::{Address, B256};
use anyhow::{Context, bail, ensure};
use spillway_core::batch::Header;
use spillway_core::merkle;
use spillway_crds::money::{address, hash, leaf_of};
use spillway_crds::{AttemptStatus, InferenceJob, Settlement, ShardStatus};
use url::Url;

use crate::connect::Hub;
use crate::invoice::{owed, read};

sol! {
    #[sol(rpc)]
    interface PostedBatches {
        struct PostedHeader {
            uint64 sequence;
            uint32 count;
            uint128 total;
            bytes32 previous;
            bytes32 jobsRoot;
            bytes32 ledgerHash;
            bytes32 dataHash;
        }
        function isPosted(PostedHeader calldata header) external view returns (bool);
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    job: String,
    /// JSON-RPC endpoint of the chain; use one that you trust.
    #[arg(long)]
    rpc_url: Url,
    /// Settlement contract that you deposited into (default: the one that the hub names).
    #[arg(long)]
    contract: Option<Address>,
}

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<()> {
    let connection = hub.connect().await?;
    let (job, settlements) = read(&connection, &arguments.job).await?;
    let provider = ProviderBuilder::new().connect_http(arguments.rpc_url.clone());
    let chain = Chain {
        chain_id: provider.get_chain_id().await.context("ask the chain's id")?,
        provider,
    };
    let (mut verified, mut failed, mut unpaid) = (0, 0, 0);
    let mut posted = BTreeMap::new();
    for (shard, attempt) in owed(&job) {
        let name = format!("shard {} attempt {} ({:?})", shard.index, attempt.number, attempt.kind);
        let Some(sequence) = attempt.settlement else {
            unpaid += 1;
            println!("-   {name}: not sealed yet");
            continue;
        };
        match line(
            &job,
            shard,
            attempt,
            &settlements,
            &chain,
            arguments.contract,
            &mut posted,
        )
        .await
        {
            Ok(()) => {
                verified += 1;
                println!("ok  {name}: settlement {sequence}");
            }
            Err(error) => {
                failed += 1;
                println!("BAD {name}: {error:#}");
            }
        }
    }
    println!("verified={verified} failed={failed} unpaid={unpaid}");
    if failed > 0 {
        bail!("{failed} line(s) could not be verified")
    } else {
        Ok(())
    }
}

struct Chain<P> {
    chain_id: u64,
    provider: P,
}

async fn line<P: Provider>(
    job: &InferenceJob,
    shard: &ShardStatus,
    attempt: &AttemptStatus,
    settlements: &[Settlement],
    chain: &Chain<P>,
    contract: Option<Address>,
    posted: &mut BTreeMap<u64, bool>,
) -> anyhow::Result<()> {
    let sequence = attempt.settlement.unwrap_or_default();
    let settlement = settlements
        .iter()
        .find(|settlement| settlement.spec.sequence == sequence);
    let settlement = settlement.with_context(|| format!("Settlement {sequence} is not there"))?;
    prove(job, shard, attempt, settlement)?;
    if let std::collections::btree_map::Entry::Vacant(entry) = posted.entry(sequence) {
        entry.insert(is_posted(settlement, chain, contract).await?);
    }
    ensure!(
        posted.get(&sequence) == Some(&true),
        "the contract does not hold the header of settlement {sequence}"
    );
    Ok(())
}

/// The leaf that follows from order and receipt is under the batch's root.
fn prove(
    job: &InferenceJob,
    shard: &ShardStatus,
    attempt: &AttemptStatus,
    settlement: &Settlement,
) -> anyhow::Result<()> {
    let leaf = leaf_of(job, shard.index, attempt)?.hash();
    let proof = attempt.proof.as_ref().context("the line has no Merkle proof")?;
    let proof: Result<Vec<B256>, _> = proof.iter().map(|step| hash("attempt.proof", step)).collect();
    let header = settlement.spec.header()?;
    ensure!(
        merkle::verify(header.jobsRoot, leaf, &proof?),
        "leaf {leaf} is not under the root {}",
        header.jobsRoot
    );
    Ok(())
}

async fn is_posted<P: Provider>(
    settlement: &Settlement,
    chain: &Chain<P>,
    contract: Option<Address>,
) -> anyhow::Result<bool> {
    let named = address("spec.contract", &settlement.spec.contract)?;
    let contract = contract.unwrap_or(named);
    ensure!(
        contract == named,
        "settlement {} was posted to {named}",
        settlement.spec.sequence
    );
    let chain_id = settlement.spec.chain_id;
    ensure!(
        chain_id == chain.chain_id,
        "settlement is on chain {chain_id}, the endpoint serves {}",
        chain.chain_id
    );
    let header = posted_header(&settlement.spec.header()?);
    PostedBatches::new(contract, &chain.provider)
        .isPosted(header)
        .call()
        .await
        .context("ask the contract")
}

fn posted_header(header: &Header) -> PostedBatches::PostedHeader {
    PostedBatches::PostedHeader {
        sequence: header.sequence,
        count: header.count,
        total: header.total,
        previous: header.previous,
        jobsRoot: header.jobsRoot,
        ledgerHash: header.ledgerHash,
        dataHash: header.dataHash,
    }
}
