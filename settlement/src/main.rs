//! `spillway-settlement`: the poster (no subcommand), `show-orders` and `collect-vouchers` beside it, `claim` for providers,
//! `deploy-dev` for development chains.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use prometheus::Registry;
use spillway_core::earnings::GasShare;
use spillway_core::money::MicroUsd;
use spillway_crds::names::SYSTEM_NAMESPACE;
use spillway_process::{Health, Tasks};
use spillway_settlement::advance::{Policy, TRANSACTION_GAS_MAX};
use spillway_settlement::chain::{Chain, Confirm, Place, Reach};
use spillway_settlement::claimer::{Claimer, Terms};
use spillway_settlement::claims::Claims;
use spillway_settlement::collector::Collector;
use spillway_settlement::deploy::{Mode, Plan, deploy};
use spillway_settlement::orders::{Evidence, OrderShower};
use spillway_settlement::payers::Payers;
use spillway_settlement::poster::{Metrics, Poster};
use spillway_settlement::reconcile::{self, Documents, Reconciler};
use spillway_settlement::signer::{KeySource, from_plain_file};

#[derive(Parser)]
#[command(
    version,
    about = "Posts sealed Settlements to the chain, exactly once, and follows them to finality"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    post: PostArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Pay a provider what has matured; anyone may call it, only the provider is paid.
    Claim(ClaimArguments),
    /// Root mode: collect what payers owe, by the vouchers in the hub's store; anyone may call it.
    CollectVouchers(CollectArguments),
    /// Show signed orders to the contracts: when a line is challenged, and when a payer leaves before it has paid.
    ShowOrders(ShowOrdersArguments),
    /// Deploy test token and contracts on a development chain, and print their addresses as JSON.
    DeployDev(DeployArguments),
}

#[derive(Args)]
struct PostArguments {
    #[arg(long, env = "CHAIN_ID")]
    chain_id: Option<u64>,
    /// Address of the settlement contract.
    #[arg(long, env = "SETTLEMENT_CONTRACT")]
    contract: Option<Address>,
    #[command(flatten)]
    reach: ReachArguments,
    #[command(flatten)]
    bounds: BoundArguments,
    /// The ledgers are held against each other this often.
    #[arg(long, env = "RECONCILE_EVERY", default_value = "10m", value_parser = spillway_core::duration::parse)]
    reconcile_every: Duration,
    /// The hub's object store, `s3://bucket/prefix`, read only; without it, leaves documents are not compared.
    #[arg(long, env = "SPILLWAY_STORE_URL")]
    store_url: Option<String>,
    /// Namespace of the Settlements.
    #[arg(long, env = "POD_NAMESPACE", default_value = SYSTEM_NAMESPACE)]
    namespace: String,
    /// Health and metrics.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    key: KeySource,
}

/// How the chain is reached, and what it must be.
#[derive(Args)]
struct ReachArguments {
    /// HTTP endpoint of the chain; repeat it, or separate with commas, for more than one. State that moves money needs
    /// the same answer from more than half of them.
    #[arg(long = "rpc-url", env = "RPC_URL", hide_env_values = true, value_delimiter = ',')]
    rpc_urls: Vec<String>,
    /// Requests per second to one endpoint; sendings may go ahead of reads.
    #[arg(long, env = "RPC_RATE", default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    rpc_rate: u32,
    /// Hash of block 0; without it, what most endpoints say at the start.
    #[arg(long, env = "GENESIS_HASH")]
    genesis_hash: Option<B256>,
    /// keccak256 of the contract's code; without it, what most endpoints say at the start.
    #[arg(long, env = "CODE_HASH")]
    code_hash: Option<B256>,
    /// Block that the contract was made in: no older one is searched for its events.
    #[arg(long, env = "FROM_BLOCK", default_value_t = 0)]
    from_block: u64,
    /// Block that counts as final.
    #[arg(long, env = "CONFIRM", value_enum, default_value = "finalized")]
    confirm: Confirm,
    /// An endpoint whose newest block is older is not asked; 0s: no limit.
    #[arg(long, env = "HEAD_AGE_MAX", default_value = "10m", value_parser = spillway_core::duration::parse)]
    head_age_max: Duration,
    /// A head that goes back, or a nonce used by nobody we know, is believed after this: endpoints lag.
    #[arg(long, env = "LAG", default_value = "30s", value_parser = spillway_core::duration::parse)]
    lag: Duration,
}

