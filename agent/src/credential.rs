//! The agent's token on the hub: minted with the join token once, then by itself.
//!
//! In: the join bundle, the Secret `spillway-agent-credential` of our own namespace. Out: a fresh client in the
//! [`HubLink`](crate::hub::HubLink), and the Secret. Works on when the join token is long gone.

mod policy;
mod store;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use spillway_crds::names::{AGENT_SECRET, AGENT_SERVICE_ACCOUNT};
use tokio_util::sync::CancellationToken;

use crate::bundle::Bundle;
use crate::hub::{Hub, HubError, HubSource};
use crate::metrics::Metrics;
use crate::request::{RequestError, within};

pub use policy::{Credential, Source};

/// Asked of the hub; the hub may give less.
const LIFETIME_SECONDS: i64 = 7 * 24 * 3600;
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// A long sleep misses a wall clock that was set; so look at least this often.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error("the hub did not mint a token: {0}")]
    Mint(#[source] RequestError),
    #[error("Secret {name} cannot be {verb}: {source}", name = store::NAME)]
    Store { verb: &'static str, source: RequestError },
    #[error("the hub answered without a token, or without its expiry")]
    Empty,
    #[error(
        "neither the agent's own token nor the join token is accepted by the hub: ask its admin for a new \
         `kubectl spillway join-token` and upgrade this release with it"
    )]
    NoneWorks,
}

/// Keeps the link's client fresh until cancelled.
#[derive(Debug)]
pub struct Keeper {
    pub bundle: Bundle,
    /// Secrets of the agent's own namespace.
    pub secrets: Api<Secret>,
    pub source: HubSource,
    pub metrics: Metrics,
}

impl Keeper {
    /// # Errors
    /// Never; what fails is logged and tried again.
    pub async fn run(self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut retry = FIRST_RETRY;
        let mut rejected = false;
        let mut serving = None;
        loop {
            let wait = match self.pass(&mut serving, rejected).await {
                Ok(until) => {
                    retry = FIRST_RETRY;
                    until
                }
                Err(error) => {
                    tracing::error!(%error, retry_seconds = retry.as_secs(), "no fresh credential for the hub");
                    let wait = retry;
                    retry = (retry * 2).min(LAST_RETRY);
                    wait
                }
            };
            rejected = tokio::select! {
                () = cancelled.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => false,
                () = self.source.rejected() => {
                    // Not at once: a hub whose caches are cold answers 401 to a good token for a moment.
                    tokio::time::sleep(FIRST_RETRY).await;
                    true
                }
            };
        }
    }

    /// One look: serve what is stored, rotate when due. Returns how long nothing is due.
    async fn pass(&self, serving: &mut Option<Credential>, rejected: bool) -> Result<Duration, CredentialError> {
        let now = Timestamp::now();
        let stored = store::read(&self.secrets, &self.bundle.hub).await;
        let known = match &stored {
            Ok(credential) => credential.clone(),
            // Our own API server cannot be asked: what we hold in memory stays good.
            Err(_) => serving.clone(),
        };
        if let Some(credential) = known.as_ref().filter(|credential| credential.expires > now) {
            self.serve(serving, credential).await?;
        }
        stored?;
        let sources = policy::sources(known.as_ref(), rejected, now);
        if sources.is_empty() {
            return Ok(wait(known.as_ref(), now));
        }
        let minted = self.mint_from(&sources, known.as_ref()).await?;
        store::write(&self.secrets, &self.bundle.hub, &minted).await?;
        self.serve(serving, &minted).await?;
        tracing::info!(expires = %minted.expires, "minted a token of the hub");
        Ok(wait(Some(&minted), now))
    }

    /// Tries the sources in order; only a refusal leads to the next one.
    async fn mint_from(&self, sources: &[Source], own: Option<&Credential>) -> Result<Credential, CredentialError> {
        for source in sources {
            let token = match (source, own) {
                (Source::Own, Some(own)) => &own.token,
                (Source::Own, None) => continue,
                (Source::JoinToken, _) => &self.bundle.token,
            };
            match self.mint(token).await {
                Err(CredentialError::Mint(error)) if error.is_denied() => {
                    tracing::warn!(?source, %error, "the hub refuses this token");
                }
                outcome => return outcome,
            }
        }
        Err(CredentialError::NoneWorks)
    }

    async fn mint(&self, token: &str) -> Result<Credential, CredentialError> {
        let hub = Hub::new(&self.bundle.hub, token).await?;
        let accounts = hub.service_accounts();
        let minted = Timestamp::now();
        let parameters = PostParams::default();
        let request = token_request();
        let answer = within(accounts.create_token_request(AGENT_SERVICE_ACCOUNT, &parameters, &request))
            .await
            .map_err(CredentialError::Mint)?;
        let status = answer.status.ok_or(CredentialError::Empty)?;
        let token = status
            .token
            .filter(|token| !token.is_empty())
            .ok_or(CredentialError::Empty)?;
        let expires = status.expiration_timestamp.ok_or(CredentialError::Empty)?.0;
        Ok(Credential {
            token: token.into(),
            minted,
            expires,
        })
    }

    async fn serve(&self, serving: &mut Option<Credential>, credential: &Credential) -> Result<(), CredentialError> {
        if serving.as_ref() == Some(credential) {
            return Ok(());
        }
        self.source
            .replace(Hub::new(&self.bundle.hub, &credential.token).await?);
        self.metrics.credential_expires.set(credential.expires.as_second());
        *serving = Some(credential.clone());
        Ok(())
    }
}

/// Bound to a Secret on the hub: deleting that Secret ends every token of this agent.
fn token_request() -> TokenRequest {
    TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(LIFETIME_SECONDS),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Secret".to_owned()),
                name: Some(AGENT_SECRET.to_owned()),
                uid: None,
            }),
            audiences: None,
        }),
        ..TokenRequest::default()
    }
}

fn wait(credential: Option<&Credential>, now: Timestamp) -> Duration {
    let due = credential.map_or(now, Credential::rotation);
    Duration::try_from(due.duration_since(now))
        .unwrap_or(FIRST_RETRY)
        .clamp(FIRST_RETRY, LONGEST_WAIT)
}
