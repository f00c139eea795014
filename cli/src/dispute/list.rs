//! `dispute list`: disputes that wait, or did.

use alloy_primitives::Address;
use serde::Serialize;
use spillway_settlement::chain::{Filed, Stage};

use super::{known, print, rules, until, usd};
use crate::Output;
use crate::connect::Hub;
use crate::place::{ChainArguments, reach};
use crate::table::align;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    chain: ChainArguments,
    /// About one Settlement only.
    #[arg(long)]
    settlement: Option<u64>,
    /// Only what is not resolved yet.
    #[arg(long)]
    open: bool,
    /// The newest so many are asked for.
    #[arg(long, default_value_t = 100)]
    last: u64,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(flatten)]
    filed: Filed,
    /// Open, and the deadline has passed.
    resolvable: bool,
}

pub(super) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<()> {
    let connection = hub.connect().await?;
    let chain = reach(&connection, &arguments.chain, Address::ZERO).await?;
    let (block, rules) = rules(&chain).await?;
    let count = known("the disputes", chain.dispute_count(rules.disputes, block).await)?;
    let mut rows = Vec::new();
    for id in count.saturating_sub(arguments.last)..count {
        let filed = known("a dispute", chain.dispute(rules.disputes, id, block).await)?;
        let is_meant = arguments.settlement.is_none_or(|only| filed.at.settlement == only);
        if is_meant && (!arguments.open || filed.stage == Stage::Open) {
            rows.push(Row {
                filed,
                resolvable: filed.stage == Stage::Open && block.time >= filed.deadline,
            });
        }
    }
    match arguments.output {
        Output::Json => print(&rows)?,
        Output::Table => print!("{}", table(&rows, block.time)),
    }
    Ok(())
}

fn table(rows: &[Row], now: u64) -> String {
    let head = [
        "ID",
        "FAULT",
        "STATE",
        "SETTLEMENT",
        "LINE",
        "REFUND",
        "DEADLINE",
        "CHALLENGER",
    ];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for Row { filed, resolvable } in rows {
        let state = match filed.stage {
            _ if *resolvable => "Resolvable".to_owned(),
            stage => format!("{stage:?}"),
        };
        let deadline = match filed.stage {
            Stage::Open => until(filed.deadline, now),
            Stage::Answered | Stage::Proven => "-".to_owned(),
        };
        cells.push(vec![
            filed.id.to_string(),
            format!("{:?}", filed.fault),
            state,
            filed.at.settlement.to_string(),
            filed.at.line.to_string(),
            usd(filed.refund),
            deadline,
            filed.challenger.to_string(),
        ]);
    }
    align(&cells)
}

#[cfg(test)]
mod tests {
    use spillway_core::offence::At;
    use spillway_settlement::chain::Fault;

    use super::*;

    fn row(stage: Stage, deadline: u64, resolvable: bool) -> Row {
        Row {
            filed: Filed {
                id: 4,
                fault: Fault::MissingOrder,
                stage,
                at: At { settlement: 7, line: 3 },
                challenger: Address::ZERO,
                payer: Address::ZERO,
                provider: Address::ZERO,
                refund: 1_200_000,
                deadline,
                leaf_hash: alloy_primitives::B256::ZERO,
            },
            resolvable,
        }
    }

    #[test]
    fn what_can_be_resolved_says_so() {
        let rows = [
            row(Stage::Open, 160, false),
            row(Stage::Open, 90, true),
            row(Stage::Answered, 90, false),
        ];
        let text = table(&rows, 100);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].starts_with("4   MissingOrder  Open        7           3     1.20    in 1m"),
            "{text}"
        );
        assert!(
            lines[2].contains("Resolvable  7           3     1.20    passed"),
            "{text}"
        );
        assert!(lines[3].contains("Answered    7           3     1.20    - "), "{text}");
    }

    #[test]
    fn json_is_flat() {
        let json = serde_json::to_value(row(Stage::Open, 90, true)).unwrap();
        assert_eq!((&json["settlement"], &json["line"]), (&7.into(), &3.into()));
        assert_eq!(
            (&json["refundMicro"], &json["stage"]),
            (&1_200_000.into(), &"Open".into())
        );
    }
}
