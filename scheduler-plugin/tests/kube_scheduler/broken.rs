//! An extender that fails in the way that a test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use spillway_scheduler_plugin::server::{self, Extender, PRIORITIZE};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// What it does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Answers as it should.
    Whole,
    /// Takes the request and says nothing.
    Silent,
    /// Says this, whatever was asked.
    Says(u16, &'static str),
    /// Says that every node fits, and that the last one is the best.
    Lies,
    /// Filters as it should and fails at `/prioritize`.
    NoScores,
}

#[derive(Clone)]
pub(crate) struct Broken {
    way: Arc<Mutex<Way>>,
    whole: Router,
}

impl Broken {
    pub(crate) fn new(extender: Extender) -> Self {
        Self {
            way: Arc::new(Mutex::new(Way::Whole)),
            whole: server::router(extender),
        }
    }

    pub(crate) fn set(&self, way: Way) {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }

    fn way(&self) -> Way {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves on `address` until the token is cancelled, connections included.
    pub(crate) async fn serve(&self, address: SocketAddr) -> anyhow::Result<CancellationToken> {
        let listener = TcpListener::bind(address).await?;
        let (router, killed) = (
            Router::new().fallback(answer).with_state(self.clone()),
            CancellationToken::new(),
        );
        let token = killed.clone();
        tokio::spawn(async move {
            // Dropped, not asked to finish: as a killed process does it.
            let serving = axum::serve(listener, router).into_future();
            drop(token.run_until_cancelled(serving).await);
        });
        Ok(killed)
    }
}

async fn answer(State(broken): State<Broken>, request: Request) -> Response {
    let is_prioritize = request.uri().path().ends_with(PRIORITIZE);
    match broken.way() {
        Way::Silent => std::future::pending().await,
        Way::Says(status, body) => says(status, body),
        Way::NoScores if is_prioritize => says(500, "no scores today"),
        Way::Whole | Way::NoScores => whole(&broken, request).await,
        Way::Lies => lie(request, is_prioritize)
            .await
            .unwrap_or_else(|| says(500, "not even a lie")),
    }
}

fn says(status: u16, body: &'static str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, body).into_response()
}

async fn whole(broken: &Broken, request: Request<Body>) -> Response {
    match broken.whole.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn lie(request: Request, is_prioritize: bool) -> Option<Response> {
    let body = to_bytes(request.into_body(), 1 << 20).await.ok()?;
    let asked: Value = serde_json::from_slice(&body).ok()?;
    let names = asked["NodeNames"].as_array()?;
    let score =
        |(place, name): (usize, &Value)| json!({"Host": name, "Score": if place + 1 == names.len() { 10 } else { 0 }});
    let lie = if is_prioritize {
        names.iter().enumerate().map(score).collect()
    } else {
        json!({"NodeNames": names, "FailedNodes": {}})
    };
    Some(lie.to_string().into_response())
}
