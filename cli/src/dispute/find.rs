//! `dispute find`: judges every batch that is not final, and asks the contracts what they would say.

use std::process::ExitCode;

use alloy_primitives::Address;
use serde::Serialize;
use spillway_core::offence::{Offence, OffenceKind};
use spillway_settlement::disputes::{Answer, Docket, Findings, Scope, examine};

use super::{Store, print, usd};
use crate::Output;
use crate::connect::Hub;
use crate::place::{ChainArguments, reach};

/// Exit code when nothing is found and something could not be asked.
const UNKNOWN: u8 = 2;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chain: ChainArguments,
    #[command(flatten)]
    store: Store,
    /// Sequence of one Settlement; without it all that are posted and not final.
    #[arg(long)]
    settlement: Option<u64>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    offences: Vec<Row>,
    unknown: Vec<String>,
    /// Batches that were judged.
    examined: usize,
    /// Sequences that are final, or not posted yet.
    #[serde(rename = "final")]
    finals: Vec<u64>,
    waiting: Vec<u64>,
    bond_micro: u128,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(flatten)]
    offence: Offence,
    /// Who answers for it with its stake.
    accused: Address,
    answer: Answer,
    needs_bond: bool,
}

pub(super) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let connection = hub.connect().await?;
    let chain = reach(&connection, &arguments.chain, Address::ZERO).await?;
    let scope = Scope {
        settlement: arguments.settlement,
        with_earlier: true,
    };
    let docket = arguments.store.gather(&connection, &chain, scope).await?;
    let report = report(&docket, examine(&chain, &docket).await);
    match arguments.output {
        Output::Json => print(&report)?,
        Output::Table => print!("{}", text(&report, arguments.settlement)),
    }
    Ok(verdict(&report))
}

fn report(docket: &Docket, found: Findings) -> Report {
    let row = |finding: spillway_settlement::disputes::Finding| Row {
        offence: finding.offence,
        accused: docket.rules.guarantor,
        answer: finding.answer,
        needs_bond: finding.proof.bond != 0,
    };
    Report {
        offences: found.findings.into_iter().map(row).collect(),
        unknown: found.unknown,
        examined: docket
            .record
            .batches
            .values()
            .filter(|batch| batch.is_disputable)
            .count(),
        finals: docket.finals.clone(),
        waiting: docket.waiting.clone(),
        bond_micro: docket.rules.bond,
    }
}

fn verdict(report: &Report) -> ExitCode {
    if report.offences.iter().any(|row| row.answer == Answer::Taken) {
        ExitCode::FAILURE
    } else if report.unknown.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNKNOWN)
    }
}

fn text(report: &Report, only: Option<u64>) -> String {
    let mut lines = Vec::new();
    for row in &report.offences {
        lines.extend(row_text(row, report.bond_micro));
    }
    lines.extend(report.unknown.iter().map(|unknown| format!("?       {unknown}")));
    if let Some(only) = only {
        if report.finals.contains(&only) {
            lines.push(format!(
                "-       settlement {only} is final: nothing about it can be disputed"
            ));
        }
        if report.waiting.contains(&only) {
            lines.push(format!("-       settlement {only} is not posted yet"));
        }
    }
    let open = report.offences.iter().filter(|row| row.answer == Answer::Taken).count();
    lines.push(format!(
        "examined={} final={} waiting={} offences={open} unknown={}\n",
        report.examined,
        report.finals.len(),
        report.waiting.len(),
        report.unknown.len()
    ));
    lines.join("\n")
}

