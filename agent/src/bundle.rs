//! The join bundle: base64 of JSON, one value in the provider's Helm command.

use std::fmt;

use alloy_primitives::Address;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;
use zeroize::Zeroizing;

/// The one hub that this agent serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubAddress {
    /// `https://host:port`.
    pub server: String,
    /// base64 of the PEM that the hub's API server is checked against.
    pub ca_data: String,
    /// Our namespace there.
    pub namespace: String,
}

/// Under which orders this provider works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Name of the GpuProvider.
    pub provider: String,
    pub chain_id: u64,
    /// Settlement contract.
    pub contract: Address,
    pub order_signers: Vec<Address>,
    /// Our payout address; without it, any payee of a valid order is taken.
    pub payout: Option<Address>,
}

/// A bundle whose fields were checked.
#[derive(Clone)]
pub struct Bundle {
    pub hub: HubAddress,
    pub terms: Terms,
    /// Join token: its only right is to mint the agent's token, for about an hour.
    pub token: Zeroizing<String>,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Bundle")
            .field("hub", &self.hub)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error("the join bundle is not base64: give the value that `kubectl spillway join-token` printed, unchanged")]
    Base64,
    #[error("the join bundle is not the JSON of a bundle: {0}")]
    Json(String),
    #[error("the join bundle's `{field}` {problem}: ask the hub's admin for a new join token")]
    Field { field: &'static str, problem: &'static str },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBundle {
    server: String,
    ca_data: String,
    provider: String,
    namespace: String,
    token: String,
    chain_id: u64,
    contract: String,
    order_signers: Vec<String>,
    #[serde(default)]
    payout: Option<String>,
}

impl Bundle {
    /// Reads the text of the bundle file.
    ///
    /// # Errors
    /// Names the field that is missing or malformed.
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        let json = Zeroizing::new(BASE64_STANDARD.decode(text.trim()).map_err(|_| BundleError::Base64)?);
        let raw: RawBundle = serde_json::from_slice(&json).map_err(|error| BundleError::Json(error.to_string()))?;
        raw.check()
    }
}

impl RawBundle {
    fn check(self) -> Result<Bundle, BundleError> {
        let field = |field, problem| BundleError::Field { field, problem };
        if !self.server.starts_with("https://") {
            return Err(field("server", "must start with https://"));
        }
        let is_pem = BASE64_STANDARD
            .decode(&self.ca_data)
            .is_ok_and(|pem| pem.starts_with(b"-----BEGIN"));
        if !is_pem {
            return Err(field("caData", "must be the base64 of a PEM certificate"));
        }
        for (name, value) in [("provider", &self.provider), ("namespace", &self.namespace)] {
            if value.is_empty() {
                return Err(field(name, "is empty"));
            }
        }
        if self.order_signers.is_empty() {
            return Err(field("orderSigners", "is empty, so that no order could be valid"));
        }
        let terms = Terms {
            provider: self.provider,
            chain_id: self.chain_id,
            contract: address("contract", &self.contract)?,
            order_signers: self
                .order_signers
                .iter()
                .map(|text| address("orderSigners", text))
                .collect::<Result<_, _>>()?,
            payout: self.payout.map(|text| address("payout", &text)).transpose()?,
        };
        let hub = HubAddress {
            server: self.server,
            ca_data: self.ca_data,
            namespace: self.namespace,
        };
        Ok(Bundle {
            hub,
            terms,
            token: self.token.into(),
        })
    }
}

fn address(field: &'static str, text: &str) -> Result<Address, BundleError> {
    text.parse().map_err(|_| BundleError::Field {
        field,
        problem: "must be 0x and 40 hex digits",
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn valid() -> Value {
        json!({
            "server": "https://hub:6443",
            "caData": BASE64_STANDARD.encode("-----BEGIN CERTIFICATE-----\n"),
            "provider": "acme",
            "namespace": "spillway-provider-acme",
            "token": "secret-token",
            "chainId": 31337,
            "contract": "0x5FbDB2315678afecb367f032d93F642f64180aa3",
            "orderSigners": ["0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"],
        })
    }

    fn parse(bundle: &Value) -> Result<Bundle, BundleError> {
        Bundle::parse(&format!("{}\n", BASE64_STANDARD.encode(bundle.to_string())))
    }

    #[test]
    fn reads_what_join_token_prints() {
        let bundle = parse(&valid()).unwrap();
        assert_eq!(bundle.hub.namespace, "spillway-provider-acme");
        assert_eq!(bundle.terms.chain_id, 31337);
        assert_eq!(bundle.terms.payout, None);
        assert!(!format!("{bundle:?}").contains("secret-token"));
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let cases = [
            ("server", json!("http://hub:6443")),
            ("caData", json!("AAAA")),
            ("provider", json!("")),
            ("contract", json!("0x12")),
            ("orderSigners", json!([])),
            ("orderSigners", json!(["nobody"])),
            ("payout", json!("0x")),
        ];
        for (field, value) in cases {
            let mut bundle = valid();
            bundle[field] = value;
            let error = parse(&bundle).unwrap_err();
            assert!(error.to_string().contains(field), "{field}: {error}");
        }
        assert_eq!(Bundle::parse("%").unwrap_err(), BundleError::Base64);
        assert!(matches!(Bundle::parse("e30=").unwrap_err(), BundleError::Json(text) if text.contains("server")));
    }
}
