//! Leaves documents are kept for as long as anybody may dispute what they pay, then deleted, and the Settlement says so.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use spillway_crds::{Settlement, SettlementMode, SettlementState, StoredVouchers, names};

use super::AccrualError;
use crate::store::HubStore;

const PERIOD: SignedDuration = SignedDuration::from_hours(1);
const SETTLEMENTS_PER_PAGE: u32 = 50;

/// Looks once an hour.
#[derive(Debug)]
pub(super) struct Retention {
    settlements: Api<Settlement>,
    store: HubStore,
    /// Counted from finality.
    pub kept: SignedDuration,
    last: Mutex<Option<Timestamp>>,
}

/// Whether the leaves document of this Settlement may go: it is final for long enough, and every job carries its mark.
pub fn is_over(settlement: &Settlement, kept: SignedDuration, now: Timestamp) -> bool {
    let Some(status) = &settlement.status else { return false };
    let is_old = |time: &spillway_crds::Time| now.duration_since(time.0) > kept;
    status.state == SettlementState::Final
        && status.recorded
        && status.leaves_deleted_at.is_none()
        && status.finalized_at.as_ref().is_some_and(is_old)
}

impl Retention {
    pub fn new(settlements: Api<Settlement>, store: HubStore) -> Self {
        Self {
            settlements,
            store,
            kept: SignedDuration::MAX,
            last: Mutex::default(),
        }
    }

    pub async fn pass(&self, now: Timestamp) -> Result<(), AccrualError> {
        if !self.is_due(now) {
            return Ok(());
        }
        let mut page = ListParams::default().limit(SETTLEMENTS_PER_PAGE);
        loop {
            let listed = self.settlements.list(&page).await?;
            for settlement in listed.items.iter().filter(|one| is_over(one, self.kept, now)) {
                if self.is_superseded(settlement).await? {
                    self.delete(settlement, now).await?;
                }
            }
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        self.kept != SignedDuration::MAX && last.is_none_or(|last| now.duration_since(last) >= PERIOD)
    }

    /// In root mode the last final document proves every claim, and the newest tells what the next batch adds to.
    async fn is_superseded(&self, settlement: &Settlement) -> Result<bool, AccrualError> {
        if settlement.spec.mode == SettlementMode::Ledger {
            return Ok(true);
        }
        let next = names::settlement(settlement.spec.sequence + 1);
        let status = self.settlements.get_opt(&next).await?.and_then(|next| next.status);
        Ok(status.is_some_and(|status| status.state == SettlementState::Final))
    }

    /// The mark first: a document that is missing without it is a fault.
    async fn delete(&self, settlement: &Settlement, now: Timestamp) -> Result<(), AccrualError> {
        let patch = Patch::Merge(json!({ "status": { "leavesDeletedAt": spillway_crds::Time(now) } }));
        let parameters = PatchParams {
            field_manager: Some(names::OPERATOR_FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        let sequence = settlement.spec.sequence;
        self.settlements
            .patch_status(&names::settlement(sequence), &parameters, &patch)
            .await?;
        self.store.delete(&settlement.spec.data_key).await?;
        if settlement.spec.mode == SettlementMode::Root {
            self.store
                .delete(&StoredVouchers::key(&settlement.spec.header_hash))
                .await?;
        }
        tracing::info!(sequence, "leaves document deleted: its retention is over");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use spillway_crds::{SettlementSpec, SettlementStatus, Time};

    use super::*;

    #[test]
    fn a_document_goes_only_when_nobody_can_need_it_any_more() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let with = |change: fn(&mut SettlementStatus)| {
            let spec: SettlementSpec = serde_json::from_value(json!({
                "chainId": 1, "contract": "", "sequence": 1, "count": 1, "totalMicro": 1, "previous": "", "jobsRoot": "",
                "ledgerHash": "", "dataHash": "", "headerHash": "", "dataKey": "", "debits": [], "credits": [],
            }))
            .unwrap();
            let mut settlement = Settlement::new("settlement-1", spec);
            let mut status = SettlementStatus {
                state: SettlementState::Final,
                recorded: true,
                finalized_at: Some(Time(at(1_000))),
                ..SettlementStatus::default()
            };
            change(&mut status);
            settlement.status = Some(status);
            move |now| is_over(&settlement, SignedDuration::from_secs(60), at(now))
        };
        assert!(with(|_| {})(1_061));
        assert!(!with(|_| {})(1_060));
        assert!(!with(|status| status.state = SettlementState::Safe)(9_000));
        assert!(!with(|status| status.recorded = false)(9_000));
        assert!(!with(|status| status.finalized_at = None)(9_000));
        assert!(!with(|status| status.leaves_deleted_at = status.finalized_at.clone())(
            9_000
        ));
    }
}
