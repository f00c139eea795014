//! An endpoint before anvil that does to each call what the test's rule says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::{Bytes, U256};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::http_connection::{answer, forwarded, request_body, response};
use crate::node::Anvil;

/// One call of the poster.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub params: Value,
    /// Calls of this method that came before.
    pub earlier: usize,
}

impl Call {
    pub fn is(&self, method: &str) -> bool {
        self.method == method
    }

    /// Whether it asks for the block with this tag or hexadecimal number.
    pub fn is_block(&self, tag: &str) -> bool {
        self.is("eth_getBlockByNumber") && self.params[0] == tag
    }

    /// Whether it calls the contract's function with this selector.
    pub fn is_call_of(&self, selector: [u8; 4]) -> bool {
        let input = &self.params[0]["input"];
        self.is("eth_call") && input.as_str().is_some_and(|input| input.starts_with(&hex(&selector)))
    }
}

fn hex(bytes: &[u8]) -> String {
    alloy::primitives::hex::encode_prefixed(bytes)
}

/// What becomes of a call.
#[derive(Clone, Debug)]
pub enum Fate {
    Pass,
    /// The connection is cut, anvil never hears of it.
    Drop,
    /// Anvil hears it, the connection is cut before the answer.
    LoseReply,
    Delay(Duration),
    /// Anvil hears it twice.
    Duplicate,
    /// HTTP status with Retry-After in seconds; anvil never hears of it.
    Status(u16, Option<u64>),
    /// JSON-RPC error; anvil never hears of it.
    Refuse(&'static str),
    /// Anvil hears it, a JSON-RPC error is answered.
    RefuseAfter(&'static str),
    /// This is answered; anvil never hears of it.
    Answer(Value),
}

type Rule = Box<dyn FnMut(&Call) -> Fate + Send>;

struct Shared {
    rule: Mutex<Rule>,
    seen: Mutex<Vec<Call>>,
    upstream: Mutex<String>,
}

/// Serves until it is dropped.
pub struct Proxy {
    pub url: String,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

impl Proxy {
    /// Lets everything pass until a rule is set.
    pub async fn before(anvil: &Anvil) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            rule: Mutex::new(Box::new(|_| Fate::Pass)),
            seen: Mutex::default(),
            upstream: Mutex::new(address(anvil)),
        });
        let mut serving = JoinSet::new();
        let served = shared.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                connections.spawn(serve(connection, served.clone()));
            }
        });
        Self {
            url,
            shared,
            _serving: serving,
        }
    }

    pub fn rule(&self, rule: impl FnMut(&Call) -> Fate + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    pub fn pass(&self) {
        self.rule(|_| Fate::Pass);
    }

    /// From now on another node answers under this address.
    pub fn point_at(&self, anvil: &Anvil) {
        *self.shared.upstream.lock().unwrap() = address(anvil);
    }

    /// Calls of this method so far.
    pub fn calls(&self, method: &str) -> Vec<Call> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|call| call.is(method)).cloned().collect()
    }

    pub fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// Transactions that the poster sent here, in order, repeats included.
    pub fn transactions(&self) -> Vec<Bytes> {
        let calls = self.calls("eth_sendRawTransaction");
        let raw = calls.into_iter().map(|call| call.params[0].clone());
        raw.map(|raw| serde_json::from_value(raw).unwrap()).collect()
    }

    /// Stays at the block that `anvil` has now, as a node that lost its peers does.
    pub async fn freeze(&self, anvil: &Anvil) {
        let latest = anvil.rpc("eth_getBlockByNumber", json!(["latest", false])).await;
        self.rule(move |call| frozen_at(&latest, call));
    }
}

fn frozen_at(latest: &Value, call: &Call) -> Fate {
    let height = number(&latest["number"]);
    match call.method.as_str() {
        "eth_getBlockByNumber" if call.params[0] == "latest" => Fate::Answer(latest.clone()),
        "eth_getBlockByNumber" if number(&call.params[0]) > height => Fate::Answer(Value::Null),
        "eth_getTransactionReceipt" | "eth_getTransactionByHash" => Fate::Answer(Value::Null),
        _ => {
            let blocks = call.params.as_array().into_iter().flatten();
            let mut hashes = blocks.filter_map(|parameter| parameter.get("blockHash"));
            match hashes.all(|hash| *hash == latest["hash"]) {
                true => Fate::Pass,
                false => Fate::Refuse("header not found"),
            }
        }
    }
}

/// Tags are below every number.
fn number(value: &Value) -> U256 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn address(anvil: &Anvil) -> String {
    anvil.url.trim_start_matches("http://").to_owned()
}

async fn serve(mut connection: TcpStream, shared: Arc<Shared>) {
    let Some(body) = request_body(&mut connection).await else {
        return;
    };
    let request: Value = serde_json::from_slice(&body).unwrap();
    let fate = decide(&shared, &request);
    let upstream = shared.upstream.lock().unwrap().clone();
    let id = &request["id"];
    let refusal = |words: &str| {
        let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": words}});
        response(200, "", &error.to_string())
    };
    let bytes = match fate {
        Fate::Drop => return,
        Fate::Pass => forwarded(&upstream, &body).await,
        Fate::LoseReply => {
            forwarded(&upstream, &body).await;
            return;
        }
        Fate::Delay(time) => {
            tokio::time::sleep(time).await;
            forwarded(&upstream, &body).await
        }
        Fate::Duplicate => {
            let first = forwarded(&upstream, &body).await;
            forwarded(&upstream, &body).await;
            first
        }
        Fate::Status(status, retry_after) => {
            let header = retry_after.map(|seconds| format!("retry-after: {seconds}\r\n"));
            Some(response(status, &header.unwrap_or_default(), "{}"))
        }
        Fate::Refuse(words) => Some(refusal(words)),
        Fate::RefuseAfter(words) => {
            forwarded(&upstream, &body).await;
            Some(refusal(words))
        }
        Fate::Answer(result) => {
            let made = json!({"jsonrpc": "2.0", "id": id, "result": result});
            Some(response(200, "", &made.to_string()))
        }
    };
    if let Some(bytes) = bytes {
        answer(&mut connection, &bytes).await;
    }
}

fn decide(shared: &Shared, request: &Value) -> Fate {
    let method = request["method"].as_str().unwrap_or_default().to_owned();
    let mut seen = shared.seen.lock().unwrap();
    let call = Call {
        earlier: seen.iter().filter(|call| call.method == method).count(),
        method,
        params: request["params"].clone(),
    };
    seen.push(call.clone());
    drop(seen);
    (shared.rule.lock().unwrap())(&call)
}
