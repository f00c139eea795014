//! Which chain and contract an endpoint serves, held against what is pinned: by the settings, or by what most endpoints
//! said at the start.

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, keccak256};
use alloy::providers::{DynProvider, Provider};

use super::endpoint::{AskError, read};
use super::{Place, head};
use crate::contract::{SpillwaySettlement, TOKEN_DECIMALS, TestToken, VERSION};

/// The settings do not fit the chain.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("endpoint {endpoint} cannot be asked: {source}")]
    Ask { endpoint: usize, source: AskError },
    #[error("endpoint {endpoint} serves chain {found}, --chain-id is {wanted}")]
    ChainId { endpoint: usize, found: u64, wanted: u64 },
    #[error("endpoint {endpoint} serves a chain with genesis {found}, pinned is {wanted}")]
    Genesis { endpoint: usize, found: B256, wanted: B256 },
    #[error("endpoint {endpoint}: no code at --contract {contract}")]
    NoCode { endpoint: usize, contract: Address },
    #[error("endpoint {endpoint}: the contract's code hashes to {found}, pinned is {wanted}")]
    Code { endpoint: usize, found: B256, wanted: B256 },
    #[error("endpoint {endpoint}: the contract has version `{found}`, this poster knows `{VERSION}`")]
    Version { endpoint: usize, found: String },
    #[error("{answered} of {asked} endpoints answered alike; more than half must")]
    NoQuorum { answered: usize, asked: usize },
    #[error("the contract's token has {found} decimals; amounts are micro-USD, so it must have {TOKEN_DECIMALS}")]
    Decimals { found: u8 },
    #[error("--rpc-url is not an HTTP URL")]
    Url,
    #[error("give at least one --rpc-url")]
    NoEndpoint,
}

/// What an endpoint serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) chain_id: u64,
    pub(super) genesis: B256,
    /// Zero when there is no code.
    pub(super) code_hash: B256,
    pub(super) version: String,
    pub(super) decimals: u8,
}

/// What every endpoint must serve, besides chain id and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pins {
    pub(super) genesis: B256,
    pub(super) code_hash: B256,
}

impl Identity {
    pub(super) async fn ask(provider: DynProvider, contract: Address) -> Result<Self, AskError> {
        let chain_id = provider.get_chain_id().await?;
        let genesis = head::block(&provider, BlockNumberOrTag::Earliest).await?.hash;
        let code = provider.get_code_at(contract).await?;
        if code.is_empty() {
            return Ok(Self {
                chain_id,
                genesis,
                code_hash: B256::ZERO,
                version: String::new(),
                decimals: 0,
            });
        }
        let latest = BlockId::latest();
        let version = read(&provider, contract, SpillwaySettlement::VERSIONCall {}, latest).await?;
        let token = read(&provider, contract, SpillwaySettlement::tokenCall {}, latest).await?;
        let decimals = read(&provider, token, TestToken::decimalsCall {}, latest).await?;
        Ok(Self {
            chain_id,
            genesis,
            code_hash: keccak256(&code),
            version,
            decimals,
        })
    }

    /// What does not fit; pins that are not known yet fit everything.
    pub(super) fn misfit(
        &self,
        endpoint: usize,
        place: &Place,
        genesis: Option<B256>,
        code_hash: Option<B256>,
    ) -> Option<StartError> {
        let (found, contract) = (self.chain_id, place.contract);
        if found != place.chain_id {
            let wanted = place.chain_id;
            return Some(StartError::ChainId {
                endpoint,
                found,
                wanted,
            });
        }
        if let Some(wanted) = genesis.filter(|wanted| *wanted != self.genesis) {
            let found = self.genesis;
            return Some(StartError::Genesis {
                endpoint,
                found,
                wanted,
            });
        }
        if self.code_hash.is_zero() {
            return Some(StartError::NoCode { endpoint, contract });
        }
        if let Some(wanted) = code_hash.filter(|wanted| *wanted != self.code_hash) {
            let found = self.code_hash;
            return Some(StartError::Code {
                endpoint,
                found,
                wanted,
            });
        }
        if self.version != VERSION {
            let found = self.version.clone();
            return Some(StartError::Version { endpoint, found });
        }
        (self.decimals != TOKEN_DECIMALS).then_some(StartError::Decimals { found: self.decimals })
    }

    pub(super) fn pins(&self) -> Pins {
        Pins {
            genesis: self.genesis,
            code_hash: self.code_hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            chain_id: 1,
            genesis: B256::repeat_byte(1),
            code_hash: B256::repeat_byte(2),
            version: VERSION.to_owned(),
            decimals: TOKEN_DECIMALS,
        }
    }

    #[test]
    fn each_thing_that_differs_is_named() {
        let place = Place {
            chain_id: 1,
            contract: Address::ZERO,
        };
        let (genesis, code) = (Some(B256::repeat_byte(1)), Some(B256::repeat_byte(2)));
        assert!(identity().misfit(0, &place, genesis, code).is_none());
        assert!(identity().misfit(0, &place, None, None).is_none());
        let words = |identity: Identity| identity.misfit(3, &place, genesis, code).unwrap().to_string();
        for (broken, says) in [
            (
                Identity {
                    chain_id: 5,
                    ..identity()
                },
                "serves chain 5, --chain-id is 1",
            ),
            (
                Identity {
                    genesis: B256::ZERO,
                    ..identity()
                },
                "genesis 0x0000",
            ),
            (
                Identity {
                    code_hash: B256::ZERO,
                    ..identity()
                },
                "no code",
            ),
            (
                Identity {
                    code_hash: B256::repeat_byte(9),
                    ..identity()
                },
                "hashes to 0x0909",
            ),
            (
                Identity {
                    version: "0".to_owned(),
                    ..identity()
                },
                "version `0`",
            ),
            (
                Identity {
                    decimals: 18,
                    ..identity()
                },
                "18 decimals",
            ),
        ] {
            let words = words(broken);
            assert!(words.contains(says), "{words}");
        }
    }
}
