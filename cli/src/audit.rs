//! `kubectl spillway audit`: holds chain, Settlements, accepted receipts and leaves documents against each other, with
//! the very code that the settlement process runs every ten minutes, from where the auditor stands.

use std::process::ExitCode;

use alloy_primitives::Address;
use anyhow::Context;
use k8s_openapi::jiff::Timestamp;
use spillway_core::reconcile::{Patience, Report, reconcile};
use spillway_crds::names;
use spillway_settlement::chain::Books;
use spillway_settlement::reconcile::{Documents, Reading, gather};

use crate::Output;
use crate::connect::Hub;
use crate::place::{ChainArguments, reach};

/// Exit code when nothing disagrees and something could not be asked.
const UNKNOWN: u8 = 2;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chain: ChainArguments,
    /// Block that the contract was made in: older ones are not read.
    #[arg(long, default_value_t = 0)]
    from_block: u64,
    /// The hub's object store, `s3://bucket/prefix`, with AWS_* in the environment; without it leaves documents are not
    /// compared.
    #[arg(long, env = "SPILLWAY_STORE_URL")]
    store_url: Option<String>,
    /// An accepted attempt that is in no batch after this long is a drift.
    #[arg(long, default_value = "1h", value_parser = spillway_core::duration::parse)]
    unsealed_after: std::time::Duration,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let connection = hub.connect().await?;
    let chain = reach(&connection, &arguments.chain, Address::ZERO).await?;
    let documents = arguments.store_url.as_deref().map(Documents::connect).transpose()?;
    let compares_documents = documents.is_some();
    let reading = Reading::new(connection.client, names::SYSTEM_NAMESPACE, chain, documents);
    let mut books = Books::from_block(arguments.from_block);
    let ledgers = gather(&reading, &mut books, None, Timestamp::now()).await;
    let patience = Patience {
        unsealed_seconds: arguments.unsealed_after.as_secs(),
    };
    let report = reconcile(&ledgers, &patience);
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report).context("print the report")?),
        Output::Table => print!("{}", text(&report, compares_documents)),
    }
    Ok(verdict(&report))
}

fn verdict(report: &Report) -> ExitCode {
    if !report.drifts.is_empty() {
        ExitCode::FAILURE
    } else if !report.unknown.is_empty() {
        ExitCode::from(UNKNOWN)
    } else {
        ExitCode::SUCCESS
    }
}

fn text(report: &Report, compares_documents: bool) -> String {
    let mut lines = Vec::new();
    for drift in &report.drifts {
        let meaning = drift.meaning();
        lines.push(format!("DRIFT {drift}"));
        lines.push(format!("      it means: {}", meaning.means));
        lines.push(format!("      next: {}", meaning.next));
    }
    lines.extend(report.unknown.iter().map(|unknown| format!("?     {unknown}")));
    if !compares_documents {
        lines.push("-     leaves documents were not compared: give --store-url".to_owned());
    }
    let compared = &report.compared;
    lines.push(format!(
        "posted={} settlements={} receipts={} documents={} drifts={} unknown={}\n",
        compared.posted,
        compared.settlements,
        compared.receipts,
        compared.documents,
        report.drifts.len(),
        report.unknown.len()
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use spillway_core::reconcile::Drift;

    use super::*;

    #[test]
    fn each_drift_says_what_where_what_it_means_and_what_next() {
        let report = Report {
            drifts: vec![Drift::FailedButPosted { sequence: 7 }],
            unknown: vec!["the jobs could not be read".to_owned()],
            ..Report::default()
        };
        assert_eq!(
            text(&report, false),
            "DRIFT settlement 7: FailedButPosted: it says Failed and the contract booked it\n      \
             it means: the batch is paid although the hub gave it up: sealing it again would pay twice\n      \
             next: do not seal these attempts again; report it\n\
             ?     the jobs could not be read\n\
             -     leaves documents were not compared: give --store-url\n\
             posted=0 settlements=0 receipts=0 documents=0 drifts=1 unknown=1\n"
        );
    }

    #[test]
    fn what_cannot_be_asked_is_neither_drift_nor_agreement() {
        let mut report = Report::default();
        let is = |code: ExitCode, wanted: ExitCode| format!("{code:?}") == format!("{wanted:?}");
        assert!(is(verdict(&report), ExitCode::SUCCESS));
        report.unknown.push("the chain".to_owned());
        assert!(is(verdict(&report), ExitCode::from(2)));
        report.drifts.push(Drift::ObjectMissing { sequence: 1 });
        assert!(is(verdict(&report), ExitCode::FAILURE));
    }
}
