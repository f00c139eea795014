//! An invoice as text for people and as JSON for programs.

use super::{Invoice, Line};

const COLUMNS: [&str; 8] = [
    "SHARD",
    "ATTEMPT",
    "PROVIDER",
    "GPU SECONDS",
    "USD/GPU-H",
    "AMOUNT USD",
    "SETTLEMENT",
    "LEAF",
];

impl Invoice {
    /// # Errors
    /// Never in practice: strings and integers serialise.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// A table of all lines, work first, with totals below.
    pub fn to_table(&self) -> String {
        let mut text = format!("Invoice of {}/{} (uid {})\n", self.namespace, self.job, self.uid);
        if let Some(payer) = &self.payer {
            text.push_str(&format!("Payer {payer}\n"));
        }
        text.push_str(&section("Work", &self.work));
        text.push_str(&section("Checks", &self.checks));
        let totals = &self.totals;
        text.push('\n');
        let sums = [
            ("Work", totals.work),
            ("Checks", totals.checks),
            ("Total", totals.total),
            ("Settled", totals.settled),
        ];
        for (name, sum) in sums {
            text.push_str(&format!("{name:<8}{:>16} USD\n", sum.to_string()));
        }
        text
    }
}

fn section(title: &str, lines: &[Line]) -> String {
    if lines.is_empty() {
        return format!("\n{title}: none\n");
    }
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(lines.iter().map(cells));
    format!("\n{title}\n{}", align(&rows))
}

fn cells(line: &Line) -> [String; 8] {
    let payment = line.settlement.as_ref();
    [
        line.shard.to_string(),
        format!("{} {}", line.attempt, line.kind),
        line.provider.clone(),
        format!("{}.{:03}", line.gpu_millis / 1000, line.gpu_millis % 1000),
        line.unit_price.to_string(),
        line.amount.to_string(),
        payment.map_or_else(
            || "not sealed".to_owned(),
            |payment| format!("{} {}", payment.sequence, payment.state),
        ),
        line.leaf.map_or_else(|| "-".to_owned(), |leaf| leaf.to_string()),
    ]
}

/// Columns as wide as their widest cell, two spaces between.
fn align(rows: &[[String; 8]]) -> String {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let row_text = |row: &[String; 8]| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(row_text).collect()
}
