//! HTTP side: `POST /filter` and `POST /prioritize`. Replies are made in whole, so they carry a Content-Length and
//! kube-scheduler keeps its connection.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::publish::Published;
use crate::snapshot::Snapshot;
use crate::wire::Args;
use crate::{filter, prioritize};

/// Over 10,000 node names and the largest pod fit.
pub const MAX_BODY_BYTES: usize = 4 << 20;

/// Path of the verbs, as `filterVerb` and `prioritizeVerb` name them.
pub const FILTER: &str = "filter";
pub const PRIORITIZE: &str = "prioritize";

#[derive(Clone, Debug)]
pub struct Extender {
    pub published: Published,
    pub metrics: Metrics,
}

type Body = Result<Bytes, BytesRejection>;

/// A refusal as status and sentence.
type Refusal = (StatusCode, String);

/// Serves until `cancelled`, then finishes the requests at hand.
///
/// # Errors
/// When the server fails.
pub async fn serve(listener: TcpListener, extender: Extender, cancelled: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router(extender))
        .with_graceful_shutdown(cancelled.cancelled_owned())
        .await
}

pub fn router(extender: Extender) -> Router {
    Router::new()
        .route("/filter", post(handle_filter))
        .route("/prioritize", post(handle_prioritize))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(extender)
}

async fn handle_filter(State(extender): State<Extender>, body: Body) -> Response {
    extender.answer(FILTER, body, |snapshot, args| json(&filter(snapshot, args)))
}

async fn handle_prioritize(State(extender): State<Extender>, body: Body) -> Response {
    extender.answer(PRIORITIZE, body, |snapshot, args| {
        let priorities = prioritize(snapshot, args);
        json(&priorities.map_err(|unjudged| (StatusCode::SERVICE_UNAVAILABLE, unjudged.to_string()))?)
    })
}

impl Extender {
    fn answer(
        &self,
        verb: &str,
        body: Body,
        decide: impl FnOnce(&Snapshot, &Args<'_>) -> Result<Vec<u8>, Refusal>,
    ) -> Response {
        let started = Instant::now();
        let reply = self.decide(body, decide);
        let status = reply.as_ref().map_or_else(|(status, _)| *status, |_| StatusCode::OK);
        self.metrics.request(verb, status.as_u16(), started);
        match reply {
            Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
            Err((status, sentence)) => {
                tracing::warn!(verb, %status, sentence, "refused a request");
                (status, sentence).into_response()
            }
        }
    }

    fn decide(
        &self,
        body: Body,
        decide: impl FnOnce(&Snapshot, &Args<'_>) -> Result<Vec<u8>, Refusal>,
    ) -> Result<Vec<u8>, Refusal> {
        let body = body.map_err(|rejection| unreadable(&rejection))?;
        let args = parse(&body)?;
        let snapshot: Arc<Snapshot> = self.published.load_full().ok_or_else(not_synced)?;
        decide(&snapshot, &args)
    }
}

fn parse(body: &[u8]) -> Result<Args<'_>, Refusal> {
    let args: Args<'_> = serde_json::from_slice(body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("the body is no ExtenderArgs: {error}")))?;
    if args.node_names.is_some() {
        return Ok(args);
    }
    let sentence =
        "NodeNames is missing: set nodeCacheCapable: true for this extender in the KubeSchedulerConfiguration";
    Err((StatusCode::BAD_REQUEST, sentence.to_owned()))
}

fn unreadable(rejection: &BytesRejection) -> Refusal {
    let status = rejection.status();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return (status, format!("the body is larger than {MAX_BODY_BYTES} bytes"));
    }
    (status, format!("the body could not be read: {rejection}"))
}

fn not_synced() -> Refusal {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "providers and jobs are not listed yet: ask again in a moment".to_owned(),
    )
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("no reply: {error}")))
}
