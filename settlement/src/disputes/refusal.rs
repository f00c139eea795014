//! What the disputes contracts say when they refuse.

use alloy::sol_types::{Revert as Words, SolError, SolInterface};

use crate::contract::{Revert, SpillwayDisputes::SpillwayDisputesErrors as Errors, TestToken::TestTokenErrors};

/// Reads the bytes that a disputes contract, or the token behind a bond, reverted with.
pub(crate) fn refusal(data: &[u8]) -> Option<Revert> {
    let (reason, message) = Errors::abi_decode(data)
        .map(describe)
        .or_else(|_| TestTokenErrors::abi_decode(data).map(describe_token))
        // Our own contracts refuse by typed errors alone: words are a token's.
        .or_else(|_| Words::abi_decode(data).map(|words| ("BondRefused", words.reason)))
        .ok()?;
    Some(Revert::new(reason, message, false))
}

fn describe(error: Errors) -> (&'static str, String) {
    match error {
        Errors::AlreadyRaised(_) => (
            "AlreadyRaised",
            "the same was proven before, or waits for an answer".to_owned(),
        ),
        Errors::HeaderFinal(error) => (
            "HeaderFinal",
            format!(
                "the batch at sequence {} is final: nothing about it can be disputed",
                error.sequence
            ),
        ),
        Errors::HeaderNotPosted(error) => (
            "HeaderNotPosted",
            format!("the contract does not hold this header at sequence {}", error.sequence),
        ),
        Errors::LineNotInBatch(error) => (
            "LineNotInBatch",
            format!("leaf {} is not under the root that was posted", error.leafHash),
        ),
        Errors::NothingProven(_) => ("NothingProven", "what was shown proves nothing".to_owned()),
        Errors::OrderMismatch(error) => (
            "OrderMismatch",
            format!("the order is not the one that the line names, {}", error.order),
        ),
        Errors::OrderNotSigned(error) => (
            "OrderNotSigned",
            format!("no key of payer {} signed the order", error.payer),
        ),
        other => describe_time(other),
    }
}

fn describe_time(error: Errors) -> (&'static str, String) {
    match error {
        Errors::DisputeNotOpen(error) => (
            "DisputeNotOpen",
            format!("dispute {} is not open, or of another kind", error.id),
        ),
        Errors::TooEarly(error) => (
            "TooEarly",
            format!("it can be resolved from {} on (Unix seconds)", error.deadline),
        ),
        Errors::TooLate(error) => ("TooLate", format!("the deadline was {} (Unix seconds)", error.deadline)),
        Errors::LeafMismatch(error) => (
            "LeafMismatch",
            format!("the line's leaf is {}, shown was {}", error.expected, error.given),
        ),
        Errors::SafeERC20FailedOperation(error) => {
            ("BondRefused", format!("token {} does not give the bond", error.token))
        }
        other => ("Unexpected", format!("{other:?}")),
    }
}

fn describe_token(error: TestTokenErrors) -> (&'static str, String) {
    match error {
        TestTokenErrors::ERC20InsufficientAllowance(error) => (
            "BondNotApproved",
            format!(
                "the disputes contract may take {} micro-USD of the sender, the bond is {}",
                error.allowance, error.needed
            ),
        ),
        TestTokenErrors::ERC20InsufficientBalance(error) => (
            "BondTooDear",
            format!(
                "{} has {} micro-USD, the bond is {}",
                error.sender, error.balance, error.needed
            ),
        ),
        other => ("Unexpected", format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{SpillwayDisputes, TestToken};
    use alloy::primitives::{Address, B256, U256};

    #[test]
    fn refusals_are_told_in_words() {
        let raised = SpillwayDisputes::AlreadyRaised { what: B256::ZERO }.abi_encode();
        assert_eq!(refusal(&raised).unwrap().reason, "AlreadyRaised");
        let early = SpillwayDisputes::TooEarly { deadline: 77 }.abi_encode();
        assert!(refusal(&early).unwrap().message.contains("77"));
        let allowance = TestToken::ERC20InsufficientAllowance {
            spender: Address::ZERO,
            allowance: U256::from(1),
            needed: U256::from(5),
        };
        assert_eq!(Revert::decode(&allowance.abi_encode()).reason, "BondNotApproved");
        let words = Words::from("ERC20: transfer amount exceeds allowance").abi_encode();
        assert_eq!(refusal(&words).unwrap().reason, "BondRefused");
        assert_eq!(refusal(&[1, 2, 3, 4]), None);
        assert_eq!(Revert::decode(&[1, 2, 3, 4]).reason, "Unknown");
    }
}
