//! Elastic pools: hosts that do not run yet and that this cluster's autoscaler brings up when a pod asks for them.
//!
//! In: the pools as the provider's settings name them. Out: claims for the hub, hosts for the work task, and where work
//! for such a host goes. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use serde::Deserialize;
use spillway_core::duration;
use spillway_core::memory::Bytes;
use spillway_crds::{ElasticClaim, HostClaim};

/// As the API bounds them.
const MOST_POOLS: usize = 16;
const MOST_HOSTS: u32 = 256;
const MOST_GPUS: u32 = 64;

/// All pools, as JSON: `[{"name": "burst", "product": "NVIDIA-L4", "memory": "24Gi", "gpusPerHost": 1, "maxHosts": 4,
/// "startTime": "3m", "nodeSelector": {"pool": "gpu"}}]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElasticPools(Arc<[ElasticPool]>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElasticPool {
    pub claim: ElasticClaim,
    pub start_time: Duration,
    /// Labels of the pool's nodes; work is placed by them.
    pub node_selector: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ElasticError {
    #[error("elastic pools are not the JSON list that is expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error("elastic pool `{pool}`: {field}: {message}")]
    Field {
        pool: String,
        field: &'static str,
        message: String,
    },
    #[error("{0} elastic pools, at most {MOST_POOLS} can be offered")]
    TooMany(usize),
    #[error("two elastic pools are named `{0}`")]
    NamedTwice(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    name: String,
    product: String,
    memory: String,
    #[serde(default)]
    compute_capability: Option<String>,
    gpus_per_host: u32,
    max_hosts: u32,
    start_time: String,
    node_selector: BTreeMap<String, String>,
}

impl FromStr for ElasticPools {
    type Err = ElasticError;

    fn from_str(text: &str) -> Result<Self, ElasticError> {
        let written: Vec<Written> = serde_json::from_str(text)?;
        if written.len() > MOST_POOLS {
            return Err(ElasticError::TooMany(written.len()));
        }
        let mut pools: Vec<ElasticPool> = Vec::new();
        for pool in written {
            if pools.iter().any(|other| other.claim.name == pool.name) {
                return Err(ElasticError::NamedTwice(pool.name));
            }
            pools.push(pool.checked()?);
        }
        Ok(Self(pools.into()))
    }
}

impl Written {
    fn checked(self) -> Result<ElasticPool, ElasticError> {
        let wrong = |field, message: &dyn std::fmt::Display| ElasticError::Field {
            pool: self.name.clone(),
            field,
            message: message.to_string(),
        };
        let is_name = |text: &str| {
            let inner = text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
            inner && (1..=40).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')
        };
        let within = |field, number: u32, most: u32| {
            let message = format!("{number} is not from 1 to {most}");
            (1..=most)
                .contains(&number)
                .then_some(number)
                .ok_or_else(|| wrong(field, &message))
        };
        if !is_name(&self.name) {
            return Err(wrong("name", &"must be a DNS label of at most 40 characters"));
        }
        if !(1..=63).contains(&self.product.len()) {
            return Err(wrong(
                "product",
                &"must be as GPU feature discovery names it, such as NVIDIA-L4",
            ));
        }
        if self.node_selector.is_empty() {
            return Err(wrong(
                "nodeSelector",
                &"must name at least one label of the pool's nodes",
            ));
        }
        let memory: Bytes = self.memory.parse().map_err(|error| wrong("memory", &error))?;
        let start_time = duration::parse(&self.start_time).map_err(|error| wrong("startTime", &error))?;
        let claim = ElasticClaim {
            name: self.name.clone(),
            product: self.product.clone(),
            memory_mebibytes: memory.0 >> 20,
            compute_capability: self.compute_capability.clone(),
            gpus_per_host: within("gpusPerHost", self.gpus_per_host, MOST_GPUS)?,
            max_hosts: within("maxHosts", self.max_hosts, MOST_HOSTS)?,
            start_time: self.start_time.clone(),
        };
        Ok(ElasticPool {
            claim,
            start_time,
            node_selector: self.node_selector.clone(),
        })
    }
}

impl ElasticPools {
    pub fn claims(&self) -> Vec<ElasticClaim> {
        self.0.iter().map(|pool| pool.claim.clone()).collect()
    }

    /// Every host that may appear, as the work task knows hosts.
    pub fn hosts(&self) -> Vec<HostClaim> {
        self.0
            .iter()
            .flat_map(|pool| pool.claim.host_names().map(|name| pool.host(name)))
            .collect()
    }

    /// The pool of a host that appears on demand.
    pub fn pool_of(&self, host: &str) -> Option<&ElasticPool> {
        self.0.iter().find(|pool| {
            let index = host
                .strip_prefix(&pool.claim.name)
                .and_then(|rest| rest.strip_prefix('-'));
            index.is_some_and(|index| {
                let number = index.parse::<u32>().ok().filter(|number| number.to_string() == index);
                number.is_some_and(|number| number < pool.claim.max_hosts)
            })
        })
    }

    /// Whether a node that runs is of a pool: the pool offers it already.
    pub fn own(&self, node: &Node) -> bool {
        let labels = node.metadata.labels.as_ref();
        self.0.iter().any(|pool| {
            let mut selector = pool.node_selector.iter();
            selector.all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        })
    }
}

impl ElasticPool {
    fn host(&self, name: String) -> HostClaim {
        HostClaim {
            name,
            product: self.claim.product.clone(),
            gpus: self.claim.gpus_per_host,
            memory_mebibytes: self.claim.memory_mebibytes,
            compute_capability: self.claim.compute_capability.clone(),
            driver_version: None,
            cpu_millis: 0,
            main_memory_mebibytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pool(change: impl FnOnce(&mut Value)) -> Result<ElasticPools, ElasticError> {
        let mut pool = json!({"name": "burst", "product": "NVIDIA-L4", "memory": "24Gi", "gpusPerHost": 2, "maxHosts": 3,
            "startTime": "3m", "nodeSelector": {"pool": "gpu"}});
        change(&mut pool);
        json!([pool]).to_string().parse()
    }

    #[test]
    fn a_pool_offers_hosts_up_to_its_maximum() {
        let pools = pool(|_| ()).unwrap();
        let hosts = pools.hosts();
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(names, ["burst-0", "burst-1", "burst-2"]);
        assert_eq!((hosts[0].gpus, hosts[0].memory_mebibytes), (2, 24_576));
        let found = |host| pools.pool_of(host).map(|pool| pool.start_time);
        assert_eq!(found("burst-2"), Some(Duration::from_secs(180)));
        for other in ["burst-3", "burst", "burst-", "burst-02", "burst-x", "other-0"] {
            assert_eq!(found(other), None, "{other}");
        }
    }

    #[test]
    fn a_node_of_the_pool_is_not_offered_twice() {
        let pools = pool(|_| ()).unwrap();
        let node = |labels: Value| -> Node { serde_json::from_value(json!({"metadata": {"labels": labels}})).unwrap() };
        assert!(pools.own(&node(json!({"pool": "gpu", "zone": "a"}))));
        assert!(!pools.own(&node(json!({"pool": "other"}))));
        assert!(!ElasticPools::default().own(&node(json!({}))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change); 8] = [
            ("name", |pool| pool["name"] = json!("Burst")),
            ("product", |pool| pool["product"] = json!("")),
            ("memory", |pool| pool["memory"] = json!("24GB")),
            ("gpusPerHost", |pool| pool["gpusPerHost"] = json!(0)),
            ("maxHosts", |pool| pool["maxHosts"] = json!(257)),
            ("startTime", |pool| pool["startTime"] = json!("soon")),
            ("nodeSelector", |pool| pool["nodeSelector"] = json!({})),
            ("speed", |pool| pool["speed"] = json!(1)),
        ];
        for (field, change) in cases {
            let error = pool(change).unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
    }
}
