mod budget;
mod burst;
mod candidates;
mod expiry;
mod explanation;
mod failing;
mod properties;
mod publishing;
mod scenarios;
mod settling;
mod world;

pub(in crate::job) use world::offer;
