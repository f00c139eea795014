//! The last look at the bound node: kube-scheduler and extender have decided, but neither is believed.

use spillway_core::market::{Exclusion, Offer, Requirement, exclude};

/// Every hard filter again, for the offer of the node that the pod was bound to.
///
/// # Errors
/// The first filter that the offer does not pass.
pub fn recheck(requirement: &Requirement, offer: &Offer) -> Result<(), Exclusion> {
    exclude(requirement, offer).map_or(Ok(()), Err)
}
