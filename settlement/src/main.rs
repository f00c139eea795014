//! `spillway-settlement`: the poster (no subcommand), `show-orders` and `collect-vouchers` beside it, `claim` for providers,
//! `deploy-dev` for development chains.

mod arguments;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use anyhow::Context;
use clap::Parser;
use prometheus::Registry;
use spillway_core::earnings::GasShare;
use spillway_core::money::MicroUsd;
use spillway_process::{Health, Tasks};
use spillway_settlement::advance::Policy;
use spillway_settlement::chain::{Chain, Place, Reach};
use spillway_settlement::claimer::{Claimer, Terms};
use spillway_settlement::claims::Claims;
use spillway_settlement::collector::Collector;
use spillway_settlement::deploy::{Plan, deploy};
use spillway_settlement::orders::{Evidence, OrderShower};
use spillway_settlement::payers::Payers;
use spillway_settlement::poster::{Metrics, Poster};
use spillway_settlement::reconcile::{self, Documents, Reconciler};
use spillway_settlement::signer::from_plain_file;

use arguments::{
    Arguments, BoundArguments, ClaimArguments, CollectArguments, Command, DeployArguments, DutyArguments,
    PostArguments, ReachArguments, ShowOrdersArguments,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    spillway_process::install_crypto_provider();
    spillway_process::init_telemetry();
    let arguments = Arguments::parse();
    match arguments.command {
        None => post(arguments.post).await,
        Some(Command::Claim(claim)) => run_claim(claim).await,
        Some(Command::CollectVouchers(collect)) => run_collect(collect).await,
        Some(Command::ShowOrders(show)) => run_show_orders(show).await,
        Some(Command::DeployDev(deploy)) => run_deploy(deploy).await,
    }
}

async fn post(arguments: PostArguments) -> anyhow::Result<()> {
    let place = Place {
        chain_id: arguments.chain_id.context("--chain-id (CHAIN_ID) is required")?,
        contract: arguments
            .contract
            .context("--contract (SETTLEMENT_CONTRACT) is required")?,
    };
    let key = arguments.key.open(place.chain_id).await?;
    let policy = policy(&arguments.bounds, &arguments.reach);
    let from_block = arguments.reach.from_block;
    let chain = Chain::new(reach(arguments.reach), place, key.address())?;
    let (registry, health) = (Registry::new(), Health::default());
    chain.register(&registry)?;
    let metrics = Metrics::new(&registry)?;
    let client = api_server().await?;
    let payers = Payers::new(client.clone(), chain.clone());
    let documents = arguments.store_url.as_deref().map(Documents::connect).transpose()?;
    let mut reconciler = Reconciler::new(
        client.clone(),
        &arguments.namespace,
        chain.clone(),
        documents,
        from_block,
        reconcile::Metrics::new(&registry)?,
    );
    reconciler.schedule.period = arguments.reconcile_every;
    let mut poster = Poster::new(client, &arguments.namespace, chain, key, metrics);
    poster.policy = policy;

    let mut tasks = Tasks::default();
    let served = spillway_process::serve(arguments.listen, health.clone(), registry, tasks.token());
    tasks.spawn("health", async move { Ok(served.await?) });
    let running = poster.run(health, tasks.token());
    tasks.spawn("poster", running);
    tasks.spawn("payers", payers.run(tasks.token()));
    tasks.spawn("reconciler", reconciler.run(tasks.token()));
    tasks.run().await
}

async fn api_server() -> anyhow::Result<kube::Client> {
    let client = spillway_process::client("spillway-settlement").await;
    client.context("no way to the API server")
}

/// What a duty beside the poster stands on.
struct Duty {
    chain: Chain,
    /// Endpoint that sends.
    rpc_url: String,
    signer: PrivateKeySigner,
    client: kube::Client,
    namespace: String,
    documents: Documents,
    registry: Registry,
    listen: SocketAddr,
}

impl Duty {
    async fn begin(arguments: DutyArguments) -> anyhow::Result<Self> {
        let signer = arguments.key.load()?;
        let place = Place {
            chain_id: arguments.chain_id,
            contract: arguments.contract,
        };
        let rpc_url = arguments.reach.rpc_urls.first().cloned();
        let rpc_url = rpc_url.context("--rpc-url (RPC_URL) is required")?;
        let chain = Chain::new(reach(arguments.reach), place, signer.address())?;
        let registry = Registry::new();
        chain.register(&registry)?;
        chain.check().await?;
        Ok(Self {
            chain,
            rpc_url,
            signer,
            client: api_server().await?,
            namespace: arguments.namespace,
            documents: Documents::connect(&arguments.store_url)?,
            registry,
            listen: arguments.listen,
        })
    }
}

