//! The Secret that lets a credential survive a restart.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::{Credential, CredentialError};
use crate::bundle::HubAddress;
use crate::request::{RequestError, within};

/// Name of the Secret in the agent's own namespace.
pub(super) const NAME: &str = "spillway-agent-credential";

/// `Ok(None)` when there is none, or one for another hub (the release was joined anew).
pub(super) async fn read(secrets: &Api<Secret>, hub: &HubAddress) -> Result<Option<Credential>, CredentialError> {
    let secret = within(secrets.get_opt(NAME)).await.map_err(failed("read"))?;
    Ok(secret.as_ref().and_then(|secret| decode(secret, hub)))
}

pub(super) async fn write(
    secrets: &Api<Secret>,
    hub: &HubAddress,
    credential: &Credential,
) -> Result<(), CredentialError> {
    let mut secret = encode(credential, hub);
    let existing = within(secrets.get_opt(NAME)).await.map_err(failed("read"))?;
    let parameters = PostParams::default();
    if let Some(existing) = existing {
        secret.metadata.resource_version = existing.metadata.resource_version;
        within(secrets.replace(NAME, &parameters, &secret))
            .await
            .map_err(failed("updated"))?;
    } else {
        within(secrets.create(&parameters, &secret))
            .await
            .map_err(failed("created"))?;
    }
    Ok(())
}

fn failed(verb: &'static str) -> impl Fn(RequestError) -> CredentialError {
    move |source| CredentialError::Store { verb, source }
}

fn issuer(hub: &HubAddress) -> String {
    format!("{}/{}", hub.server, hub.namespace)
}

fn encode(credential: &Credential, hub: &HubAddress) -> Secret {
    let entries = [
        ("token", credential.token.to_string()),
        ("minted", credential.minted.to_string()),
        ("expires", credential.expires.to_string()),
        ("hub", issuer(hub)),
    ];
    Secret {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(
            entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
                .collect(),
        ),
        ..Secret::default()
    }
}

fn decode(secret: &Secret, hub: &HubAddress) -> Option<Credential> {
    let data = secret.data.as_ref()?;
    if text(data, "hub")? != issuer(hub) {
        return None;
    }
    let time = |key| text(data, key)?.parse::<Timestamp>().ok();
    Some(Credential {
        token: text(data, "token")?.into(),
        minted: time("minted")?,
        expires: time("expires")?,
    })
}

fn text(data: &BTreeMap<String, ByteString>, key: &str) -> Option<String> {
    data.get(key).and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(namespace: &str) -> HubAddress {
        HubAddress {
            server: "https://hub:6443".to_owned(),
            ca_data: String::new(),
            namespace: namespace.to_owned(),
        }
    }

    fn credential() -> Credential {
        Credential {
            token: "a.b.c".to_owned().into(),
            minted: "2026-01-01T00:00:00Z".parse().unwrap(),
            expires: "2026-01-08T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn survives_the_secret() {
        let secret = encode(&credential(), &hub("a"));
        assert_eq!(decode(&secret, &hub("a")), Some(credential()));
    }

    #[test]
    fn a_credential_of_another_hub_is_none() {
        assert_eq!(decode(&encode(&credential(), &hub("a")), &hub("b")), None);
    }

    #[test]
    fn a_damaged_secret_is_none() {
        let mut secret = encode(&credential(), &hub("a"));
        secret
            .data
            .as_mut()
            .unwrap()
            .insert("expires".to_owned(), ByteString(b"soon".to_vec()));
        assert_eq!(decode(&secret, &hub("a")), None);
    }
}
