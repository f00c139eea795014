//! One request, one answer: as much HTTP as an endpoint between poster and anvil needs.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Anvil answers within this, or not at all.
const LIMIT: Duration = Duration::from_secs(30);

/// Body of the one request on this connection; `None` when it was cut.
pub(crate) async fn request_body(connection: &mut TcpStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
            let length: usize = length.trim().parse().ok()?;
            if read.len() >= end + 4 + length {
                return Some(read.split_off(end + 4));
            }
        }
        if connection.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

/// The whole answer of `upstream` (host:port) to `body`; `None` when it is gone.
pub(crate) async fn forwarded(upstream: &str, body: &[u8]) -> Option<Vec<u8>> {
    let head = format!(
        "POST / HTTP/1.1\r\nhost: anvil\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let exchange = async {
        let mut answer = Vec::new();
        let mut anvil = TcpStream::connect(upstream).await.ok()?;
        anvil.write_all(&[head.as_bytes(), body].concat()).await.ok()?;
        anvil.read_to_end(&mut answer).await.ok()?;
        Some(answer)
    };
    tokio::time::timeout(LIMIT, exchange).await.ok()?
}

/// Status line, headers and body as bytes.
pub(crate) fn response(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Who asked may be dead by now.
pub(crate) async fn answer(connection: &mut TcpStream, bytes: &[u8]) {
    connection.write_all(bytes).await.ok();
}