async fn run_show_orders(arguments: ShowOrdersArguments) -> anyhow::Result<()> {
    let its = Duty::begin(arguments.duty).await?;
    let evidence = Evidence::new(its.documents);
    let mut shower = OrderShower::new(its.client, &its.namespace, its.chain, its.rpc_url, its.signer, evidence);
    shower.every = arguments.every;
    let mut tasks = ready(its.listen, its.registry);
    tasks.spawn("orders", shower.run(tasks.token()));
    tasks.run().await
}

async fn run_collect(arguments: CollectArguments) -> anyhow::Result<()> {
    let its = Duty::begin(arguments.duty).await?;
    let mut collector = Collector::new(
        its.client,
        &its.namespace,
        its.chain,
        its.documents,
        its.rpc_url,
        its.signer,
    );
    collector.every = arguments.every;
    if arguments.once {
        let collected_micro = collector.pass().await?;
        return print(&serde_json::json!({ "collectedMicro": collected_micro }));
    }
    collector.check().await?;
    let mut tasks = ready(its.listen, its.registry);
    tasks.spawn("collector", collector.run(tasks.token()));
    tasks.run().await
}

/// Tasks that serve health and metrics, ready from the start.
fn ready(listen: SocketAddr, registry: Registry) -> Tasks {
    let (health, mut tasks) = (Health::default(), Tasks::default());
    health.set_ready(true);
    let served = spillway_process::serve(listen, health, registry, tasks.token());
    tasks.spawn("health", async move { Ok(served.await?) });
    tasks
}

fn reach(arguments: ReachArguments) -> Reach {
    Reach {
        urls: arguments.rpc_urls,
        confirm: arguments.confirm,
        genesis: arguments.genesis_hash,
        code_hash: arguments.code_hash,
        from_block: arguments.from_block,
        head_age_max: arguments.head_age_max,
        lag: arguments.lag,
        requests_per_second: arguments.rpc_rate,
    }
}

fn policy(bounds: &BoundArguments, reach: &ReachArguments) -> Policy {
    Policy {
        fee_ceiling: bounds.fee_ceiling,
        fee_per_day: bounds.fee_per_day,
        gas_limit: bounds.gas_limit,
        gas_per_day: bounds.gas_per_day,
        bump_after_seconds: bounds.bump_after.as_secs(),
        lag_seconds: reach.lag.as_secs(),
        reserve_posts: bounds.reserve_posts,
        ..Policy::default()
    }
}

async fn run_claim(arguments: ClaimArguments) -> anyhow::Result<()> {
    let signer = arguments.key.load()?;
    if let (Some(every), Some(coin)) = (arguments.every, arguments.coin_price) {
        return keep_claiming(&arguments, signer, every, coin).await;
    }
    let claims = claims(&arguments, signer.address())?;
    claims.chain.check().await?;
    let ClaimArguments { rpc_url, provider, .. } = arguments;
    print(&spillway_settlement::claim::claim(&claims, &rpc_url, provider, signer).await?)
}

fn claims(arguments: &ClaimArguments, account: Address) -> anyhow::Result<Claims> {
    let place = Place {
        chain_id: arguments.chain_id,
        contract: arguments.contract,
    };
    let documents = arguments.documents_url.as_deref().map(Documents::connect).transpose()?;
    Ok(Claims::by(
        &arguments.rpc_url,
        arguments.from_block,
        place,
        account,
        documents,
    )?)
}

async fn keep_claiming(
    arguments: &ClaimArguments,
    signer: PrivateKeySigner,
    every: Duration,
    coin: MicroUsd,
) -> anyhow::Result<()> {
    let claimer = Claimer {
        claims: claims(arguments, signer.address())?,
        rpc_url: arguments.rpc_url.clone(),
        provider: arguments.provider,
        signer,
        terms: Terms {
            coin,
            share: GasShare::from_per_cent(arguments.gas_share),
        },
        every,
    };
    let mut tasks = ready(arguments.listen, Registry::new());
    tasks.spawn("claimer", claimer.run(tasks.token()));
    tasks.run().await
}

async fn run_deploy(arguments: DeployArguments) -> anyhow::Result<()> {
    let owner = from_plain_file(&arguments.owner_key_file)?;
    let payer = arguments.payer_key_file.as_deref().map(from_plain_file).transpose()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let plan = Plan {
        chain_id: arguments.chain_id,
        mode: arguments.mode,
        poster: arguments.poster,
        order_key: arguments.order_key,
        deposit_micro: arguments.deposit.0,
        cap_per_day_micro: arguments.cap_per_day.0,
        order_key_expiry: now + arguments.order_key_days * 86_400,
        window: arguments.window,
        withdraw_delay: arguments.withdraw_delay,
        answer_time: arguments.answer_time,
    };
    let payer = payer.unwrap_or_else(|| owner.clone());
    print(&deploy(&arguments.rpc_url, plan, owner, payer).await?)
}

fn print(value: &impl serde::Serialize) -> anyhow::Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(value)?)?)
}
