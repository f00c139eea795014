//! Where others measure their distance to this cluster: a connection that comes up is the answer.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Accepts and closes connections until `cancelled`; nothing is read and nothing is said.
///
/// # Errors
/// Never; a connection that cannot be accepted is the caller's loss.
pub async fn echo(listener: TcpListener, cancelled: CancellationToken) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return Ok(()),
            accepted = listener.accept() => {
                if let Err(error) = accepted {
                    tracing::warn!(%error, "probe connection not accepted");
                    // Out of file descriptors: others need them first.
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        }
    }
}
