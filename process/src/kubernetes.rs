//! Clients of API servers, each under its program's name.

use axum::http::HeaderValue;
use axum::http::header::USER_AGENT;
use kube::{Client, Config};

/// A client of the cluster that this process runs in, or else that its kubeconfig names.
///
/// # Errors
/// When neither is there, or it cannot be read.
pub async fn client(program: &str) -> kube::Result<Client> {
    client_of(Config::infer().await.map_err(kube::Error::InferConfig)?, program)
}

/// A client that calls itself `program/version`: so it stands in the server's audit log, and, up to the slash, in
/// `managedFields` of what it creates and updates.
///
/// # Errors
/// When the settings make no client.
pub fn client_of(mut config: Config, program: &str) -> kube::Result<Client> {
    let agent = format!("{program}/{}", env!("CARGO_PKG_VERSION"));
    let agent = HeaderValue::try_from(agent).map_err(|error| kube::Error::HttpError(error.into()))?;
    config.headers.push((USER_AGENT, agent));
    Client::try_from(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::http::HeaderMap;
    use axum::routing::get;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn each_request_says_who_asks() {
        crate::install_crypto_provider();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let asked = seen.clone();
        let answer = async move |headers: HeaderMap| asked.lock().unwrap().push(headers[USER_AGENT].clone());
        tokio::spawn(async { axum::serve(listener, Router::new().route("/version", get(answer))).await });
        let client = client_of(Config::new(url.parse().unwrap()), "spillway-test").unwrap();
        // The answer is none of a version; what was asked is the question here.
        let _ = client.apiserver_version().await;
        let wanted = format!("spillway-test/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(seen.lock().unwrap().as_slice(), [wanted.as_str()]);
    }
}
