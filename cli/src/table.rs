//! Rows of text in columns, safe to print: names come from strangers, and a terminal obeys what it is sent.

/// Columns as wide as their widest cell, two spaces between; the first row is the head.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| plain(cell)).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// The text with every control character written out: a stranger's name cannot move the cursor.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control()
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_end_without_spaces() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = align(&[row(["NAME", "WHY"]), row(["é", "b"]), row(["longer", ""])]);
        assert_eq!(text, "NAME    WHY\né       b\nlonger\n");
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(plain("\u{1b}[2Jfree\nGPU\u{202e}"), "\\u{1b}[2Jfree\\nGPU\\u{202e}");
        assert_eq!(plain("Größe ✓"), "Größe ✓");
    }
}
