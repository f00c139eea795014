//! `claim`: pays a provider what has matured. Anyone may call it; only the provider is paid, so a repeat is harmless.

use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use serde::Serialize;

use crate::advance::TRANSACTION_GAS_MAX;
use crate::chain::Place;
use crate::claims::{Claimable, Claims};
use crate::contract::{Revert, SpillwaySettlement, VERSION};

const POLL: Duration = Duration::from_millis(250);
const MINED_TIMEOUT: Duration = Duration::from_secs(180);

/// What was paid; printed as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claimed {
    pub provider: Address,
    /// Micro-USD paid by this call.
    pub paid_micro: u128,
    /// Micro-USD that still mature.
    pub pending_micro: u128,
    /// None when nothing had matured.
    pub transaction: Option<B256>,
}

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("--rpc-url is not an HTTP URL")]
    Url,
    #[error("the endpoint serves chain {found}, wanted is {wanted}")]
    ChainId { found: u64, wanted: u64 },
    #[error("{contract} has version `{found}`, known is `{VERSION}`")]
    Version { contract: Address, found: String },
    #[error(
        "what the provider can claim is not known: the chain, or in root mode a leaves document, cannot be asked; the log says which"
    )]
    Unknown,
    #[error(transparent)]
    Rpc(#[from] alloy::transports::TransportError),
    #[error(transparent)]
    Contract(#[from] alloy::contract::Error),
    #[error("{}: {}", .0.reason, .0.message)]
    Reverts(Revert),
    #[error("transaction {0} was mined and reverted")]
    Reverted(B256),
    #[error("transaction {0} is not mined after 180 s: it may still be; the call is safe to repeat")]
    NotMined(B256),
    #[error("transaction {0} was mined without a contract address")]
    NothingDeployed(B256),
}

/// Claims for `provider`, paying gas with `signer`; `rpc_url` sends.
///
/// # Errors
/// When the chain does not fit, chain or documents cannot be asked, or the call fails.
pub async fn claim(
    claims: &Claims,
    rpc_url: &str,
    provider: Address,
    signer: PrivateKeySigner,
) -> Result<Claimed, CallError> {
    let endpoint = open(&claims.chain.place, rpc_url, signer).await?;
    let found = claims.of(provider).await.known().ok_or(CallError::Unknown)?;
    take(&endpoint, claims.chain.place.contract, provider, found).await
}

/// An endpoint that signs and sends to a settlement contract of the known version.
pub(crate) async fn open(place: &Place, rpc_url: &str, signer: PrivateKeySigner) -> Result<DynProvider, CallError> {
    let Place { chain_id, contract } = *place;
    let endpoint = connect(rpc_url, chain_id, signer).await?;
    let found = SpillwaySettlement::new(contract, &endpoint).VERSION().call().await?;
    if found == VERSION {
        Ok(endpoint)
    } else {
        Err(CallError::Version { contract, found })
    }
}

/// Claims what is known to be claimable.
pub(crate) async fn take(
    endpoint: &DynProvider,
    contract: Address,
    provider: Address,
    found: Claimable,
) -> Result<Claimed, CallError> {
    let instance = SpillwaySettlement::new(contract, endpoint);
    let before = instance.balances(provider).call().await?;
    let transaction = match found.earned.claimable {
        0 => None,
        _ => Some(call(endpoint, contract, found.calldata).await?),
    };
    let after = instance.balances(provider).call().await?;
    Ok(Claimed {
        provider,
        paid_micro: after.claimed.saturating_sub(before.claimed),
        pending_micro: found.earned.in_window,
        transaction,
    })
}

/// An endpoint that fills in nonce and fees and signs.
pub(crate) async fn connect(rpc_url: &str, chain_id: u64, signer: PrivateKeySigner) -> Result<DynProvider, CallError> {
    let url = rpc_url.parse().map_err(|_| CallError::Url)?;
    let provider = ProviderBuilder::new()
        .with_simple_nonce_management()
        .wallet(signer)
        .connect_http(url)
        .erased();
    let found = provider.get_chain_id().await?;
    if found == chain_id {
        Ok(provider)
    } else {
        Err(CallError::ChainId {
            found,
            wanted: chain_id,
        })
    }
}

/// Calls a contract and waits until it is mined; returns the transaction's hash.
pub(crate) async fn call(provider: &DynProvider, to: Address, calldata: Bytes) -> Result<B256, CallError> {
    send(provider, TransactionRequest::default().to(to).input(calldata.into())).await
}

/// Sends and polls the receipt ourselves: alloy's own waiting can hang on a transaction that was replaced or dropped.
pub(crate) async fn send(provider: &DynProvider, request: TransactionRequest) -> Result<B256, CallError> {
    // The block that mines it may do more than the one that was asked: an epoch's first touch of an account rolls it over.
    let gas = provider.estimate_gas(request.clone()).await.map_err(refused)?;
    let room = gas.saturating_add(gas / 4).min(TRANSACTION_GAS_MAX);
    let request = request.gas_limit(room.max(gas));
    let hash = *provider.send_transaction(request).await.map_err(refused)?.tx_hash();
    match tokio::time::timeout(MINED_TIMEOUT, mined(provider, hash)).await {
        Err(_) => Err(CallError::NotMined(hash)),
        Ok(succeeded) => {
            if succeeded? {
                Ok(hash)
            } else {
                Err(CallError::Reverted(hash))
            }
        }
    }
}

async fn mined(provider: &DynProvider, hash: B256) -> Result<bool, CallError> {
    let mut ticks = tokio::time::interval(POLL);
    loop {
        ticks.tick().await;
        if let Some(receipt) = provider.get_transaction_receipt(hash).await? {
            return Ok(receipt.status());
        }
    }
}

pub(crate) fn refused(error: alloy::transports::TransportError) -> CallError {
    match error.as_error_resp().and_then(|answer| answer.as_revert_data()) {
        Some(data) => CallError::Reverts(Revert::decode(&data)),
        None => CallError::Rpc(error),
    }
}
