//! InferenceJobs: observe → plan → apply → status. The one writer of InferenceJob.status.
//!
//! In: a job and everything that bears on it ([`observed`]). Out: a plan of the pure planner ([`plan`]).

pub mod observed;
pub mod plan;
