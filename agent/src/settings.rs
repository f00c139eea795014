//! Command line and environment, checked once.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use spillway_core::money::UnitPrice;
use spillway_crds::Isolation;
use spillway_crds::names::WORK_NAMESPACE;

use crate::elastic::ElasticPools;

/// Offers this cluster's idle GPUs to a Spillway hub and runs the work that comes back.
#[derive(Clone, Debug, Parser)]
#[command(name = "spillway-agent", version)]
pub struct Settings {
    /// File with the join bundle that `kubectl spillway join-token` printed.
    #[arg(long, env = "BUNDLE_FILE", default_value = "/etc/spillway/bundle/bundle")]
    pub bundle_file: PathBuf,
    /// Price in USD per GPU and hour, such as 0.90.
    #[arg(long, env = "PRICE_PER_GPU_HOUR")]
    pub price: UnitPrice,
    /// Image of the runner, the main container of work pods.
    #[arg(long, env = "RUNNER_IMAGE")]
    pub runner_image: String,
    /// Namespace of work pods.
    #[arg(long, env = "WORK_NAMESPACE", default_value = WORK_NAMESPACE)]
    pub work_namespace: String,
    /// Namespace of the agent itself: its credential and keys lie there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "spillway")]
    pub namespace: String,
    /// Name that holds the heartbeat Lease.
    #[arg(long, env = "POD_NAME", default_value = "spillway-agent")]
    pub identity: String,
    /// Pull policy of both images of work pods; the cluster's default when absent.
    #[arg(long, env = "IMAGE_PULL_POLICY")]
    pub image_pull_policy: Option<PullPolicy>,
    /// Requests to the engine at the same time, per work pod.
    #[arg(long, env = "ENGINE_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub engine_concurrency: u32,
    /// Probe targets in private networks are measured too; by default only public addresses are.
    #[arg(long, env = "PROBE_PRIVATE_NETWORKS")]
    pub probe_private_networks: bool,
    /// Where others may open a connection to measure their distance to this cluster; without it nothing listens.
    #[arg(long, env = "PROBE_LISTEN", requires = "probe_address")]
    pub probe_listen: Option<SocketAddr>,
    /// `host:port` under which `--probe-listen` is reached from outside.
    #[arg(long, env = "PROBE_ADDRESS", requires = "probe_listen")]
    pub probe_address: Option<String>,
    /// RuntimeClass of work that asks for more than containers; without one such work is refused.
    #[arg(long, env = "ISOLATION_RUNTIME_CLASS", requires = "isolation_tier")]
    pub isolation_runtime_class: Option<String>,
    /// Highest isolation tier that this RuntimeClass gives.
    #[arg(long, env = "ISOLATION_TIER")]
    pub isolation_tier: Option<IsolationTier>,
    /// Pools whose hosts appear on demand, as a JSON list.
    #[arg(long, env = "ELASTIC_POOLS", default_value = "[]")]
    pub elastic_pools: ElasticPools,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PullPolicy {
    #[value(name = "Always")]
    Always,
    #[value(name = "IfNotPresent")]
    IfNotPresent,
    #[value(name = "Never")]
    Never,
}

impl PullPolicy {
    /// As PodSpec writes it.
    pub fn name(self) -> String {
        format!("{self:?}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IsolationTier {
    #[value(name = "Sandboxed")]
    Sandboxed,
    #[value(name = "Confidential")]
    Confidential,
}

impl From<IsolationTier> for Isolation {
    fn from(tier: IsolationTier) -> Self {
        match tier {
            IsolationTier::Sandboxed => Self::Sandboxed,
            IsolationTier::Confidential => Self::Confidential,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Settings::command().debug_assert();
    }

    #[test]
    fn a_wrong_price_is_named() {
        let error = Settings::try_parse_from(["agent", "--runner-image", "r", "--price", "1,20"]).unwrap_err();
        assert!(
            error.to_string().contains("--price") && error.to_string().contains("1.20"),
            "{error}"
        );
    }
}
