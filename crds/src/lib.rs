//! The API of Spillway, group `spillway.dev/v1alpha1`: Rust types, names and conditions.
//!
//! In: nothing. Out: types for every other crate, and the YAML beside this crate (`generate` writes it, a test
//! fails on drift). User-facing kinds: [`InferenceJob`], [`GpuProvider`], [`SpendPolicy`], [`Settlement`]; between
//! hub and agent: [`ProviderInventory`] (claims), [`WorkAssignment`] (orders). May depend on `core` only.

mod conditions;
mod formats;
mod gpu_provider;
mod inference_job;
mod inference_job_status;
pub mod market;
pub mod money;
pub mod names;
mod provider_inventory;
mod settlement;
mod spend_policy;
mod stored_receipt;
mod stored_vouchers;
mod work_assignment;

pub use conditions::{find_status_condition, is_status_condition_true};
pub use gpu_provider::*;
pub use inference_job::*;
pub use inference_job_status::*;
pub use provider_inventory::*;
pub use settlement::*;
pub use spend_policy::*;
pub use stored_receipt::StoredReceipt;
pub use stored_vouchers::{StoredVoucher, StoredVouchers};
pub use work_assignment::*;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResourceExt;

/// All definitions with the file names they are written to.
pub fn definitions() -> Vec<(&'static str, CustomResourceDefinition)> {
    let generated = [
        ("gpuproviders.yaml", GpuProvider::crd()),
        ("inferencejobs.yaml", InferenceJob::crd()),
        ("providerinventories.yaml", ProviderInventory::crd()),
        ("settlements.yaml", Settlement::crd()),
        ("spendpolicies.yaml", SpendPolicy::crd()),
        ("workassignments.yaml", WorkAssignment::crd()),
    ];
    generated
        .map(|(file, definition)| (file, formats::with_known_formats(definition)))
        .into()
}
