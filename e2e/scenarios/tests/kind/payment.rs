//! From the manifest to claimed money.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use spillway_crds::{AttemptKind, InferenceJob, job_condition};
use spillway_e2e_scenarios::{
    Holdings, Ledger, Scene, TENANT, golden, invoice_total, leaves, plugin, plugin_json, until,
};

const TEXTS: usize = 16;
const SETTLED_WITHIN: Duration = Duration::from_secs(360);
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Each shard has one accepted Work and one accepted Check, by different owners.
fn check_owners(job: &InferenceJob) -> anyhow::Result<()> {
    let status = job.status.as_ref().context("no status")?;
    ensure!(status.shards.len() == 2, "{} shards", status.shards.len());
    for shard in &status.shards {
        let accepted = shard.attempts.iter().filter(|attempt| attempt.amount_micro.is_some());
        let owners: BTreeMap<AttemptKind, &str> = accepted
            .map(|attempt| (attempt.kind, attempt.provider.as_deref().unwrap_or_default()))
            .collect();
        let (work, check) = (owners.get(&AttemptKind::Work), owners.get(&AttemptKind::Check));
        ensure!(
            owners.len() == 2 && work.is_some() && check.is_some() && work != check,
            "owners are {owners:?}"
        );
    }
    Ok(())
}

async fn check_results(scene: &Scene, job: &InferenceJob) -> anyhow::Result<()> {
    let results = job
        .status
        .as_ref()
        .and_then(|status| status.results.clone())
        .context("no results")?;
    ensure!(
        results.uri == format!("s3://tenant/{}/results.jsonl", scene.name),
        "results lie at {}",
        results.uri
    );
    let published = scene.published().await?;
    ensure!(
        results.digest == format!("sha256:{}", hex::encode(Sha256::digest(&published))),
        "another digest"
    );
    let worst = golden::min_cosine(&published, TEXTS)?;
    ensure!(worst >= 0.9999, "the worst cosine is {worst}");
    Ok(())
}

/// Not a micro-unit is made or lost on the way from the payer's deposit to what providers earned.
fn check_sums(before: &Holdings, after: &Holdings, total: u128) -> anyhow::Result<()> {
    let sum = |held: &BTreeMap<String, u128>| held.values().sum::<u128>();
    let credited = sum(&after.earned) - sum(&before.earned);
    let debited = before.deposit - after.deposit;
    ensure!(total > 0, "nothing was owed");
    ensure!(
        debited == total && credited == total,
        "invoice {total}, debited {debited}, credited {credited}"
    );
    ensure!(
        after.contract == before.contract && after.tokens == before.tokens,
        "tokens moved before a claim"
    );
    for (provider, earned) in &after.earned {
        ensure!(*earned > before.earned[provider], "{provider} earned nothing");
    }
    Ok(())
}

async fn check_claims(ledger: &Ledger, settled: &Holdings) -> anyhow::Result<()> {
    let mut paid = BTreeMap::new();
    for provider in ledger.payouts.keys() {
        paid.insert(provider.clone(), ledger.claim_all(provider).await?);
    }
    let after = ledger.holdings().await?;
    for (provider, paid) in &paid {
        ensure!(*paid > 0, "nothing was paid to {provider}");
        ensure!(
            after.tokens[provider] == settled.tokens[provider] + paid,
            "{provider}'s account did not grow by {paid}"
        );
    }
    let total: u128 = paid.values().sum();
    ensure!(
        after.contract == settled.contract - total,
        "the contract did not pay {total}: {settled:?} became {after:?}"
    );
    ensure!(
        after.earned == settled.earned && after.deposit == settled.deposit,
        "claims changed what is owed"
    );
    for provider in ledger.payouts.keys() {
        ensure!(ledger.claim_all(provider).await? == 0, "{provider} was paid twice");
    }
    Ok(())
}

/// What the plugin prints agrees with the chain.
fn check_plugin(ledger: &Ledger, job: &str, total: u128) -> anyhow::Result<()> {
    let invoice = plugin(&["invoice", job, "-n", TENANT, "-o", "json"])?;
    let invoice: Value = serde_json::from_slice(&invoice)?;
    let printed = invoice.pointer("/totals/totalMicro").and_then(Value::as_u64);
    ensure!(
        printed.map(u128::from) == Some(total),
        "the invoice says {invoice}, the chain {total}"
    );
    plugin(&["verify", job, "-n", TENANT, "--rpc-url", ledger.rpc_url()])?;
    Ok(())
}

/// Chain, Settlements and receipts agree, whatever was settled before, and each provider's earnings are all claimed.
async fn check_books(ledger: &Ledger) -> anyhow::Result<()> {
    let audit = plugin_json(&["audit", "--rpc-url", ledger.rpc_url()])?;
    ensure!(
        audit["drifts"] == json!([]) && audit["unknown"] == json!([]),
        "the audit says {audit}"
    );
    let posted = audit.pointer("/compared/posted").and_then(Value::as_u64);
    ensure!(posted.is_some_and(|posted| posted > 0), "nothing was compared: {audit}");
    for (provider, payout) in &ledger.payouts {
        let claimed = ledger.balances(*payout).await?.claimed;
        let rows = plugin_json(&["earnings", provider, "--rpc-url", ledger.rpc_url()])?;
        let said = json!({"accepted": 0, "sealed": 0, "inWindow": 0, "claimable": 0, "claimed": claimed});
        ensure!(
            rows[0]["earnings"] == said,
            "{provider}: {rows}, the chain says {claimed} claimed"
        );
    }
    Ok(())
}

/// A settled job goes by itself once that is asked for.
async fn expires(scene: &Scene, job: &InferenceJob) -> anyhow::Result<()> {
    let ask = Patch::Merge(json!({"spec": {"ttlSecondsAfterFinished": 1}}));
    let jobs = scene.ground.jobs();
    jobs.patch(&job.name_any(), &PatchParams::default(), &ask).await?;
    until("the job is gone", GONE_WITHIN, async || {
        Ok(jobs.get_metadata_opt(&job.name_any()).await?.is_none().then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_job_is_computed_checked_paid_and_claimed_to_the_micro_unit() -> anyhow::Result<()> {
    let scene = Scene::open("payment").await?;
    let ledger = Ledger::connect(&scene.ground).await?;
    let before = ledger.quiet(&scene.ground).await?;
    scene.apply(scene.stored(golden::requests(TEXTS)?, 2).await?).await?;
    let job = scene.until_condition(job_condition::SETTLED, SETTLED_WITHIN).await?;

    check_owners(&job)?;
    check_results(&scene, &job).await?;
    let total = invoice_total(&scene.ground, &job).await?;
    let leaves = leaves(&scene.ground, &scene.stores, &job.uid().unwrap_or_default()).await?;
    let owed: u128 = leaves.iter().map(|leaf| leaf.amount).sum();
    ensure!(owed == total, "leaves pay {owed}, the invoice says {total}");
    let settled = ledger.quiet(&scene.ground).await?;
    check_sums(&before, &settled, total)?;
    check_plugin(&ledger, &scene.name, total)?;
    check_claims(&ledger, &settled).await?;
    check_books(&ledger).await?;
    expires(&scene, &job).await?;
    scene.close().await
}
