//! Requests to an API server with a limit on time: a server that does not answer is one that cannot be asked.

use std::future::Future;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("no answer within {} s", LIMIT.as_secs())]
    NoAnswer,
    #[error(transparent)]
    Kube(#[from] kube::Error),
}

/// Awaits one request, at most 10 s.
///
/// # Errors
/// The request's own, or [`RequestError::NoAnswer`].
pub async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, RequestError> {
    match tokio::time::timeout(LIMIT, request).await {
        Ok(answer) => answer.map_err(RequestError::Kube),
        Err(_) => Err(RequestError::NoAnswer),
    }
}

impl RequestError {
    /// HTTP status of the API server's answer, if it answered.
    fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            Self::Kube(_) | Self::NoAnswer => None,
        }
    }

    /// The server does not know our token (any more).
    pub fn is_unauthorized(&self) -> bool {
        self.code() == Some(401)
    }

    /// The token may not do this, or is not known.
    pub fn is_denied(&self) -> bool {
        matches!(self.code(), Some(401 | 403))
    }

    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// The server understood the object and will never take it: schema, admission or quota.
    pub fn is_rejection(&self) -> bool {
        matches!(self.code(), Some(400 | 403 | 422))
    }

    /// The server's message without the request's context, for a status.
    pub fn message(&self) -> String {
        match self {
            Self::Kube(kube::Error::Api(status)) => status.message.clone(),
            other => other.to_string(),
        }
    }
}
