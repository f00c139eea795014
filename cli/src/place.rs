//! The chain that a command asks, as the hub's settings name it unless told otherwise.

use alloy_primitives::Address;
use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use spillway_crds::{DataClass, names};
use spillway_settlement::chain::{Chain, Confirm, Place, Reach};

use crate::connect::Connection;

/// ConfigMap that the hub's chart writes.
const HUB_SETTINGS: &str = "spillway-hub";

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ChainArguments {
    /// JSON-RPC endpoint of the chain; use ones that you trust. Repeat it: more than half must agree.
    #[arg(
        long = "rpc-url",
        env = "RPC_URL",
        hide_env_values = true,
        value_delimiter = ',',
        required = true
    )]
    rpc_urls: Vec<String>,
    /// Settlement contract (default: the one that the hub names).
    #[arg(long)]
    contract: Option<Address>,
    #[arg(long)]
    chain_id: Option<u64>,
    /// Block that counts as final.
    #[arg(long, value_enum, default_value = "finalized")]
    confirm: Confirm,
}

impl ChainArguments {
    /// The endpoint that transactions go to.
    pub(crate) fn sends_by(&self) -> anyhow::Result<&str> {
        let first = self.rpc_urls.first().context("--rpc-url (RPC_URL) is required")?;
        Ok(first)
    }
}

/// The settings that the hub's chart wrote.
pub(crate) async fn settings(client: &Client) -> anyhow::Result<ConfigMap> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    maps.get(HUB_SETTINGS).await.with_context(|| {
        format!(
            "read ConfigMap {}/{HUB_SETTINGS}: is this the hub, and is its chart installed?",
            names::SYSTEM_NAMESPACE
        )
    })
}

/// What holds for a job that names no data class; `None` when it cannot be asked.
pub(crate) async fn default_data_class(client: &Client) -> Option<DataClass> {
    let data = settings(client).await.ok()?.data?;
    // A hub whose chart is older has no such setting, and no default but Public.
    let class = data.get("defaultDataClass").map_or("Public", String::as_str);
    serde_json::from_value(class.into()).ok()
}

async fn place(connection: &Connection, arguments: &ChainArguments) -> anyhow::Result<Place> {
    if let (Some(chain_id), Some(contract)) = (arguments.chain_id, arguments.contract) {
        return Ok(Place { chain_id, contract });
    }
    let data = settings(&connection.client).await?.data.unwrap_or_default();
    let chain_id = data.get("chainId").context("the hub has no chainId setting")?;
    let contract = data.get("contract").context("the hub has no contract setting")?;
    Ok(Place {
        chain_id: arguments.chain_id.map_or_else(|| chain_id.parse(), Ok)?,
        contract: arguments.contract.map_or_else(|| contract.parse(), Ok)?,
    })
}

/// The chain, held against the settings; `account` is whose transactions would be sent.
pub(crate) async fn reach(
    connection: &Connection,
    arguments: &ChainArguments,
    account: Address,
) -> anyhow::Result<Chain> {
    let place = place(connection, arguments).await?;
    let chain = Chain::new(Reach::of(&arguments.rpc_urls, arguments.confirm), place, account)?;
    match chain.check().await {
        Ok(()) => Ok(chain),
        Err(error) => bail!("{error}: give other --rpc-url, --chain-id or --contract"),
    }
}
