//! The live market as far as the caller may see it: providers, their offers, and who holds which GPUs.
//!
//! What the caller may not list is unknown, never zero.

use std::collections::BTreeMap;
use std::fmt::Debug;

use anyhow::Context;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use spillway_core::knowledge::Knowledge;
use spillway_core::market::Offer;
use spillway_crds::market::{gpus_held, gpus_in_use, offers_of};
use spillway_crds::{GpuProvider, WorkAssignment, names};

/// Objects per request.
const PAGE: u32 = 500;
/// What lets a tenant read providers and spend policies.
pub(crate) const MARKET_ROLE: &str = "spillway-market-view";
/// What lets somebody see who holds which GPUs.
pub(crate) const CAPACITY_ROLE: &str = "spillway-capacity-view";

pub(crate) struct Market {
    pub(crate) providers: Vec<GpuProvider>,
    /// Unknown where WorkAssignments may not be listed.
    pub(crate) holdings: Knowledge<Vec<Holding>>,
}

/// GPUs of one host that an attempt holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) provider: String,
    pub(crate) host: String,
    pub(crate) gpus: u32,
    /// `namespace/name`.
    pub(crate) job: String,
}

/// GPUs that one job holds on the hosts that were asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Holder {
    pub(crate) job: String,
    pub(crate) gpus: u32,
}

impl Market {
    /// # Errors
    /// When GpuProviders cannot be listed.
    pub(crate) async fn read(client: &Client) -> anyhow::Result<Self> {
        let providers = list_all(&Api::<GpuProvider>::all(client.clone()))
            .await
            .with_context(|| format!("list GpuProviders (ClusterRole {MARKET_ROLE} allows it)"))?;
        let holdings = match list_all(&Api::<WorkAssignment>::all(client.clone())).await {
            Ok(assignments) => Knowledge::Known(assignments.iter().filter_map(holding).collect()),
            Err(error) if is_forbidden(&error) => Knowledge::Unknown,
            Err(error) => return Err(error).context("list WorkAssignments"),
        };
        Ok(Self { providers, holdings })
    }

    /// One offer per host. Where it is not known who holds GPUs, all count as free: say so wherever it matters.
    pub(crate) fn offers(&self) -> Vec<Offer> {
        self.providers
            .iter()
            .flat_map(|provider| self.offers_by(provider))
            .collect()
    }

    pub(crate) fn offers_by(&self, provider: &GpuProvider) -> Vec<Offer> {
        let name = provider.name_any();
        let held = self.holdings.as_ref().known().into_iter().flatten();
        let held = held.filter(|holding| holding.provider == name);
        offers_of(
            provider,
            &gpus_in_use(provider, held.map(|holding| (holding.host.as_str(), holding.gpus))),
        )
    }

    /// Jobs that hold GPUs on these offers' hosts, the largest first.
    pub(crate) fn holders(&self, offers: &[&Offer]) -> Knowledge<Vec<Holder>> {
        let Knowledge::Known(holdings) = &self.holdings else {
            return Knowledge::Unknown;
        };
        let is_there = |holding: &&Holding| {
            let mut offers = offers.iter();
            offers.any(|offer| offer.provider == holding.provider && offer.host == holding.host)
        };
        let mut sums = BTreeMap::<&str, u32>::new();
        for holding in holdings.iter().filter(is_there) {
            *sums.entry(&holding.job).or_default() += holding.gpus;
        }
        let holder = |(job, gpus): (&str, u32)| Holder {
            job: job.to_owned(),
            gpus,
        };
        let mut holders: Vec<Holder> = sums.into_iter().map(holder).collect();
        holders.sort_by(|one, other| other.gpus.cmp(&one.gpus).then_with(|| one.job.cmp(&other.job)));
        Knowledge::Known(holders)
    }

    /// Who is paid for an offer: providers that share a payout address are one owner.
    pub(crate) fn payout(&self, provider: &str) -> Option<String> {
        let found = self
            .providers
            .iter()
            .find(|candidate| candidate.name_any() == provider)?;
        Some(found.spec.payout_address.to_ascii_lowercase())
    }
}

fn holding(assignment: &WorkAssignment) -> Option<Holding> {
    let gpus = gpus_held(assignment);
    let namespace = assignment.namespace()?;
    let job = &assignment.spec.job;
    (gpus > 0).then_some(())?;
    Some(Holding {
        provider: namespace.strip_prefix(names::PROVIDER_NAMESPACE_PREFIX)?.to_owned(),
        host: assignment.spec.host.clone(),
        gpus,
        job: format!("{}/{}", job.namespace, job.name),
    })
}

/// Every object, a page at a time.
pub(crate) async fn list_all<K>(api: &Api<K>) -> kube::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut parameters = ListParams::default().limit(PAGE);
    let mut items = Vec::new();
    loop {
        let page = api.list(&parameters).await?;
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(items),
        }
    }
}

pub(crate) fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
