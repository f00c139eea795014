//! The end-to-end tests' way to the kind clusters that `e2e/demo/install.sh` has set up.
//!
//! In: `KUBECONFIG`, the addresses and keys that the installer left in the cache. Out: [`Ground`] (clients), [`Scene`] (one
//! test's objects in `team-a`, and work that runs until the test says so), [`Ledger`] (the chain), [`Stores`], [`golden`],
//! [`plugin`] (`kubectl spillway`), and what a job left behind ([`leftovers`]).
//! Every wait is for a condition, with a limit; a limit that passes brings the job's story along. Test code: may depend on
//! everything.

pub mod golden;
mod ground;
mod holding;
mod kill;
mod ledger;
mod leftovers;
mod plugin;
mod reading;
mod rollout;
mod scene;
mod store;
mod story;
mod waiting;

pub use ground::{Ground, TENANT, hub_context, kubeconfig};
pub use holding::only_provider;
pub use kill::{Component, kill};
pub use ledger::{Holdings, Ledger, invoice_total, leaves};
pub use leftovers::leftovers;
pub use plugin::{ask, plugin, plugin_json};
pub use reading::{attempts, holds, placeable, placeable_for, providers, running};
pub use rollout::{Installed, set_variable};
pub use scene::Scene;
pub use store::Stores;
pub use story::story;
pub use waiting::until;
