//! The HTTP shell: routes, admission of work to the CPU, shutdown.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::api::{ApiError, EmbeddingsResponse, Served};
use crate::gate::Gate;
use crate::model::{Embedder, Embedding, ModelError};

/// Largest request body: 2,048 inputs of 8 KiB.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What every request needs.
#[derive(Debug)]
pub struct Engine {
    embedder: Arc<Embedder>,
    served: Served,
    started_unix_seconds: u64,
    /// One permit per request on the CPU; the others wait their turn instead of slowing each other down.
    permits: Semaphore,
    parallel: usize,
    gate: Option<Gate>,
}

impl Engine {
    /// An engine that answers for `model` and works on at most `parallel` requests at once.
    pub fn new(embedder: Embedder, model: String, parallel: usize) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            served: Served {
                model,
                dimensions: embedder.dimensions(),
            },
            embedder: Arc::new(embedder),
            started_unix_seconds: started.as_secs(),
            permits: Semaphore::new(parallel),
            parallel,
            gate: None,
        }
    }

    /// The same engine behind a gate.
    #[must_use]
    pub fn behind(self, gate: Option<Gate>) -> Self {
        Self { gate, ..self }
    }

    /// Requests on the CPU right now.
    pub fn busy(&self) -> usize {
        self.parallel - self.permits.available_permits()
    }

    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Embedding>, ApiError> {
        if let Some(gate) = &self.gate {
            gate.passed().await;
        }
        let _permit = self.permits.acquire().await.map_err(internal)?;
        let embedder = Arc::clone(&self.embedder);
        let work = move || {
            texts
                .iter()
                .map(|text| embedder.embed(text))
                .collect::<Result<Vec<_>, ModelError>>()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(internal)?
            .map_err(internal)
    }
}

fn internal(error: impl std::error::Error) -> ApiError {
    tracing::error!(%error, "request failed");
    ApiError::plain(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The engine failed; its log says why.",
    )
}

/// The routes. A request that gets here finds the model loaded, so `/health` needs no more than an answer.
pub fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/models", get(models))
        .route("/health", get(async || Json(json!({"status": "ok"}))))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(engine)
}

/// Serves until `stop` resolves, then finishes the requests in flight.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(engine)).with_graceful_shutdown(stop).await
}

async fn embeddings(
    State(engine): State<Arc<Engine>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<EmbeddingsResponse>, ApiError> {
    let body = body.map_err(|rejection| ApiError::plain(rejection.status(), unreadable(&rejection)))?;
    let request = engine.served.parse(&body)?;
    let (inputs, begun) = (request.texts.len(), Instant::now());
    let embeddings = engine.embed(request.texts).await?;
    tracing::info!(inputs, milliseconds = begun.elapsed().as_millis(), "embedded");
    Ok(Json(EmbeddingsResponse::new(
        &engine.served.model,
        embeddings,
        request.encoding,
    )))
}

fn unreadable(rejection: &BytesRejection) -> String {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => format!("The body is over {BODY_BYTES_MAX} bytes; send fewer inputs at once."),
        _ => format!("The body could not be read: {}.", rejection.body_text()),
    }
}

async fn models(State(engine): State<Arc<Engine>>) -> Json<Value> {
    let model = json!({
        "id": engine.served.model,
        "object": "model",
        "created": engine.started_unix_seconds,
        "owned_by": "sentence-transformers",
    });
    Json(json!({"object": "list", "data": [model]}))
}

async fn unknown_path(method: Method, uri: Uri) -> ApiError {
    let message = format!(
        "Unknown request URL: {method} {}; this engine serves /v1/embeddings, /v1/models, /health.",
        uri.path()
    );
    ApiError::plain(StatusCode::NOT_FOUND, message)
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::plain(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not allowed on {}.", uri.path()),
    )
}
