//! `kubectl spillway verify JOB`: recomputes each line's leaf from the job's status, proves it against the batch's
//! Merkle root, and asks the chain whether that batch was posted. Trusts the hub in nothing that the proof covers.

use std::collections::BTreeMap;

use alloy::providers::{Provider, ProviderBuilder};
use alloy::rpc::types::Filter;
use alloy_primitives::{Address, B256, U256};
use anyhow::{Context, bail, ensure};
use spillway_core::merkle;
use spillway_crds::money::{address, hash, leaf_of};
use spillway_crds::{AttemptStatus, InferenceJob, Settlement, ShardStatus};
use spillway_settlement::contract::{SpillwaySettlement, contract_header};
use url::Url;

use crate::connect::Hub;
use crate::invoice::{owed, read};

/// Blocks of the first request for events; endpoints bound their ranges.
const EVENT_BLOCKS: u64 = 10_000;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    job: String,
    /// JSON-RPC endpoint of the chain; use one that you trust.
    #[arg(long)]
    rpc_url: Url,
    /// Settlement contract that you deposited into (default: the one that the hub names).
    #[arg(long)]
    contract: Option<Address>,
    /// Block that the contract was made in. A batch that the contract's ring has forgotten is looked for in its Posted
    /// events from here on.
    #[arg(long, default_value_t = 0)]
    from_block: u64,
}

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<()> {
    let connection = hub.connect().await?;
    let (job, settlements) = read(&connection, &arguments.job).await?;
    let provider = ProviderBuilder::new().connect_http(arguments.rpc_url.clone());
    let mut chain = Chain {
        chain_id: provider.get_chain_id().await.context("ask the chain's id")?,
        provider,
        contract: arguments.contract,
        from_block: arguments.from_block,
        posted: BTreeMap::new(),
    };
    let (mut verified, mut failed, mut unpaid) = (0, 0, 0);
    for (shard, attempt) in owed(&job) {
        let name = format!("shard {} attempt {} ({:?})", shard.index, attempt.number, attempt.kind);
        let Some(sequence) = attempt.settlement else {
            unpaid += 1;
            println!("-   {name}: not sealed yet");
            continue;
        };
        let settlement = settlements
            .iter()
            .find(|settlement| settlement.spec.sequence == sequence);
        match line(&job, shard, attempt, settlement, &mut chain).await {
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
    contract: Option<Address>,
    from_block: u64,
    /// Answers so far, by sequence.
    posted: BTreeMap<u64, bool>,
}

async fn line<P: Provider>(
    job: &InferenceJob,
    shard: &ShardStatus,
    attempt: &AttemptStatus,
    settlement: Option<&Settlement>,
    chain: &mut Chain<P>,
) -> anyhow::Result<()> {
    let settlement = settlement.context("its Settlement is not there")?;
    prove(job, shard, attempt, settlement)?;
    let sequence = settlement.spec.sequence;
    if !chain.posted.contains_key(&sequence) {
        let answer = chain.is_posted(settlement).await?;
        chain.posted.insert(sequence, answer);
    }
    ensure!(
        chain.posted.get(&sequence) == Some(&true),
        "the contract never booked the header of settlement {sequence}"
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

impl<P: Provider> Chain<P> {
    /// By the contract's ring, or, when that has forgotten it, by its events.
    async fn is_posted(&self, settlement: &Settlement) -> anyhow::Result<bool> {
        let contract = self.contract_of(settlement)?;
        let header = settlement.spec.header()?;
        let ring = SpillwaySettlement::new(contract, &self.provider);
        let remembered = ring
            .isPosted(contract_header(&header))
            .call()
            .await
            .context("ask the contract")?;
        if remembered {
            return Ok(true);
        }
        let header_hash = hash("spec.headerHash", &settlement.spec.header_hash)?;
        self.is_in_events(contract, header.sequence, header_hash).await
    }

    fn contract_of(&self, settlement: &Settlement) -> anyhow::Result<Address> {
        let named = address("spec.contract", &settlement.spec.contract)?;
        ensure!(
            self.contract.is_none_or(|contract| contract == named),
            "settlement {} was posted to {named}",
            settlement.spec.sequence
        );
        let chain_id = settlement.spec.chain_id;
        ensure!(
            chain_id == self.chain_id,
            "settlement is on chain {chain_id}, the endpoint serves {}",
            self.chain_id
        );
        Ok(named)
    }

    /// Newest blocks first; a range that the endpoint refuses is halved.
    async fn is_in_events(&self, contract: Address, sequence: u64, header_hash: B256) -> anyhow::Result<bool> {
        let posted = Filter::new()
            .address(contract)
            .topic1(U256::from(sequence))
            .topic2(header_hash);
        let mut to = self.provider.get_block_number().await.context("ask the head")?;
        let mut span = EVENT_BLOCKS;
        loop {
            let from = to.saturating_sub(span - 1).max(self.from_block);
            match self
                .provider
                .get_logs(&posted.clone().from_block(from).to_block(to))
                .await
            {
                Ok(logs) if !logs.is_empty() => return Ok(true),
                Ok(_) if from <= self.from_block => return Ok(false),
                Ok(_) => to = from - 1,
                Err(_) if span > 1 => span /= 2,
                Err(error) => return Err(error).context("ask for Posted events"),
            }
        }
    }
}
