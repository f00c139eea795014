//! The shard manifest. A splitter in the tenant's namespace writes it, so it is checked like any other input.

use serde::{Deserialize, Serialize};

pub const MAX_SHARDS: usize = 256;
const VERSION: u32 = 1;

/// Lists the shards of a job in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardManifest {
    pub version: u32,
    pub shards: Vec<ShardEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardEntry {
    pub index: u32,
    pub bytes: u64,
    /// JSONL lines, at least one.
    pub requests: u32,
    /// `sha256:<hex>` of the shard's bytes.
    pub digest: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("the shard manifest is not JSON of the expected form: {0}")]
    Malformed(String),
    #[error("the shard manifest has version {0}; this hub reads version {VERSION}")]
    Version(u32),
    #[error("the shard manifest names {0} shards; between 1 and {MAX_SHARDS} are allowed")]
    Count(usize),
    #[error("the shard manifest names shard {found} at position {position}")]
    Order { position: usize, found: u32 },
    #[error("shard {0} has no requests")]
    Empty(u32),
    #[error("the digest of shard {0} is not sha256:<64 hex digits>")]
    Digest(u32),
}

impl ShardManifest {
    pub fn new(shards: Vec<ShardEntry>) -> Self {
        Self {
            version: VERSION,
            shards,
        }
    }

    /// Reads and checks an untrusted manifest.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| ManifestError::Malformed(error.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        if self.version != VERSION {
            return Err(ManifestError::Version(self.version));
        }
        if self.shards.is_empty() || self.shards.len() > MAX_SHARDS {
            return Err(ManifestError::Count(self.shards.len()));
        }
        self.shards
            .iter()
            .enumerate()
            .try_for_each(|(position, shard)| shard.check(position))
    }
}

impl ShardEntry {
    fn check(&self, position: usize) -> Result<(), ManifestError> {
        if usize::try_from(self.index) != Ok(position) {
            return Err(ManifestError::Order {
                position,
                found: self.index,
            });
        }
        if self.requests == 0 || self.bytes == 0 {
            return Err(ManifestError::Empty(self.index));
        }
        let hex = self.digest.strip_prefix("sha256:").unwrap_or_default();
        let well_formed = hex.len() == 64
            && hex
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if well_formed {
            Ok(())
        } else {
            Err(ManifestError::Digest(self.index))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::digest;

    fn entry(index: u32) -> ShardEntry {
        ShardEntry {
            index,
            bytes: 3,
            requests: 1,
            digest: digest(b"{}\n"),
        }
    }

    fn parse(manifest: &ShardManifest) -> Result<ShardManifest, ManifestError> {
        ShardManifest::parse(&serde_json::to_vec(manifest).unwrap())
    }

    #[test]
    fn a_good_manifest_is_read_back() {
        let manifest = ShardManifest::new(vec![entry(0), entry(1)]);
        assert_eq!(parse(&manifest), Ok(manifest));
    }

    #[test]
    fn each_fault_is_named() {
        assert_eq!(parse(&ShardManifest::new(vec![])), Err(ManifestError::Count(0)));
        assert_eq!(
            parse(&ShardManifest::new((0..257).map(entry).collect())),
            Err(ManifestError::Count(257))
        );
        assert_eq!(
            parse(&ShardManifest {
                version: 2,
                shards: vec![entry(0)]
            }),
            Err(ManifestError::Version(2))
        );
        let gap = ShardManifest::new(vec![entry(0), entry(2)]);
        assert_eq!(parse(&gap), Err(ManifestError::Order { position: 1, found: 2 }));
        let empty = ShardManifest::new(vec![ShardEntry {
            requests: 0,
            ..entry(0)
        }]);
        assert_eq!(parse(&empty), Err(ManifestError::Empty(0)));
        let digest = ShardManifest::new(vec![ShardEntry {
            digest: "sha256:é".to_owned(),
            ..entry(0)
        }]);
        assert_eq!(parse(&digest), Err(ManifestError::Digest(0)));
        assert!(matches!(
            ShardManifest::parse(b"[1,2"),
            Err(ManifestError::Malformed(_))
        ));
    }
}
