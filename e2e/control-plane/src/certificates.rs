//! Keys and certificates for tests, made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// A certificate authority that lives in a folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    certificate: PathBuf,
}

/// PEM files of one key pair.
#[derive(Clone, Debug)]
pub struct Signed {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// Makes a new one in `folder`, which is made too.
    ///
    /// # Errors
    /// When openssl is missing or fails.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let certificate = folder.join("authority.crt");
        openssl(
            folder,
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=test -keyout authority.key -out authority.crt",
        )?;
        Ok(Self {
            folder: folder.to_owned(),
            certificate,
        })
    }

    /// PEM file of its certificate.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// A certificate for the DNS name `name` and for 127.0.0.1.
    ///
    /// # Errors
    /// When openssl fails.
    pub fn sign(&self, name: &str) -> anyhow::Result<Signed> {
        let request = format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -addext subjectAltName=DNS:{name},IP:127.0.0.1 -keyout {name}.key -out {name}.csr"
        );
        openssl(&self.folder, &request)?;
        let sign = format!(
            "x509 -req -in {name}.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 1 -copy_extensions copy -out {name}.crt"
        );
        openssl(&self.folder, &sign)?;
        Ok(Signed {
            certificate: self.folder.join(format!("{name}.crt")),
            key: self.folder.join(format!("{name}.key")),
        })
    }
}

/// Runs openssl in `folder` with arguments that hold no spaces.
fn openssl(folder: &Path, arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .context("run openssl (Debian package openssl)")?;
    ensure!(
        output.status.success(),
        "openssl failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Writes an RSA private key in PEM to `path`, the signing key of the API server's tokens.
pub(crate) fn write_service_account_key(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().context("a key without a folder")?;
    let name = path.file_name().context("a key without a name")?.to_string_lossy();
    openssl(
        folder,
        &format!("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out {name}"),
    )
}
