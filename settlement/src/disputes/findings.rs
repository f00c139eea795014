//! What is provable, and what the contracts say to each proof, without sending anything.

use serde::Serialize;
use spillway_core::knowledge::Knowledge;
use spillway_core::offence::{Offence, judge};

use super::{Docket, Proof, Prover};
use crate::chain::{Chain, Trial};

/// What a contract would say to a proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Answer {
    /// A challenge: once the sender has put up the bond.
    Taken,
    /// It was proven before, or asked for and not resolved yet.
    Raised,
    Refused {
        reason: String,
        message: String,
    },
    /// The chain could not be asked.
    Unknown,
}

impl Answer {
    /// What the trial of a proof comes to; the sender of a trial needs no bond.
    pub fn of(trial: Knowledge<Trial>, bond: u128) -> Self {
        match trial {
            Knowledge::Unknown => Self::Unknown,
            Knowledge::Known(Trial::Taken) => Self::Taken,
            Knowledge::Known(Trial::Refused(revert)) => match revert.reason.as_str() {
                "AlreadyRaised" => Self::Raised,
                // Asked for last, when all else has passed.
                "BondNotApproved" | "BondTooDear" | "BondRefused" if bond != 0 => Self::Taken,
                _ => Self::Refused {
                    reason: revert.reason,
                    message: revert.message,
                },
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub offence: Offence,
    pub proof: Proof,
    pub answer: Answer,
}

/// All of a docket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub findings: Vec<Finding>,
    /// What could not be judged or asked, in words.
    pub unknown: Vec<String>,
}

/// Judges a docket and asks the contracts what they would say to each proof.
pub async fn examine(chain: &Chain, docket: &Docket) -> Findings {
    let judgement = judge(&docket.record);
    let mut found = Findings {
        findings: vec![],
        unknown: docket.unread.clone(),
    };
    found.unknown.extend(judgement.doubts.iter().map(ToString::to_string));
    let mut prover = Prover::new(&docket.record, &docket.rules);
    for offence in judgement.offences {
        let Some(proof) = prover.proof(&offence) else {
            found.unknown.push(format!("{offence}: its proof could not be made"));
            continue;
        };
        // A challenger can be rewarded, so nobody will not do: this account holds tokens already.
        let sender = docket.rules.guarantor;
        let trial = chain.trial(sender, proof.to, &proof.calldata, docket.block).await;
        let answer = Answer::of(trial, proof.bond);
        match &answer {
            Answer::Unknown => found
                .unknown
                .push(format!("{offence}: the contract could not be asked")),
            Answer::Refused { reason, message } => {
                let refused = format!("{offence}: the contract would not take the proof: {reason}: {message}");
                found.unknown.push(refused);
            }
            Answer::Taken | Answer::Raised => {}
        }
        found.findings.push(Finding { offence, proof, answer });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Revert;

    fn refused(reason: &str) -> Knowledge<Trial> {
        Knowledge::Known(Trial::Refused(Revert::new(reason, String::new(), false)))
    }

    #[test]
    fn a_bond_that_is_missing_refuses_a_challenge_and_nothing_else() {
        assert_eq!(Answer::of(Knowledge::Known(Trial::Taken), 0), Answer::Taken);
        assert_eq!(Answer::of(refused("BondNotApproved"), 5), Answer::Taken);
        assert!(matches!(
            Answer::of(refused("BondNotApproved"), 0),
            Answer::Refused { .. }
        ));
        assert_eq!(Answer::of(refused("AlreadyRaised"), 5), Answer::Raised);
        assert!(matches!(
            Answer::of(refused("NothingProven"), 0),
            Answer::Refused { .. }
        ));
        assert_eq!(Answer::of(Knowledge::Unknown, 0), Answer::Unknown);
    }
}