/// What the poster may spend by itself.
#[derive(Args)]
struct BoundArguments {
    /// Wei per gas that no transaction exceeds.
    #[arg(long, env = "FEE_CEILING", default_value = "500000000000")]
    fee_ceiling: u128,
    /// Wei that the transactions signed in one day (UTC, block time) may cost together, each at its dearest.
    #[arg(long, env = "FEE_PER_DAY", default_value = "1000000000000000000")]
    fee_per_day: u128,
    /// Gas of one transaction.
    #[arg(long, env = "GAS_LIMIT", default_value_t = TRANSACTION_GAS_MAX, value_parser = clap::value_parser!(u64).range(21_000..=TRANSACTION_GAS_MAX))]
    gas_limit: u64,
    /// Gas limits of the transactions signed in one day together.
    #[arg(long, env = "GAS_PER_DAY", default_value_t = 2_000_000_000)]
    gas_per_day: u64,
    /// A transaction not mined after this is replaced by one with higher fees.
    #[arg(long, env = "BUMP_AFTER", default_value = "48s", value_parser = spillway_core::duration::parse)]
    bump_after: Duration,
    /// Posts at the fee ceiling that the account should be able to pay; below it, the condition FundsLow is True.
    #[arg(long, env = "RESERVE_POSTS", default_value_t = 3)]
    reserve_posts: u32,
}

#[derive(Args)]
struct ClaimArguments {
    #[arg(long, env = "RPC_URL", hide_env_values = true)]
    rpc_url: String,
    #[arg(long, env = "CHAIN_ID")]
    chain_id: u64,
    #[arg(long, env = "SETTLEMENT_CONTRACT")]
    contract: Address,
    /// Payout address.
    #[arg(long, env = "PAYOUT")]
    provider: Address,
    /// Keep running, and claim whenever gas takes less than --gas-share of what matured; looked at this often.
    #[arg(long, env = "CLAIM_EVERY", requires = "coin_price", value_parser = spillway_core::duration::parse)]
    every: Option<Duration>,
    /// USD per coin of the chain, for --every.
    #[arg(long, env = "COIN_PRICE")]
    coin_price: Option<MicroUsd>,
    /// Where the leaves documents lie, for root mode: `https://host/prefix`, or the hub's `s3://bucket/prefix`.
    #[arg(long, env = "DOCUMENTS_URL")]
    documents_url: Option<String>,
    /// Block that the contract was made in, for root mode: no older one is searched for its events.
    #[arg(long, env = "FROM_BLOCK", default_value_t = 0)]
    from_block: u64,
    /// The largest part of a claim that gas may take, for --every, in per cent.
    #[arg(long, env = "GAS_SHARE", default_value_t = 1.0, value_parser = per_cent)]
    gas_share: f64,
    /// Health, with --every.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    key: KeySource,
}

#[derive(Args)]
struct ShowOrdersArguments {
    #[arg(long, env = "CHAIN_ID")]
    chain_id: u64,
    #[arg(long, env = "SETTLEMENT_CONTRACT")]
    contract: Address,
    #[command(flatten)]
    reach: ReachArguments,
    /// The hub's object store, `s3://bucket/prefix`, read only: leaves documents and stored receipts.
    #[arg(long, env = "SPILLWAY_STORE_URL")]
    store_url: String,
    /// Namespace of the Settlements.
    #[arg(long, env = "POD_NAMESPACE", default_value = SYSTEM_NAMESPACE)]
    namespace: String,
    /// Challenges and leaving payers are looked for this often.
    #[arg(long, env = "SHOW_EVERY", default_value = "30s", value_parser = spillway_core::duration::parse)]
    every: Duration,
    /// Health and metrics.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// A key of its own, which needs coins and no right: not the poster's.
    #[command(flatten)]
    key: KeySource,
}

#[derive(Args)]
struct CollectArguments {
    #[arg(long, env = "CHAIN_ID")]
    chain_id: u64,
    #[arg(long, env = "SETTLEMENT_CONTRACT")]
    contract: Address,
    #[command(flatten)]
    reach: ReachArguments,
    /// The hub's object store, `s3://bucket/prefix`, read only: leaves documents and vouchers.
    #[arg(long, env = "SPILLWAY_STORE_URL")]
    store_url: String,
    /// Namespace of the Settlements.
    #[arg(long, env = "POD_NAMESPACE", default_value = SYSTEM_NAMESPACE)]
    namespace: String,
    /// Collected this often. What is not collected counts against a payer's cap and deposit, and must be within the
    /// contract's withdraw delay.
    #[arg(long, env = "COLLECT_EVERY", default_value = "1h", value_parser = spillway_core::duration::parse)]
    every: Duration,
    /// Collect once, print how much came in, and end.
    #[arg(long)]
    once: bool,
    /// Health and metrics.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// A key of its own, which needs coins and no right: not the poster's.
    #[command(flatten)]
    key: KeySource,
}

