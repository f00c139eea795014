//! `make bench-extender`: our extender's release binary beside a Go one, over real HTTP on loopback.
//!
//! In: both binaries. A real kube-apiserver holds 100 providers with 50 hosts each, and a job; our extender watches it,
//! the Go one reads the same offers from a file. Then one client asks as kube-scheduler does: one kept connection, one
//! request at a time, /filter and then /prioritize with the nodes that passed, in turns of both servers. Out: a table,
//! and a last line of `name=value`.

mod client;
mod market;
mod report;
mod servers;

use std::path::PathBuf;

use anyhow::ensure;
use clap::Parser;

use client::Connection;
use market::Market;
use report::{Samples, print};
use servers::{Server, start_go, start_ours};
use spillway_e2e_control_plane::ControlPlane;

/// Names per request, and pairs of requests per turn.
const SIZES: [(usize, usize); 3] = [(16, 1_000), (64, 1_000), (5_000, 100)];
const TURNS: usize = 8;
/// Not counted: pages are mapped, connections grown.
const WARM_UP: usize = 50;

#[derive(Debug, Parser)]
struct Settings {
    /// Our release binary.
    #[arg(long)]
    extender: PathBuf,
    /// The Go extender's binary.
    #[arg(long)]
    go_extender: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let folder = tempfile::tempdir()?;
    let plane = ControlPlane::start().await?;
    let market = Market::make(&plane.client().await?).await?;
    let ours = start_ours(&settings.extender, &plane, folder.path()).await?;
    let go = start_go(&settings.go_extender, &market, folder.path())?;
    // The API server and etcd idle now; they only cost us what they cost the other.
    tokio::task::spawn_blocking(move || measure(&market, [&ours, &go])).await?
}

fn measure(market: &Market, servers: [&Server; 2]) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    for (names, pairs) in SIZES {
        let request = market.request(names);
        let mut connections = [
            Connection::open(servers[0].address)?,
            Connection::open(servers[1].address)?,
        ];
        agree(&mut connections, &request, names)?;
        for connection in &mut connections {
            (0..WARM_UP).try_for_each(|_| pair(connection, &request).map(drop))?;
        }
        for turn in 0..TURNS {
            // Who comes first changes: the machine's other work falls on both.
            for place in [turn % 2, 1 - turn % 2] {
                for _ in 0..pairs {
                    let taken = pair(&mut connections[place], &request)?;
                    samples.add(servers[place].name, names, taken);
                }
            }
        }
    }
    let memory = [servers[0].memory()?, servers[1].memory()?];
    print(
        &mut samples,
        &servers.map(|server| server.name),
        &memory,
        &SIZES.map(|(names, _)| names),
    );
    Ok(())
}

/// One pod as kube-scheduler asks for it. Gives the time of each request.
fn pair(connection: &mut Connection, request: &market::Request) -> anyhow::Result<[std::time::Duration; 2]> {
    let filter = connection.post("/filter", &request.filter)?;
    let prioritize = connection.post("/prioritize", &request.prioritize)?;
    Ok([filter, prioritize])
}

fn shortened(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).chars().take(500).collect()
}

/// Both must give the same answer, or their times say nothing.
fn agree(connections: &mut [Connection; 2], request: &market::Request, names: usize) -> anyhow::Result<()> {
    let mut answers = Vec::new();
    for connection in connections {
        connection.post("/filter", &request.filter)?;
        let filtered: serde_json::Value = serde_json::from_slice(connection.answer())?;
        let fitting = filtered["NodeNames"].clone();
        ensure!(
            fitting == serde_json::json!(request.fitting),
            "{names} names: another set fits: {}",
            shortened(connection.answer())
        );
        let failed = filtered["FailedNodes"].as_object().map_or(0, serde_json::Map::len);
        connection.post("/prioritize", &request.prioritize)?;
        let scores: serde_json::Value = serde_json::from_slice(connection.answer())?;
        answers.push((failed, scores));
    }
    ensure!(
        answers[0] == answers[1],
        "{names} names: the servers disagree on scores"
    );
    Ok(())
}
