//! One operator acts at a time: a Lease, taken when free or expired, renewed while held.
//!
//! The Lease is advice that keeps two operators from wasting work; what must not happen twice is fenced by names
//! (AlreadyExists), resourceVersions and the contract.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio_util::sync::CancellationToken;

const DURATION: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_secs(3);
/// A leader that could not renew for this long ends before another may take the Lease.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);

/// A Lease held, or wanted, by this process.
#[derive(Debug)]
pub struct Leadership {
    leases: Api<Lease>,
    name: &'static str,
    identity: String,
    /// Version of the Lease held by another, and when we saw it first on our own clock.
    other: Option<(String, Instant)>,
}

impl Leadership {
    pub fn new(client: Client, namespace: &str, name: &'static str, identity: String) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name,
            identity,
            other: None,
        }
    }

    /// Waits until this process leads; `false` when cancelled before.
    pub async fn acquire(&mut self, cancelled: &CancellationToken) -> bool {
        loop {
            match self.attempt_within(RETRY).await {
                Ok(true) => return true,
                Ok(false) => tracing::debug!(lease = self.name, "another process leads"),
                Err(error) => tracing::warn!(%error, lease = self.name, "the lease could not be taken"),
            }
            tokio::select! {
                () = cancelled.cancelled() => return false,
                () = tokio::time::sleep(RETRY) => {},
            }
        }
    }

    /// Renews until cancelled, then gives the Lease up.
    ///
    /// # Errors
    /// When leadership was lost: the process must end.
    pub async fn keep(mut self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = cancelled.cancelled() => return self.release().await,
                () = tokio::time::sleep(RETRY) => {},
            }
            let asked = Instant::now();
            match self
                .attempt_within(RENEW_DEADLINE.saturating_sub(renewed.elapsed()).min(RETRY))
                .await
            {
                Ok(true) => renewed = asked,
                Ok(false) => bail!("another process took the lease {}", self.name),
                Err(error) => tracing::warn!(%error, lease = self.name, "the lease could not be renewed"),
            }
            if renewed.elapsed() > RENEW_DEADLINE {
                bail!("the lease {} could not be renewed for {RENEW_DEADLINE:?}", self.name);
            }
        }
    }

    /// An API server that does not answer must not keep a former leader acting.
    async fn attempt_within(&mut self, limit: Duration) -> anyhow::Result<bool> {
        Ok(tokio::time::timeout(limit, self.attempt())
            .await
            .context("no answer in time")??)
    }

    /// Whether this process holds the Lease now.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let Some(mut lease) = self.leases.get_opt(self.name).await? else {
            return self.create().await;
        };
        if !self.may_take(&lease) {
            return Ok(false);
        }
        lease.spec = Some(self.held(Some(&self.identity)));
        match self.leases.replace(self.name, &PostParams::default(), &lease).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// Ours, free, or unchanged for its whole duration on our own clock.
    fn may_take(&mut self, lease: &Lease) -> bool {
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref())
            .unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        match &self.other {
            Some((seen, since)) if *seen == version => since.elapsed() > DURATION,
            _ => {
                self.other = Some((version, Instant::now()));
                false
            }
        }
    }

    async fn create(&self) -> kube::Result<bool> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(self.held(Some(&self.identity))),
        };
        match self.leases.create(&PostParams::default(), &lease).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            other => other.map(|_| true),
        }
    }

    async fn release(&self) -> anyhow::Result<()> {
        let Some(mut lease) = self.leases.get_opt(self.name).await? else {
            return Ok(());
        };
        let ours = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(&self.identity);
        if ours {
            lease.spec = Some(self.held(None));
            self.leases.replace(self.name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }

    fn held(&self, holder: Option<&str>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }
    }
}
