//! A provider's counts are not kept, they are counted: one object per verdict lies in the store and outlives its job,
//! so that a repeated or lost write, a restart or a deleted job never counts twice or not at all.

use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use spillway_crds::{GpuProvider, ReputationFact, names};
use tokio_util::sync::CancellationToken;

use crate::keys;
use crate::store::{HubStore, StoreError};

const PERIOD: Duration = Duration::from_secs(30);

/// Counts of all verdicts over a provider.
///
/// # Errors
/// `Unavailable`: the last known counts stay.
pub async fn reputation_counts(store: &HubStore, provider: &str) -> Result<ReputationFact, StoreError> {
    let count = async |accepted| store.count(&keys::verdicts_prefix(provider, accepted)).await;
    let (accepted, rejected) = futures::future::try_join(count(true), count(false)).await?;
    Ok(ReputationFact { accepted, rejected })
}

/// Writes changed counts into `GpuProvider.status.reputation`, until cancelled. For the leader alone.
///
/// # Errors
/// None today: what cannot be read or written now is tried again.
pub async fn keep_reputation(client: Client, store: HubStore, cancelled: CancellationToken) -> anyhow::Result<()> {
    let providers: Api<GpuProvider> = Api::all(client);
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return Ok(()),
            _ = ticks.tick() => {},
        }
        match providers.list(&ListParams::default()).await {
            Ok(listed) => refresh_all(&providers, &store, &listed.items).await,
            Err(error) => tracing::warn!(%error, "providers cannot be listed now"),
        }
    }
}

async fn refresh_all(api: &Api<GpuProvider>, store: &HubStore, providers: &[GpuProvider]) {
    for provider in providers {
        let name = provider.name_any();
        match reputation_counts(store, &name).await {
            Ok(counts) if is_news(provider, &counts) => write(api, &name, &counts).await,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, provider = name, "verdicts cannot be counted now"),
        }
    }
}

fn is_news(provider: &GpuProvider, counts: &ReputationFact) -> bool {
    provider
        .status
        .as_ref()
        .map(|status| &status.reputation)
        .unwrap_or(&ReputationFact::default())
        != counts
}

/// Touches no other field: the provider controller writes those.
async fn write(api: &Api<GpuProvider>, name: &str, counts: &ReputationFact) {
    let patch = Patch::Merge(json!({ "status": { "reputation": counts } }));
    let parameters = PatchParams {
        field_manager: Some(names::OPERATOR_FIELD_MANAGER.to_owned()),
        ..Default::default()
    };
    if let Err(error) = api.patch_status(name, &parameters, &patch).await {
        tracing::warn!(%error, provider = name, "reputation cannot be written now");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spillway_crds::{GpuProviderSpec, GpuProviderStatus};

    use super::*;

    #[test]
    fn unchanged_counts_are_not_written() {
        let spec: GpuProviderSpec =
            serde_json::from_value(json!({"class": "Private", "region": "eu", "payoutAddress": "0x0"})).unwrap();
        let mut provider = GpuProvider::new("a", spec);
        let (none, some) = (
            ReputationFact::default(),
            ReputationFact {
                accepted: 2,
                rejected: 1,
            },
        );
        assert!(!is_news(&provider, &none) && is_news(&provider, &some));
        provider.status = Some(GpuProviderStatus {
            reputation: some.clone(),
            ..GpuProviderStatus::default()
        });
        assert!(is_news(&provider, &none) && !is_news(&provider, &some));
    }
}
