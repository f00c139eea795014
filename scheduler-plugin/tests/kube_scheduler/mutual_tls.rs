//! kube-scheduler and extender in different pods: the configuration that the README gives for that.

use std::sync::Arc;

use arc_swap::ArcSwap;
use spillway_e2e_control_plane::{Authority, ControlPlane};
use spillway_scheduler_plugin::server::{self, Listener};
use spillway_scheduler_plugin::tls::{TlsFiles, TlsListener};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::ground::{
    PROVIDERS, Scheduler, await_snapshot, bound_node, documented_yaml, make_market, pod, refusal, serve_extender,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_elsewhere_is_known_by_its_certificate() -> anyhow::Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(&folder.path().join("authority"))?;
    let (server, scheduler) = (authority.sign("spillway-extender")?, authority.sign("scheduler")?);
    let files = TlsFiles {
        certificate: server.certificate,
        key: server.key,
        client_authority: authority.certificate().to_owned(),
    };
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let listener = TlsListener::new(socket, Arc::new(ArcSwap::from_pointee(files.load()?)))?;
    let served = serve_extender(&client).await?;
    let serving = server::serve(Listener::Mutual(listener), served.extender, CancellationToken::new());
    tokio::spawn(serving);
    let job_uid = make_market(&client, 2).await?;
    await_snapshot(&served.published, &job_uid).await?;

    let documented = documented_yaml(1)?;
    let secure = |extender: &mut serde_json::Value| {
        *extender = documented["extenders"][0].clone();
        extender["urlPrefix"] = serde_json::json!(format!("https://{address}"));
        let tls = &mut extender["tlsConfig"];
        tls["caFile"] = serde_json::json!(authority.certificate());
        tls["certFile"] = serde_json::json!(scheduler.certificate);
        tls["keyFile"] = serde_json::json!(scheduler.key);
    };
    // Without its certificate nobody is heard.
    let stranger = |extender: &mut serde_json::Value| {
        secure(extender);
        if let Some(tls) = extender["tlsConfig"].as_object_mut() {
            tls.retain(|field, _| field != "certFile" && field != "keyFile");
        }
    };
    let unknown = Scheduler::start(&plane, folder.path(), address, stranger)?;
    let reason = refusal(&client, &pod(&job_uid, 2, "work", &PROVIDERS)).await?;
    // In TLS 1.3 the scheduler may still be writing when it is turned away; it says what it met first.
    let turned_away = ["certificate required", "broken pipe", "connection reset"];
    assert!(turned_away.iter().any(|words| reason.contains(words)), "{reason}");
    drop(unknown);
    let _known = Scheduler::start(&plane, folder.path(), address, secure)?;
    assert_eq!(
        bound_node(&client, &pod(&job_uid, 3, "work", &PROVIDERS)).await?,
        "spillway-cheap-h1"
    );
    Ok(())
}
