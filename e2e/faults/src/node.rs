//! A real anvil on a free loopback port, killed when dropped.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::{Address, U256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::signers::local::PrivateKeySigner;

pub const CHAIN_ID: u64 = 31337;

pub struct Anvil {
    process: Child,
    pub url: String,
    pub provider: DynProvider,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn binary() -> PathBuf {
    let installed = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../settlement/contracts/node_modules/.bin/anvil"
    );
    std::env::var_os("ANVIL").map_or_else(|| installed.into(), PathBuf::from)
}

impl Anvil {
    /// Blocks are mined on every transaction; a block is final two blocks later.
    pub async fn start() -> Self {
        Self::start_with(CHAIN_ID, 1).await
    }

    /// A block is safe one epoch and final two epochs of `slots` blocks later.
    pub async fn start_with(chain_id: u64, slots: u64) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let binary = binary();
        let process = Command::new(&binary)
            .args(["--port", &port.to_string(), "--chain-id", &chain_id.to_string()])
            .args(["--slots-in-an-epoch", &slots.to_string(), "--silent"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run `make install` there, or set ANVIL", binary.display()));
        let url = format!("http://127.0.0.1:{port}");
        let provider = ProviderBuilder::new().connect_http(url.parse().unwrap()).erased();
        let anvil = Self { process, url, provider };
        anvil.wait_until_it_answers().await;
        anvil
    }

    async fn wait_until_it_answers(&self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        for _ in 0..600 {
            ticks.tick().await;
            if self.provider.get_chain_id().await.is_ok() {
                return;
            }
        }
        panic!("anvil does not answer at {}", self.url);
    }

    pub async fn rpc(&self, method: &'static str, parameters: serde_json::Value) -> serde_json::Value {
        self.provider.raw_request(method.into(), parameters).await.unwrap()
    }

    pub async fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", serde_json::json!([U256::from(blocks)])).await;
    }

    /// Replaces the last `depth` blocks by as many empty ones.
    pub async fn reorganise(&self, depth: u64) {
        self.rpc("anvil_reorg", serde_json::json!([depth, []])).await;
    }

    pub async fn height(&self) -> u64 {
        self.provider.get_block_number().await.unwrap()
    }

    pub async fn mine_by_itself(&self, is_on: bool) {
        self.rpc("evm_setAutomine", serde_json::json!([is_on])).await;
    }

    pub async fn set_balance(&self, account: Address, wei: u128) {
        self.rpc("anvil_setBalance", serde_json::json!([account, U256::from(wei)]))
            .await;
    }

    pub async fn pass_time(&self, seconds: u64) {
        self.rpc("evm_increaseTime", serde_json::json!([seconds])).await;
        self.mine(1).await;
    }

    /// One block with exactly this timestamp (Unix seconds), later than the newest block's.
    pub async fn mine_at(&self, timestamp: u64) {
        self.rpc("evm_mine", serde_json::json!([timestamp])).await;
    }

    /// One block at the next day's noon (UTC): what a test does within one day of the chain cannot meet midnight.
    pub async fn mine_at_noon(&self) {
        let newest = self
            .provider
            .get_block_by_number(BlockNumberOrTag::Latest)
            .await
            .unwrap()
            .unwrap();
        let day = newest.header.timestamp / 86_400;
        self.mine_at((day + 1) * 86_400 + 43_200).await;
    }

    /// A fresh key with coins.
    pub async fn account(&self) -> PrivateKeySigner {
        let signer = PrivateKeySigner::random();
        let coins = U256::from(1_000_000_000_000_000_000_000_u128);
        self.rpc("anvil_setBalance", serde_json::json!([signer.address(), coins]))
            .await;
        signer
    }
}
