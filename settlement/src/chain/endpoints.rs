//! The RPC endpoints: reads fall over to the next one, finality needs most of them, all are checked at start.

use std::future::Future;
use std::time::Duration;

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::Address;
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::transports::{RpcError, TransportErrorKind};
use spillway_core::knowledge::Knowledge;

use super::Place;
use crate::contract::{SpillwaySettlement, VERSION};

const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Block that counts as final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Confirm {
    Finalized,
    Safe,
    /// For development chains: a reorg can take it back.
    Latest,
}

impl Confirm {
    pub(super) fn block(self) -> BlockId {
        self.tag().into()
    }

    pub(super) fn tag(self) -> BlockNumberOrTag {
        match self {
            Self::Finalized => BlockNumberOrTag::Finalized,
            Self::Safe => BlockNumberOrTag::Safe,
            Self::Latest => BlockNumberOrTag::Latest,
        }
    }
}

/// Why an endpoint gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Rpc(#[from] RpcError<TransportErrorKind>),
    #[error(transparent)]
    Contract(#[from] alloy::contract::Error),
    #[error("no answer within {} s", ASK_TIMEOUT.as_secs())]
    Timeout,
    #[error("no contract at this address")]
    NoContract,
    #[error("malformed answer: {0}")]
    Malformed(String),
}

/// The settings do not fit the chain.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("endpoint {endpoint} cannot be asked: {source}")]
    Ask { endpoint: usize, source: AskError },
    #[error("endpoint {endpoint} serves chain {found}, --chain-id is {wanted}")]
    ChainId { endpoint: usize, found: u64, wanted: u64 },
    #[error("endpoint {endpoint}: no code at --contract {contract}")]
    NoCode { endpoint: usize, contract: Address },
    #[error("endpoint {endpoint}: the contract has version `{found}`, this poster knows `{VERSION}`")]
    Version { endpoint: usize, found: String },
    #[error("the contract's poster is {found}, our key is {ours}: the owner must call setPoster")]
    Poster { found: Address, ours: Address },
    #[error("--rpc-url is not an HTTP URL")]
    Url,
    #[error("give at least one --rpc-url")]
    NoEndpoint,
}

/// The chain as this poster reaches it. Endpoints are named by their place in the list: URLs may hold secrets.
#[derive(Clone, Debug)]
pub struct Chain {
    pub(super) endpoints: Vec<DynProvider>,
    pub place: Place,
    pub poster: Address,
    pub(super) confirm: Confirm,
}

impl Chain {
    /// # Errors
    /// When there is no URL or one is malformed.
    pub fn new(urls: &[String], place: Place, poster: Address, confirm: Confirm) -> Result<Self, StartError> {
        let endpoints: Vec<DynProvider> = urls.iter().map(|url| connect(url)).collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(StartError::NoEndpoint);
        }
        Ok(Self {
            endpoints,
            place,
            poster,
            confirm,
        })
    }

    /// Holds chain id, code and version of every endpoint, and the contract's poster, against the settings.
    ///
    /// # Errors
    /// The first that does not fit, or an endpoint that does not answer.
    pub async fn check(&self) -> Result<(), StartError> {
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            self.check_endpoint(index, endpoint).await?;
        }
        let contract = SpillwaySettlement::new(self.place.contract, &self.endpoints[0]);
        let found = within(async { Ok(contract.poster().call().await?) }).await;
        let found = found.map_err(|source| StartError::Ask { endpoint: 0, source })?;
        if found == self.poster {
            Ok(())
        } else {
            Err(StartError::Poster {
                found,
                ours: self.poster,
            })
        }
    }

    async fn check_endpoint(&self, index: usize, provider: &DynProvider) -> Result<(), StartError> {
        let ask = |source| StartError::Ask {
            endpoint: index,
            source,
        };
        let Place {
            chain_id: wanted,
            contract,
        } = self.place;
        let found = within(async { Ok(provider.get_chain_id().await?) })
            .await
            .map_err(ask)?;
        if found != wanted {
            return Err(StartError::ChainId {
                endpoint: index,
                found,
                wanted,
            });
        }
        let code = within(async { Ok(provider.get_code_at(contract).await?) })
            .await
            .map_err(ask)?;
        if code.is_empty() {
            return Err(StartError::NoCode {
                endpoint: index,
                contract,
            });
        }
        let instance = SpillwaySettlement::new(contract, provider);
        let found = within(async { Ok(instance.VERSION().call().await?) })
            .await
            .map_err(ask)?;
        if found == VERSION {
            Ok(())
        } else {
            Err(StartError::Version { endpoint: index, found })
        }
    }

    /// The answer of the first endpoint that gives one.
    pub(super) async fn first<T, Answer>(&self, fact: &str, ask: impl Fn(DynProvider) -> Answer) -> Knowledge<T>
    where
        Answer: Future<Output = Result<T, AskError>>,
    {
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            match within(ask(endpoint.clone())).await {
                Ok(value) => return Knowledge::Known(value),
                Err(error) => tracing::warn!(endpoint = index, fact, %error, "an endpoint cannot be asked"),
            }
        }
        Knowledge::Unknown
    }

    /// The answer that more than half of all endpoints give; one that is silent counts against.
    pub(super) async fn most<T: PartialEq, Answer>(
        &self,
        fact: &str,
        ask: impl Fn(DynProvider) -> Answer,
    ) -> Knowledge<T>
    where
        Answer: Future<Output = Result<T, AskError>>,
    {
        let mut answers = Vec::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            match within(ask(endpoint.clone())).await {
                Ok(value) => answers.push(value),
                Err(error) => tracing::debug!(endpoint = index, fact, %error, "an endpoint cannot be asked"),
            }
        }
        majority(answers, self.endpoints.len()).into()
    }
}

fn connect(url: &str) -> Result<DynProvider, StartError> {
    let url = url.parse().map_err(|_| StartError::Url)?;
    Ok(ProviderBuilder::new()
        .disable_recommended_fillers()
        .connect_http(url)
        .erased())
}

/// An endpoint that is silent must not hold the poster.
pub(super) async fn within<T>(answer: impl Future<Output = Result<T, AskError>>) -> Result<T, AskError> {
    tokio::time::timeout(ASK_TIMEOUT, answer)
        .await
        .unwrap_or(Err(AskError::Timeout))
}

fn majority<T: PartialEq>(mut answers: Vec<T>, asked: usize) -> Option<T> {
    let enough = |candidate: &T| answers.iter().filter(|answer| *answer == candidate).count() * 2 > asked;
    let index = answers.iter().position(enough)?;
    Some(answers.swap_remove(index))
}

#[cfg(test)]
mod tests {
    use super::majority;

    #[test]
    fn finality_needs_more_than_half_of_all_endpoints() {
        assert_eq!(majority(vec![1], 1), Some(1));
        assert_eq!(majority(vec![1, 2], 2), None);
        assert_eq!(majority(vec![1, 2, 2], 3), Some(2));
        assert_eq!(majority(vec![1], 2), None, "a silent endpoint counts against");
        assert_eq!(majority(Vec::<u8>::new(), 1), None);
    }
}
