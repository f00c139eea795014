//! Driving the OpenAI-compatible engine on loopback.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use spillway_core::results::{ResultError, ResultLine, token_usage};
use spillway_core::shard::WorkTask;

const READY_LIMIT: Duration = Duration::from_mins(10);
const READY_POLL: Duration = Duration::from_millis(200);
const REQUEST_ATTEMPTS: u32 = 4;
const REQUEST_LIMIT: Duration = Duration::from_mins(10);
const FIRST_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the engine did not answer 200 on {path} within {READY_LIMIT:?}")]
    NotReady { path: String },
    #[error("line {line} of the shard is not a request: {reason}")]
    Malformed { line: usize, reason: String },
}

/// A request of the shard.
#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    pub custom_id: String,
    /// Path on the engine, such as `/v1/embeddings`.
    pub url: String,
    pub body: Value,
}

/// Answers in the order of the requests, and what they used.
#[derive(Debug, Default)]
pub struct Answers {
    pub lines: Vec<ResultLine>,
    pub failed: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// Reads the requests of a shard.
///
/// # Errors
/// Names the first line that is not a request.
pub fn requests(shard: &[u8]) -> Result<Vec<Request>, EngineError> {
    let lines = shard
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    let parse = |(index, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|error| EngineError::Malformed {
            line: index + 1,
            reason: error.to_string(),
        })
    };
    lines.map(parse).collect()
}

/// Waits until the engine's health path answers 200.
///
/// # Errors
/// When it does not within ten minutes.
pub async fn wait_until_ready(client: &Client, task: &WorkTask) -> Result<(), EngineError> {
    let url = format!("{}{}", task.engine_url, task.health_path);
    let started = Instant::now();
    while started.elapsed() < READY_LIMIT {
        let answer = client.get(&url).timeout(Duration::from_secs(5)).send().await;
        if answer.is_ok_and(|response| response.status() == StatusCode::OK) {
            return Ok(());
        }
        tokio::time::sleep(READY_POLL).await;
    }
    Err(EngineError::NotReady {
        path: task.health_path.clone(),
    })
}

/// Sends all requests, `task.concurrency` at a time.
pub async fn answer_all(client: &Client, task: &WorkTask, requests: Vec<Request>) -> Answers {
    let at_once = usize::try_from(task.concurrency).unwrap_or(1).max(1);
    let mut lines = stream::iter(requests)
        .map(|request| answer(client, task, request))
        .buffered(at_once);
    let mut answers = Answers::default();
    while let Some(line) = lines.next().await {
        answers.count(line);
    }
    answers
}

impl Answers {
    fn count(&mut self, line: ResultLine) {
        let (prompt, completion) = line
            .response
            .as_ref()
            .map(|response| token_usage(&response.body))
            .unwrap_or_default();
        self.prompt_tokens += prompt;
        self.completion_tokens += completion;
        self.failed += u64::from(!line.succeeded());
        self.lines.push(line);
    }
}

/// A request that fails is a line with its error; it does not fail the shard.
async fn answer(client: &Client, task: &WorkTask, request: Request) -> ResultLine {
    let url = format!("{}{}", task.engine_url, request.url);
    let mut wait = FIRST_WAIT;
    for attempt in 1.. {
        match send(client, &url, &request.body).await {
            Ok((status, body)) if attempt >= REQUEST_ATTEMPTS || !is_passing(status) => {
                return ResultLine::answered(&request.custom_id, status.as_u16(), body);
            }
            Err(error) if attempt >= REQUEST_ATTEMPTS => return unanswered(&request.custom_id, &error),
            _ => {}
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    unanswered(&request.custom_id, "no attempt was made")
}

async fn send(client: &Client, url: &str, body: &Value) -> Result<(StatusCode, Value), String> {
    let response = client
        .post(url)
        .timeout(REQUEST_LIMIT)
        .json(body)
        .send()
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status();
    let text = response.text().await.map_err(|error| error.to_string())?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok((status, body))
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

fn unanswered(custom_id: &str, message: &str) -> ResultLine {
    let error = ResultError {
        code: "engine_unreachable".to_owned(),
        message: message.to_owned(),
    };
    ResultLine::unanswered(custom_id, error)
}
