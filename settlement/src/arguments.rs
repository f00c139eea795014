//! Flags of `spillway-settlement` and the environment variables beside them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use clap::{Args, Parser, Subcommand};
use spillway_core::money::MicroUsd;
use spillway_crds::names::SYSTEM_NAMESPACE;
use spillway_settlement::advance::TRANSACTION_GAS_MAX;
use spillway_settlement::chain::Confirm;
use spillway_settlement::deploy::Mode;
use spillway_settlement::signer::KeySource;

#[derive(Parser)]
#[command(
    version,
    about = "Posts sealed Settlements to the chain, exactly once, and follows them to finality"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) post: PostArguments,
}

#[derive(Subcommand)]
pub(crate) enum Command {
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
pub(crate) struct PostArguments {
    #[arg(long, env = "CHAIN_ID")]
    pub(crate) chain_id: Option<u64>,
    /// Address of the settlement contract.
    #[arg(long, env = "SETTLEMENT_CONTRACT")]
    pub(crate) contract: Option<Address>,
    #[command(flatten)]
    pub(crate) reach: ReachArguments,
    #[command(flatten)]
    pub(crate) bounds: BoundArguments,
    /// The ledgers are held against each other this often.
    #[arg(long, env = "RECONCILE_EVERY", default_value = "10m", value_parser = spillway_core::duration::parse)]
    pub(crate) reconcile_every: Duration,
    /// The hub's object store, `s3://bucket/prefix`, read only; without it, leaves documents are not compared.
    #[arg(long, env = "SPILLWAY_STORE_URL")]
    pub(crate) store_url: Option<String>,
    /// Namespace of the Settlements.
    #[arg(long, env = "POD_NAMESPACE", default_value = SYSTEM_NAMESPACE)]
    pub(crate) namespace: String,
    /// Health and metrics.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) key: KeySource,
}

/// How the chain is reached, and what it must be.
#[derive(Args)]
pub(crate) struct ReachArguments {
    /// HTTP endpoint of the chain; repeat it, or separate with commas, for more than one. State that moves money needs
    /// the same answer from more than half of them.
    #[arg(long = "rpc-url", env = "RPC_URL", hide_env_values = true, value_delimiter = ',')]
    pub(crate) rpc_urls: Vec<String>,
    /// Requests per second to one endpoint; sendings may go ahead of reads.
    #[arg(long, env = "RPC_RATE", default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rpc_rate: u32,
    /// Hash of block 0; without it, what most endpoints say at the start.
    #[arg(long, env = "GENESIS_HASH")]
    pub(crate) genesis_hash: Option<B256>,
    /// keccak256 of the contract's code; without it, what most endpoints say at the start.
    #[arg(long, env = "CODE_HASH")]
    pub(crate) code_hash: Option<B256>,
    /// Block that the contract was made in: no older one is searched for its events.
    #[arg(long, env = "FROM_BLOCK", default_value_t = 0)]
    pub(crate) from_block: u64,
    /// Block that counts as final.
    #[arg(long, env = "CONFIRM", value_enum, default_value = "finalized")]
    pub(crate) confirm: Confirm,
    /// An endpoint whose newest block is older is not asked; 0s: no limit.
    #[arg(long, env = "HEAD_AGE_MAX", default_value = "10m", value_parser = spillway_core::duration::parse)]
    pub(crate) head_age_max: Duration,
    /// A head that goes back, or a nonce used by nobody we know, is believed after this: endpoints lag.
    #[arg(long, env = "LAG", default_value = "30s", value_parser = spillway_core::duration::parse)]
    pub(crate) lag: Duration,
}

/// What the poster may spend by itself.
#[derive(Args)]
pub(crate) struct BoundArguments {
    /// Wei per gas that no transaction exceeds.
    #[arg(long, env = "FEE_CEILING", default_value = "500000000000")]
    pub(crate) fee_ceiling: u128,
    /// Wei that the transactions signed in one day (UTC, block time) may cost together, each at its dearest.
    #[arg(long, env = "FEE_PER_DAY", default_value = "1000000000000000000")]
    pub(crate) fee_per_day: u128,
    /// Gas of one transaction.
    #[arg(long, env = "GAS_LIMIT", default_value_t = TRANSACTION_GAS_MAX, value_parser = clap::value_parser!(u64).range(21_000..=TRANSACTION_GAS_MAX))]
    pub(crate) gas_limit: u64,
    /// Gas limits of the transactions signed in one day together.
    #[arg(long, env = "GAS_PER_DAY", default_value_t = 2_000_000_000)]
    pub(crate) gas_per_day: u64,
    /// A transaction not mined after this is replaced by one with higher fees.
    #[arg(long, env = "BUMP_AFTER", default_value = "48s", value_parser = spillway_core::duration::parse)]
    pub(crate) bump_after: Duration,
    /// Posts at the fee ceiling that the account should be able to pay; below it, the condition FundsLow is True.
    #[arg(long, env = "RESERVE_POSTS", default_value_t = 3)]
    pub(crate) reserve_posts: u32,
}

#[derive(Args)]
pub(crate) struct ClaimArguments {
    #[arg(long, env = "RPC_URL", hide_env_values = true)]
    pub(crate) rpc_url: String,
    #[arg(long, env = "CHAIN_ID")]
    pub(crate) chain_id: u64,
    #[arg(long, env = "SETTLEMENT_CONTRACT")]
    pub(crate) contract: Address,
    /// Payout address.
    #[arg(long, env = "PAYOUT")]
    pub(crate) provider: Address,
    /// Keep running, and claim whenever gas takes less than --gas-share of what matured; looked at this often.
    #[arg(long, env = "CLAIM_EVERY", requires = "coin_price", value_parser = spillway_core::duration::parse)]
    pub(crate) every: Option<Duration>,
    /// USD per coin of the chain, for --every.
    #[arg(long, env = "COIN_PRICE")]
    pub(crate) coin_price: Option<MicroUsd>,
    /// Where the leaves documents lie, for root mode: `https://host/prefix`, or the hub's `s3://bucket/prefix`.
    #[arg(long, env = "DOCUMENTS_URL")]
    pub(crate) documents_url: Option<String>,
    /// Block that the contract was made in, for root mode: no older one is searched for its events.
    #[arg(long, env = "FROM_BLOCK", default_value_t = 0)]
    pub(crate) from_block: u64,
    /// The largest part of a claim that gas may take, for --every, in per cent.
    #[arg(long, env = "GAS_SHARE", default_value_t = 1.0, value_parser = per_cent)]
    pub(crate) gas_share: f64,
    /// Health, with --every.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) key: KeySource,
}

/// Of what runs beside the poster, with a key of its own.
#[derive(Args)]
pub(crate) struct DutyArguments {
    #[arg(long, env = "CHAIN_ID")]
    pub(crate) chain_id: u64,
    #[arg(long, env = "SETTLEMENT_CONTRACT")]
    pub(crate) contract: Address,
    #[command(flatten)]
    pub(crate) reach: ReachArguments,
    /// The hub's object store, `s3://bucket/prefix`, read only: leaves documents, stored receipts, vouchers.
    #[arg(long, env = "SPILLWAY_STORE_URL")]
    pub(crate) store_url: String,
    /// Namespace of the Settlements.
    #[arg(long, env = "POD_NAMESPACE", default_value = SYSTEM_NAMESPACE)]
    pub(crate) namespace: String,
    /// Health and metrics.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    /// It needs coins and no right, and must not be the poster's.
    #[command(flatten)]
    pub(crate) key: KeySource,
}

#[derive(Args)]
pub(crate) struct ShowOrdersArguments {
    #[command(flatten)]
    pub(crate) duty: DutyArguments,
    /// Challenges and leaving payers are looked for this often.
    #[arg(long, env = "SHOW_EVERY", default_value = "30s", value_parser = spillway_core::duration::parse)]
    pub(crate) every: Duration,
}

#[derive(Args)]
pub(crate) struct CollectArguments {
    #[command(flatten)]
    pub(crate) duty: DutyArguments,
    /// Collected this often. What is not collected counts against a payer's cap and deposit, and must be within the
    /// contract's withdraw delay.
    #[arg(long, env = "COLLECT_EVERY", default_value = "1h", value_parser = spillway_core::duration::parse)]
    pub(crate) every: Duration,
    /// Collect once, print how much came in, and end.
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Args)]
pub(crate) struct DeployArguments {
    #[arg(long, env = "RPC_URL", hide_env_values = true)]
    pub(crate) rpc_url: String,
    #[arg(long, env = "CHAIN_ID", default_value_t = 31337)]
    pub(crate) chain_id: u64,
    /// File with the private key of the owner, in hex.
    #[arg(long)]
    pub(crate) owner_key_file: PathBuf,
    /// File with the private key of the payer; the owner's when not given.
    #[arg(long)]
    pub(crate) payer_key_file: Option<PathBuf>,
    /// Account that may post.
    #[arg(long)]
    pub(crate) poster: Address,
    /// Address of the key that signs the payer's orders.
    #[arg(long)]
    pub(crate) order_key: Address,
    /// USD minted for the payer and deposited.
    #[arg(long, default_value = "1000")]
    pub(crate) deposit: MicroUsd,
    /// USD that the order key may spend a day.
    #[arg(long, default_value = "1000")]
    pub(crate) cap_per_day: MicroUsd,
    #[arg(long, default_value_t = 365)]
    pub(crate) order_key_days: u64,
    /// Seconds of one maturity epoch: a credit can be claimed after one to two of them.
    #[arg(long, default_value_t = 60)]
    pub(crate) window: u64,
    /// How batches move money; fixed for the contract's life.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) mode: Mode,
    /// Seconds between asking for a deposit back and getting it.
    #[arg(long, default_value_t = 3600)]
    pub(crate) withdraw_delay: u64,
    /// Seconds in which a challenge must be answered; a verdict may be appealed as long.
    #[arg(long, default_value_t = 3600)]
    pub(crate) answer_time: u64,
}

fn per_cent(text: &str) -> Result<f64, String> {
    let fits = |share: &f64| *share > 0.0 && *share <= 100.0;
    let share = text.parse().ok().filter(fits);
    share.ok_or_else(|| format!("`{text}` is not a share: write per cent, above 0 and at most 100, such as 1 or 0.5"))
}
