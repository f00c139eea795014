//! The providers, their nodes, and what jobs ask for: the same in every run.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{Affinity, NodeSelectorRequirement};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use spillway_core::market::{Offer, Requirement, exclude};
use spillway_crds::market::{offers_of, requirement};
use spillway_crds::{DataClass, GpuProvider, InferenceJob, names};

/// GPU product, MiB per GPU, compute capability, usual price in micro-USD per GPU-hour.
const PRODUCTS: [(&str, u64, &str, u64); 8] = [
    ("Tesla-T4", 15_360, "7.5", 250_000),
    ("NVIDIA-GeForce-RTX-4090", 24_564, "8.9", 400_000),
    ("NVIDIA-L4", 23_034, "8.9", 550_000),
    ("NVIDIA-A10G", 23_028, "8.6", 700_000),
    ("NVIDIA-L40S", 46_068, "8.9", 1_100_000),
    ("NVIDIA-A100-SXM4-40GB", 40_960, "8.0", 1_350_000),
    ("NVIDIA-A100-SXM4-80GB", 81_920, "8.0", 1_800_000),
    ("NVIDIA-H100-80GB-HBM3", 81_559, "9.0", 2_900_000),
];
/// Of all providers (the first public key of RFC 7748, 6.1): what is sealed to it is never opened here.
const SEALING_KEY: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
const REGIONS: [&str; 3] = ["eu", "us", "ap"];
/// GPUs of a node on average, as a multiple of `--node-gpus`: every fourth has twice as many.
const MEAN_MULTIPLE: f64 = 1.25;
const MOST_SHARDS: usize = 256;

/// What a group of jobs asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub name: &'static str,
    models: &'static [&'static str],
    /// `spec.resources.minMemory`, and the same in MiB.
    least_memory: Option<(&'static str, u64)>,
    region: Option<&'static str>,
    /// `spec.placement.maxLatency.p95`; the stock scheduler knows nothing like it.
    latency: Option<&'static str>,
    cap: &'static str,
}

const ANY: Class = Class {
    name: "",
    models: &[],
    least_memory: None,
    region: None,
    latency: None,
    cap: "5.00",
};

pub(crate) const CLASSES: [Class; 8] = [
    Class {
        name: "small",
        models: &["Tesla-T4", "NVIDIA-GeForce-RTX-4090"],
        cap: "0.80",
        ..ANY
    },
    Class {
        name: "l4",
        models: &["NVIDIA-L4"],
        cap: "1.20",
        ..ANY
    },
    Class {
        name: "near",
        models: &["NVIDIA-A10G"],
        latency: Some("150ms"),
        cap: "1.50",
        ..ANY
    },
    Class {
        name: "l40s",
        models: &["NVIDIA-L40S"],
        cap: "2.00",
        ..ANY
    },
    Class {
        name: "a100",
        models: &["NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-SXM4-80GB"],
        cap: "3.00",
        ..ANY
    },
    Class {
        name: "h100",
        models: &["NVIDIA-H100-80GB-HBM3"],
        ..ANY
    },
    Class {
        name: "eu",
        least_memory: Some(("20Gi", 20 << 10)),
        region: Some("eu"),
        ..ANY
    },
    Class {
        name: "ap",
        least_memory: Some(("40Gi", 40 << 10)),
        region: Some("ap"),
        ..ANY
    },
];

/// Sizes of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub pods: usize,
    pub nodes: usize,
    pub providers: usize,
    /// GPUs of a host; every fourth has twice as many.
    pub gpus: u32,
}

#[derive(Debug)]
pub(crate) struct Ground {
    pub providers: Vec<GpuProvider>,
    pub offers: Vec<Offer>,
    pub jobs: Vec<InferenceJob>,
}

impl Ground {
    pub(crate) fn new(sizes: Sizes, namespace: &str) -> anyhow::Result<Self> {
        let mut random = StdRng::seed_from_u64(1);
        let mut hosts = hosts_per_provider(sizes);
        let mut providers = Vec::new();
        for index in 0..sizes.providers {
            providers.push(provider(
                &mut random,
                index,
                hosts.pop().unwrap_or_default(),
                sizes.gpus,
            )?);
        }
        let offers: Vec<Offer> = providers
            .iter()
            .flat_map(|provider| offers_of(provider, &BTreeMap::new()))
            .collect();
        let gpus: u32 = offers.iter().map(|offer| offer.gpus_total).sum();
        ensure!(
            sizes.pods <= usize::try_from(gpus)?,
            "--pods {} cannot be placed on the {gpus} GPUs of --nodes {} with --node-gpus {}: raise one of these",
            sizes.pods,
            sizes.nodes,
            sizes.gpus
        );
        let jobs = jobs(&mut random, &offers, sizes.pods, namespace)?;
        Ok(Self {
            providers,
            offers,
            jobs,
        })
    }

