//! Leaves documents are kept for as long as anybody may dispute what they pay, then deleted, and the Settlement says so.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use spillway_crds::{Settlement, SettlementState, names};

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
                self.delete(settlement, now).await?;
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
        tracing::info!(sequence, "leaves document deleted: its retention is over");
        Ok(())
    }
}
