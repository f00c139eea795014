//! Structured logs on stderr.

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Starts logging: `RUST_LOG` filters (default `info`), `LOG_FORMAT=json` switches to JSON lines.
pub fn init_telemetry() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube_client=warn"));
    let json = std::env::var("LOG_FORMAT").is_ok_and(|format| format == "json");
    let registry = tracing_subscriber::registry().with(filter);
    // An already installed subscriber (tests) stays.
    let _ = if json {
        registry
            .with(fmt::layer().json().with_writer(std::io::stderr))
            .try_init()
    } else {
        registry.with(fmt::layer().with_writer(std::io::stderr)).try_init()
    };
}
