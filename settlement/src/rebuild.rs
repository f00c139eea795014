//! A Settlement that was lost, made again: its header is in the contract's `Posted` event, its entries follow from the leaves
//! document, or stand in the calldata that posted it. Nothing is believed that does not hash to what the contract holds.

use alloy::primitives::B256;
use alloy::sol_types::SolCall;
use spillway_core::batch::{Contents, Header, LeavesDocument, SealError, entries, jobs_root, ledger_hash};
use spillway_core::knowledge::Knowledge;
use spillway_core::reconcile::Document;
use spillway_crds::SettlementSpec;
use spillway_crds::money::ConversionError;

use crate::chain::{Archived, Chain, Place};
use crate::contract::{SpillwaySettlement, posted_header};
use crate::reconcile::Documents;

/// Why a posted batch cannot be made again.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the chain could not be asked")]
    Unknown,
    #[error("no final Posted event names it: is --from-block too high?")]
    NotPosted,
    #[error("its leaves document is not in the store, and the transaction that posted it is not a call of `post`")]
    NoEntries,
    #[error("what the store holds does not hash to what the contract booked")]
    Altered,
    #[error(transparent)]
    Sums(#[from] SealError),
    #[error(transparent)]
    Spec(#[from] ConversionError),
}

/// Packed debits and credits.
type Entries = (Vec<B256>, Vec<B256>);

/// The spec of the batch that the contract booked at `sequence`.
///
/// # Errors
/// When the chain cannot be asked, or nothing that is left tells what the batch pays.
pub async fn rebuild(
    chain: &Chain,
    documents: Option<&Documents>,
    sequence: u64,
) -> Result<SettlementSpec, RebuildError> {
    let posted = match chain.archived(sequence).await {
        Knowledge::Known(Some(posted)) => posted,
        Knowledge::Known(None) => return Err(RebuildError::NotPosted),
        Knowledge::Unknown => return Err(RebuildError::Unknown),
    };
    let entries = match document(documents, &posted.header).await {
        Some(contents) => of_leaves(&contents, &posted.header)?,
        None => of_calldata(chain, &posted).await?,
    };
    spec(&chain.place, &posted, entries)
}

async fn document(documents: Option<&Documents>, header: &Header) -> Option<Contents> {
    match documents?.sealed(header.dataHash).await {
        Knowledge::Known(Document::Leaves(contents)) => Some(contents),
        _ => None,
    }
}

fn of_leaves(contents: &Contents, header: &Header) -> Result<Entries, RebuildError> {
    if jobs_root(&contents.leaves) != Some(header.jobsRoot) {
        return Err(RebuildError::Altered);
    }
    Ok(entries(&contents.leaves)?)
}

/// Ledger mode: who is debited and credited stands in the transaction.
async fn of_calldata(chain: &Chain, posted: &Archived) -> Result<Entries, RebuildError> {
    let Knowledge::Known(input) = chain.calldata(posted.inclusion.transaction).await else {
        return Err(RebuildError::Unknown);
    };
    let call = input.and_then(|input| SpillwaySettlement::postCall::abi_decode(&input).ok());
    let call = call.filter(|call| posted_header(&call.header) == posted.header);
    call.map(|call| (call.debits, call.credits))
        .ok_or(RebuildError::NoEntries)
}

fn spec(place: &Place, posted: &Archived, (debits, credits): Entries) -> Result<SettlementSpec, RebuildError> {
    let header = &posted.header;
    let is_ledger = header.payRoot.is_zero();
    let booked = header.hash(place.chain_id, place.contract) == posted.header_hash;
    if !booked || is_ledger && ledger_hash(&debits, &credits) != header.ledgerHash {
        return Err(RebuildError::Altered);
    }
    let data_key = LeavesDocument::key(header.dataHash);
    Ok(SettlementSpec::from_header(
        place.chain_id,
        place.contract,
        header,
        data_key,
        (&debits, &credits),
    )?)
}
