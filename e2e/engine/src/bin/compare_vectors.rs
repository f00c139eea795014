//! `compare-vectors RESULTS.jsonl... GOLDEN_DIR`: exit 0 when every golden text has exactly one vector that agrees.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use spillway_e2e_engine::compare::{BatchResult, CompareError, Golden, Report, read_results};

/// Holds OpenAI batch output against the golden vectors and prints `vectors=N min_cosine=C`.
#[derive(Debug, Parser)]
#[command(name = "compare-vectors", version)]
struct Arguments {
    /// Batch output files; together they must hold each golden text exactly once
    #[arg(required = true, num_args = 1..)]
    results: Vec<PathBuf>,
    /// Folder with golden.json and golden.f32
    #[arg(required = true)]
    golden: PathBuf,
    /// The worst agreement that passes
    #[arg(long, default_value_t = 0.9999)]
    min_cosine: f64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match compare(&arguments) {
        Ok(report) => verdict(&report, arguments.min_cosine),
        Err(error) => {
            eprintln!("compare-vectors: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<Report, CompareError> {
    let golden = Golden::read(&arguments.golden)?;
    let mut results: Vec<BatchResult> = Vec::new();
    for path in &arguments.results {
        results.extend(read_results(path)?);
    }
    golden.compare(&results)
}

fn verdict(report: &Report, min_cosine: f64) -> ExitCode {
    println!("{report}");
    if report.min_cosine >= min_cosine {
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "compare-vectors: {} is at {}, below {min_cosine}",
        report.worst, report.min_cosine
    );
    ExitCode::FAILURE
}
