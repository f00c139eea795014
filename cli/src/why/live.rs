//! The market as it stands now, seen by the first shard that waits: pure.

use kube::ResourceExt;
use serde::Serialize;
use spillway_core::knowledge::Knowledge;
use spillway_core::market::{Capacity, Exclusion, Offer, Requirement, exclusions, smallest_change};
use spillway_crds::market::{Needs, ValidatedJob, validate_under};
use spillway_crds::{
    AttemptKind, AttemptState, AttemptStatus, DataClass, InferenceJob, PlacementChange, ShardState, ShardStatus,
};

use crate::market::{Holder, Market};

/// Offers listed with all that they miss.
const NEAREST: usize = 5;

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Live {
    /// What the first shard that waits is in want of.
    pub(super) shard: u32,
    pub(super) kind: AttemptKind,
    pub(super) offers: u32,
    /// Offers that fit, busy or not.
    pub(super) fitting: u32,
    /// Of those with enough free GPUs; null when the caller may not see who holds them.
    pub(super) free: Option<u32>,
    /// What would make an offer fit, or, while those that fit are busy, a free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) change: Option<PlacementChange>,
    /// Jobs that hold GPUs of offers that fit; null when the caller may not see them.
    pub(super) holders: Option<Vec<Holder>>,
    /// Offers that miss the fewest needs, with all that they miss; the cheaper first.
    pub(super) nearest: Vec<Nearest>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Nearest {
    pub(super) node: String,
    pub(super) provider: String,
    pub(super) unit_price_micro: u64,
    pub(super) misses: Vec<Miss>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Miss {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Live {
    /// `None` when no shard waits, or when the spec is one that no operator accepted. Where it is not known which data
    /// class the hub wants of every job, none is proposed that is looser than the job's.
    pub(super) fn of(job: &InferenceJob, market: &Market, least: Option<DataClass>) -> Option<Self> {
        let status = job.status.as_ref()?;
        let data_class = status.data_class.unwrap_or_default();
        let terms = validate_under(&job.spec, data_class).ok()?;
        let (shard, kind) = status.shards.iter().find_map(|shard| Some((shard, wanted(shard)?)))?;
        let needs = terms.needs(&requirement(&terms, shard, kind, market), least.unwrap_or(data_class));
        let gpus = terms.requirement.gpus;
        let offers = market.offers();
        let fitting: Vec<&Offer> = offers
            .iter()
            .filter(|offer| Capacity::Idle.fits(needs.of(offer).requirement, offer))
            .collect();
        let free = fitting.iter().filter(|offer| offer.gpus_free >= gpus).count();
        let known = matches!(market.holdings, Knowledge::Known(_));
        let capacity = if fitting.is_empty() {
            Capacity::Idle
        } else {
            Capacity::Free
        };
        let helps = fitting.is_empty() || (free == 0 && known);
        let change = helps
            .then(|| smallest_change(|offer| needs.of(offer), &offers, capacity))
            .flatten();
        Some(Self {
            shard: shard.index,
            kind,
            offers: count(offers.len()),
            free: known.then(|| count(free)),
            change: change.as_ref().map(PlacementChange::from),
            holders: market.holders(&fitting).known(),
            nearest: if fitting.is_empty() {
                nearest(&needs, &offers)
            } else {
                Vec::new()
            },
            fitting: count(fitting.len()),
        })
    }
}

/// The hard needs of the next attempt of a shard; for a check, without every owner who ran it, under whatever name.
fn requirement(job: &ValidatedJob, shard: &ShardStatus, kind: AttemptKind, market: &Market) -> Requirement {
    let number = u16::try_from(shard.attempts.len()).unwrap_or(u16::MAX);
    let mut requirement = job.requirement_for(kind, shard, number);
    let ran: Vec<String> = requirement
        .excluded_providers
        .iter()
        .filter_map(|name| market.payout(name))
        .collect();
    let names = market.providers.iter().map(ResourceExt::name_any);
    let same_owner = names.filter(|name| market.payout(name).is_some_and(|payout| ran.contains(&payout)));
    requirement.excluded_providers.extend(same_owner);
    requirement
}

/// All that an offer misses once its GPUs are idle.
fn missed(needs: &Needs, offer: &Offer) -> Vec<Exclusion> {
    let missed = exclusions(needs.of(offer).requirement, offer);
    missed.filter(|missed| *missed != Exclusion::NoFreeGpus).collect()
}

fn nearest(needs: &Needs, offers: &[Offer]) -> Vec<Nearest> {
    let mut nearest: Vec<(usize, &Offer)> = offers.iter().map(|offer| (missed(needs, offer).len(), offer)).collect();
    nearest.sort_by(|(one_misses, one), (other_misses, other)| {
        (one_misses, one.price, &one.node).cmp(&(other_misses, other.price, &other.node))
    });
    let view = |(_, offer): (usize, &Offer)| Nearest {
        node: offer.node.clone(),
        provider: offer.provider.clone(),
        unit_price_micro: offer.price.0,
        misses: missed(needs, offer).iter().map(Miss::from).collect(),
    };
    nearest.into_iter().take(NEAREST).map(view).collect()
}

impl From<&Exclusion> for Miss {
    fn from(exclusion: &Exclusion) -> Self {
        Self {
            reason: exclusion.reason(),
            message: exclusion.to_string(),
        }
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The attempt that a shard waits for; the operator may know that a check is not drawn.
fn wanted(shard: &ShardStatus) -> Option<AttemptKind> {
    if matches!(shard.state, ShardState::Accepted | ShardState::Failed) {
        return None;
    }
    let open = |kind| {
        shard
            .attempts
            .iter()
            .any(move |attempt| attempt.kind == kind && is_open(attempt))
    };
    let kinds = [AttemptKind::Work, AttemptKind::Check];
    kinds.into_iter().find(|kind| !open(*kind))
}

/// It lives, or its result waits for a verdict.
fn is_open(attempt: &AttemptStatus) -> bool {
    match attempt.state {
        AttemptState::Expected | AttemptState::Assigned | AttemptState::Running => true,
        AttemptState::Completed => attempt.verdict.is_none(),
        AttemptState::Failed | AttemptState::Lost | AttemptState::Cancelled => false,
    }
}