    /// Micro-USD per GPU-hour of each node.
    pub(crate) fn prices(&self) -> BTreeMap<&str, u64> {
        let price = |offer: &'_ Offer| offer.price.0;
        self.offers
            .iter()
            .map(|offer| (offer.node.as_str(), price(offer)))
            .collect()
    }
}

/// Host counts that sum to the number of nodes.
fn hosts_per_provider(sizes: Sizes) -> Vec<usize> {
    let (each, more) = (sizes.nodes / sizes.providers, sizes.nodes % sizes.providers);
    (0..sizes.providers)
        .map(|index| each + usize::from(index < more))
        .collect()
}

fn provider(random: &mut StdRng, index: usize, hosts: usize, gpus_per_host: u32) -> anyhow::Result<GpuProvider> {
    let name = format!("owner-{index:03}");
    let (product, memory, capability, usual) = PRODUCTS[index % PRODUCTS.len()];
    let region = REGIONS[(index / PRODUCTS.len()) % REGIONS.len()];
    let class = ["Decentralized", "Decentralized", "Cloud", "Private"][random.random_range(0..4)];
    let price = usual * random.random_range(75..135) / 100;
    let p95 = random.random_range(8_000_u64..140_000);
    let (accepted, rejected) = (random.random_range(10_u64..400), random.random_range(0_u64..3));
    let host = |host: usize| {
        let name_of_host = format!("gpu-{host:02}");
        let gpus = gpus_per_host * if (index + host).is_multiple_of(4) { 2 } else { 1 };
        json!({"name": name_of_host, "node": names::virtual_node(&name, &name_of_host), "product": product, "gpus": gpus,
            "memoryMebibytes": memory, "computeCapability": capability})
    };
    let hosts: Vec<Value> = (0..hosts).map(host).collect();
    let gpus: u64 = hosts.iter().filter_map(|host| host["gpus"].as_u64()).sum();
    let ready = json!({"type": "Ready", "status": "True", "reason": "Offering", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let provider = json!({
        "apiVersion": "spillway.dev/v1alpha1", "kind": "GpuProvider", "metadata": {"name": name},
        "spec": {"class": class, "region": region, "jurisdiction": "DE", "payoutAddress": format!("0x{index:040x}")},
        "status": {
            "conditions": [ready], "namespace": names::provider_namespace(&name),
            "receiptSigner": format!("0x{:040x}", index + 1_000_000), "sealingKey": SEALING_KEY,
            "gpus": gpus, "unitPriceMicro": price, "offerRevision": 1, "hosts": hosts,
            "latencies": [{"to": "hub", "medianMicros": p95 / 2, "p95Micros": p95, "jitterMicros": 0, "samples": 64,
                "measuredAt": "2026-01-01T00:00:00Z"}],
            "reputation": {"accepted": accepted, "rejected": rejected},
        },
    });
    serde_json::from_value(provider).context("a provider of the bench")
}

/// Each class asks for its part of 80 % of the GPUs: every GPU is counted for one class that it fits.
fn jobs(random: &mut StdRng, offers: &[Offer], pods: usize, namespace: &str) -> anyhow::Result<Vec<InferenceJob>> {
    let requirements = requirements()?;
    let mut homes = vec![0_usize; CLASSES.len()];
    for offer in offers {
        let fitting = fitting(&requirements, offer);
        for _ in 0..offer.gpus_total {
            if !fitting.is_empty() {
                homes[fitting[random.random_range(0..fitting.len())]] += 1;
            }
        }
    }
    let shares = apportion(&homes, pods);
    let mut jobs = Vec::new();
    for (class, share) in CLASSES.iter().zip(shares) {
        let count = share.div_ceil(MOST_SHARDS);
        for index in 0..count {
            let shards = share / count + usize::from(index < share % count);
            jobs.push(class.job(index, shards, namespace)?);
        }
    }
    // Users do not come class by class.
    jobs.sort_by_key(|job| job.metadata.name.as_deref().and_then(|name| name.chars().last()));
    Ok(jobs)
}

/// Parts of `total` in proportion to `weights`, by largest remainder.
fn apportion(weights: &[usize], total: usize) -> Vec<usize> {
    let sum = weights.iter().sum::<usize>().max(1);
    let mut parts: Vec<usize> = weights.iter().map(|weight| weight * total / sum).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(weights[*index] * total % sum));
    let left = total - parts.iter().sum::<usize>();
    for index in order.into_iter().take(left) {
        parts[index] += 1;
    }
    parts
}

pub(crate) fn requirements() -> anyhow::Result<Vec<Requirement>> {
    CLASSES
        .iter()
        .map(|class| Ok(requirement(&class.job(0, 1, "any")?.spec, DataClass::Public)?))
        .collect()
}

/// Classes that an offer fits.
pub(crate) fn fitting(requirements: &[Requirement], offer: &Offer) -> Vec<usize> {
    let fits = |requirement: &Requirement| exclude(requirement, offer).is_none();
    let classes = requirements.iter().enumerate();
    classes
        .filter(|(_, requirement)| fits(requirement))
        .map(|(class, _)| class)
        .collect()
}

impl Class {
    fn job(&self, index: usize, shards: usize, namespace: &str) -> anyhow::Result<InferenceJob> {
        let line = |number: usize| {
            json!({"custom_id": format!("r{number}"), "method": "POST", "url": "/v1/embeddings", "body": {}})
                .to_string()
        };
        let lines: Vec<String> = (0..shards).map(line).collect();
        let mut resources = json!({"gpus": 1, "models": self.models});
        if let Some((memory, _)) = self.least_memory {
            resources["minMemory"] = json!(memory);
        }
        let mut placement = json!({"policy": "Cost"});
        if let Some(region) = self.region {
            placement["regions"] = json!([region]);
        }
        if let Some(p95) = self.latency {
            placement["maxLatency"] = json!({"to": "hub", "p95": p95});
        }
        let job = json!({
            "apiVersion": "spillway.dev/v1alpha1", "kind": "InferenceJob",
            "metadata": {"name": format!("{}-{index}", self.name), "namespace": namespace},
            "spec": {
                "engine": {"image": "registry.example/engine@sha256:00", "args": ["--model", "/model"]},
                "input": {"inline": lines.join("\n")}, "output": {"uri": "s3://out/"},
                "resources": resources, "placement": placement,
                "price": {"maxPerGpuHour": self.cap, "budget": "100000.00"},
                "execution": {"shards": shards, "parallelism": shards, "shardTimeout": "10m", "deadline": "24h"},
            },
        });
        serde_json::from_value(job).context("a job of the bench")
    }

    /// What of the class the stock scheduler can be told: model, memory and region by the nodes' labels.
    pub(crate) fn affinity(&self) -> anyhow::Result<Affinity> {
        let mut needs: Vec<NodeSelectorRequirement> = Vec::new();
        let mut need = |key: &str, operator: &str, values: Vec<String>| {
            needs.push(NodeSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: Some(values),
            });
        };
        if !self.models.is_empty() {
            let models = self.models.iter().map(|model| (*model).to_owned()).collect();
            need("nvidia.com/gpu.product", "In", models);
        }
        if let Some((_, mebibytes)) = self.least_memory {
            need("nvidia.com/gpu.memory", "Gt", vec![(mebibytes - 1).to_string()]);
        }
        if let Some(region) = self.region {
            need("topology.kubernetes.io/region", "In", vec![region.to_owned()]);
        }
        let terms = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": needs}]}}});
        Ok(serde_json::from_value(terms)?)
    }
}

