//! `kubectl spillway`, as the build left it beside the tests.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{hub_context, kubeconfig};

/// Runs the plugin against the hub, with this on its standard input.
///
/// # Errors
/// When it is not built.
pub fn ask(arguments: &[&str], input: &[u8]) -> anyhow::Result<Output> {
    let test = std::env::current_exe()?;
    let beside: Option<PathBuf> = test.ancestors().nth(2).map(|folder| folder.join("kubectl-spillway"));
    let mut plugin = Command::new(beside.context("no folder")?)
        .args(["--context", &hub_context()])
        .args(arguments)
        .env("KUBECONFIG", kubeconfig()?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    plugin.stdin.take().context("no standard input")?.write_all(input)?;
    Ok(plugin.wait_with_output()?)
}

/// What the plugin prints.
///
/// # Errors
/// When it fails, with what it says.
pub fn plugin(arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = ask(arguments, b"")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {said}");
    Ok(output.stdout)
}

/// What the plugin prints with `-o json`.
///
/// # Errors
/// When it fails, with what it says.
pub fn plugin_json(arguments: &[&str]) -> anyhow::Result<Value> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["-o", "json"]).collect();
    Ok(serde_json::from_slice(&plugin(&arguments)?)?)
}
