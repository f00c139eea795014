//! Real handshakes on loopback, with certificates that openssl makes.

use axum::Router;
use axum::routing::get;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use spillway_e2e_control_plane::{Authority, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

struct Ground {
    folder: tempfile::TempDir,
    authority: Authority,
    files: TlsFiles,
    address: SocketAddr,
    cancelled: CancellationToken,
}

/// A server that answers `ok`, with files that are looked at every 50 ms.
async fn ground() -> Ground {
    spillway_process::install_crypto_provider();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(&folder.path().join("one")).unwrap();
    let server = authority.sign("extender").unwrap();
    let files = TlsFiles {
        certificate: folder.path().join("tls.crt"),
        key: folder.path().join("tls.key"),
        client_authority: folder.path().join("ca.crt"),
    };
    std::fs::copy(&server.certificate, &files.certificate).unwrap();
    std::fs::copy(&server.key, &files.key).unwrap();
    std::fs::copy(authority.certificate(), &files.client_authority).unwrap();
    let current = Arc::new(ArcSwap::from_pointee(files.load().unwrap()));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = TlsListener::new(socket, Arc::clone(&current)).unwrap();
    let (address, cancelled) = (listener.address, CancellationToken::new());
    let router = Router::new().route("/", get(|| async { "ok" }));
    let serving = axum::serve(listener, router).with_graceful_shutdown(cancelled.clone().cancelled_owned());
    tokio::spawn(serving.into_future());
    let period = Duration::from_millis(50);
    tokio::spawn(follow_every(period, files.clone(), current, cancelled.clone()));
    Ground {
        folder,
        authority,
        files,
        address,
        cancelled,
    }
}

/// A client that trusts `server` and shows a certificate of `client`.
fn client(server: &Authority, client: Option<&Authority>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(server.certificate()).unwrap();
    for root in certificates(server.certificate(), &pem).unwrap() {
        roots.add(root).unwrap();
    }
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let signed = authority.sign("scheduler").unwrap();
            let chain = std::fs::read(&signed.certificate).unwrap();
            let chain = certificates(&signed.certificate, &chain).unwrap();
            let key = PrivateKeyDer::from_pem_file(&signed.key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    Arc::new(config)
}

/// What the server says to a request, or why it says nothing. With TLS 1.3 a refusal comes with the first read.
async fn ask(address: SocketAddr, client: Arc<ClientConfig>) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("extender").unwrap();
    let mut stream = TlsConnector::from(client).connect(name, stream).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: extender\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn only_who_shows_a_certificate_of_the_client_authority_is_answered() {
    let ground = ground().await;
    let stranger = Authority::new(&ground.folder.path().join("stranger")).unwrap();
    let known = ask(ground.address, client(&ground.authority, Some(&ground.authority))).await;
    assert!(known.unwrap().ends_with("ok"));
    for shown in [None, Some(&stranger)] {
        assert!(ask(ground.address, client(&ground.authority, shown)).await.is_err());
    }
    // Nor does a client that checks take another server for this one.
    let other = ask(ground.address, client(&stranger, Some(&ground.authority))).await;
    assert!(other.is_err());
    ground.cancelled.cancel();
}

#[tokio::test]
async fn a_client_that_says_nothing_holds_nobody_up() {
    let ground = ground().await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(ground.address).await.unwrap());
    }
    let mut plain = TcpStream::connect(ground.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let asked = ask(ground.address, client(&ground.authority, Some(&ground.authority)));
    let answer = tokio::time::timeout(HANDSHAKE_LIMIT / 2, asked).await.unwrap();
    assert!(answer.unwrap().ends_with("ok"));
}

#[tokio::test]
async fn changed_files_count_without_a_restart_and_broken_ones_do_not() {
    let ground = ground().await;
    let next = Authority::new(&ground.folder.path().join("next")).unwrap();
    let server = next.sign("extender").unwrap();
    let old = client(&ground.authority, Some(&ground.authority));

    // A writer that has got as far as the certificate: it does not fit the key.
    std::fs::copy(&server.certificate, &ground.files.certificate).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(ask(ground.address, Arc::clone(&old)).await.is_ok());

    std::fs::copy(&server.key, &ground.files.key).unwrap();
    std::fs::copy(next.certificate(), &ground.files.client_authority).unwrap();
    let new = client(&next, Some(&next));
    eventually("the new certificates", LIMIT, || async {
        ask(ground.address, Arc::clone(&new)).await.ok()
    })
    .await
    .unwrap();
    assert!(ask(ground.address, old).await.is_err());
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    spillway_process::install_crypto_provider();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path()).unwrap();
    let server = authority.sign("extender").unwrap();
    let files = TlsFiles {
        certificate: server.certificate,
        key: server.key,
        client_authority: authority.certificate().to_owned(),
    };
    files.load().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for broken in [
        TlsFiles {
            certificate: empty.clone(),
            ..files.clone()
        },
        TlsFiles {
            key: empty.clone(),
            ..files.clone()
        },
        TlsFiles {
            client_authority: empty.clone(),
            ..files.clone()
        },
    ] {
        let error = broken.load().unwrap_err().to_string();
        assert!(error.contains("empty.pem"), "{error}");
    }
    let missing = TlsFiles {
        key: folder.path().join("missing.pem"),
        ..files
    };
    assert!(missing.load().unwrap_err().to_string().contains("missing.pem"));
}
