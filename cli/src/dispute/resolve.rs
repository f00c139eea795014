//! `dispute resolve`: closes a dispute whose deadline has passed. Anybody may.

use anyhow::ensure;
use spillway_settlement::disputes::resolve;
use spillway_settlement::signer::KeySource;

use super::{known, rules, usd};
use crate::connect::Hub;
use crate::place::{ChainArguments, reach};

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Id of the dispute, as `dispute open` and `dispute list` say it.
    id: u64,
    #[command(flatten)]
    chain: ChainArguments,
    #[command(flatten)]
    key: KeySource,
}

pub(super) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<()> {
    let key = arguments.key.load()?;
    let connection = hub.connect().await?;
    let chain = reach(&connection, &arguments.chain, key.address()).await?;
    let (block, rules) = rules(&chain).await?;
    let (id, disputes) = (arguments.id, rules.disputes);
    let count = known("the disputes", chain.dispute_count(disputes, block).await)?;
    ensure!(
        id < count,
        "there is no dispute {id}: the contract has {count}, from 0 on"
    );
    let filed = known("the dispute", chain.dispute(disputes, id, block).await)?;
    let (url, chain_id) = (arguments.chain.sends_by()?, chain.place.chain_id);
    let transaction = resolve(url, chain_id, key, &rules, &filed, block.time).await?;
    println!(
        "dispute {id} resolved by transaction {transaction}: {} is void, {} gets up to {} USD back",
        filed.at,
        filed.payer,
        usd(filed.refund)
    );
    Ok(())
}