#[derive(Args)]
struct DeployArguments {
    #[arg(long, env = "RPC_URL", hide_env_values = true)]
    rpc_url: String,
    #[arg(long, env = "CHAIN_ID", default_value_t = 31337)]
    chain_id: u64,
    /// File with the private key of the owner, in hex.
    #[arg(long)]
    owner_key_file: PathBuf,
    /// File with the private key of the payer; the owner's when not given.
    #[arg(long)]
    payer_key_file: Option<PathBuf>,
    /// Account that may post.
    #[arg(long)]
    poster: Address,
    /// Address of the key that signs the payer's orders.
    #[arg(long)]
    order_key: Address,
    /// USD minted for the payer and deposited.
    #[arg(long, default_value = "1000")]
    deposit: MicroUsd,
    /// USD that the order key may spend a day.
    #[arg(long, default_value = "1000")]
    cap_per_day: MicroUsd,
    #[arg(long, default_value_t = 365)]
    order_key_days: u64,
    /// Seconds of one maturity epoch: a credit can be claimed after one to two of them.
    #[arg(long, default_value_t = 60)]
    window: u64,
    /// How batches move money; fixed for the contract's life.
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Seconds between asking for a deposit back and getting it.
    #[arg(long, default_value_t = 3600)]
    withdraw_delay: u64,
    /// Seconds in which a challenge must be answered; a verdict may be appealed as long.
    #[arg(long, default_value_t = 3600)]
    answer_time: u64,
}

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
    let client = kube::Client::try_default().await.context("no way to the API server")?;
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

async fn run_show_orders(arguments: ShowOrdersArguments) -> anyhow::Result<()> {
    let signer = arguments.key.load()?;
    let place = Place {
        chain_id: arguments.chain_id,
        contract: arguments.contract,
    };
    let rpc_url = sending_endpoint(&arguments.reach)?;
    let chain = Chain::new(reach(arguments.reach), place, signer.address())?;
    let (registry, health) = (Registry::new(), Health::default());
    chain.register(&registry)?;
    chain.check().await?;
    let client = kube::Client::try_default().await.context("no way to the API server")?;
    let evidence = Evidence::new(Documents::connect(&arguments.store_url)?);
    let mut shower = OrderShower::new(client, &arguments.namespace, chain, rpc_url, signer, evidence);
    shower.every = arguments.every;

    let mut tasks = Tasks::default();
    health.set_ready(true);
    let served = spillway_process::serve(arguments.listen, health, registry, tasks.token());
    tasks.spawn("health", async move { Ok(served.await?) });
    tasks.spawn("orders", shower.run(tasks.token()));
    tasks.run().await
}

async fn run_collect(arguments: CollectArguments) -> anyhow::Result<()> {
    let signer = arguments.key.load()?;
    let place = Place {
        chain_id: arguments.chain_id,
        contract: arguments.contract,
    };
    let rpc_url = sending_endpoint(&arguments.reach)?;
    let chain = Chain::new(reach(arguments.reach), place, signer.address())?;
    let (registry, health) = (Registry::new(), Health::default());
    chain.register(&registry)?;
    chain.check().await?;
    let client = kube::Client::try_default().await.context("no way to the API server")?;
    let documents = Documents::connect(&arguments.store_url)?;
    let mut collector = Collector::new(client, &arguments.namespace, chain, documents, rpc_url, signer);
    collector.every = arguments.every;
    if arguments.once {
        let collected_micro = collector.pass().await?;
        return print(&serde_json::json!({ "collectedMicro": collected_micro }));
    }
    collector.check().await?;
    let mut tasks = Tasks::default();
    health.set_ready(true);
    let served = spillway_process::serve(arguments.listen, health, registry, tasks.token());
    tasks.spawn("health", async move { Ok(served.await?) });
    tasks.spawn("collector", collector.run(tasks.token()));
    tasks.run().await
}

fn sending_endpoint(arguments: &ReachArguments) -> anyhow::Result<String> {
    let first = arguments.rpc_urls.first().cloned();
    first.context("--rpc-url (RPC_URL) is required")
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
    let reach = Reach {
        from_block: arguments.from_block,
        // What has matured is final already: the newest block tells.
        ..Reach::of(std::slice::from_ref(&arguments.rpc_url), Confirm::Latest)
    };
    let documents = arguments.documents_url.as_deref().map(Documents::connect).transpose()?;
    Ok(Claims::new(Chain::new(reach, place, account)?, documents))
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
    let (health, mut tasks) = (Health::default(), Tasks::default());
    health.set_ready(true);
    let served = spillway_process::serve(arguments.listen, health, Registry::new(), tasks.token());
    tasks.spawn("health", async move { Ok(served.await?) });
    tasks.spawn("claimer", claimer.run(tasks.token()));
    tasks.run().await
}

fn per_cent(text: &str) -> Result<f64, String> {
    let fits = |share: &f64| *share > 0.0 && *share <= 100.0;
    let share = text.parse().ok().filter(fits);
    share.ok_or_else(|| format!("`{text}` is not a share: write per cent, above 0 and at most 100, such as 1 or 0.5"))
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
