//! anvil with a block a second, a deployed contract, and a proxy that counts the calls of the settlement process.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy::primitives::U256;
use alloy::providers::{Provider, ProviderBuilder};
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use spillway_settlement::chain::{Chain, Confirm, Place, Reach};
use spillway_settlement::deploy::{Deployed, Mode, Plan, deploy};
use tokio::task::JoinSet;

pub const CHAIN_ID: u64 = 31337;
/// 1,000,000,000 USD.
pub const DEPOSIT: u64 = 1_000_000_000_000_000;

pub struct Ground {
    anvil: Child,
    pub url: String,
    /// What the settlement process is told.
    pub counted_url: String,
    calls: Arc<AtomicU64>,
    pub deployed: Deployed,
    pub mode: Mode,
    pub poster: PrivateKeySigner,
    /// Signs for the payer.
    pub order_key: PrivateKeySigner,
    _proxy: JoinSet<()>,
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.anvil.kill();
        let _ = self.anvil.wait();
    }
}

impl Ground {
    /// # Errors
    /// When anvil does not start or the contract is not deployed.
    pub async fn start(binary: &Path, mode: Mode) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let anvil = Command::new(binary)
            .args([
                "--port",
                &port.to_string(),
                "--block-time",
                "1",
                "--slots-in-an-epoch",
                "1",
                "--silent",
            ])
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| {
                format!(
                    "{}: run `make install` in settlement/contracts, or set ANVIL",
                    binary.display()
                )
            })?;
        let url = format!("http://127.0.0.1:{port}");
        let (owner, payer) = (funded(&url).await?, funded(&url).await?);
        let (poster, order_key) = (PrivateKeySigner::random(), PrivateKeySigner::random());
        let plan = Plan {
            chain_id: CHAIN_ID,
            mode,
            poster: poster.address(),
            order_key: order_key.address(),
            deposit_micro: DEPOSIT,
            cap_per_day_micro: DEPOSIT,
            order_key_expiry: 4_000_000_000,
            window: 60,
            withdraw_delay: 3600,
            answer_time: 3600,
        };
        let deployed = deploy(&url, plan, owner, payer).await?;
        let calls = Arc::new(AtomicU64::new(0));
        let (counted_url, proxy) = count(url.clone(), calls.clone()).await?;
        Ok(Self {
            anvil,
            url,
            counted_url,
            calls,
            deployed,
            mode,
            poster,
            order_key,
            _proxy: proxy,
        })
    }

    pub fn place(&self) -> Place {
        Place {
            chain_id: CHAIN_ID,
            contract: self.deployed.contract,
        }
    }

    /// The chain as the settlement process reaches it.
    ///
    /// # Errors
    /// None in practice: the URL is ours.
    pub fn counted(&self) -> anyhow::Result<Chain> {
        self.reach(&self.counted_url)
    }

    /// The same, not counted.
    ///
    /// # Errors
    /// None in practice: the URL is ours.
    pub fn direct(&self) -> anyhow::Result<Chain> {
        self.reach(&self.url)
    }

    /// The chain at any endpoint.
    ///
    /// # Errors
    /// When the URL is malformed.
    pub fn reach(&self, url: &str) -> anyhow::Result<Chain> {
        Ok(Chain::new(
            Reach::of(&[url.to_owned()], Confirm::Finalized),
            self.place(),
            self.poster.address(),
        )?)
    }

    /// JSON-RPC requests of the settlement process so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

/// A key with coins, once anvil answers.
async fn funded(url: &str) -> anyhow::Result<PrivateKeySigner> {
    let provider = ProviderBuilder::new().connect_http(url.parse()?);
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..600 {
        ticks.tick().await;
        if provider.get_chain_id().await.is_ok() {
            let signer = PrivateKeySigner::random();
            let coins = U256::from(1_000_000_000_000_000_000_000_u128);
            let () = provider
                .raw_request("anvil_setBalance".into(), (signer.address(), coins))
                .await?;
            return Ok(signer);
        }
    }
    bail!("anvil does not answer at {url}")
}

#[derive(Clone)]
struct Upstream {
    url: String,
    client: reqwest::Client,
    calls: Arc<AtomicU64>,
}

/// A loopback endpoint that hands every request on to `url`.
async fn count(url: String, calls: Arc<AtomicU64>) -> anyhow::Result<(String, JoinSet<()>)> {
    let upstream = Upstream {
        url,
        client: reqwest::Client::new(),
        calls,
    };
    let router = Router::new().route("/", post(hand_on)).with_state(upstream);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the proxy ended");
        }
    });
    Ok((format!("http://{address}"), serving))
}

async fn hand_on(State(upstream): State<Upstream>, body: Bytes) -> Result<impl IntoResponse, StatusCode> {
    // A batch is as many calls as it holds.
    let requests = serde_json::from_slice(&body).map_or(1, |json: serde_json::Value| {
        json.as_array().map_or(1, |batch| batch.len() as u64)
    });
    upstream.calls.fetch_add(requests, Ordering::Relaxed);
    let request = upstream
        .client
        .post(&upstream.url)
        .header(header::CONTENT_TYPE, "application/json");
    let answer = request.body(body).send().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let bytes = answer.bytes().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes))
}
