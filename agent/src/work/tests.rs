//! Tables over the pure planner: real signatures, real sealing, no cluster.

mod fixture;
mod lifecycle;
mod objects;
mod outage;
mod refusal;
