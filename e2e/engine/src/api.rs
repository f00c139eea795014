//! OpenAI's embeddings API as values: bytes to a checked request, vectors to a response. No IO.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::model::Embedding;

/// Inputs in one request, the bound of OpenAI's own API.
pub const INPUTS_MAX: usize = 2048;

/// A request that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingsRequest {
    /// The texts to embed, at least one, none empty.
    pub texts: Vec<String>,
    /// How vectors are written in the response.
    pub encoding: Encoding,
}

/// How vectors are written in the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// An array of JSON numbers, each the shortest decimal that reads back as the same `f32`.
    Float,
    /// Base64 of the little-endian `f32` values.
    Base64,
}

/// An error in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    status: StatusCode,
    message: String,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl ApiError {
    /// The request is wrong in the field `param`; `message` says how to mend it.
    pub fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param),
            ..Self::plain(StatusCode::BAD_REQUEST, message)
        }
    }

    /// An error that no field of the body is to blame for.
    pub fn plain(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            param: None,
            code: None,
        }
    }

    fn model_not_found(asked: &str, served: &str) -> Self {
        let message = format!("The model '{asked}' is not served here; set model to '{served}'.");
        Self {
            param: Some("model"),
            code: Some("model_not_found"),
            ..Self::plain(StatusCode::NOT_FOUND, message)
        }
    }

    /// The HTTP status that goes with the error.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The field of the body that is to blame.
    pub fn param(&self) -> Option<&'static str> {
        self.param
    }

    fn kind(&self) -> &'static str {
        if self.status.is_server_error() {
            "server_error"
        } else {
            "invalid_request_error"
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = json!({"message": self.message, "type": self.kind(), "param": self.param, "code": self.code});
        (self.status, Json(json!({"error": error}))).into_response()
    }
}

/// What this engine serves; a request for anything else is refused.
#[derive(Debug, Clone)]
pub struct Served {
    /// The model name that requests must give.
    pub model: String,
    /// Length of each vector.
    pub dimensions: usize,
}

impl Served {
    /// Reads and checks the body of `POST /v1/embeddings`. Fields without effect here (`user`) are ignored.
    pub fn parse(&self, body: &[u8]) -> Result<EmbeddingsRequest, ApiError> {
        let fields = object(body)?;
        self.check_model(&fields)?;
        self.check_dimensions(&fields)?;
        Ok(EmbeddingsRequest {
            texts: texts(&fields)?,
            encoding: encoding(&fields)?,
        })
    }

    fn check_model(&self, fields: &Map<String, Value>) -> Result<(), ApiError> {
        match fields.get("model") {
            Some(Value::String(model)) if *model == self.model => Ok(()),
            Some(Value::String(model)) => Err(ApiError::model_not_found(model, &self.model)),
            Some(_) => Err(ApiError::invalid("model", "model must be a string.")),
            None => Err(ApiError::invalid(
                "model",
                format!("model is missing; set it to '{}'.", self.model),
            )),
        }
    }

    fn check_dimensions(&self, fields: &Map<String, Value>) -> Result<(), ApiError> {
        match fields.get("dimensions") {
            None | Some(Value::Null) => Ok(()),
            Some(asked) if asked.as_u64() == u64::try_from(self.dimensions).ok() => Ok(()),
            Some(_) => {
                let message = format!(
                    "dimensions must be {} or left out: this model has one size.",
                    self.dimensions
                );
                Err(ApiError::invalid("dimensions", message))
            }
        }
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(ApiError::plain(
            StatusCode::BAD_REQUEST,
            "The body must be a JSON object.",
        )),
        Err(error) => {
            let message = format!("The body is not valid JSON: {error}.");
            Err(ApiError::plain(StatusCode::BAD_REQUEST, message))
        }
    }
}

fn texts(fields: &Map<String, Value>) -> Result<Vec<String>, ApiError> {
    let texts = match fields.get("input") {
        None | Some(Value::Null) => {
            return Err(ApiError::invalid(
                "input",
                "input is missing; give a string or an array of strings.",
            ));
        }
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().enumerate().map(text).collect::<Result<_, _>>()?,
        Some(_) => {
            return Err(ApiError::invalid(
                "input",
                "input must be a string or an array of strings.",
            ));
        }
    };
    if texts.is_empty() || texts.len() > INPUTS_MAX {
        let message = format!("input must hold 1 to {INPUTS_MAX} strings, not {}.", texts.len());
        return Err(ApiError::invalid("input", message));
    }
    match texts.iter().position(String::is_empty) {
        Some(index) => Err(ApiError::invalid(
            "input",
            format!("input[{index}] is empty; give at least one character."),
        )),
        None => Ok(texts),
    }
}

fn text((index, item): (usize, &Value)) -> Result<String, ApiError> {
    match item {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Array(_) => {
            let message =
                format!("input[{index}] is made of token ids, which this engine does not take; send the text.");
            Err(ApiError::invalid("input", message))
        }
        _ => Err(ApiError::invalid("input", format!("input[{index}] must be a string."))),
    }
}

fn encoding(fields: &Map<String, Value>) -> Result<Encoding, ApiError> {
    match fields.get("encoding_format") {
        None | Some(Value::Null) => Ok(Encoding::Float),
        Some(Value::String(format)) if format == "float" => Ok(Encoding::Float),
        Some(Value::String(format)) if format == "base64" => Ok(Encoding::Base64),
        Some(_) => Err(ApiError::invalid(
            "encoding_format",
            "encoding_format must be \"float\" or \"base64\".",
        )),
    }
}

/// The answer to `POST /v1/embeddings`.
#[derive(Debug, Serialize)]
pub struct EmbeddingsResponse {
    object: &'static str,
    data: Vec<Item>,
    model: String,
    usage: Usage,
}

#[derive(Debug, Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

/// Tokens the model read, special tokens included, after truncation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

impl EmbeddingsResponse {
    /// One item per embedding, in the order of the request's inputs.
    pub fn new(model: &str, embeddings: Vec<Embedding>, encoding: Encoding) -> Self {
        let tokens = embeddings.iter().map(|embedding| embedding.tokens).sum();
        let item = |(index, embedding): (usize, Embedding)| Item {
            object: "embedding",
            index,
            embedding: encode(embedding.vector, encoding),
        };
        Self {
            object: "list",
            data: embeddings.into_iter().enumerate().map(item).collect(),
            model: model.to_owned(),
            usage: Usage {
                prompt_tokens: tokens,
                total_tokens: tokens,
            },
        }
    }
}

fn encode(vector: Vec<f32>, encoding: Encoding) -> Vector {
    match encoding {
        Encoding::Float => Vector::Float(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            Vector::Base64(STANDARD.encode(bytes))
        }
    }
}

#[cfg(test)]
mod tests;
