//! An endpoint between poster and anvil that stops each transaction on its way and asks the test what to do with it.
//! The same bytes again share its fate: the poster may repeat them as often as it likes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use alloy::primitives::{B256, Bytes, keccak256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::http_connection::{answer, forwarded, request_body};

/// A transaction that the poster has just sent; it waits for the test's word.
pub struct OnItsWay {
    pub hash: B256,
    /// `true` lets it go on to the chain, `false` cuts the connection.
    pub word: oneshot::Sender<bool>,
}

/// Whether a transaction may go on; `false` while the test has not said so.
type Seen = Arc<Mutex<BTreeMap<B256, bool>>>;

pub struct Watched {
    pub url: String,
    pub transactions: mpsc::Receiver<OnItsWay>,
    _serving: JoinSet<()>,
}

impl Watched {
    pub async fn before(anvil_url: &str) -> Self {
        let upstream = anvil_url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (found, transactions) = mpsc::channel(8);
        let seen = Seen::default();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                connections.spawn(serve(connection, upstream.clone(), found.clone(), seen.clone()));
            }
        });
        Self {
            url,
            transactions,
            _serving: serving,
        }
    }
}

/// One request, one answer.
async fn serve(mut connection: TcpStream, upstream: String, found: mpsc::Sender<OnItsWay>, seen: Seen) {
    let Some(body) = request_body(&mut connection).await else {
        return;
    };
    if let Some(hash) = sent_transaction(&body)
        && !may_go_on(hash, &found, &seen).await
    {
        return;
    }
    if let Some(bytes) = forwarded(&upstream, &body).await {
        answer(&mut connection, &bytes).await;
    }
}

async fn may_go_on(hash: B256, found: &mpsc::Sender<OnItsWay>, seen: &Seen) -> bool {
    let decided = seen.lock().unwrap().get(&hash).copied();
    if let Some(decided) = decided {
        return decided;
    }
    seen.lock().unwrap().insert(hash, false);
    let (word, answer) = oneshot::channel();
    found.send(OnItsWay { hash, word }).await.ok();
    let decided = answer.await.unwrap_or(false);
    seen.lock().unwrap().insert(hash, decided);
    decided
}

fn sent_transaction(body: &[u8]) -> Option<B256> {
    let call: serde_json::Value = serde_json::from_slice(body).unwrap();
    (call["method"] == "eth_sendRawTransaction").then(|| {
        let raw: Bytes = serde_json::from_value(call["params"][0].clone()).unwrap();
        keccak256(raw)
    })
}
