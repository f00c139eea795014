//! What every long-running binary needs around its work: settings, telemetry, health, API clients, ordered
//! shutdown.
//!
//! In: command line, environment, signals. Out: log lines, `/healthz`, `/readyz`, `/metrics`, a cancelled token.
//! May depend on nothing of ours.

mod health;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod shutdown;
mod telemetry;

pub use health::{Health, serve};
#[cfg(feature = "kubernetes")]
pub use kubernetes::{client, client_of};
pub use shutdown::{Tasks, shutdown_signal};
pub use telemetry::init_telemetry;

/// Makes aws-lc-rs the one TLS provider of the process. Call it first in `main`: rustls panics when two are linked
/// and none is installed. A second call is harmless.
pub fn install_crypto_provider() {
    // Err means that a provider is already installed, which is what we want.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
