//! What a provider can claim, and the call that claims it, in both modes.
//!
//! Root mode needs no hub: the header is in the contract's `Posted` event, and the document that it names tells what every
//! account has earned. The proof is made here, and held against the header's root before anybody pays gas for it.

use alloy::primitives::{Address, Bytes};
use spillway_core::batch::{Contents, Header};
use spillway_core::knowledge::Knowledge;
use spillway_core::reconcile::Document;
use spillway_crds::SettlementMode;

use crate::chain::{BlockFact, Chain, Confirm, Earned, Place, Reach, RootBooks, StartError};
use crate::contract::{claim_calldata, claim_with_proof_calldata};
use crate::reconcile::Documents;

/// A provider's books, and the call that pays what is claimable; the call does nothing while that is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimable {
    pub earned: Earned,
    pub calldata: Bytes,
}

/// Asks chain and documents.
#[derive(Debug)]
pub struct Claims {
    pub chain: Chain,
    /// Only root mode needs them.
    documents: Option<Documents>,
}

/// A header that is in the ring, and what its document says a provider has earned.
struct Proven {
    header: Header,
    cumulative: u128,
    calldata: Bytes,
}

impl Claims {
    pub fn new(chain: Chain, documents: Option<Documents>) -> Self {
        Self { chain, documents }
    }

    /// By one endpoint, at its newest block: what has matured is final already. `account` would send.
    ///
    /// # Errors
    /// When the URL is malformed. Nothing is asked yet.
    pub fn by(
        rpc_url: &str,
        from_block: u64,
        place: Place,
        account: Address,
        documents: Option<Documents>,
    ) -> Result<Self, StartError> {
        let reach = Reach {
            from_block,
            ..Reach::of(&[rpc_url.to_owned()], Confirm::Latest)
        };
        Ok(Self::new(Chain::new(reach, place, account)?, documents))
    }

    /// In ledger mode at the newest block that most endpoints have; in root mode at the one that counts as final.
    pub async fn of(&self, provider: Address) -> Knowledge<Claimable> {
        let Knowledge::Known(mode) = self.chain.mode().await else {
            return Knowledge::Unknown;
        };
        let at = match mode {
            SettlementMode::Ledger => self.chain.common_block().await,
            SettlementMode::Root => self.chain.final_block().await,
        };
        let Knowledge::Known(at) = at else {
            return Knowledge::Unknown;
        };
        let Knowledge::Known(earned) = self.chain.earned(provider, at).await else {
            return Knowledge::Unknown;
        };
        match mode {
            SettlementMode::Ledger => Knowledge::Known(Claimable {
                earned,
                calldata: claim_calldata(provider),
            }),
            SettlementMode::Root => self.of_root(provider, earned.claimed, at).await,
        }
    }

    async fn of_root(&self, provider: Address, claimed: u128, at: BlockFact) -> Knowledge<Claimable> {
        let Knowledge::Known(books) = self.chain.root_books(at).await else {
            return Knowledge::Unknown;
        };
        let (posted, matured) = (books.next_sequence - 1, books.final_end.saturating_sub(1));
        let Knowledge::Known(newest) = self.proven(posted, provider).await else {
            return Knowledge::Unknown;
        };
        let earned = newest.as_ref().map_or(0, |newest| newest.cumulative);
        if matured == posted {
            return Knowledge::Known(claimable(earned, newest, claimed, &books));
        }
        let matured = self.proven(matured, provider).await;
        matured.map(|matured| claimable(earned, matured, claimed, &books))
    }

    /// `None` before the first batch, and when the document does not stand for the header's root.
    async fn proven(&self, sequence: u64, provider: Address) -> Knowledge<Option<Proven>> {
        if sequence == 0 {
            return Knowledge::Known(None);
        }
        let Some(documents) = &self.documents else {
            tracing::error!("the contract is in root mode: name where the leaves documents lie");
            return Knowledge::Unknown;
        };
        let Knowledge::Known(Some(posted)) = self.chain.archived(sequence).await else {
            return Knowledge::Unknown;
        };
        let header = posted.header;
        let document = documents.sealed(header.dataHash).await;
        let Knowledge::Known(Document::Leaves(contents)) = document else {
            tracing::warn!(sequence, data_hash = %header.dataHash, "the leaves document cannot be read");
            return Knowledge::Unknown;
        };
        Knowledge::Known(prove(header, &contents, provider))
    }
}

fn prove(header: Header, contents: &Contents, provider: Address) -> Option<Proven> {
    let tree = contents.totals.as_ref()?.pay_tree()?;
    if (tree.root(), tree.total()) != (header.payRoot, header.cumulative) {
        tracing::error!(
            sequence = header.sequence,
            "the document is not what payRoot stands for: dispute the batch (`challengePay`)"
        );
        return None;
    }
    let (cumulative, proof) = tree.proof(provider)?;
    Some(Proven {
        calldata: claim_with_proof_calldata(&header, provider, cumulative, proof),
        header,
        cumulative,
    })
}

/// As the contract decides it: no more than vouchers brought, and no more than the header's own total.
fn claimable(posted: u128, matured: Option<Proven>, claimed: u128, books: &RootBooks) -> Claimable {
    let (claimable, calldata) = match matured {
        Some(matured) => {
            let funds = books.collected.min(matured.header.cumulative);
            let owed = matured.cumulative.saturating_sub(claimed);
            (owed.min(funds.saturating_sub(books.paid)), matured.calldata)
        }
        None => (0, Bytes::new()),
    };
    Claimable {
        earned: Earned {
            in_window: posted.saturating_sub(claimed).saturating_sub(claimable),
            claimable,
            claimed,
        },
        calldata,
    }
}
