//! Sends proofs, and resolves what waited long enough. Anybody may; the key needs coins and no right.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::Provider;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use serde::Serialize;

use super::Proof;
use crate::chain::{DisputeRules, Fault, Filed, Purse, Stage};
use crate::claim::{CallError, call, connect};
use crate::contract::{SpillwayDisputes, TestToken, nothing_unpaid};

/// What was opened or proven; printed as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    pub transaction: B256,
    /// Id of the dispute that waits for an answer; none when the proof was all.
    pub dispute: Option<u64>,
    /// Unix seconds, block time: unanswered by then, it can be resolved.
    pub deadline: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("dispute {id} is {stage:?}: only open ones can be resolved")]
    NotOpen { id: u64, stage: Stage },
    #[error("dispute {id} can be resolved from {deadline} on (Unix seconds), in {wait} s")]
    TooEarly { id: u64, deadline: u64, wait: u64 },
    #[error("dispute {id} is about {fault:?}, which waits for nothing")]
    NothingWaits { id: u64, fault: Fault },
}

/// What a sender lacks of the bond, micro-USD, and how to mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    #[error("the bond is {bond} micro-USD and {sender} has {balance} of token {token}: send it the rest")]
    Tokens {
        bond: u128,
        balance: u128,
        sender: Address,
        token: Address,
    },
    #[error(
        "the bond is {bond} micro-USD and {disputes} may take {allowance} of {sender}: add --approve-bond, or approve it \
         on token {token}"
    )]
    Allowance {
        bond: u128,
        allowance: u128,
        sender: Address,
        disputes: Address,
        token: Address,
    },
}

/// What the sender lacks; none when the bond can be taken.
pub fn lack(purse: Purse, bond: u128, rules: &DisputeRules, sender: Address) -> Option<Lack> {
    let Purse { balance, allowance } = purse;
    let DisputeRules { disputes, token, .. } = *rules;
    if balance < bond {
        return Some(Lack::Tokens {
            bond,
            balance,
            sender,
            token,
        });
    }
    (allowance < bond).then_some(Lack::Allowance {
        bond,
        allowance,
        sender,
        disputes,
        token,
    })
}

/// Allows the disputes contract exactly one bond of the signer's tokens.
///
/// # Errors
/// When the chain does not fit, cannot be asked, or the call fails.
pub async fn approve(
    rpc_url: &str,
    chain_id: u64,
    signer: PrivateKeySigner,
    rules: &DisputeRules,
) -> Result<B256, CallError> {
    let endpoint = connect(rpc_url, chain_id, signer).await?;
    let approval = TestToken::approveCall {
        spender: rules.disputes,
        value: U256::from(rules.bond),
    };
    call(&endpoint, rules.token, approval.abi_encode().into()).await
}

/// Sends a proof. One that the contracts refuse is not sent.
///
/// # Errors
/// When the chain does not fit, cannot be asked, or the contract refuses the proof.
pub async fn file(rpc_url: &str, chain_id: u64, signer: PrivateKeySigner, proof: &Proof) -> Result<Opened, CallError> {
    let endpoint = connect(rpc_url, chain_id, signer).await?;
    let transaction = call(&endpoint, proof.to, proof.calldata.clone()).await?;
    let receipt = endpoint.get_transaction_receipt(transaction).await?;
    let opened = receipt.and_then(|receipt| {
        let logs = receipt.inner.logs().iter();
        logs.filter(|log| log.address() == proof.to)
            .find_map(|log| log.log_decode::<SpillwayDisputes::DisputeOpened>().ok())
    });
    let opened = opened.map(|log| log.inner.data);
    Ok(Opened {
        transaction,
        dispute: opened.as_ref().map(|event| event.id.saturating_to()),
        deadline: opened.as_ref().map(|event| event.deadline),
    })
}

