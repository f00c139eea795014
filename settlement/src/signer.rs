//! The poster's key, from an encrypted keystore file; a plain key file only when its option says so.

use std::path::{Path, PathBuf};

use alloy::signers::local::PrivateKeySigner;

/// Where the key lies; exactly one of the two.
#[derive(Clone, Debug, clap::Args)]
pub struct KeySource {
    /// Keystore file (Ethereum JSON, version 3).
    #[arg(long, env = "KEYSTORE", requires = "keystore_password_file")]
    pub keystore: Option<PathBuf>,
    /// File that holds the password of the keystore.
    #[arg(long, env = "KEYSTORE_PASSWORD_FILE")]
    pub keystore_password_file: Option<PathBuf>,
    /// File that holds a private key in hex, unencrypted. For development chains only.
    #[arg(long, env = "INSECURE_DEV_KEY_FILE", conflicts_with = "keystore")]
    pub insecure_dev_key_file: Option<PathBuf>,
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
}

impl KeySource {
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
