//! Every long task has an owner; when one ends early, or a signal comes, all are asked to stop and are awaited.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub async fn shutdown_signal() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {},
        _ = interrupt.recv() => {},
    }
    Ok(())
}

/// The critical tasks of a process.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<(&'static str, anyhow::Result<()>)>,
    cancelled: CancellationToken,
}

impl Tasks {
    /// Token that each task watches; cancelled at shutdown.
    pub fn token(&self) -> CancellationToken {
        self.cancelled.clone()
    }

    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.set.spawn(async move { (name, task.await) });
    }

    /// Runs until a signal comes or any task ends; then cancels the rest and awaits them.
    ///
    /// # Errors
    /// The first error, panic included, of any task; a task that ends before shutdown is an error too.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut outcome = tokio::select! {
            signal = shutdown_signal() => signal.map_err(Into::into),
            ended = self.set.join_next() => early_end(ended),
        };
        self.cancelled.cancel();
        while let Some(ended) = self.set.join_next().await {
            let result = ended.map_err(anyhow::Error::from).and_then(|(_, result)| result);
            outcome = outcome.and(result);
        }
        outcome
    }
}

type Ended = Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>;

fn early_end(ended: Option<Ended>) -> anyhow::Result<()> {
    match ended {
        None => anyhow::bail!("no task was started"),
        Some(Err(panic)) => Err(panic.into()),
        Some(Ok((name, Ok(())))) => anyhow::bail!("task {name} ended before shutdown"),
        Some(Ok((name, Err(error)))) => Err(error.context(format!("task {name} failed"))),
    }
}
