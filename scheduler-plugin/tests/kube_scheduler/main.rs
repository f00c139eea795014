//! A real kube-scheduler with the documented configuration, a real API server, this extender: pods go where the market
//! says, a pod that fits nowhere is told why, and an extender that fails in whatever way places nothing wrong.

mod broken;
mod failures;
mod ground;
mod mutual_tls;

use spillway_e2e_control_plane::ControlPlane;

use ground::{PROVIDERS, Scheduler, await_snapshot, bound_node, make_market, pod, refusal, serve_extender};

#[tokio::test(flavor = "multi_thread")]
async fn pods_go_where_the_market_says() -> anyhow::Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let folder = tempfile::tempdir()?;
    let extender = serve_extender(&client).await?;
    let _scheduler = Scheduler::start(&plane, folder.path(), extender.address, |_| ())?;
    let job_uid = make_market(&client, 2).await?;
    await_snapshot(&extender.published, &job_uid).await?;

    // Two GPUs per host. The check leaves `cheap`, who ran the shard; Work attempts fill `cheap`, then `fair`.
    assert_eq!(
        bound_node(&client, &pod(&job_uid, 1, "check", &PROVIDERS)).await?,
        "spillway-fair-h1"
    );
    assert_eq!(
        bound_node(&client, &pod(&job_uid, 2, "work", &PROVIDERS)).await?,
        "spillway-cheap-h1"
    );
    assert_eq!(
        bound_node(&client, &pod(&job_uid, 3, "work", &PROVIDERS)).await?,
        "spillway-cheap-h1"
    );
    assert_eq!(
        bound_node(&client, &pod(&job_uid, 4, "work", &PROVIDERS)).await?,
        "spillway-fair-h1"
    );
    let refusal = refusal(&client, &pod(&job_uid, 5, "work", &PROVIDERS)).await?;
    assert!(refusal.contains("over the price cap of 1.20 per GPU-hour"), "{refusal}");
    assert!(refusal.contains("Insufficient nvidia.com/gpu"), "{refusal}");
    Ok(())
}
