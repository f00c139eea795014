//! Settings of the operator: flags, or the environment variables named beside them.

use std::net::SocketAddr;
use std::time::Duration;

use alloy_primitives::Address;
use clap::{Parser, ValueEnum};
use spillway_core::money::MicroUsd;
use spillway_crds::{DataClass, SettlementMode, names};

use crate::provider::NamedTarget;

#[derive(Clone, Debug, Parser)]
#[command(version, about = "Spillway's hub controllers")]
pub struct Settings {
    /// The operator's own namespace: order-signing keys, Settlements and the leader Lease lie here.
    #[arg(long, env = "POD_NAMESPACE", default_value = names::SYSTEM_NAMESPACE)]
    pub namespace: String,
    /// Name of this process in the leader Lease.
    #[arg(long, env = "POD_NAME", default_value = "spillway-operator")]
    pub identity: String,
    /// Health and metrics.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Image of splitter and publisher pods.
    #[arg(long, env = "RUNNER_IMAGE")]
    pub runner_image: String,
    /// The hub's own object store, `s3://bucket/prefix`; credentials come from AWS_* variables.
    #[arg(long, env = "SPILLWAY_STORE_URL")]
    pub store_url: String,
    #[arg(long, env = "CHAIN_ID")]
    pub chain_id: u64,
    /// Settlement contract.
    #[arg(long, env = "SETTLEMENT_CONTRACT")]
    pub settlement_contract: Address,
    /// How that contract moves money; fixed at its deployment.
    #[arg(long, env = "SETTLEMENT_MODE", value_enum, default_value_t = Mode::Ledger)]
    pub settlement_mode: Mode,
    /// Data class of jobs that name none; a job may be stricter, never looser.
    #[arg(long, env = "DEFAULT_DATA_CLASS", value_enum, default_value_t = DefaultDataClass::Public)]
    pub default_data_class: DefaultDataClass,
    /// A batch is sealed at this many paid attempts …
    #[arg(long, env = "BATCH_LEAVES", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch_leaves: u16,
    /// … or when they are worth this many USD …
    #[arg(long, env = "BATCH_VALUE")]
    pub batch_value: Option<MicroUsd>,
    /// … or when the oldest has waited this long.
    #[arg(long, env = "BATCH_AGE", default_value = "10s", value_parser = spillway_core::duration::parse)]
    pub batch_age: Duration,
    /// Leaves documents are deleted this long after their Settlement is final. Longer than anybody may dispute it.
    #[arg(long, env = "LEAVES_RETENTION", default_value = "2160h", value_parser = spillway_core::duration::parse)]
    pub leaves_retention: Duration,
    /// Places that providers measure their distance to, as LOCATION=HOST:PORT, such as eu=probe.example.org:443.
    #[arg(long = "probe-target", env = "PROBE_TARGETS", value_delimiter = ',')]
    pub probe_targets: Vec<NamedTarget>,
    /// Probe addresses in private networks are measured too; by default only public addresses are.
    #[arg(long, env = "PROBE_PRIVATE_NETWORKS")]
    pub probe_private_networks: bool,
}

/// [`SettlementMode`], as Settlements write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    #[value(name = "Ledger")]
    Ledger,
    #[value(name = "Root")]
    Root,
}

impl From<Mode> for SettlementMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Ledger => Self::Ledger,
            Mode::Root => Self::Root,
        }
    }
}

/// [`DataClass`], as InferenceJobs write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DefaultDataClass {
    #[value(name = "Public")]
    Public,
    #[value(name = "Internal")]
    Internal,
    #[value(name = "Restricted")]
    Restricted,
}

impl From<DefaultDataClass> for DataClass {
    fn from(class: DefaultDataClass) -> Self {
        match class {
            DefaultDataClass::Public => Self::Public,
            DefaultDataClass::Internal => Self::Internal,
            DefaultDataClass::Restricted => Self::Restricted,
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
}
