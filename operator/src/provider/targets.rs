//! Where round trips are measured to: the places that the hub's admin names, and the probe addresses that owners opened.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use spillway_core::knowledge::Knowledge;
use spillway_core::latency::HUB;
use spillway_crds::{GpuProvider, LatencyClaim, ProbeTarget, ProviderInventory};
use spillway_probe::Distances;

use super::latency::{Path, Paths};

/// Most targets of owners per region: enough that one of them cannot set the figure alone.
const OWNERS_PER_REGION: usize = 3;
/// Most targets in all, so that an agent's claims stay bounded.
const MOST: usize = 64;

/// A place that the hub's admin named: `LOCATION=HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTarget(pub ProbeTarget);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a probe target: write LOCATION=HOST:PORT, such as eu=probe.example.org:443")]
pub struct NamedTargetError(String);

impl FromStr for NamedTarget {
    type Err = NamedTargetError;

    fn from_str(text: &str) -> Result<Self, NamedTargetError> {
        let wrong = || NamedTargetError(text.to_owned());
        let (location, address) = text.split_once('=').ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let named = |part: &str| {
            part.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let is_location = (1..=63).contains(&location.len()) && named(location) && location != HUB;
        if !is_location || host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(wrong());
        }
        Ok(Self(ProbeTarget {
            location: location.to_owned(),
            address: address.to_owned(),
        }))
    }
}

/// All targets, and the owner at each that an owner opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    named: Vec<ProbeTarget>,
    /// Target by owner.
    owners: BTreeMap<String, ProbeTarget>,
}

impl Targets {
    /// The admin's targets come first; of the owners of one region, the first by name.
    pub fn new(
        named: &[NamedTarget],
        providers: &[GpuProvider],
        inventories: &BTreeMap<String, ProviderInventory>,
    ) -> Self {
        let named: Vec<ProbeTarget> = named.iter().take(MOST).map(|target| target.0.clone()).collect();
        let mut taken: BTreeSet<String> = named.iter().map(|target| target.address.clone()).collect();
        let mut per_region = BTreeMap::<&str, usize>::new();
        let mut owners = BTreeMap::new();
        let mut sorted: Vec<&GpuProvider> = providers.iter().collect();
        sorted.sort_by_key(|provider| &provider.metadata.name);
        for provider in sorted {
            let Some(name) = &provider.metadata.name else { continue };
            let opened = inventories
                .get(name)
                .and_then(|inventory| inventory.spec.probe_address.clone());
            let Some(address) = opened else { continue };
            let region = provider.spec.region.as_str();
            let count = per_region.entry(region).or_default();
            let full = *count == OWNERS_PER_REGION || named.len() + owners.len() == MOST;
            // Two owners cannot stand at one address.
            if region == HUB || full || !taken.insert(address.clone()) {
                continue;
            }
            *count += 1;
            let location = region.to_owned();
            owners.insert(name.clone(), ProbeTarget { location, address });
        }
        Self { named, owners }
    }

    pub fn addresses(&self) -> BTreeSet<String> {
        let all = self.named.iter().chain(self.owners.values());
        all.map(|target| target.address.clone()).collect()
    }

    /// What `provider` is asked to measure: everything but itself.
    pub fn of(&self, provider: &str) -> Vec<ProbeTarget> {
        let others = self.owners.iter().filter(|(owner, _)| *owner != provider);
        let mut asked = self.named.clone();
        asked.extend(others.map(|(_, target)| target.clone()));
        asked.sort();
        asked.dedup();
        asked
    }

    /// What is known of the paths of `provider` besides its own claims.
    pub fn paths(
        &self,
        provider: &str,
        pinged: Knowledge<u64>,
        distances: &Distances,
        inventories: &BTreeMap<String, ProviderInventory>,
    ) -> Paths {
        let path = |target: ProbeTarget| Path {
            hub: distances
                .get(&target.address)
                .map(|measured| measured.latency.median)
                .into(),
            way_back: self.way_back(provider, &target, inventories),
            target,
        };
        Paths {
            pinged,
            targets: self.of(provider).into_iter().map(path).collect(),
        }
    }

