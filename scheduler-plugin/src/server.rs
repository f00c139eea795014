//! HTTP side: `POST /filter` and `POST /prioritize`. Replies are made in whole, so they carry a Content-Length and
//! kube-scheduler keeps its connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::publish::Published;
use crate::reply::Reply;
use crate::snapshot::Snapshot;
use crate::tls::TlsListener;
use crate::wire::Args;
use crate::{filter, nesting, prioritize};

/// Over 10,000 node names and the largest pod fit.
pub const MAX_BODY_BYTES: usize = 4 << 20;

/// Requests at the same time; kube-scheduler asks one by one. With the cap on bodies it bounds memory.
const AT_ONCE: usize = 16;
/// A client that sends its body slower than this holds a place that others need.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

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
pub type Refusal = (StatusCode, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Filter,
    Prioritize,
}

impl Verb {
    /// Its path, and its label in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filter => FILTER,
            Self::Prioritize => PRIORITIZE,
        }
    }
}

/// Where kube-scheduler asks, and how it is known.
#[derive(Debug)]
pub enum Listener {
    /// No authentication: for loopback.
    Plain(TcpListener),
    Mutual(TlsListener),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--listen {0} can be reached from other hosts: whoever reaches it could ask where GPUs are free. Give --tls-certificate, \
     --tls-key and --tls-client-authority, listen on loopback, or say --insecure-listen"
)]
pub struct Exposed(SocketAddr);

/// Refuses an address that others than this host reach, unless clients are known or somebody insists.
///
/// # Errors
/// [`Exposed`] names what to do.
pub fn check_exposure(address: SocketAddr, has_tls: bool, insists: bool) -> Result<(), Exposed> {
    let ip = address.ip();
    let mapped = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()));
    if ip.is_loopback() || mapped || has_tls || insists {
        Ok(())
    } else {
        Err(Exposed(address))
    }
}

/// Serves until `cancelled`, then finishes the requests at hand.
///
/// # Errors
/// When the server fails.
pub async fn serve(listener: Listener, extender: Extender, cancelled: CancellationToken) -> std::io::Result<()> {
    let router = router(extender);
    match listener {
        Listener::Plain(listener) => {
            // Replies are written in whole: waiting for more to send only adds delay.
            let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
            let serving = axum::serve(listener, router).with_graceful_shutdown(cancelled.cancelled_owned());
            serving.await
        }
        Listener::Mutual(listener) => {
            let serving = axum::serve(listener, router).with_graceful_shutdown(cancelled.cancelled_owned());
            serving.await
        }
    }
}

pub fn router(extender: Extender) -> Router {
    Router::new()
        .route("/filter", post(handle_filter))
        .route("/prioritize", post(handle_prioritize))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::new(Semaphore::new(AT_ONCE)), bounded))
        .with_state(extender)
}

/// Bounds requests in number and time.
async fn bounded(State(room): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let served = async {
        let _permit = room.acquire().await;
        next.run(request).await
    };
    match tokio::time::timeout(REQUEST_LIMIT, served).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request was not sent in time").into_response(),
    }
}

async fn handle_filter(State(extender): State<Extender>, body: Body) -> Response {
    extender.answer(Verb::Filter, body)
}

async fn handle_prioritize(State(extender): State<Extender>, body: Body) -> Response {
    extender.answer(Verb::Prioritize, body)
}

impl Extender {
    fn answer(&self, verb: Verb, body: Body) -> Response {
        let started = Instant::now();
        let snapshot = self.published.load();
        let answer = body
            .map_err(|rejection| unreadable(&rejection))
            .and_then(|body| reply(verb, &body, snapshot.as_deref()));
        let status = answer.as_ref().map_or_else(|(status, _)| *status, |_| StatusCode::OK);
        self.metrics.request(verb.name(), status.as_u16(), started);
        match answer {
            Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
            Err((status, sentence)) => {
                tracing::warn!(verb = verb.name(), %status, sentence, "refused a request");
                (status, sentence).into_response()
            }
        }
    }
}

/// What is answered to a body: a pure function, whatever the bytes are.
///
/// # Errors
/// Status and sentence for a body that is no request, or that cannot be answered now.
pub fn reply(verb: Verb, body: &[u8], snapshot: Option<&Snapshot>) -> Result<Vec<u8>, Refusal> {
    let args = parse(body)?;
    let snapshot = snapshot.ok_or_else(not_synced)?;
    match verb {
        Verb::Filter => json(&filter(snapshot, &args), &args),
        Verb::Prioritize => {
            let priorities = prioritize(snapshot, &args);
            let priorities = priorities.map_err(|unjudged| (StatusCode::SERVICE_UNAVAILABLE, unjudged.to_string()))?;
            json(&priorities, &args)
        }
    }
}

fn parse(body: &[u8]) -> Result<Args<'_>, Refusal> {
    if !nesting::is_within(body, nesting::MOST_LEVELS) {
        let levels = nesting::MOST_LEVELS;
        return Err((
            StatusCode::BAD_REQUEST,
            format!("the body is nested deeper than {levels} levels"),
        ));
    }
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

/// Bytes per node of an ordinary reply; a longer one grows.
const REPLY_BYTES_PER_NODE: usize = 80;

fn json(value: &impl Serialize, args: &Args<'_>) -> Result<Vec<u8>, Refusal> {
    let nodes = args.node_names.as_ref().map_or(0, Vec::len);
    let mut reply = Reply(Vec::with_capacity(256 + nodes * REPLY_BYTES_PER_NODE));
    match serde_json::to_writer(&mut reply, value) {
        Ok(()) => Ok(reply.0),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, format!("no reply: {error}"))),
    }
}
