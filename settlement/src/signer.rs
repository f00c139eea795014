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

    fn source(keystore: Option<PathBuf>, password: Option<PathBuf>, plain: Option<PathBuf>) -> KeySource {
        KeySource {
            keystore,
            keystore_password_file: password,
            insecure_dev_key_file: plain,
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
}
