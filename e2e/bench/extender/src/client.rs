//! A kept HTTP/1.1 connection with one request at a time, as Go's client uses it. Times are from the first byte sent to
//! the last byte received.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    sent: Vec<u8>,
    received: Vec<u8>,
    /// Where the body lies in `received`.
    body: std::ops::Range<usize>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self {
            stream,
            sent: Vec::new(),
            received: vec![0; 4 << 20],
            body: 0..0,
        })
    }

    /// Sends one request and reads the whole answer.
    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> anyhow::Result<Duration> {
        self.sent.clear();
        let length = body.len();
        write!(
            self.sent,
            "POST {path} HTTP/1.1\r\nHost: extender\r\nUser-Agent: bench\r\nContent-Length: {length}\r\nContent-Type: application/json\r\n\r\n"
        )?;
        self.sent.extend_from_slice(body);
        let started = Instant::now();
        self.stream.write_all(&self.sent)?;
        self.receive()?;
        Ok(started.elapsed())
    }

    pub(crate) fn answer(&self) -> &[u8] {
        self.received.get(self.body.clone()).unwrap_or_default()
    }

    fn receive(&mut self) -> anyhow::Result<()> {
        let (mut filled, mut whole) = (0, None);
        loop {
            let room = self.received.get_mut(filled..).unwrap_or_default();
            let read = self.stream.read(room)?;
            ensure!(read > 0, "the server closed the connection, or its answer is too long");
            filled += read;
            if whole.is_none() {
                whole = head(self.received.get(..filled).unwrap_or_default())?;
            }
            if let Some((start, length)) = whole
                && filled >= start + length
            {
                self.body = start..start + length;
                return Ok(());
            }
        }
    }
}

/// Start and length of the body once the head is there.
fn head(received: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(received.get(..end).unwrap_or_default())?.to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        bail!("the server answered {head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.context("an answer without Content-Length")?.parse()?;
    Ok(Some((end + 4, length)))
}
