//! Distances measured by opening TCP connections: agents and operator use the same code, so their figures compare.
//!
//! In: addresses `host:port`. Out: what the last 64 round trips to each of them say; nothing for one that does not
//! answer. [`echo`] is the other side, where an owner lets others measure. May depend on `core`.

mod echo;
mod prober;
mod round_trip;

pub use echo::echo;
pub use prober::{Distances, Prober, Probes};
pub use round_trip::{Reach, RoundTripError, round_trip};
