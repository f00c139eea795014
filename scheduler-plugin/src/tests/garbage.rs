//! Whatever a client sends over a real connection, the answer is a status, a sentence and a Content-Length.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::objects::{request, snapshot};
use crate::metrics::Metrics;
use crate::publish::Published;
use crate::server::{self, Extender, Listener, MAX_BODY_BYTES, check_exposure};
use crate::snapshot::Snapshot;
use crate::wire::Args;
use crate::{filter, prioritize};

/// A served extender and the handle that stops it.
struct Served {
    address: SocketAddr,
    registry: Registry,
    cancelled: CancellationToken,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn serve(snapshot: Option<Snapshot>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, registry, cancelled) = (
        listener.local_addr().unwrap(),
        Registry::new(),
        CancellationToken::new(),
    );
    let published = Published::default();
    published.store(snapshot.map(Arc::new));
    let extender = Extender {
        published,
        metrics: Metrics::register(&registry).unwrap(),
    };
    let server = tokio::spawn(server::serve(Listener::Plain(listener), extender, cancelled.clone()));
    Served {
        address,
        registry,
        cancelled,
        server,
    }
}

/// Status, headers in lower case, body.
async fn post(address: SocketAddr, path: &str, body: &[u8]) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: extender\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses a body may close before all of it is sent.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

