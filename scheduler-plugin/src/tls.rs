//! Mutual TLS for an extender that kube-scheduler reaches over a network: who shows no certificate of the client
//! authority is not listened to.
//!
//! In: three PEM files, read again every 10 s; a change counts for the next connection. Out: connections whose handshake
//! is done. One slow or silent client holds nobody up.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

const RELOAD: Duration = Duration::from_secs(10);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
const HANDSHAKES: usize = 64;

/// Where the PEM files lie; a mounted Secret changes them in place.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_authority: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TlsError {
    path: PathBuf,
    reason: String,
}

/// The configuration that the next handshake uses.
pub type CurrentConfig = Arc<ArcSwap<ServerConfig>>;

/// What the files held when they were read.
#[derive(PartialEq, Eq)]
struct Contents([Vec<u8>; 3]);

impl TlsFiles {
    /// # Errors
    /// Names the file that cannot be read or used.
    pub fn load(&self) -> Result<ServerConfig, TlsError> {
        self.config(&self.read()?)
    }

    fn read(&self) -> Result<Contents, TlsError> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| wrong(path, error));
        Ok(Contents([
            read(&self.certificate)?,
            read(&self.key)?,
            read(&self.client_authority)?,
        ]))
    }

    fn config(&self, Contents([certificate, key, authority]): &Contents) -> Result<ServerConfig, TlsError> {
        let chain = certificates(&self.certificate, certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong(&self.key, error))?;
        let mut roots = RootCertStore::empty();
        for root in certificates(&self.client_authority, authority)? {
            roots.add(root).map_err(|error| wrong(&self.client_authority, error))?;
        }
        let clients = WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .map_err(|error| wrong(&self.client_authority, error))?;
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(|error| wrong(&self.certificate, error))?;
        // One scheduler, one request at a time: HTTP/2 would only add frames.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = parsed.map_err(|error| wrong(path, error))?;
    if found.is_empty() {
        return Err(wrong(path, "holds no PEM certificate"));
    }
    Ok(found)
}

fn wrong(path: &Path, reason: impl ToString) -> TlsError {
    TlsError {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Follows the files until `cancelled`. Files that cannot be used change nothing: a half-written Secret must not lock
/// the scheduler out.
///
/// # Errors
/// Never.
pub async fn follow(files: TlsFiles, current: CurrentConfig, cancelled: CancellationToken) -> anyhow::Result<()> {
    follow_every(RELOAD, files, current, cancelled).await;
    Ok(())
}

async fn follow_every(period: Duration, files: TlsFiles, current: CurrentConfig, cancelled: CancellationToken) {
    let mut used = None;
    loop {
        match files.read() {
            Ok(contents) if used.as_ref() != Some(&contents) => {
                match files.config(&contents) {
                    Ok(config) => {
                        current.store(Arc::new(config));
                        tracing::info!("TLS files read");
                    }
                    Err(error) => tracing::warn!(%error, "changed TLS files cannot be used; the old ones stay"),
                }
                used = Some(contents);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "TLS files cannot be read; the old ones stay"),
        }
        tokio::select! {
            () = cancelled.cancelled() => return,
            () = tokio::time::sleep(period) => {},
        }
    }
}

/// Connections whose handshake is done.
#[derive(Debug)]
pub struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl TlsListener {
    /// Accepts from now on, until dropped.
    ///
    /// # Errors
    /// When the socket has no address.
    pub fn new(listener: TcpListener, current: CurrentConfig) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(1);
        tokio::spawn(accept(listener, current, sender));
        Ok(Self { ready, address })
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The accepting task ends only after this receiver.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept(
    listener: TcpListener,
    current: CurrentConfig,
    ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let room = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (stream, peer) = tokio::select! {
            () = ready.closed() => return,
            accepted = listener.accept() => match accepted {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let acceptor = TlsAcceptor::from(current.load_full());
        let ready = ready.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // Replies are written in whole: waiting for more to send only adds delay.
            let _ = stream.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => drop(ready.send((stream, peer)).await),
                Ok(Err(error)) => tracing::warn!(%peer, %error, "refused a connection"),
                Err(_) => tracing::warn!(%peer, "no handshake within {HANDSHAKE_LIMIT:?}"),
            }
        });
    }
}

#[cfg(test)]
mod tests;
