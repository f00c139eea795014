//! `SpendPolicy`: which namespaces spend from which payer, and how much.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, SettlementMode, Time};

#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "spillway.dev",
    version = "v1alpha1",
    kind = "SpendPolicy",
    plural = "spendpolicies",
    shortname = "spend",
    category = "spillway",
    status = "SpendPolicyStatus",
    printcolumn = r#"{"name":"Payer","type":"string","jsonPath":".spec.payer"}"#,
    printcolumn = r#"{"name":"Per job","type":"string","jsonPath":".spec.limits.perJob"}"#,
    printcolumn = r#"{"name":"Per day","type":"string","jsonPath":".spec.limits.perDay"}"#,
    printcolumn = r#"{"name":"Payable","type":"string","jsonPath":".status.conditions[?(@.type=='Payable')].reason"}"#,
    printcolumn = r#"{"name":"Deposit","type":"integer","jsonPath":".status.chain.depositMicro","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SpendPolicySpec {
    /// Namespaces whose jobs spend under this policy.
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// Address whose deposit pays: 0x and 40 hex digits.
    #[schemars(regex(pattern = r"^0x[0-9a-fA-F]{40}$"))]
    pub payer: String,
    pub limits: SpendLimits,
    pub order_signing_key: OrderSigningKey,
}

/// USD as decimal strings.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SpendLimits {
    #[schemars(length(max = 24), regex(pattern = r"^[0-9]+(\.[0-9]{1,6})?$"))]
    pub per_job: String,
    #[schemars(length(max = 24), regex(pattern = r"^[0-9]+(\.[0-9]{1,6})?$"))]
    pub per_day: String,
    /// Most that the jobs of one namespace may spend in a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), regex(pattern = r"^[0-9]+(\.[0-9]{1,6})?$"))]
    pub per_namespace_per_day: Option<String>,
}

/// A key that the payer authorised on chain to sign orders, with a cap per day and an expiry.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OrderSigningKey {
    /// Address of the key: 0x and 40 hex digits.
    #[schemars(regex(pattern = r"^0x[0-9a-fA-F]{40}$"))]
    pub address: String,
    /// Secret in the operator's namespace; its entry `key` holds 32 bytes in hex.
    #[schemars(length(min = 1, max = 253))]
    pub secret_ref: String,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SpendPolicyStatus {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What the contract holds of the payer, written by the settlement process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<PayerOnChain>,
}

/// Condition types of a SpendPolicy.
pub mod spend_policy_condition {
    /// The chain lets the payer pay what is owed: nothing waits for it. Written by the operator.
    pub const PAYABLE: &str = "Payable";
}

/// A payer at one block of the chain. Amounts are micro-USD, times Unix seconds, all at most 2^63 - 1.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PayerOnChain {
    pub chain_id: u64,
    pub contract: String,
    pub payer: String,
    pub deposit_micro: u64,
    /// Asked back by the payer, who may take it once its delay is over.
    #[serde(default)]
    pub withdraw_requested_micro: u64,
    /// The authorised order key; the zero address without one.
    pub order_key: String,
    pub cap_per_day_micro: u64,
    /// Spent in the day (UTC) of the block.
    pub spent_today_micro: u64,
    pub order_key_expiry: u64,
    /// How the contract moves money.
    #[serde(default)]
    pub mode: SettlementMode,
    /// Root mode: what vouchers have moved out of the deposit since the first batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collected_micro: Option<u64>,
    pub block_number: u64,
    pub block_hash: String,
    pub block_time: u64,
    /// When the settlement process last saw it so; written anew every minute.
    pub observed_at: Time,
}