/// The call that closes a dispute whose deadline has passed; `now` is block time, Unix seconds.
///
/// # Errors
/// When it is not open, or not yet to be resolved.
pub fn resolve_calldata(filed: &Filed, now: u64) -> Result<Bytes, FileError> {
    let Filed {
        id,
        fault,
        stage,
        deadline,
        ..
    } = *filed;
    if stage != Stage::Open {
        return Err(FileError::NotOpen { id, stage });
    }
    if now < deadline {
        let wait = deadline - now;
        return Err(FileError::TooEarly { id, deadline, wait });
    }
    let (number, unpaid) = (U256::from(id), nothing_unpaid());
    let calldata = match fault {
        Fault::MissingOrder => SpillwayDisputes::resolveOrderCall { id: number, unpaid }.abi_encode(),
        Fault::WithheldPay => SpillwayDisputes::resolvePayCall { id: number }.abi_encode(),
        Fault::WrongResult | Fault::SlaBreach => {
            SpillwayDisputes::executeVerdictCall { id: number, unpaid }.abi_encode()
        }
        Fault::ExceededOrder | Fault::Duplicate | Fault::Equivocation | Fault::BrokenSum => {
            return Err(FileError::NothingWaits { id, fault });
        }
    };
    Ok(calldata.into())
}

/// Resolves a dispute whose deadline has passed; returns the transaction's hash.
///
/// # Errors
/// As [`resolve_calldata`], and when the call fails.
pub async fn resolve(
    rpc_url: &str,
    chain_id: u64,
    signer: PrivateKeySigner,
    rules: &DisputeRules,
    filed: &Filed,
    now: u64,
) -> Result<B256, FileError> {
    let calldata = resolve_calldata(filed, now)?;
    let endpoint = connect(rpc_url, chain_id, signer).await?;
    Ok(call(&endpoint, rules.disputes, calldata).await?)
}

#[cfg(test)]
mod tests {
    use spillway_core::offence::At;

    use super::*;

    fn filed(fault: Fault, stage: Stage) -> Filed {
        Filed {
            id: 3,
            fault,
            stage,
            at: At { settlement: 1, line: 2 },
            challenger: Address::ZERO,
            payer: Address::ZERO,
            provider: Address::ZERO,
            refund: 10,
            deadline: 100,
            leaf_hash: B256::ZERO,
        }
    }

    #[test]
    fn only_what_is_open_and_late_is_resolved_each_by_its_own_call() {
        let open = |fault| filed(fault, Stage::Open);
        let selector = |fault| resolve_calldata(&open(fault), 100).unwrap()[..4].to_vec();
        assert_eq!(
            selector(Fault::MissingOrder),
            SpillwayDisputes::resolveOrderCall::SELECTOR
        );
        assert_eq!(selector(Fault::WithheldPay), SpillwayDisputes::resolvePayCall::SELECTOR);
        assert_eq!(
            selector(Fault::SlaBreach),
            SpillwayDisputes::executeVerdictCall::SELECTOR
        );
        let early = resolve_calldata(&open(Fault::MissingOrder), 99);
        assert!(matches!(early, Err(FileError::TooEarly { wait: 1, .. })), "{early:?}");
        let answered = resolve_calldata(&filed(Fault::MissingOrder, Stage::Answered), 100);
        assert!(matches!(answered, Err(FileError::NotOpen { .. })), "{answered:?}");
        let proven = resolve_calldata(&open(Fault::Duplicate), 100);
        assert!(matches!(proven, Err(FileError::NothingWaits { .. })), "{proven:?}");
    }

    #[test]
    fn a_bond_that_cannot_be_taken_is_told_with_its_cure() {
        let rules = DisputeRules {
            disputes: Address::repeat_byte(1),
            sums: Address::repeat_byte(2),
            token: Address::repeat_byte(3),
            guarantor: Address::repeat_byte(4),
            bond: 5,
            answer_time: 1,
            appeal_time: 1,
            final_end: 1,
            next_sequence: 2,
        };
        let of = |balance, allowance| lack(Purse { balance, allowance }, 5, &rules, Address::ZERO);
        assert!(of(4, 9).unwrap().to_string().contains("has 4 of token 0x0303"));
        assert!(of(5, 4).unwrap().to_string().contains("--approve-bond"));
        assert_eq!(of(5, 5), None);
    }
}
