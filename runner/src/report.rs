//! The report in the container's termination message.

use std::path::Path;

use spillway_core::shard::WorkReport;

/// Kubernetes keeps at most 4096 bytes of a termination message.
const LIMIT: usize = 4096;
const MESSAGE_LIMIT: usize = 1024;

/// Writes `report` to `path`.
///
/// # Errors
/// When the file cannot be written, or the report is longer than Kubernetes keeps.
pub fn write(path: &Path, report: &WorkReport) -> anyhow::Result<()> {
    let text = serde_json::to_vec(report)?;
    anyhow::ensure!(
        text.len() <= LIMIT,
        "the report has {} bytes; {LIMIT} are kept",
        text.len()
    );
    Ok(std::fs::write(path, text)?)
}

/// A failure, cut to what fits.
pub fn failed(error: &anyhow::Error) -> WorkReport {
    WorkReport::Failed {
        message: format!("{error:#}").chars().take(MESSAGE_LIMIT).collect(),
    }
}
