//! Keys that never leave a cloud's key service: it signs digests, over its own authenticated API.

use super::{KeyError, PosterKey};

/// Region and credentials as the AWS SDK finds them: environment, web identity of the pod, instance.
#[cfg(feature = "signer-aws")]
pub(super) async fn aws(key: &str) -> Result<PosterKey, KeyError> {
    use alloy::signers::aws::{AwsSigner, aws_sdk_kms};
    let settings = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let client = aws_sdk_kms::Client::new(&settings);
    let signer = AwsSigner::new(client, key.to_owned(), None)
        .await
        .map_err(|error| KeyError::Cloud(error.to_string()))?;
    Ok(signer.into())
}

/// Credentials as Google's libraries find them: file named by the environment, or the pod's workload identity.
#[cfg(feature = "signer-gcp")]
pub(super) async fn gcp(name: &str) -> Result<PosterKey, KeyError> {
    use alloy::signers::gcp::{GcpKeyRingRef, GcpSigner, KeySpecifier};
    use gcloud_sdk::GoogleApi;
    use gcloud_sdk::google::cloud::kms::v1::key_management_service_client::KeyManagementServiceClient;
    let KeyName {
        project,
        location,
        ring,
        key,
        version,
    } = KeyName::parse(name).ok_or(KeyError::KeyName)?;
    let keyring = GcpKeyRingRef::new(project, location, ring);
    let client = GoogleApi::from_function(KeyManagementServiceClient::new, "https://cloudkms.googleapis.com", None)
        .await
        .map_err(|error| KeyError::Cloud(error.to_string()))?;
    let signer = GcpSigner::new(client, KeySpecifier::new(keyring, key, version), None)
        .await
        .map_err(|error| KeyError::Cloud(error.to_string()))?;
    Ok(signer.into())
}

#[cfg(feature = "signer-gcp")]
#[derive(Debug, PartialEq, Eq)]
struct KeyName<'a> {
    project: &'a str,
    location: &'a str,
    ring: &'a str,
    key: &'a str,
    version: u64,
}

#[cfg(feature = "signer-gcp")]
impl<'a> KeyName<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        let parts: Vec<&str> = name.split('/').collect();
        let [
            "projects",
            project,
            "locations",
            location,
            "keyRings",
            ring,
            "cryptoKeys",
            key,
            "cryptoKeyVersions",
            version,
        ] = parts[..]
        else {
            return None;
        };
        Some(Self {
            project,
            location,
            ring,
            key,
            version: version.parse().ok()?,
        })
    }
}

#[cfg(all(test, feature = "signer-gcp"))]
mod tests {
    use super::KeyName;

    #[test]
    fn a_key_version_is_named_in_full() {
        let name = "projects/p/locations/eu/keyRings/r/cryptoKeys/k/cryptoKeyVersions/3";
        let parsed = KeyName::parse(name).unwrap();
        assert_eq!((parsed.project, parsed.key, parsed.version), ("p", "k", 3));
        assert_eq!(KeyName::parse("projects/p/cryptoKeys/k"), None);
    }
}
