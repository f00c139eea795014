//! The server on loopback, with the real weights, against the vectors that `reference/` computed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy sees tests only in #[test] functions"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use spillway_e2e_engine::compare::{BatchResult, Golden};
use spillway_e2e_engine::model::Embedder;
use spillway_e2e_engine::server::{BODY_BYTES_MAX, Engine, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const MODEL: &str = "all-MiniLM-L6-v2";

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reference")
}

fn embedder() -> Embedder {
    let folder = std::env::var_os("SPILLWAY_MODEL_DIR").expect(
        "SPILLWAY_MODEL_DIR is not set. Fetch the weights first:\n  export SPILLWAY_MODEL_DIR=$(e2e/engine/weights.sh)",
    );
    Embedder::load(Path::new(&folder)).unwrap_or_else(|error| panic!("{error}"))
}

/// All 200 texts, `(custom_id, text)`.
fn texts() -> Vec<(String, String)> {
    let lines = std::fs::read_to_string(reference().join("texts.jsonl")).unwrap();
    let parse = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (
            line["custom_id"].as_str().unwrap().to_owned(),
            line["body"]["input"].as_str().unwrap().to_owned(),
        )
    };
    lines.lines().map(parse).collect()
}

struct Server {
    address: SocketAddr,
    engine: Arc<Engine>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let engine = Arc::new(Engine::new(embedder(), MODEL.into(), 2));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, Arc::clone(&engine), async {
            stopped.await.unwrap_or_default()
        }));
        Self {
            address,
            engine,
            stop,
            task,
        }
    }

    async fn post(&self, body: Value) -> (u16, Value) {
        self.post_bytes(body.to_string()).await
    }

    async fn post_bytes(&self, body: String) -> (u16, Value) {
        let url = format!("http://{}/v1/embeddings", self.address);
        let answer = client().post(url).body(body).send().await.unwrap();
        (
            answer.status().as_u16(),
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap(),
        )
    }

    async fn embed(&self, texts: &[&str]) -> Vec<Vec<f32>> {
        let (status, body) = self.post(json!({"model": MODEL, "input": texts})).await;
        assert_eq!(status, 200, "{body}");
        body["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| vector(&item["embedding"]))
            .collect()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = client()
            .get(format!("http://{}{path}", self.address))
            .send()
            .await
            .unwrap();
        (
            answer.status().as_u16(),
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap(),
        )
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn vector(numbers: &Value) -> Vec<f32> {
    numbers
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap() as f32)
        .collect()
}

fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|value| value.to_bits()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_agrees_with_the_reference() {
    let server = Server::start().await;
    let texts = texts();
    assert_eq!(texts.len(), 200);
    let mut results = Vec::new();
    for batch in texts.chunks(32) {
        let inputs: Vec<&str> = batch.iter().map(|(_, text)| text.as_str()).collect();
        let named = batch.iter().zip(server.embed(&inputs).await);
        results.extend(named.map(|((id, _), vector)| BatchResult {
            custom_id: id.clone(),
            vector,
        }));
    }
    let report = Golden::read(&reference()).unwrap().compare(&results).unwrap();
    assert_eq!(report.vectors, 200);
    assert!(report.min_cosine >= 0.9999, "{report}, worst {}", report.worst);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_has_the_same_bits_in_any_company() {
    let server = Server::start().await;
    let (long, short) = ("A long text. ".repeat(60), "Short.");
    let alone = server.embed(&[short]).await;
    let beside = server.embed(&[&long, short, "Another one, somewhat longer."]).await;
    let again = server.embed(&[short, &long]).await;
    assert_eq!(bits(&alone[0]), bits(&beside[1]));
    assert_eq!(bits(&alone[0]), bits(&again[0]));
    assert_eq!(bits(&beside[0]), bits(&again[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_counted_and_long_texts_cut_at_256() {
    let server = Server::start().await;
    let (_, body) = server.post(json!({"model": MODEL, "input": "hello world"})).await;
    assert_eq!(body["usage"], json!({"prompt_tokens": 4, "total_tokens": 4}));
    let words = |count: usize| "word ".repeat(count);
    let (_, body) = server.post(json!({"model": MODEL, "input": words(1000)})).await;
    assert_eq!(body["usage"]["prompt_tokens"], 256);
    let cut = server.embed(&[&words(254), &words(1000), &words(253)]).await;
    assert_eq!(bits(&cut[0]), bits(&cut[1]));
    assert_ne!(bits(&cut[0]), bits(&cut[2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn base64_and_numbers_are_the_same_vector() {
    use base64::Engine as _;
    let server = Server::start().await;
    let (status, body) = server
        .post(json!({"model": MODEL, "input": "Same.", "encoding_format": "base64"}))
        .await;
    assert_eq!(status, 200, "{body}");
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(body["data"][0]["embedding"].as_str().unwrap())
        .unwrap();
    let numbers = &server.embed(&["Same."]).await[0];
    assert_eq!(
        bytes,
        numbers
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect::<Vec<u8>>()
    );
    assert_eq!(numbers.len(), 384);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_routes_answer_in_openai_s_shape() {
    let server = Server::start().await;
    assert_eq!(server.get("/health").await, (200, json!({"status": "ok"})));
    let (status, models) = server.get("/v1/models").await;
    assert_eq!((status, &models["data"][0]["id"]), (200, &json!(MODEL)));
    let (status, body) = server.get("/v1/completions").await;
    assert_eq!((status, &body["error"]["type"]), (404, &json!("invalid_request_error")));
    assert_eq!(server.get("/v1/embeddings").await.0, 405);
    let (status, body) = server.post(json!({"model": "other", "input": "a"})).await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("model_not_found")));
    // One byte over: the server has read everything by then, so its answer meets no broken pipe.
    let (status, body) = server.post_bytes("a".repeat(BODY_BYTES_MAX + 1)).await;
    assert_eq!((status, &body["error"]["type"]), (413, &json!("invalid_request_error")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_the_request_in_flight_finish() {
    let server = Server::start().await;
    let text = "A text long enough to keep the engine at work for a while. ".repeat(20);
    let body = json!({"model": MODEL, "input": vec![text; 64]}).to_string();
    let url = format!("http://{}/v1/embeddings", server.address);
    let request = tokio::spawn(client().post(url).body(body).send());
    let busy = async {
        while server.engine.busy() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), busy)
        .await
        .expect("the request never reached the model");
    server.stop.send(()).unwrap();
    let answer = request.await.unwrap().unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    server.task.await.unwrap().unwrap();
    assert!(
        client()
            .get(format!("http://{}/health", server.address))
            .send()
            .await
            .is_err(),
        "still listening"
    );
}