fn row_text(row: &Row, bond_micro: u128) -> Vec<String> {
    let offence = &row.offence;
    let mark = match row.answer {
        Answer::Taken => "FOUND",
        Answer::Raised => "RAISED",
        Answer::Refused { .. } | Answer::Unknown => "?",
    };
    let mut lines = vec![format!("{mark:<7} {}: {offence}", offence.kind())];
    if row.answer != Answer::Taken {
        return lines;
    }
    let mut follows = format!("{} answers for it", row.accused);
    if offence.refund() != 0 {
        follows.push_str(&format!("; its payer gets {} USD back", usd(offence.refund())));
    }
    if offence.kind().breaks_batch() {
        follows.push_str("; the poster is stopped");
    }
    if row.needs_bond {
        let asked = match offence.kind() {
            OffenceKind::WithheldPay => "the place in the pay root",
            _ => "the order",
        };
        let bond = usd(bond_micro);
        follows.push_str(&format!("; the bond of {bond} USD is lost if the hub shows {asked}"));
    }
    lines.push(format!("        {follows}"));
    lines.push(format!("        kubectl spillway dispute open {}", selector(offence)));
    lines
}

/// The options that name an offence.
fn selector(offence: &Offence) -> String {
    let mut options = format!("--kind {} --settlement {}", offence.kind(), offence.settlement());
    match (offence.at(), offence.account()) {
        (Some(at), _) => options.push_str(&format!(" --line {}", at.line)),
        (None, Some(account)) => options.push_str(&format!(" --account {account}")),
        (None, None) => {}
    }
    options
}

#[cfg(test)]
mod tests {
    use spillway_core::offence::At;

    use super::*;

    fn report_of(answers: &[Answer], unknown: &[&str]) -> Report {
        let row = |answer: &Answer| Row {
            offence: Offence::MissingOrder {
                at: At { settlement: 7, line: 3 },
                payer: Address::repeat_byte(1),
                is_unsigned: false,
                refund_micro: 1_200_000,
            },
            accused: Address::ZERO,
            answer: answer.clone(),
            needs_bond: true,
        };
        Report {
            offences: answers.iter().map(row).collect(),
            unknown: unknown.iter().map(ToString::to_string).collect(),
            examined: 2,
            finals: vec![1],
            waiting: vec![],
            bond_micro: 5_000_000,
        }
    }

    #[test]
    fn each_offence_says_what_follows_and_how_to_open_it() {
        let report = report_of(
            &[Answer::Taken, Answer::Raised],
            &["settlement 8: its leaves document is gone"],
        );
        assert_eq!(
            text(&report, Some(1)),
            "FOUND   missing-order: settlement 7 line 3: its order is not in the store\n        \
             0x0000000000000000000000000000000000000000 answers for it; its payer gets 1.20 USD back; the bond of 5.00 USD \
             is lost if the hub shows the order\n        \
             kubectl spillway dispute open --kind missing-order --settlement 7 --line 3\n\
             RAISED  missing-order: settlement 7 line 3: its order is not in the store\n\
             ?       settlement 8: its leaves document is gone\n\
             -       settlement 1 is final: nothing about it can be disputed\n\
             examined=2 final=1 waiting=0 offences=1 unknown=1\n"
        );
    }

    #[test]
    fn what_was_raised_is_no_new_offence_and_what_is_unknown_no_agreement() {
        let is = |report: &Report, code: u8| format!("{:?}", verdict(report)) == format!("{:?}", ExitCode::from(code));
        assert!(is(&report_of(&[], &[]), 0));
        assert!(is(&report_of(&[Answer::Raised], &[]), 0));
        assert!(is(&report_of(&[Answer::Raised], &["the chain"]), 2));
        assert!(is(&report_of(&[Answer::Taken], &["the chain"]), 1));
    }

    #[test]
    fn json_names_kind_place_and_answer() {
        let json = serde_json::to_value(report_of(&[Answer::Taken], &[])).unwrap();
        let row = &json["offences"][0];
        assert_eq!(
            (&row["kind"], &row["settlement"], &row["line"], &row["answer"]["state"]),
            (&"missing-order".into(), &7.into(), &3.into(), &"taken".into())
        );
        assert_eq!(row["refundMicro"], 1_200_000);
    }
}
