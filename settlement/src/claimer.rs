//! Claims by itself whenever gas takes less than its share of what matured. Anyone may call `claim` and only the
//! provider is paid, so the key needs coins for gas and no other right; it must not be the poster's, whose nonces are
//! counted by its log.

use std::time::Duration;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use spillway_core::earnings::{ClaimCost, GasShare};
use spillway_core::knowledge::Knowledge;
use spillway_core::money::MicroUsd;
use tokio_util::sync::CancellationToken;

use crate::chain::Earned;
use crate::claim::{CallError, Claimed, open, take};
use crate::claims::Claims;
use crate::ticks::Ticks;

/// When a claim is made.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// USD per coin of the chain.
    pub coin: MicroUsd,
    pub share: GasShare,
}

/// Whether to claim now, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Claim,
    /// Nothing has matured.
    Nothing,
    /// Gas would take too much; worth it from this many micro-USD.
    TooDear {
        cost: u128,
        worth_from: Option<u128>,
    },
    Unknown,
}

/// Decides from what the chain says.
pub fn decide(earned: Knowledge<Earned>, cost: Knowledge<ClaimCost>, terms: &Terms) -> Decision {
    let (Knowledge::Known(earned), Knowledge::Known(cost)) = (earned, cost) else {
        return Decision::Unknown;
    };
    let cost = cost.usd(terms.coin);
    match earned.claimable {
        0 => Decision::Nothing,
        claimable if terms.share.allows(claimable, cost) => Decision::Claim,
        _ => Decision::TooDear {
            cost,
            worth_from: terms.share.worth_from(cost),
        },
    }
}

/// One provider's claims.
#[derive(Debug)]
pub struct Claimer {
    pub claims: Claims,
    /// Endpoint that sends.
    pub rpc_url: String,
    pub provider: Address,
    pub signer: PrivateKeySigner,
    pub terms: Terms,
    pub every: Duration,
}

impl Claimer {
    /// Runs until cancelled; what failed is tried again after `every`.
    ///
    /// # Errors
    /// None: failures are logged.
    pub async fn run(self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = Ticks::every(self.every, cancelled);
        while ticks
            .pass("the claim failed; it is safe to repeat", || self.pass())
            .await
        {}
        Ok(())
    }

    /// Claims if that is worth it; what was paid.
    ///
    /// # Errors
    /// When the claim fails.
    pub async fn pass(&self) -> Result<Option<Claimed>, CallError> {
        let Knowledge::Known(found) = self.claims.of(self.provider).await else {
            tracing::info!(provider = %self.provider, decision = ?Decision::Unknown, "claim");
            return Ok(None);
        };
        let chain = &self.claims.chain;
        let cost = chain.claim_cost(self.provider, &found.calldata).await;
        let decision = decide(Knowledge::Known(found.earned), cost, &self.terms);
        tracing::info!(provider = %self.provider, ?decision, "claim");
        if decision != Decision::Claim {
            return Ok(None);
        }
        let endpoint = open(&chain.place, &self.rpc_url, self.signer.clone()).await?;
        let paid = take(&endpoint, chain.place.contract, self.provider, found).await?;
        tracing::info!(provider = %self.provider, paid_micro = paid.paid_micro, transaction = ?paid.transaction, "claimed");
        Ok(Some(paid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn earned(claimable: u128) -> Knowledge<Earned> {
        Knowledge::Known(Earned {
            in_window: 5,
            claimable,
            claimed: 0,
        })
    }

    #[test]
    fn a_claim_waits_until_gas_takes_less_than_its_share() {
        let terms = Terms {
            coin: MicroUsd(3_000_000_000),
            share: GasShare::default(),
        };
        let cost = Knowledge::Known(ClaimCost {
            gas: 60_000,
            wei_per_gas: 20_000_000_000,
        });
        let decide = |claimable| decide(earned(claimable), cost, &terms);
        assert_eq!(decide(0), Decision::Nothing);
        assert_eq!(
            decide(360_000_000),
            Decision::TooDear {
                cost: 3_600_000,
                worth_from: Some(360_000_001)
            }
        );
        assert_eq!(decide(360_000_001), Decision::Claim);
        assert_eq!(super::decide(Knowledge::Unknown, cost, &terms), Decision::Unknown);
        assert_eq!(
            super::decide(earned(1 << 60), Knowledge::Unknown, &terms),
            Decision::Unknown
        );
    }
}
