//! In place of the job controller: writes into the jobs' statuses which Settlement pays each attempt, with its proof.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};
use spillway_crds::money::format_bytes;
use spillway_crds::names::SYSTEM_NAMESPACE;
use spillway_crds::{InferenceJob, Settlement};
use spillway_operator::accrual::SealedAttempts;
use spillway_operator::store::HubStore;

const EVERY: Duration = Duration::from_millis(200);

/// Runs until it is dropped.
///
/// # Errors
/// When the API server or the store refuses.
pub async fn run(client: Client, tenant: String, store: HubStore, sealed: Arc<SealedAttempts>) -> anyhow::Result<()> {
    let jobs: Api<InferenceJob> = Api::namespaced(client.clone(), &tenant);
    let settlements: Api<Settlement> = Api::namespaced(client, SYSTEM_NAMESPACE);
    let known: Vec<(String, String)> = jobs
        .list_metadata(&ListParams::default())
        .await?
        .iter()
        .map(|job| (job.name_any(), job.uid().unwrap_or_default()))
        .collect();
    let (mut ticks, mut next) = (tokio::time::interval(EVERY), 1);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while let Some(settlement) = settlements.get_opt(&spillway_crds::names::settlement(next)).await? {
            mark(&jobs, &known, &settlement, &store, &sealed).await?;
            next += 1;
        }
    }
}

async fn mark(
    jobs: &Api<InferenceJob>,
    known: &[(String, String)],
    settlement: &Settlement,
    store: &HubStore,
    sealed: &SealedAttempts,
) -> anyhow::Result<()> {
    for (name, uid) in known {
        let pays = sealed.of_job(store, settlement, uid).await?;
        if pays.is_empty() {
            continue;
        }
        let mut job = jobs.get(name).await?;
        let shards = job.status.iter_mut().flat_map(|status| &mut status.shards);
        for shard in shards {
            let index = shard.index;
            for attempt in &mut shard.attempts {
                if let Some(proof) = pays.get(&(index, attempt.number)) {
                    attempt.settlement = Some(settlement.spec.sequence);
                    attempt.proof = Some(proof.iter().map(format_bytes).collect());
                }
            }
        }
        jobs.replace_status(name, &PostParams::default(), &job).await?;
    }
    Ok(())
}
