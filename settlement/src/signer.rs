//! The poster's key behind alloy's `Signer`: an encrypted keystore file, a key service of a cloud (features `signer-aws`,
//! `signer-gcp`), or a plain key file, which only its own option allows and only on development chains.

#[cfg(any(feature = "signer-aws", feature = "signer-gcp"))]
mod cloud;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy::primitives::{Address, B256, Signature};
use alloy::signers::Signer;
use alloy::signers::local::PrivateKeySigner;

/// Chain ids of anvil, hardhat and geth --dev.
pub const DEVELOPMENT_CHAINS: [u64; 2] = [31337, 1337];

/// A key that signs for the poster, wherever it lies.
#[derive(Clone)]
pub struct PosterKey(Arc<dyn Signer + Send + Sync>);

impl PosterKey {
    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// # Errors
    /// When the key's keeper refuses or cannot be asked.
    pub async fn sign(&self, digest: &B256) -> alloy::signers::Result<Signature> {
        self.0.sign_hash(digest).await
    }
}

impl<S: Signer + Send + Sync + 'static> From<S> for PosterKey {
    fn from(signer: S) -> Self {
        Self(Arc::new(signer))
    }
}

impl fmt::Debug for PosterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PosterKey({})", self.address())
    }
}

/// Where the key lies; exactly one of them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct KeySource {
    /// Keystore file (Ethereum JSON, version 3).
    #[arg(long, env = "KEYSTORE", requires = "keystore_password_file")]
    pub keystore: Option<PathBuf>,
    /// File that holds the password of the keystore.
    #[arg(long, env = "KEYSTORE_PASSWORD_FILE")]
    pub keystore_password_file: Option<PathBuf>,
    /// File that holds a private key in hex, unencrypted. For development chains (31337, 1337) only.
    #[arg(long, env = "INSECURE_DEV_KEY_FILE", conflicts_with = "keystore")]
    pub insecure_dev_key_file: Option<PathBuf>,
    /// Id or ARN of an asymmetric secp256k1 signing key in AWS KMS; credentials and region from the environment.
    #[cfg(feature = "signer-aws")]
    #[arg(long, env = "AWS_KMS_KEY", conflicts_with_all = ["keystore", "insecure_dev_key_file"])]
    pub aws_kms_key: Option<String>,
    /// Key version in Google Cloud KMS:
    /// projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/V; credentials from the environment.
    #[cfg(feature = "signer-gcp")]
    #[arg(long, env = "GCP_KMS_KEY", conflicts_with_all = ["keystore", "insecure_dev_key_file"])]
    pub gcp_kms_key: Option<String>,
}

/// Never names a byte of key or password.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("no key: give --keystore with --keystore-password-file, or --insecure-dev-key-file")]
    Missing,
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} does not hold 32 bytes in hex", .0.display())]
    Malformed(PathBuf),
    #[error("{} cannot be decrypted: wrong password, or not a keystore of version 3", .0.display())]
    Decrypt(PathBuf),
    #[error("--insecure-dev-key-file is for development chains (31337, 1337), this is chain {0}: use --keystore")]
    NotDevelopment(u64),
    #[error("--gcp-kms-key must read projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/V")]
    KeyName,
    #[error("the key service cannot be asked: {0}")]
    Cloud(String),
}

impl KeySource {
    /// The key that posts on `chain_id`.
    ///
    /// # Errors
    /// When no key is named, the file cannot be read or decrypted, or the key service does not answer.
    pub async fn open(&self, chain_id: u64) -> Result<PosterKey, KeyError> {
        #[cfg(feature = "signer-aws")]
        if let Some(key) = &self.aws_kms_key {
            return cloud::aws(key).await;
        }
        #[cfg(feature = "signer-gcp")]
        if let Some(key) = &self.gcp_kms_key {
            return cloud::gcp(key).await;
        }
        if self.insecure_dev_key_file.is_some() && !DEVELOPMENT_CHAINS.contains(&chain_id) {
            return Err(KeyError::NotDevelopment(chain_id));
        }
        Ok(self.load()?.into())
    }

    /// A key that lies in a file.
    ///
    /// # Errors
    /// When no key is named, or the file cannot be read or decrypted.
    pub fn load(&self) -> Result<PrivateKeySigner, KeyError> {
        match (
            &self.keystore,
            &self.keystore_password_file,
            &self.insecure_dev_key_file,
        ) {
            (Some(keystore), Some(password), None) => from_keystore(keystore, password),
            (None, _, Some(key)) => from_plain_file(key),
            _ => Err(KeyError::Missing),
        }
    }
}

fn from_keystore(path: &Path, password_file: &Path) -> Result<PrivateKeySigner, KeyError> {
    let password = read(password_file)?;
    let password = password.trim_end_matches(['\r', '\n']);
    read(path)?;
    PrivateKeySigner::decrypt_keystore(path, password).map_err(|_| KeyError::Decrypt(path.to_owned()))
}

/// # Errors
/// When the file cannot be read or holds no key.
pub fn from_plain_file(path: &Path) -> Result<PrivateKeySigner, KeyError> {
    read(path)?
        .trim()
        .parse()
        .map_err(|_| KeyError::Malformed(path.to_owned()))
}

fn read(path: &Path) -> Result<String, KeyError> {
    std::fs::read_to_string(path).map_err(|source| KeyError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use alloy::signers::k256::elliptic_curve::rand_core::OsRng;

    use super::*;

    const KEY: [u8; 32] = [1; 32];

    fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    #[allow(clippy::needless_update, reason = "features add ways")]
    fn source(keystore: Option<PathBuf>, password: Option<PathBuf>, plain: Option<PathBuf>) -> KeySource {
        KeySource {
            keystore,
            keystore_password_file: password,
            insecure_dev_key_file: plain,
            ..KeySource::default()
        }
    }

    #[test]
    fn a_keystore_opens_with_its_password_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = PrivateKeySigner::from_slice(&KEY).unwrap();
        PrivateKeySigner::encrypt_keystore(folder.path(), &mut OsRng, KEY, "pass word", Some("key")).unwrap();
        let keystore = || Some(folder.path().join("key"));
        let right = source(keystore(), Some(file(folder.path(), "right", "pass word\n")), None);
        assert_eq!(right.load().unwrap().address(), key.address());
        let wrong = source(keystore(), Some(file(folder.path(), "wrong", "password")), None);
        assert!(matches!(wrong.load(), Err(KeyError::Decrypt(_))));
    }

    #[test]
    fn a_plain_key_needs_its_own_option_and_no_error_tells_it() {
        let folder = tempfile::tempdir().unwrap();
        let hex = format!("0x{}\n", hex::encode(KEY));
        assert!(
            source(None, None, Some(file(folder.path(), "plain", &hex)))
                .load()
                .is_ok()
        );
        let broken = source(None, None, Some(file(folder.path(), "broken", &hex[..40])))
            .load()
            .unwrap_err();
        assert!(matches!(broken, KeyError::Malformed(_)));
        assert!(!format!("{broken} {broken:?}").contains("0101"));
        assert!(matches!(source(None, None, None).load(), Err(KeyError::Missing)));
    }

    #[tokio::test]
    async fn a_plain_key_posts_on_development_chains_alone() {
        let folder = tempfile::tempdir().unwrap();
        let plain = source(None, None, Some(file(folder.path(), "plain", &hex::encode(KEY))));
        assert!(plain.open(31337).await.is_ok());
        assert!(matches!(plain.open(1).await, Err(KeyError::NotDevelopment(1))));
    }
}
