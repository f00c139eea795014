//! The two servers as processes; ended on drop.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use spillway_e2e_control_plane::{ADMIN_TOKEN, ControlPlane, eventually};

use crate::client::Connection;
use crate::market::Market;

const START_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Child,
}

/// Memory in KiB: now, and at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

impl Server {
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_ascii_whitespace().next());
            number
                .with_context(|| format!("no {name}"))?
                .parse()
                .map_err(anyhow::Error::from)
        };
        Ok(Memory {
            resident: field("VmRSS:")?,
            peak: field("VmHWM:")?,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ours, synced with the API server.
pub(crate) async fn start_ours(binary: &Path, plane: &ControlPlane, folder: &Path) -> anyhow::Result<Server> {
    let kubeconfig = folder.join("kubeconfig");
    std::fs::write(&kubeconfig, serde_json::to_vec(&plane.kubeconfig(ADMIN_TOKEN)?)?)?;
    let (address, health) = (free_address()?, free_address()?);
    let child = Command::new(binary)
        .env("KUBECONFIG", &kubeconfig)
        .args(["--listen", &address.to_string(), "--health-listen", &health.to_string()])
        .env("RUST_LOG", "warn")
        .spawn()
        .with_context(|| format!("start {}", binary.display()))?;
    let server = Server {
        name: "spillway",
        address,
        child,
    };
    eventually("our extender to be ready", START_LIMIT, || async {
        get_ready(health).then_some(())
    })
    .await?;
    Ok(server)
}

pub(crate) fn start_go(binary: &Path, market: &Market, folder: &Path) -> anyhow::Result<Server> {
    let snapshot = folder.join("snapshot.json");
    std::fs::write(&snapshot, market.snapshot().to_string())?;
    let address = free_address()?;
    let child = Command::new(binary)
        .arg(&snapshot)
        .arg(address.to_string())
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("start {}", binary.display()))?;
    let server = Server {
        name: "go",
        address,
        child,
    };
    let started = std::time::Instant::now();
    while Connection::open(address).is_err() {
        anyhow::ensure!(started.elapsed() < START_LIMIT, "the Go extender does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(server)
}

fn get_ready(address: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let mut answer = String::new();
    let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok() && answer.starts_with("HTTP/1.1 200")
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
