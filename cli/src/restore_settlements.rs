//! `kubectl spillway restore-settlements`: after etcd was lost or restored from an old copy, makes the Settlements again that
//! the contract booked. Their statuses follow by themselves: the settlement process finds each posted, the operator marks its
//! jobs.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use anyhow::{Context, ensure};
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use spillway_core::knowledge::Knowledge;
use spillway_crds::{Settlement, names};
use spillway_settlement::chain::Books;
use spillway_settlement::rebuild::rebuild;
use spillway_settlement::reconcile::Documents;

use crate::connect::Hub;
use crate::place::{ChainArguments, reach};

const NAMES_PER_PAGE: u32 = 1_000;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chain: ChainArguments,
    /// Block that the contract was made in: older ones are not read.
    #[arg(long, default_value_t = 0)]
    from_block: u64,
    /// The hub's object store, `s3://bucket/prefix`, with AWS_* in the environment, or `https://host/prefix`; without it only
    /// what the posts' calldata tells can be restored (ledger mode).
    #[arg(long, env = "SPILLWAY_STORE_URL")]
    store_url: Option<String>,
    /// Say what would be made, make nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<()> {
    let connection = hub.connect().await?;
    let chain = reach(&connection, &arguments.chain, Address::ZERO).await?;
    let documents = arguments.store_url.as_deref().map(Documents::connect).transpose()?;
    let settlements: Api<Settlement> = Api::namespaced(connection.client, names::SYSTEM_NAMESPACE);
    let mut books = Books::from_block(arguments.from_block);
    let Knowledge::Known(ledger) = chain.ledger(&mut books).await else {
        anyhow::bail!("the contract's events could not be read: see --rpc-url");
    };
    let existing = existing(&settlements).await?;
    let missing = ledger
        .posted
        .keys()
        .filter(|sequence| !existing.contains(&names::settlement(**sequence)));
    let (mut made, mut failed) = (0, 0);
    for sequence in missing.copied() {
        match rebuild(&chain, documents.as_ref(), sequence).await {
            Err(error) => {
                failed += 1;
                println!("BAD settlement {sequence}: {error}");
            }
            Ok(spec) => {
                made += 1;
                println!(
                    "new settlement {sequence}: {} lines, header {}",
                    spec.count, spec.header_hash
                );
                if !arguments.dry_run {
                    let settlement = Settlement::new(&names::settlement(sequence), spec);
                    let created = settlements.create(&PostParams::default(), &settlement).await;
                    created.with_context(|| format!("create settlement {sequence}"))?;
                }
            }
        }
    }
    println!("posted={} restored={made} failed={failed}", ledger.posted.len());
    ensure!(
        failed == 0,
        "{failed} Settlement(s) cannot be made again: restore them from a copy of etcd"
    );
    Ok(())
}

async fn existing(settlements: &Api<Settlement>) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut page = ListParams::default().limit(NAMES_PER_PAGE);
    loop {
        let listed = settlements.list_metadata(&page).await.context("read the Settlements")?;
        found.extend(listed.items.iter().map(ResourceExt::name_any));
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}
