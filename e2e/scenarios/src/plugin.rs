//! `kubectl spillway`, as the build left it beside the tests.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};

use crate::{hub_context, kubeconfig};

/// Runs the plugin against the hub.
///
/// # Errors
/// When it is not built.
pub fn ask(arguments: &[&str]) -> anyhow::Result<Output> {
    let test = std::env::current_exe()?;
    let beside: Option<PathBuf> = test.ancestors().nth(2).map(|folder| folder.join("kubectl-spillway"));
    let output = Command::new(beside.context("no folder")?)
        .args(["--context", &hub_context()])
        .args(arguments)
        .env("KUBECONFIG", kubeconfig()?)
        .output()?;
    Ok(output)
}

/// What the plugin prints.
///
/// # Errors
/// When it fails, with what it says.
pub fn plugin(arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = ask(arguments)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {said}");
    Ok(output.stdout)
}
