//! A real etcd and kube-apiserver for one test process, on loopback, with Spillway's CRDs installed.
//!
//! In: `KUBEBUILDER_ASSETS` (folder with `etcd` and `kube-apiserver`; default: where `e2e/tools/kubernetes.sh` puts them).
//! Out: kube clients (cluster admin, any service account, or one of the hub chart's). The processes end when [`ControlPlane`] is dropped.
//! Test code: may depend on everything.

mod certificates;
mod chart;
mod server;

pub use certificates::{Authority, Signed};
pub use server::{ADMIN_TOKEN, ControlPlane, assets, eventually};
