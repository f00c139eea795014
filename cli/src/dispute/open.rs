//! `dispute open`: proves an offence, or challenges a line.

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::{Address, Bytes};
use anyhow::{Context, bail, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;
use spillway_core::offence::{At, Judgement, Offence, OffenceKind, judge};
use spillway_settlement::chain::Chain;
use spillway_settlement::disputes::{Answer, Docket, Lack, Opened, Proof, Prover, Scope, approve, file, lack};
use spillway_settlement::signer::{KeyError, KeySource};

use super::{Store, known, print, until, usd};
use crate::Output;
use crate::connect::Hub;
use crate::place::{ChainArguments, reach};

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chain: ChainArguments,
    #[command(flatten)]
    store: Store,
    #[command(flatten)]
    what: What,
    /// Let the disputes contract take exactly the bond first, if it may not yet.
    #[arg(long)]
    approve_bond: bool,
    /// Challenge a line although the store has the answer, or was not read: an answer costs the bond.
    #[arg(long)]
    anyway: bool,
    /// Send nothing: print the call, and what the contract would say to it.
    #[arg(long)]
    dry_run: bool,
    /// Who would send, for --dry-run without a key.
    #[arg(long, requires = "dry_run")]
    from: Option<Address>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    key: KeySource,
}

/// One offence, as `dispute find` names it.
#[derive(clap::Args, Clone, Copy, Debug)]
struct What {
    #[arg(long, value_parser = kinds())]
    kind: OffenceKind,
    /// Sequence of the Settlement.
    #[arg(long)]
    settlement: u64,
    /// Index of the line, from 0; needed when there is more than one offence of the kind.
    #[arg(long)]
    line: Option<u32>,
    /// Payer or provider, likewise.
    #[arg(long)]
    account: Option<Address>,
}

fn kinds() -> impl TypedValueParser<Value = OffenceKind> {
    PossibleValuesParser::new(OffenceKind::ALL.map(OffenceKind::name))
        .try_map(|name| OffenceKind::named(&name).ok_or("not a kind of offence"))
}

/// A call that was not sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DryRun<'a> {
    from: Address,
    to: Address,
    calldata: &'a Bytes,
    bond_micro: u128,
    /// What the sender lacks of the bond.
    lacks: Option<String>,
    answer: Answer,
}

pub(super) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<()> {
    let key = match arguments.key.load() {
        Err(KeyError::Missing) if arguments.dry_run => None,
        key => Some(key?),
    };
    let sender = arguments.from.or(key.as_ref().map(PrivateKeySigner::address));
    let connection = hub.connect().await?;
    let chain = reach(&connection, &arguments.chain, sender.unwrap_or_default()).await?;
    let scope = Scope {
        settlement: Some(arguments.what.settlement),
        with_earlier: arguments.what.kind == OffenceKind::Duplicate,
    };
    let docket = arguments.store.gather(&connection, &chain, scope).await?;
    let proof = prove(&docket, arguments.what, arguments.anyway)?;
    let lacks = match sender {
        Some(sender) => lacks(&chain, &docket, &proof, sender).await?,
        None => None,
    };
    match key.filter(|_| !arguments.dry_run) {
        Some(key) => send(&arguments, &chain, &docket, &proof, lacks, key).await,
        // Whose tokens a reward can go to.
        None => {
            let from = sender.unwrap_or(docket.rules.guarantor);
            rehearse(&chain, &docket, from, &proof, lacks, arguments.output).await
        }
    }
}

async fn lacks(chain: &Chain, docket: &Docket, proof: &Proof, sender: Address) -> anyhow::Result<Option<Lack>> {
    if proof.bond == 0 {
        return Ok(None);
    }
    let purse = chain.purse(sender, &docket.rules, docket.block).await;
    let purse = known("the sender's tokens", purse)?;
    Ok(lack(purse, proof.bond, &docket.rules, sender))
}

async fn send(
    arguments: &Arguments,
    chain: &Chain,
    docket: &Docket,
    proof: &Proof,
    lacks: Option<Lack>,
    key: PrivateKeySigner,
) -> anyhow::Result<()> {
    let (url, chain_id) = (arguments.chain.sends_by()?, chain.place.chain_id);
    match lacks {
        None => {}
        Some(Lack::Allowance { .. }) if arguments.approve_bond => {
            let approved = approve(url, chain_id, key.clone(), &docket.rules).await;
            let (transaction, bond) = (approved.context("approve the bond")?, usd(proof.bond));
            eprintln!(
                "{} may take {bond} USD by transaction {transaction}",
                docket.rules.disputes
            );
        }
        Some(lack) => bail!(lack),
    }
    let opened = file(url, chain_id, key, proof).await?;
    match arguments.output {
        Output::Json => print(&opened)?,
        Output::Table => print!("{}", text(&opened, docket.block.time)),
    }
    Ok(())
}

async fn rehearse(
    chain: &Chain,
    docket: &Docket,
    from: Address,
    proof: &Proof,
    lacks: Option<Lack>,
    output: Output,
) -> anyhow::Result<()> {
    let trial = chain.trial(from, proof.to, &proof.calldata, docket.block).await;
    let run = DryRun {
        from,
        to: proof.to,
        calldata: &proof.calldata,
        bond_micro: proof.bond,
        lacks: lacks.as_ref().map(ToString::to_string),
        answer: Answer::of(trial, proof.bond),
    };
    match output {
        Output::Json => print(&run),
        Output::Table => {
            print!("{}", run_text(&run));
            Ok(())
        }
    }
}

