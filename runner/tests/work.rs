//! One shard against a real HTTP store and engine on loopback.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use spillway_core::results::ResultLine;
use spillway_core::shard::{WorkReport, WorkTask, digest};
use spillway_runner::work::work;

#[derive(Clone, Default)]
struct World {
    written: Arc<Mutex<Vec<u8>>>,
    hiccups: Arc<Mutex<u32>>,
}

fn shard() -> Vec<u8> {
    let line = |id: &str, text: &str| {
        let body = json!({"custom_id": id, "method": "POST", "url": "/v1/embeddings", "body": {"input": text}});
        format!("{body}\n")
    };
    [line("a", "good"), line("b", "bad"), line("c", "flaky")]
        .concat()
        .into_bytes()
}

async fn embed(State(world): State<World>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    match body["input"].as_str() {
        Some("bad") => (
            StatusCode::BAD_REQUEST,
            Json(json!({"error": {"message": "bad input"}})),
        ),
        Some("flaky") if first_time(&world) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({}))),
        _ => (
            StatusCode::OK,
            Json(json!({"data": [{"embedding": [1.0]}], "usage": {"prompt_tokens": 2}})),
        ),
    }
}

fn first_time(world: &World) -> bool {
    let mut hiccups = world.hiccups.lock().unwrap();
    *hiccups += 1;
    *hiccups == 1
}

async fn world() -> (World, String) {
    let world = World::default();
    let router = Router::new()
        .route("/input", get(|| async { shard() }))
        .route(
            "/denied",
            put(|| async { (StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>") }),
        )
        .route(
            "/output",
            put(async |State(world): State<World>, body: axum::body::Bytes| {
                *world.written.lock().unwrap() = body.to_vec();
            }),
        )
        .route("/health", get(|| async { "ok" }))
        .route("/v1/embeddings", post(embed))
        .with_state(world.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    (world, base)
}

fn task(base: &str, output: &str) -> WorkTask {
    WorkTask {
        input_url: format!("{base}/input?X-Amz-Signature=secret"),
        output_url: format!("{base}/{output}?X-Amz-Signature=secret"),
        input_digest: digest(&shard()),
        requests: 3,
        engine_url: base.to_owned(),
        health_path: "/health".to_owned(),
        gpus: 2,
        concurrency: 2,
    }
}

fn client() -> reqwest::Client {
    spillway_process::install_crypto_provider();
    reqwest::Client::new()
}

#[tokio::test]
async fn results_keep_the_order_and_a_refused_request_is_a_result() {
    let (world, base) = world().await;
    let report = work(&client(), &task(&base, "output")).await.unwrap();
    let written = world.written.lock().unwrap().clone();
    let WorkReport::Completed {
        output_digest,
        requests,
        failed_requests,
        prompt_tokens,
        metered_millis,
        ..
    } = report
    else {
        panic!("{report:?}")
    };
    assert_eq!(output_digest, digest(&written));
    assert_eq!((requests, failed_requests, prompt_tokens), (3, 1, 4));
    assert!(metered_millis >= 2);
    let lines: Vec<ResultLine> = String::from_utf8(written)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        lines.iter().map(|line| line.custom_id.as_str()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(
        lines.iter().map(ResultLine::succeeded).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(lines[1].response.as_ref().unwrap().status_code, 400);
}

#[tokio::test]
async fn a_changed_input_is_not_computed() {
    let (_, base) = world().await;
    let error = work(
        &client(),
        &WorkTask {
            input_digest: digest(b"other"),
            ..task(&base, "output")
        },
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("ordered was"), "{error}");
}

#[tokio::test]
async fn an_error_names_the_store_s_reason_and_never_the_url() {
    let (_, base) = world().await;
    let error = format!("{:#}", work(&client(), &task(&base, "denied")).await.unwrap_err());
    assert!(
        error.contains("write the results") && error.contains("AccessDenied"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
}