    /// What the owner at `target` claims of its distance to `provider`.
    fn way_back(
        &self,
        provider: &str,
        target: &ProbeTarget,
        inventories: &BTreeMap<String, ProviderInventory>,
    ) -> Knowledge<u64> {
        let own = self.owners.get(provider);
        let owner = self.owners.iter().find(|(_, opened)| *opened == target);
        let back = own.zip(owner).and_then(|(own, (owner, _))| {
            let claims = &inventories.get(owner)?.spec.latencies;
            let to_us = |claim: &&LatencyClaim| claim.target.as_ref() == Some(&own.address);
            claims.iter().find(to_us).map(|claim| claim.median_micros)
        });
        back.into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spillway_core::latency::{LatencyMicros, Measured};

    use super::*;

    fn named(text: &str) -> NamedTarget {
        text.parse().unwrap()
    }

    fn provider(name: &str, region: &str) -> GpuProvider {
        let spec =
            json!({"class": "Decentralized", "region": region, "payoutAddress": format!("0x{}", "1".repeat(40))});
        serde_json::from_value(json!({
            "apiVersion": "spillway.dev/v1alpha1", "kind": "GpuProvider", "metadata": {"name": name}, "spec": spec,
        }))
        .unwrap()
    }

    fn inventory(name: &str, address: &str, claims: &[(&str, u64)]) -> (String, ProviderInventory) {
        let claim = |(target, median): &(&str, u64)| {
            json!({"to": "x", "target": target, "medianMicros": median, "p95Micros": median, "jitterMicros": 0,
                "samples": 9, "measuredAt": "2026-01-01T00:00:00Z"})
        };
        let claims: Vec<_> = claims.iter().map(claim).collect();
        let inventory = serde_json::from_value(json!({
            "apiVersion": "spillway.dev/v1alpha1", "kind": "ProviderInventory", "metadata": {"name": "inventory"},
            "spec": {"probeAddress": address, "latencies": claims},
        }));
        (name.to_owned(), inventory.unwrap())
    }

    fn addresses(targets: &[ProbeTarget]) -> Vec<&str> {
        targets.iter().map(|target| target.address.as_str()).collect()
    }

    #[test]
    fn named_targets_are_read_and_wrong_ones_are_named() {
        let target = named("eu-west=[2a00::1]:443").0;
        assert_eq!(
            (target.location.as_str(), target.address.as_str()),
            ("eu-west", "[2a00::1]:443")
        );
        for text in [
            "eu",
            "eu=host",
            "=host:1",
            "eu=host:0",
            "eu=host:70000",
            "eu=:1",
            "hub=host:1",
            "e u=host:1",
        ] {
            let error = text.parse::<NamedTarget>().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn owners_measure_each_other_and_never_themselves() {
        let providers = ["e", "d", "c", "b", "a"].map(|name| provider(name, "eu"));
        let inventories: BTreeMap<_, _> = ["a", "b", "c", "d"]
            .map(|name| inventory(name, &format!("{name}:1"), &[]))
            .into();
        let targets = Targets::new(&[named("eu=admin:1")], &providers, &inventories);
        assert_eq!(addresses(&targets.of("a")), ["admin:1", "b:1", "c:1"]);
        assert_eq!(
            addresses(&targets.of("e")),
            ["a:1", "admin:1", "b:1", "c:1"],
            "three of a region"
        );
        assert_eq!(targets.addresses().len(), 4);
    }

    #[test]
    fn nobody_takes_the_address_of_another() {
        let providers = ["a", "b", "c"].map(|name| provider(name, "eu"));
        let inventories = [
            inventory("a", "same:1", &[]),
            inventory("b", "same:1", &[]),
            inventory("c", "admin:1", &[]),
        ];
        let targets = Targets::new(&[named("us=admin:1")], &providers, &inventories.into());
        assert_eq!(addresses(&targets.of("c")), ["same:1", "admin:1"]);
        assert_eq!(addresses(&targets.of("a")), ["admin:1"]);
    }

    #[test]
    fn a_path_is_seen_from_the_hub_and_from_its_other_end() {
        let providers = [provider("a", "eu"), provider("b", "us")];
        let inventories = [
            inventory("a", "a:1", &[("b:1", 80_000)]),
            inventory("b", "b:1", &[("a:1", 90_000)]),
        ]
        .into();
        let targets = Targets::new(&[named("jp=admin:1")], &providers, &inventories);
        let measured = Measured {
            latency: LatencyMicros {
                median: 5_000,
                ..LatencyMicros::default()
            },
            least: 4_000,
            samples: 9,
        };
        let distances = Distances::from([("b:1".to_owned(), measured)]);
        let paths = targets.paths("a", Knowledge::Known(7), &distances, &inventories);
        let seen: Vec<_> = paths
            .targets
            .iter()
            .map(|path| (path.target.address.as_str(), path.hub, path.way_back))
            .collect();
        let unknown = Knowledge::Unknown;
        assert_eq!(paths.pinged, Knowledge::Known(7));
        assert_eq!(
            seen,
            [
                ("admin:1", unknown, unknown),
                ("b:1", Knowledge::Known(5_000), Knowledge::Known(90_000))
            ]
        );
    }
}
