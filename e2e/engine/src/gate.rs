//! A gate before the first answer, so that a test decides how long work runs: requests wait until a URL answers 200.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use tokio::sync::OnceCell;

const ASK_AGAIN: Duration = Duration::from_millis(300);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Closed until its URL answered 200 once, open ever after.
#[derive(Debug)]
pub struct Gate {
    client: Client,
    url: String,
    opened: OnceCell<()>,
}

impl Gate {
    /// A closed gate. The engine's image holds no certificates, so the URL is plain HTTP.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub fn new(url: String) -> reqwest::Result<Self> {
        Ok(Self {
            client: Client::builder().tls_certs_only([]).build()?,
            url,
            opened: OnceCell::new(),
        })
    }

    /// Returns once the gate is open. One caller asks, the others wait with it; a URL that cannot be asked is asked again.
    pub async fn passed(&self) {
        self.opened.get_or_init(async || self.opening().await).await;
    }

    async fn opening(&self) {
        loop {
            let answer = self.client.get(&self.url).timeout(ANSWER_LIMIT).send().await;
            if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                tracing::info!("the gate is open");
                return;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn all_wait_until_the_url_answers_200_and_nobody_asks_again() {
        let (open, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (answer, count) = (Arc::clone(&open), Arc::clone(&asked));
        let route = get(async move || {
            count.fetch_add(1, Ordering::SeqCst);
            if answer.load(Ordering::SeqCst) {
                StatusCode::OK
            } else {
                StatusCode::NOT_FOUND
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/gate", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, Router::new().route("/gate", route)).await });

        let gate = Arc::new(Gate::new(url).unwrap());
        let waiting = [0, 1].map(|_| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { gate.passed().await })
        });
        while asked.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        assert!(waiting.iter().all(|task| !task.is_finished()));
        open.store(true, Ordering::SeqCst);
        for task in waiting {
            task.await.unwrap();
        }
        let before = asked.load(Ordering::SeqCst);
        gate.passed().await;
        assert_eq!(asked.load(Ordering::SeqCst), before);
    }
}
