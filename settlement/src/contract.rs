//! The settlement contract as this process sees it: calls from its ABI, calldata, typed reverts.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::SolCall;
use spillway_core::batch::{Header, Leaf, Voucher};
use spillway_core::order::Order;

mod revert;

/// Version that the contract must name.
pub const VERSION: &str = "1";
/// One unit of the token is one micro-USD.
pub const TOKEN_DECIMALS: u8 = 6;

mod bindings {
    #![allow(clippy::too_many_arguments, unreachable_pub, missing_debug_implementations)]
    alloy::sol!(
        #[sol(rpc)]
        #[derive(Debug)]
        SpillwaySettlement,
        "contracts/abi/SpillwaySettlement.json"
    );
    alloy::sol!(
        #[sol(rpc)]
        #[derive(Debug)]
        AccessManager,
        "contracts/abi/AccessManager.json"
    );
    alloy::sol!(
        #[sol(rpc)]
        #[derive(Debug)]
        SpillwayStake,
        "contracts/abi/SpillwayStake.json"
    );
    alloy::sol!(
        #[derive(Debug)]
        SpillwaySums,
        "contracts/abi/SpillwaySums.json"
    );
    /// Apart: its ABI names the interface of the disputes contract too.
    mod signers {
        alloy::sol!(
            #[derive(Debug)]
            SpillwaySigners,
            "contracts/abi/SpillwaySigners.json"
        );
    }
    pub use signers::SpillwaySigners;
    alloy::sol!(
        #[sol(rpc)]
        #[derive(Debug)]
        SpillwayDisputes,
        "contracts/abi/SpillwayDisputes.json"
    );
    alloy::sol!(
        #[sol(rpc)]
        #[derive(Debug)]
        TestToken,
        "contracts/abi/TestToken.json"
    );
}
pub use bindings::ISpillwayDisputes;
pub use bindings::ISpillwaySettlement::{Balances, Parameters, Totals};
pub use bindings::{
    AccessManager, SpillwayDisputes, SpillwaySettlement, SpillwaySigners, SpillwayStake, SpillwaySums, TestToken,
};
pub use revert::Revert;

/// Calldata of `post`, in ledger mode.
pub fn post_calldata(header: &Header, debits: Vec<B256>, credits: Vec<B256>) -> Bytes {
    let header = contract_header(header);
    SpillwaySettlement::postCall {
        header,
        debits,
        credits,
    }
    .abi_encode()
    .into()
}

/// Calldata of `postRoot`, in root mode.
pub fn post_root_calldata(header: &Header) -> Bytes {
    let header = contract_header(header);
    SpillwaySettlement::postRootCall { header }.abi_encode().into()
}

// Every ABI has structs of its own; each list of fields stands here once.

macro_rules! header_of {
    ($abi:ident, $header:expr) => {
        header_of!(@as $abi::Header, $header)
    };
    (@as $header_type:path, $header:expr) => {{
        let header = $header;
        $header_type {
            sequence: header.sequence,
            count: header.count,
            total: header.total,
            cumulative: header.cumulative,
            previous: header.previous,
            jobsRoot: header.jobsRoot,
            payRoot: header.payRoot,
            spendRoot: header.spendRoot,
            ledgerHash: header.ledgerHash,
            dataHash: header.dataHash,
        }
    }};
}

macro_rules! leaf_of {
    ($abi:ident, $leaf:expr) => {{
        let leaf: &Leaf = $leaf;
        $abi::Leaf {
            job: leaf.job,
            shard: leaf.shard,
            attempt: leaf.attempt,
            kind: leaf.kind,
            payer: leaf.payer,
            provider: leaf.provider,
            amount: leaf.amount,
            order: leaf.order,
            receipt: leaf.receipt,
        }
    }};
}

macro_rules! order_of {
    ($abi:ident, $order:expr) => {{
        let order: &Order = $order;
        $abi::Order {
            job: order.job,
            shard: order.shard,
            attempt: order.attempt,
            kind: order.kind,
            payer: order.payer,
            provider: order.provider,
            unitPrice: order.unitPrice,
            upperBound: order.upperBound,
            expiry: order.expiry,
        }
    }};
}

