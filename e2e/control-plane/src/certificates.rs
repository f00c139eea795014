//! The service-account signing key of the API server, made by openssl.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// Writes an RSA private key in PEM to `path`.
pub(crate) fn write_service_account_key(path: &Path) -> anyhow::Result<()> {
    let output = Command::new("openssl")
        .args([
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
        ])
        .arg(path)
        .output()
        .context("run openssl (Debian package openssl)")?;
    ensure!(
        output.status.success(),
        "openssl failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
