//! An extender that is away, slow, or talks nonsense: pods wait and say why, or go to a node that dispatch accepts. They
//! are pinned to the candidates of their plan, so that not even a lie leads them to a node that a hard need forbids.

use kube::Client;
use spillway_e2e_control_plane::ControlPlane;

use crate::broken::{Broken, Way};
use crate::ground::{
    PROVIDERS, Scheduler, await_snapshot, bound, bound_node, free_address, make_market, make_pod, pod, refused,
    serve_extender,
};

/// The plan's candidates: `dear` is over the job's cap.
fn candidates() -> Vec<(&'static str, u64)> {
    PROVIDERS
        .into_iter()
        .filter(|(provider, _)| *provider != "dear")
        .collect()
}

struct Ground {
    client: Client,
    job_uid: String,
    attempts: u16,
}

impl Ground {
    fn next(&mut self) -> serde_json::Value {
        self.attempts += 1;
        pod(&self.job_uid, self.attempts, "work", &candidates())
    }

    /// A pod that is made while the extender is broken waits with a reason that holds `words`, and is placed once it is
    /// whole again.
    async fn waits_until(&mut self, words: &str, heal: impl AsyncFnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let pod = self.next();
        let (pods, name) = make_pod(&self.client, &pod).await?;
        let reason = refused(&pods, &name).await?;
        anyhow::ensure!(reason.contains(words), "expected `{words}`: {reason}");
        let node = pods.get(&name).await?.spec.and_then(|spec| spec.node_name);
        anyhow::ensure!(node.is_none(), "placed on {node:?} while the extender was broken");
        heal().await?;
        assert_eq!(bound(&pods, &name).await?, "spillway-cheap-h1");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_extender_places_nothing_wrong() -> anyhow::Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let folder = tempfile::tempdir()?;
    let served = serve_extender(&client).await?;
    let (broken, address) = (Broken::new(served.extender.clone()), free_address()?);
    let _scheduler = Scheduler::start(&plane, folder.path(), address, |_| ())?;
    let job_uid = make_market(&client, 64).await?;
    await_snapshot(&served.published, &job_uid).await?;
    let mut ground = Ground {
        client: client.clone(),
        job_uid,
        attempts: 1,
    };

    // Nobody listens yet.
    let mut killed = None;
    let start = async || {
        killed = Some(broken.serve(address).await?);
        Ok(())
    };
    ground.waits_until("connection refused", start).await?;

    let heal = async || {
        broken.set(Way::Whole);
        Ok(())
    };
    broken.set(Way::Silent);
    ground.waits_until("Client.Timeout exceeded", heal).await?;
    for (status, body, words) in [
        (500, "broken", "500"),
        (200, "", "EOF"),
        (200, "<html>who are you?</html>", "invalid character"),
        (200, "{\"NodeNames\": 17}", "cannot unmarshal"),
        (200, "{\"NodeNames\": [\"a-node-of-nobody\"]}", "a-node-of-nobody"),
        (200, "{\"NodeNames\": null, \"Error\": \"not today\"}", "not today"),
    ] {
        broken.set(Way::Says(status, body));
        ground.waits_until(words, heal).await?;
    }

    // Without scores, or with wrong ones, a pod goes where its plan allows, never to `dear`.
    for way in [Way::NoScores, Way::Lies] {
        broken.set(way);
        for _ in 0..3 {
            let node = bound_node(&client, &ground.next()).await?;
            assert!(
                ["spillway-cheap-h1", "spillway-fair-h1"].contains(&node.as_str()),
                "{way:?}: {node}"
            );
        }
    }
    broken.set(Way::Whole);

    // Killed while kube-scheduler keeps a connection to it, and started again.
    if let Some(killed) = killed.take() {
        killed.cancel();
    }
    let start = async || broken.serve(address).await.map(drop);
    ground.waits_until("connection refused", start).await
}
