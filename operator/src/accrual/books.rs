//! What the next batch is added to: nothing in ledger mode, what every account has in all in root mode.

use std::sync::Arc;

use alloy_primitives::{B256, keccak256};
use spillway_core::batch::{LeavesDocument, Totals};
use spillway_crds::{Settlement, SettlementMode};

use super::controller::{Accrual, AccrualError};

/// About 1 KiB a leaf, and 100 bytes an account.
const DOCUMENT_LIMIT: u64 = 64 << 20;

/// As of the newest batch.
#[derive(Clone, Debug)]
pub(super) enum Books {
    Ledger,
    Root(Arc<Totals>),
}

/// Totals and the data hash of the document that tells them.
pub(super) type Known = (B256, Arc<Totals>);

impl Accrual {
    /// Reads the newest batch's document once.
    pub(super) async fn books(&self, newest: Option<&Settlement>) -> Result<Books, AccrualError> {
        if let Some(settlement) = newest.filter(|settlement| settlement.spec.mode != self.mode) {
            return Err(AccrualError::Mode {
                sequence: settlement.spec.sequence,
                sealed: settlement.spec.mode,
                settings: self.mode,
            });
        }
        match (self.mode, newest) {
            (SettlementMode::Ledger, _) => Ok(Books::Ledger),
            (SettlementMode::Root, None) => Ok(Books::Root(Arc::default())),
            (SettlementMode::Root, Some(settlement)) => Ok(Books::Root(self.totals_with(settlement).await?)),
        }
    }

    async fn totals_with(&self, settlement: &Settlement) -> Result<Arc<Totals>, AccrualError> {
        let altered = || AccrualError::Altered(settlement.spec.data_hash.clone());
        let data_hash: B256 = settlement.spec.data_hash.parse().map_err(|_| altered())?;
        let mut known = self.totals.lock().await;
        if let Some((_, totals)) = known.as_ref().filter(|(of, _)| *of == data_hash) {
            return Ok(totals.clone());
        }
        let bytes = self.store.get(&settlement.spec.data_key, DOCUMENT_LIMIT).await?;
        if keccak256(&bytes) != data_hash {
            return Err(altered());
        }
        let totals = LeavesDocument::parse(&bytes)?.totals()?.ok_or_else(altered)?;
        let totals = Arc::new(totals);
        *known = Some((data_hash, totals.clone()));
        Ok(totals)
    }
}
