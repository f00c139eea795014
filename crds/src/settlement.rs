//! `Settlement`: one batch of accepted receipts on its way to finality. Spec sealed by the operator, status = write-ahead log.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, Time};

#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "spillway.dev",
    version = "v1alpha1",
    kind = "Settlement",
    plural = "settlements",
    shortname = "stl",
    category = "spillway",
    namespaced,
    status = "SettlementStatus",
    printcolumn = r#"{"name":"Sequence","type":"integer","jsonPath":".spec.sequence"}"#,
    printcolumn = r#"{"name":"Jobs","type":"integer","jsonPath":".spec.count"}"#,
    printcolumn = r#"{"name":"Total","type":"integer","jsonPath":".spec.totalMicro"}"#,
    printcolumn = r#"{"name":"State","type":"string","jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Disputed","type":"string","jsonPath":".status.conditions[?(@.type==\"Disputed\")].reason"}"#,
    printcolumn = r#"{"name":"Transaction","type":"string","jsonPath":".status.transaction","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a sealed settlement never changes"))]
pub struct SettlementSpec {
    pub chain_id: u64,
    pub contract: String,
    /// How the batch moves money; the contract's own mode.
    #[serde(default)]
    pub mode: SettlementMode,
    /// From 1, without gaps.
    pub sequence: u64,
    /// Leaves in the batch.
    pub count: u32,
    /// Micro-USD.
    pub total_micro: u64,
    /// Root mode: the sum of all totals up to this batch, micro-USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cumulative_micro: Option<u64>,
    /// Hash of the header before this one; zero for the first. All hashes are 0x-prefixed 32 bytes.
    pub previous: String,
    pub jobs_root: String,
    /// Root mode: sum trees of what every provider has earned and every payer has spent in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay_root: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend_root: Option<String>,
    /// Of debits and credits; zero in root mode, where they are not posted.
    pub ledger_hash: String,
    /// keccak256 of the leaves document.
    pub data_hash: String,
    pub header_hash: String,
    /// Key of the leaves document in the hub's object store.
    pub data_key: String,
    /// What the batch takes and gives, packed `address | uint96`, 0x-prefixed, ascending. Root mode does not post it.
    #[schemars(length(max = 4096))]
    pub debits: Vec<String>,
    #[schemars(length(max = 4096))]
    pub credits: Vec<String>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SettlementMode {
    /// The batch names what every account pays and earns.
    #[default]
    Ledger,
    /// The batch is roots; payers pay by vouchers, providers claim with a proof.
    Root,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SettlementStatus {
    #[serde(default)]
    pub state: SettlementState,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Calldata, stored once before the first signature; 0x-prefixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calldata: Option<String>,
    /// Every transaction that was ever signed for this batch, written before it is sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<TransactionAttempt>,
    /// Hash of the transaction that is on chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gas_used: Option<u64>,
    /// Whether every paid attempt carries this sequence in its job's status.
    #[serde(default)]
    pub recorded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finalized_at: Option<Time>,
    /// When the operator deleted the leaves document, its retention being over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaves_deleted_at: Option<Time>,
}

/// Sealed → Signed → Broadcast → Included → Safe → Final. A reorganisation leads back to Broadcast; Final and Failed stay.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SettlementState {
    #[default]
    Sealed,
    Signed,
    Broadcast,
    Included,
    Safe,
    Final,
    /// `reason` says why; no later state of the chain can make it pass.
    Failed,
}

/// Types of `status.conditions`.
pub mod settlement_condition {
    /// Whether the contract holds the header; while False, the reason says what it waits for.
    pub const POSTED: &str = "Posted";
    /// Whether it is posted with finality.
    pub const FINAL: &str = "Final";
    /// Whether the poster's coins may soon not cover the gas.
    pub const FUNDS_LOW: &str = "FundsLow";
    /// Whether a nonce of the poster's key was used by a transaction that no log names.
    pub const FOREIGN_TRANSACTION: &str = "ForeignTransaction";
    /// Chain, Settlement and accepted receipts agree. Written by the settlement process when they do not, or do again.
    pub const RECONCILED: &str = "Reconciled";
    /// Whether somebody asks for the signed order of a line, or a line is void because none was shown.
    pub const DISPUTED: &str = "Disputed";
}

/// One signed transaction.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TransactionAttempt {
    /// Address of the key that signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Pays nothing to the key's own address: it takes the nonce from a post that would revert.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancels: bool,
    pub nonce: u64,
    pub gas_limit: u64,
    /// Wei, decimal strings.
    pub max_fee_per_gas: String,
    pub max_priority_fee_per_gas: String,
    /// 65 bytes, 0x-prefixed: with nonce, fees and calldata it makes the raw transaction again.
    pub signature: String,
    pub hash: String,
    /// Block time of the head that it was decided on.
    pub signed_at: Time,
}