/// The class of a job or of one of its pods, by name.
pub(crate) fn class_of(name: &str) -> Option<usize> {
    let (prefix, _) = name.split_once('-')?;
    CLASSES.iter().position(|class| class.name == prefix)
}

/// Hosts whose GPUs are taken to 80 % by so many pods.
pub(crate) fn usual_nodes(pods: usize, gpus: u32) -> usize {
    (pods as f64 / 0.8 / (MEAN_MULTIPLE * f64::from(gpus))).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_is_four_fifths_of_the_gpus_in_many_jobs() {
        let sizes = Sizes {
            pods: 5_000,
            nodes: usual_nodes(5_000, 1),
            providers: 320,
            gpus: 1,
        };
        let ground = Ground::new(sizes, "team-a").unwrap();
        assert_eq!(ground.offers.len(), 5_000);
        let gpus: u32 = ground.offers.iter().map(|offer| offer.gpus_total).sum();
        assert!((0.79..0.81).contains(&(5_000.0 / f64::from(gpus))), "{gpus} GPUs");
        let shards = |job: &InferenceJob| job.spec.input.inline.as_ref().unwrap().lines().count();
        assert_eq!(ground.jobs.iter().map(shards).sum::<usize>(), 5_000);
        assert!(ground.jobs.iter().all(|job| shards(job) <= MOST_SHARDS));
        assert!(ground.jobs.len() >= 20, "{} jobs", ground.jobs.len());
        let requirements = requirements().unwrap();
        let unfit = ground
            .offers
            .iter()
            .filter(|offer| fitting(&requirements, offer).is_empty());
        assert_eq!(unfit.count(), 0);
    }

    #[test]
    fn more_pods_than_gpus_are_refused() {
        let sizes = Sizes {
            pods: 100,
            nodes: 8,
            providers: 4,
            gpus: 3,
        };
        let error = Ground::new(sizes, "team-a").unwrap_err().to_string();
        assert!(
            error.starts_with("--pods 100 cannot be placed on the 30 GPUs"),
            "{error}"
        );
    }

    #[test]
    fn parts_sum_up() {
        assert_eq!(apportion(&[1, 1, 1], 10), [4, 3, 3]);
        assert_eq!(apportion(&[0, 5], 3), [0, 3]);
    }
}
