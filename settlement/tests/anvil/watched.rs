//! An endpoint between poster and anvil that stops each transaction on its way and asks the test what to do with it.
//! The same bytes again share its fate: the poster may repeat them as often as it likes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use alloy::primitives::{B256, Bytes, keccak256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// A transaction that the poster has just sent; it waits for the test's word.
pub(crate) struct OnItsWay {
    pub(crate) hash: B256,
    /// `true` lets it go on to the chain, `false` cuts the connection.
    pub(crate) word: oneshot::Sender<bool>,
}

/// Whether a transaction may go on; `false` while the test has not said so.
type Seen = Arc<Mutex<BTreeMap<B256, bool>>>;

pub(crate) struct Watched {
    pub(crate) url: String,
    pub(crate) transactions: mpsc::Receiver<OnItsWay>,
    _serving: JoinSet<()>,
}

impl Watched {
    pub(crate) async fn before(anvil_url: &str) -> Self {
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
    let head = format!(
        "POST / HTTP/1.1\r\nhost: anvil\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut answer = Vec::new();
    let mut anvil = TcpStream::connect(upstream).await.unwrap();
    anvil.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    anvil.read_to_end(&mut answer).await.unwrap();
    // Who asked may be dead by now.
    connection.write_all(&answer).await.ok();
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

async fn request_body(connection: &mut TcpStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
            let length: usize = length.trim().parse().unwrap();
            if read.len() >= end + 4 + length {
                return Some(read.split_off(end + 4));
            }
        }
        if connection.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

fn sent_transaction(body: &[u8]) -> Option<B256> {
    let call: serde_json::Value = serde_json::from_slice(body).unwrap();
    (call["method"] == "eth_sendRawTransaction").then(|| {
        let raw: Bytes = serde_json::from_value(call["params"][0].clone()).unwrap();
        keccak256(raw)
    })
}
