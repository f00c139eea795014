//! The binary as a pod runs it: it says when it serves, and SIGTERM ends it cleanly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy sees tests only in #[test] functions"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

#[test]
fn sigterm_ends_the_engine_with_success() {
    let folder = std::env::var_os("SPILLWAY_MODEL_DIR").expect(
        "SPILLWAY_MODEL_DIR is not set. Fetch the weights first:\n  export SPILLWAY_MODEL_DIR=$(e2e/engine/weights.sh)",
    );
    let mut engine = Command::new(env!("CARGO_BIN_EXE_engine"))
        .args(["--listen", "127.0.0.1", "--port", "0", "--model-dir"])
        .arg(folder)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(engine.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    assert!(line.contains("serving") && line.contains("127.0.0.1:"), "{line}");
    assert!(
        Command::new("kill")
            .arg(engine.id().to_string())
            .status()
            .unwrap()
            .success()
    );
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert!(engine.wait().unwrap().success(), "{rest}");
    assert!(rest.contains("SIGTERM") && rest.contains("stopped"), "{rest}");
}

#[test]
fn a_wrong_model_folder_is_a_failure_that_names_the_fix() {
    let output = Command::new(env!("CARGO_BIN_EXE_engine"))
        .args(["--model-dir", "/nonexistent"])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        message.contains("/nonexistent/config.json") && message.contains("weights.sh"),
        "{message}"
    );
}
