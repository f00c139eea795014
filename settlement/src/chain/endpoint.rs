//! One RPC endpoint: asked within its rate, timed, and trusted only while it serves the right chain and contract.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy::eips::BlockId;
use alloy::primitives::Address;
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall;
use alloy::transports::{RpcError, TransportErrorKind};
use prometheus::IntCounterVec;

use super::identity::StartError;
use super::limiter::{Admission, Limiter, Urgency};

const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after "too many requests" without a Retry-After.
const RATE_PAUSE: Duration = Duration::from_secs(1);

/// Why an endpoint gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Rpc(#[from] RpcError<TransportErrorKind>),
    #[error("no answer within {} s", ASK_TIMEOUT.as_secs())]
    Timeout,
    #[error("it asked for {} s of silence", .0.as_secs())]
    Paused(Duration),
    #[error("no contract at this address")]
    NoContract,
    #[error("malformed answer: {0}")]
    Malformed(String),
}

impl AskError {
    /// What the endpoint said, when it did answer with an error.
    pub(super) fn refusal(&self) -> Option<&str> {
        match self {
            Self::Rpc(error) => error.as_error_resp().map(|answer| answer.message.as_ref()),
            _ => None,
        }
    }

    /// Pause that the endpoint asks for.
    fn pause(&self) -> Option<Duration> {
        let Self::Rpc(error) = self else { return None };
        if let RpcError::Transport(kind) = error {
            let pause = kind.retry_after();
            return pause.or_else(|| kind.is_retry_err().then_some(RATE_PAUSE));
        }
        error
            .as_error_resp()
            .is_some_and(|answer| answer.is_retry_err())
            .then_some(RATE_PAUSE)
    }

    /// Whether nothing that speaks JSON-RPC answered: what answers next may be another node.
    fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::Rpc(RpcError::Transport(_) | RpcError::DeserError { .. })
        )
    }
}

/// Whether an endpoint's answers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Unchecked,
    Fits {
        since: Instant,
    },
    /// It serves something else.
    Misfit {
        since: Instant,
    },
}

/// Endpoints are named by their place in the list: URLs may hold secrets.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) index: usize,
    pub(super) provider: DynProvider,
    limiter: Mutex<Limiter>,
    state: Mutex<State>,
    requests: IntCounterVec,
}

#[derive(Clone, Copy, Debug)]
struct State {
    trust: Trust,
    /// Whether its head was young enough when it was last asked.
    is_fresh: bool,
}

impl Endpoint {
    pub(super) fn new(index: usize, url: &str, per_second: u32, requests: IntCounterVec) -> Result<Self, StartError> {
        let url = url.parse().map_err(|_| StartError::Url)?;
        let provider = ProviderBuilder::new()
            .disable_recommended_fillers()
            .connect_http(url)
            .erased();
        Ok(Self {
            index,
            provider,
            limiter: Mutex::new(Limiter::new(per_second, Instant::now())),
            state: Mutex::new(State {
                trust: Trust::Unchecked,
                is_fresh: true,
            }),
            requests,
        })
    }

    pub(super) fn trust(&self) -> Trust {
        lock(&self.state).trust
    }

    pub(super) fn set_trust(&self, trust: Trust) {
        lock(&self.state).trust = trust;
    }

    pub(super) fn set_fresh(&self, is_fresh: bool) {
        lock(&self.state).is_fresh = is_fresh;
    }

    /// Whether its answers count: the right chain and contract, and a young head.
    pub(super) fn is_usable(&self) -> bool {
        let state = *lock(&self.state);
        matches!(state.trust, Trust::Fits { .. }) && state.is_fresh
    }

    /// Asks within the endpoint's rate; an endpoint that is silent does not hold the poster.
    pub(super) async fn ask<T, Answer>(
        &self,
        urgency: Urgency,
        question: impl FnOnce(DynProvider) -> Answer,
    ) -> Result<T, AskError>
    where
        Answer: Future<Output = Result<T, AskError>>,
    {
        let asked = async {
            self.admit(urgency).await?;
            question(self.provider.clone()).await
        };
        let answer = tokio::time::timeout(ASK_TIMEOUT, asked)
            .await
            .unwrap_or(Err(AskError::Timeout));
        self.learn(&answer);
        answer
    }

    async fn admit(&self, urgency: Urgency) -> Result<(), AskError> {
        loop {
            let admission = lock(&self.limiter).take(urgency, Instant::now());
            match admission {
                Admission::Now => return Ok(()),
                Admission::After(wait) => tokio::time::sleep(wait).await,
                Admission::Paused(rest) => return Err(AskError::Paused(rest)),
            }
        }
    }

    fn learn<T>(&self, answer: &Result<T, AskError>) {
        let outcome = match answer {
            Ok(_) => "ok",
            Err(AskError::Paused(_)) => "paused",
            Err(error) => {
                if let Some(pause) = error.pause() {
                    lock(&self.limiter).pause(pause, Instant::now());
                }
                if error.is_silence() {
                    self.set_trust(Trust::Unchecked);
                }
                if error.refusal().is_some() { "refused" } else { "failed" }
            }
        };
        self.requests
            .with_label_values(&[self.index.to_string().as_str(), outcome])
            .inc();
    }
}

/// A lock that a panic left behind still guards plain values.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A view of a contract at a block.
pub(super) async fn read<C: SolCall>(
    provider: &DynProvider,
    contract: Address,
    call: C,
    block: BlockId,
) -> Result<C::Return, AskError> {
    let request = TransactionRequest::default()
        .to(contract)
        .input(call.abi_encode().into());
    let answer = provider.call(request).block(block).await?;
    if answer.is_empty() {
        return Err(AskError::NoContract);
    }
    C::abi_decode_returns(&answer).map_err(|error| AskError::Malformed(error.to_string()))
}
