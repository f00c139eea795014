//! Waiting for conditions.

use std::time::{Duration, Instant};

use anyhow::bail;

const PAUSE: Duration = Duration::from_millis(300);

/// Asks until there is an answer. A failing question is asked again: a component may be restarting.
///
/// # Errors
/// When the limit passed; names `what` and the last failure.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut question: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        let failure = match question().await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => String::new(),
            Err(error) => format!("; the last question failed: {error:#}"),
        };
        if started.elapsed() > limit {
            bail!("waited {limit:?} in vain for: {what}{failure}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