pub(crate) use {header_of, leaf_of, order_of};

/// The header as calls of the contract take it.
pub fn contract_header(header: &Header) -> SpillwaySettlement::Header {
    header_of!(SpillwaySettlement, header)
}

/// Calldata of `showOrder`: keeps the order's upper bound of a leaving payer's deposit back.
pub fn show_order_calldata(order: &Order, signature: Vec<u8>) -> Bytes {
    SpillwaySettlement::showOrderCall {
        order: order_of!(SpillwaySettlement, order),
        signature: signature.into(),
    }
    .abi_encode()
    .into()
}

/// Calldata of `answerOrder` of the disputes contract: the signed order that a line names.
pub fn answer_order_calldata(id: u64, leaf: &Leaf, order: &Order, signature: Vec<u8>) -> Bytes {
    SpillwayDisputes::answerOrderCall {
        id: U256::from(id),
        leaf: leaf_of!(SpillwayDisputes, leaf),
        order: order_of!(SpillwayDisputes, order),
        signature: signature.into(),
    }
    .abi_encode()
    .into()
}

/// Calldata of `answerPay` of the disputes contract: a provider's place in the pay root, all that a claim needs.
pub fn answer_pay_calldata(id: u64, header: &Header, cumulative: u128, proof: Vec<B256>) -> Bytes {
    SpillwayDisputes::answerPayCall {
        id: U256::from(id),
        header: header_of!(SpillwayDisputes, header),
        cumulative,
        proof,
    }
    .abi_encode()
    .into()
}

/// A paid line as the disputes contract takes it; `proof` is of [`spillway_core::batch::jobs_proofs`].
pub fn contract_line(header: &Header, leaf: &Leaf, proof: Vec<B256>) -> SpillwayDisputes::Line {
    SpillwayDisputes::Line {
        header: header_of!(SpillwayDisputes, header),
        leaf: leaf_of!(SpillwayDisputes, leaf),
        proof,
    }
}

/// What the disputes contract is told of a provider's unpaid value in ledger mode, where it asks the books itself.
pub fn nothing_unpaid() -> SpillwayDisputes::Unpaid {
    SpillwayDisputes::Unpaid {
        header: header_of!(
            SpillwayDisputes,
            &Header {
                sequence: 0,
                count: 0,
                total: 0,
                cumulative: 0,
                previous: B256::ZERO,
                jobsRoot: B256::ZERO,
                payRoot: B256::ZERO,
                spendRoot: B256::ZERO,
                ledgerHash: B256::ZERO,
                dataHash: B256::ZERO,
            }
        ),
        cumulative: 0,
        proof: vec![],
    }
}

/// A header as the contract's event tells it.
pub fn posted_header(header: &SpillwaySettlement::Header) -> Header {
    header_of!(@as Header, header)
}

/// Calldata of `claimWithProof`; `proof` is of [`spillway_core::sum_tree::SumTree::proof`].
pub fn claim_with_proof_calldata(header: &Header, provider: Address, cumulative: u128, proof: Vec<B256>) -> Bytes {
    SpillwaySettlement::claimWithProofCall {
        header: contract_header(header),
        provider,
        cumulative,
        proof,
    }
    .abi_encode()
    .into()
}

/// Calldata of `collect`: vouchers, each with its signature.
pub fn collect_calldata(vouchers: &[(Voucher, Vec<u8>)]) -> Bytes {
    let (vouchers, signatures) = vouchers
        .iter()
        .map(|(voucher, signature)| {
            let voucher = SpillwaySettlement::Voucher {
                payer: voucher.payer,
                sequence: voucher.sequence,
                cumulative: voucher.cumulative,
            };
            (voucher, Bytes::from(signature.clone()))
        })
        .unzip();
    SpillwaySettlement::collectCall { vouchers, signatures }
        .abi_encode()
        .into()
}

/// Calldata of `claim`, in ledger mode.
pub fn claim_calldata(provider: Address) -> Bytes {
    SpillwaySettlement::claimCall { provider }.abi_encode().into()
}