fn deep(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

fn valid() -> Value {
    request("work", 0, &["spillway-far-h1"])
}

fn with(pointer: &str, value: Value) -> String {
    let mut request = valid();
    *request.pointer_mut(pointer).unwrap() = value;
    request.to_string()
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn garbage() -> Vec<(&'static str, u16, String)> {
    vec![
        ("empty", 400, String::new()),
        ("null", 400, "null".to_owned()),
        ("number", 400, "17".to_owned()),
        ("cut short", 400, valid().to_string()[..40].to_owned()),
        ("trailing bytes", 400, valid().to_string() + "x"),
        (
            "NaN",
            400,
            r#"{"Pod": {"metadata": {}}, "NodeNames": [NaN]}"#.to_owned(),
        ),
        (
            "null node name",
            400,
            with("/NodeNames", json!(["spillway-far-h1", null])),
        ),
        ("number as node name", 400, with("/NodeNames", json!([1.5e300]))),
        ("names as one string", 400, with("/NodeNames", json!("spillway-far-h1"))),
        ("no names", 400, with("/NodeNames", Value::Null)),
        (
            "deep nesting in names",
            400,
            format!(r#"{{"Pod": {{}}, "NodeNames": {}}}"#, deep(100_000)),
        ),
        (
            "deep nesting in metadata",
            400,
            format!(r#"{{"Pod": {{"metadata": {}}}, "NodeNames": []}}"#, deep(100_000)),
        ),
        (
            "deep nesting where nothing is read",
            400,
            format!(r#"{{"Pod": {{"spec": {}}}, "NodeNames": []}}"#, deep(100_000)),
        ),
        (
            "nesting as deep as is allowed",
            200,
            format!(r#"{{"Pod": {{"spec": {}}}, "NodeNames": []}}"#, deep(62)),
        ),
        (
            "one level more",
            400,
            format!(r#"{{"Pod": {{"spec": {}}}, "NodeNames": []}}"#, deep(63)),
        ),
        ("lists that never end", 400, "[".repeat(1_000_000)),
        ("a string that never ends", 400, format!("\"{}", "x".repeat(1_000_000))),
        (
            "infinity",
            400,
            with("/NodeNames", json!(["x"])).replace("\"x\"", "1e999999"),
        ),
        (
            "the same key twice",
            400,
            r#"{"Pod": {}, "NodeNames": ["a"], "NodeNames": ["b"]}"#.to_owned(),
        ),
        ("no pod", 400, r#"{"NodeNames": []}"#.to_owned()),
        ("null pod", 400, with("/Pod", Value::Null)),
        (
            "labels of numbers",
            400,
            with("/Pod/metadata/labels", json!({"spillway.dev/shard": 1})),
        ),
        (
            "negative shard",
            200,
            with(
                "/Pod/metadata/labels",
                json!({"spillway.dev/shard": "-1", "spillway.dev/kind": "check"}),
            ),
        ),
        ("endless name", 200, with("/NodeNames", json!(["x".repeat(1_000_000)]))),
        (
            "escaped name",
            200,
            r#"{"Pod": {}, "NodeNames": ["\u0000\ud83d\ude00"]}"#.to_owned(),
        ),
        (
            "half a surrogate",
            400,
            r#"{"Pod": {}, "NodeNames": ["\ud83d"]}"#.to_owned(),
        ),
        (
            "unknown kind",
            200,
            with("/Pod/metadata/labels/spillway.dev~1kind", json!("Bribe")),
        ),
    ]
}

#[tokio::test]
async fn garbage_gets_a_status_and_a_sentence() {
    let served = serve(Some(snapshot())).await;
    for (name, status, body) in garbage() {
        let (actual, head, answer) = post(served.address, "/filter", body.as_bytes()).await;
        assert_eq!(actual, status, "{name}: {answer}");
        assert!(
            head.contains("content-length: ") && !head.contains("chunked"),
            "{name}: {head}"
        );
        assert!(!answer.is_empty(), "{name}");
        assert!(
            post(served.address, "/prioritize", body.as_bytes()).await.0 < 504,
            "{name}"
        );
    }
    let (status, _, answer) = post(served.address, "/filter", b"\xff\xfe").await;
    assert_eq!((status, answer.starts_with("the body is no ExtenderArgs")), (400, true));
}

/// 64 MB of garbage, announced and unannounced: refused, and never held in memory.
#[tokio::test]
async fn a_huge_body_is_refused() {
    let served = serve(Some(snapshot())).await;
    let (status, _, answer) = post(served.address, "/filter", &vec![b' '; MAX_BODY_BYTES + 1]).await;
    let refusal = "the body is larger than 4194304 bytes";
    assert_eq!((status, answer.as_str()), (413, refusal));
    let before = resident_bytes();
    for _ in 0..4 {
        let (status, answer) = post_chunks(served.address, 64).await;
        assert_eq!((status, answer.as_str()), (413, refusal));
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more after 256 MB");
    assert_eq!(
        post(served.address, "/filter", valid().to_string().as_bytes()).await.0,
        200
    );
}

/// Sends chunks of 1 MiB until the server answers, without saying how many there will be.
async fn post_chunks(address: SocketAddr, chunks: usize) -> (u16, String) {
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let chunk = [b"100000\r\n".as_slice(), &vec![b'{'; 1 << 20], b"\r\n"].concat();
    let sending = tokio::spawn(async move {
        let head =
            b"POST /filter HTTP/1.1\r\nhost: extender\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
        writer.write_all(head).await.unwrap();
        for _ in 0..chunks {
            if writer.write_all(&chunk).await.is_err() {
                return;
            }
        }
    });
    let mut answer = Vec::new();
    let _ = reader.read_to_end(&mut answer).await;
    sending.await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Of this process.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn only_loopback_goes_without_tls() {
    let check = |address: &str, tls, insists| check_exposure(address.parse().unwrap(), tls, insists).is_ok();
    for loopback in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(check(loopback, false, false), "{loopback}");
    }
    for exposed in [
        "0.0.0.0:1",
        "[::]:1",
        "10.0.0.1:1",
        "[fe80::1]:1",
        "[::ffff:10.0.0.1]:1",
    ] {
        assert!(!check(exposed, false, false), "{exposed}");
        assert!(check(exposed, true, false) && check(exposed, false, true), "{exposed}");
    }
}

#[tokio::test]
async fn ten_thousand_names_are_answered() {
    let served = serve(Some(snapshot())).await;
    let names: Vec<String> = (0..10_000).map(|number| format!("spillway-nobody-{number}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push("spillway-far-h1");
    let (status, _, answer) = post(
        served.address,
        "/filter",
        request("work", 0, &names).to_string().as_bytes(),
    )
    .await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["NodeNames"]), (200, &json!(["spillway-far-h1"])));
    assert_eq!(answer["FailedNodes"].as_object().unwrap().len(), 10_000);
    let (status, _, answer) = post(
        served.address,
        "/prioritize",
        request("work", 0, &names).to_string().as_bytes(),
    )
    .await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        (status, &answer[10_000]),
        (200, &json!({"Host": "spillway-far-h1", "Score": 10}))
    );
}

#[tokio::test]
async fn nothing_is_answered_before_everything_was_listed() {
    let served = serve(None).await;
    let body = request("work", 0, &["spillway-far-h1"]).to_string();
    let (status, _, answer) = post(served.address, "/filter", body.as_bytes()).await;
    assert_eq!(
        (status, answer.as_str()),
        (503, "providers and jobs are not listed yet: ask again in a moment")
    );
}

#[tokio::test]
async fn requests_are_counted_and_the_server_stops_when_asked() {
    let served = serve(Some(snapshot())).await;
    let body = request("work", 0, &["spillway-far-h1"]).to_string();
    post(served.address, "/filter", body.as_bytes()).await;
    post(served.address, "/prioritize", b"{}").await;
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&served.registry.gather())
        .unwrap();
    assert!(
        text.contains(r#"spillway_extender_requests_total{status="200",verb="filter"} 1"#),
        "{text}"
    );
    assert!(
        text.contains(r#"spillway_extender_requests_total{status="400",verb="prioritize"} 1"#),
        "{text}"
    );
    // An idle connection, as kube-scheduler keeps one, must not hold the process.
    let idle = TcpStream::connect(served.address).await.unwrap();
    served.cancelled.cancel();
    tokio::time::timeout(Duration::from_secs(10), served.server)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    drop(idle);
}

proptest! {
    #[test]
    fn any_pod_and_names_are_answered(
        uid in "[a-z]{0,3}", namespace in ".{0,8}", shard in ".{0,4}", attempt in "[0-9]{0,6}", kind in ".{0,6}",
        names in proptest::collection::vec("spillway-(far|near|dear)-h[1-3]|.{0,6}", 0..8),
    ) {
        let mut request = request("work", 0, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let metadata = &mut request["Pod"]["metadata"];
        metadata["namespace"] = json!(namespace);
        metadata["labels"] = json!({"spillway.dev/shard": shard, "spillway.dev/attempt": attempt, "spillway.dev/kind": kind});
        if !uid.is_empty() {
            metadata["ownerReferences"][0]["uid"] = json!(uid);
        }
        let body = request.to_string();
        let args: Args<'_> = serde_json::from_str(&body).unwrap();
        let snapshot = snapshot();
        let answer = filter(&snapshot, &args);
        // kube-scheduler takes a name that it did not send for an error.
        let failed = answer.failed_nodes.iter().map(|(node, _)| node);
        let answered: Vec<&str> = answer.node_names.iter().flatten().copied().chain(failed).collect();
        let distinct: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        prop_assert!(answered.iter().all(|node| distinct.contains(node)));
        prop_assert!(answer.error.is_some() || answered.len() == distinct.len());
        let scores = prioritize(&snapshot, &args).unwrap_or_default();
        prop_assert!(scores.iter().all(|score| score.score <= 10));
        prop_assert!(scores.is_empty() || scores.len() == distinct.len());
    }
}