/// The proof of what was asked for, if the documents show it.
fn prove(docket: &Docket, what: What, anyway: bool) -> anyhow::Result<Proof> {
    let settlement = what.settlement;
    ensure!(
        !docket.finals.contains(&settlement),
        "settlement {settlement} is final: nothing about it can be disputed"
    );
    ensure!(
        !docket.waiting.contains(&settlement),
        "settlement {settlement} is not posted yet: wait for its condition Posted"
    );
    if !docket.record.batches.contains_key(&settlement) {
        bail!("{}", docket.unread.join("; "));
    }
    let mut prover = Prover::new(&docket.record, &docket.rules);
    let judgement = judge(&docket.record);
    let proof = match pick(&judgement, what) {
        Ok(offence) => prover.proof(&offence),
        Err(why) => match (what.kind, what.line) {
            (OffenceKind::MissingOrder, Some(line)) if anyway => prover.challenge_order(At { settlement, line }),
            (OffenceKind::WithheldPay, Some(line)) if anyway => prover.challenge_pay(At { settlement, line }),
            (OffenceKind::MissingOrder | OffenceKind::WithheldPay, Some(_)) => bail!(
                "{why}; if the hub can show what is asked for, a challenge costs the bond; --anyway makes it all the same"
            ),
            _ => bail!(why),
        },
    };
    proof.with_context(|| format!("settlement {settlement} has no such line"))
}

/// The one offence that is meant; otherwise in words what there is.
fn pick(judgement: &Judgement, what: What) -> Result<Offence, String> {
    let is_meant = |offence: &&Offence| {
        (offence.kind(), offence.settlement()) == (what.kind, what.settlement)
            && what
                .line
                .is_none_or(|line| offence.at().is_some_and(|at| at.line == line))
            && what.account.is_none_or(|account| offence.account() == Some(account))
    };
    let meant: Vec<&Offence> = judgement.offences.iter().filter(is_meant).collect();
    match meant[..] {
        [offence] => Ok(*offence),
        [] => {
            let doubts = judgement.doubts.iter().map(ToString::to_string);
            let words: Vec<String> = judgement
                .offences
                .iter()
                .map(ToString::to_string)
                .chain(doubts)
                .collect();
            let found = if words.is_empty() {
                "nothing".to_owned()
            } else {
                words.join("; ")
            };
            Err(format!(
                "the documents do not show {} there; they show: {found}",
                what.kind
            ))
        }
        ref several => {
            let words: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(format!(
                "there are {}: name one by --line or --account: {}",
                several.len(),
                words.join("; ")
            ))
        }
    }
}

fn text(opened: &Opened, now: u64) -> String {
    let proven = format!("proven by transaction {}\n", opened.transaction);
    let (Some(id), Some(deadline)) = (opened.dispute, opened.deadline) else {
        return proven;
    };
    format!(
        "dispute {id} opened by transaction {}: an answer counts before {deadline} (Unix seconds, {}); then:\n\
         kubectl spillway dispute resolve {id}\n",
        opened.transaction,
        until(deadline, now)
    )
}

fn run_text(run: &DryRun<'_>) -> String {
    let answer = match &run.answer {
        Answer::Taken => "taken".to_owned(),
        Answer::Raised => "refused: the same was proven before, or waits for an answer".to_owned(),
        Answer::Refused { reason, message } => format!("refused: {reason}: {message}"),
        Answer::Unknown => "unknown: the chain could not be asked".to_owned(),
    };
    let lacks = run
        .lacks
        .as_ref()
        .map(|lacks| format!("bond      {lacks}\n"))
        .unwrap_or_default();
    format!(
        "from      {}\nto        {}\n{lacks}calldata  {}\nanswer    {answer}\n",
        run.from, run.to, run.calldata
    )
}

#[cfg(test)]
mod tests {
    use spillway_core::offence::Doubt;

    use super::*;

    fn missing(line: u32) -> Offence {
        Offence::MissingOrder {
            at: At { settlement: 7, line },
            payer: Address::repeat_byte(1),
            is_unsigned: false,
            refund_micro: 1,
        }
    }

    fn what(kind: OffenceKind, line: Option<u32>) -> What {
        What {
            kind,
            settlement: 7,
            line,
            account: None,
        }
    }

    #[test]
    fn one_offence_needs_no_line_and_two_do() {
        let mut judgement = Judgement::default();
        judgement.offences.push(missing(3));
        let kind = OffenceKind::MissingOrder;
        assert_eq!(pick(&judgement, what(kind, None)), Ok(missing(3)));
        judgement.offences.push(missing(5));
        assert_eq!(pick(&judgement, what(kind, Some(5))), Ok(missing(5)));
        let several = pick(&judgement, what(kind, None)).unwrap_err();
        assert!(several.starts_with("there are 2: name one by --line"), "{several}");
    }

    #[test]
    fn what_is_not_shown_is_told_with_what_is() {
        let judgement = Judgement {
            offences: vec![missing(3)],
            doubts: vec![Doubt::RootDiffers { settlement: 7 }],
        };
        let none = pick(&judgement, what(OffenceKind::Duplicate, None)).unwrap_err();
        assert!(none.contains("do not show duplicate there"), "{none}");
        assert!(
            none.contains("settlement 7 line 3") && none.contains("posted root"),
            "{none}"
        );
        let none = pick(&Judgement::default(), what(OffenceKind::Duplicate, None)).unwrap_err();
        assert!(none.ends_with("they show: nothing"), "{none}");
    }

    #[test]
    fn a_challenge_says_what_comes_next_and_a_proof_is_all() {
        let transaction = alloy_primitives::B256::ZERO;
        let mut opened = Opened {
            transaction,
            dispute: Some(4),
            deadline: Some(3_600),
        };
        assert!(text(&opened, 0).ends_with("in 1h); then:\nkubectl spillway dispute resolve 4\n"));
        opened.dispute = None;
        assert_eq!(text(&opened, 0), format!("proven by transaction {transaction}\n"));
    }
}
