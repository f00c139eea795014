//! The other processes: kube-scheduler, the extender, the operator; and what each costs in processor time and memory.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use spillway_e2e_control_plane::{assets, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const START_LIMIT: Duration = Duration::from_secs(120);
/// Of kube-scheduler: the default would bound either side to 50 pods a second.
const REQUESTS_PER_SECOND: u32 = 1000;
const EXTENDER: &str = "spillway-scheduler-plugin";

/// Ended on drop.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let verbose = std::env::var_os("BENCH_LOG").is_some();
        let log = || if verbose { Stdio::inherit() } else { Stdio::null() };
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        Ok(Self(command.spawn().with_context(|| format!("start {name}"))?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// kube-scheduler with its default profile.
pub(crate) fn stock_scheduler(folder: &Path, kubeconfig: &Path) -> anyhow::Result<Process> {
    let configuration = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"qps": REQUESTS_PER_SECOND, "burst": 2 * REQUESTS_PER_SECOND},
    });
    scheduler(folder, kubeconfig, configuration)
}

/// kube-scheduler with the configuration that the extender's README documents.
pub(crate) fn our_scheduler(folder: &Path, kubeconfig: &Path, extender: SocketAddr) -> anyhow::Result<Process> {
    let readme = include_str!("../../../../scheduler-plugin/README.md");
    let yaml = readme
        .split_once("```yaml\n")
        .and_then(|(_, rest)| rest.split_once("```"));
    let (yaml, _) = yaml.context("no YAML in the extender's README")?;
    let mut configuration: Value = serde_yaml::from_str(yaml)?;
    configuration["extenders"][0]["urlPrefix"] = json!(format!("http://{extender}"));
    scheduler(folder, kubeconfig, configuration)
}

fn scheduler(folder: &Path, kubeconfig: &Path, mut configuration: Value) -> anyhow::Result<Process> {
    configuration["leaderElection"] = json!({"leaderElect": false});
    configuration["clientConnection"]["kubeconfig"] = json!(kubeconfig);
    let file = folder.join("scheduler.yaml");
    std::fs::write(&file, serde_json::to_vec(&configuration)?)?;
    let mut command = Command::new(assets()?.join("kube-scheduler"));
    command
        .arg(format!("--config={}", file.display()))
        .arg("--secure-port=0");
    Process::start(command)
}

/// The extender, once it has listed everything.
pub(crate) async fn extender(kubeconfig: &Path) -> anyhow::Result<(Process, SocketAddr)> {
    let (address, health) = (free_address()?, free_address()?);
    let binary = std::env::current_exe()?.with_file_name(EXTENDER);
    let mut command = Command::new(&binary);
    command
        .env("KUBECONFIG", kubeconfig)
        .env("LISTEN", address.to_string())
        .env("HEALTH_LISTEN", health.to_string());
    let process = Process::start(command)?;
    eventually("the extender has listed everything", START_LIMIT, || async {
        is_ready(health).await.unwrap_or(false).then_some(())
    })
    .await?;
    Ok((process, address))
}

/// The operator's job controller: this program again, told to play that part.
pub(crate) fn operator(folder: &Path, kubeconfig: &Path) -> anyhow::Result<Process> {
    let store = folder.join("store");
    std::fs::create_dir_all(&store)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("operator")
        .env("KUBECONFIG", kubeconfig)
        .env("STORE_FOLDER", store);
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "warn");
    }
    Process::start(command)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

async fn is_ready(address: SocketAddr) -> anyhow::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"))
}

/// Processor seconds so far of this process and its children, by program.
pub(crate) fn processor_seconds() -> BTreeMap<String, f64> {
    let own = std::process::id();
    let mut seconds = BTreeMap::new();
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for folder in folders {
        let Ok(stat) = std::fs::read_to_string(folder.path().join("stat")) else {
            continue;
        };
        if let Some((pid, parent, program, ticks)) = parse_stat(&stat) {
            let name = if pid == own {
                "bench"
            } else if parent != own {
                continue;
            } else if program.starts_with("spillway-bench") {
                "operator"
            } else {
                program
            };
            // Linux counts in hundredths of a second.
            seconds.insert(name.to_owned(), ticks as f64 / 100.0);
        }
    }
    seconds
}

/// Process, parent, program, ticks in user and system mode; see proc_pid_stat(5).
fn parse_stat(stat: &str) -> Option<(u32, u32, &str, u64)> {
    let (pid, rest) = stat.split_once(" (")?;
    let (program, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((
        pid.parse().ok()?,
        fields.get(1)?.parse().ok()?,
        program,
        ticks(11)? + ticks(12)?,
    ))
}

/// The most resident memory that a process ever had, in MiB.
pub(crate) fn peak_mebibytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let stat = "42 (a ) b) S 7 42 42 0 -1 4194560 1 0 0 0 300 50 0 0 20 0 1 0 9 9 9";
        assert_eq!(parse_stat(stat), Some((42, 7, "a ) b", 350)));
        assert!(processor_seconds().contains_key("bench"));
        assert!(peak_mebibytes(std::process::id()).is_some_and(|mebibytes| mebibytes > 0));
    }
}
