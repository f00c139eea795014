//! `kubectl spillway join-token`: registers a provider and mints the token that its agent joins with.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use clap::ValueEnum;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use spillway_crds::{GpuProvider, GpuProviderSpec, Isolation, SpendPolicy, names};

use crate::class::Class;
use crate::connect::Hub;
use crate::place::settings;

const TOKEN_SECONDS: i64 = 3600;
const PROVISION_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(500);

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Name of the provider.
    name: String,
    /// Address that is paid.
    #[arg(long)]
    payout: String,
    #[arg(long, value_enum, ignore_case = true)]
    class: Class,
    #[arg(long)]
    region: String,
    #[arg(long)]
    jurisdiction: Option<String>,
    /// Highest isolation tier that the provider's cluster gives to work.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Tier::Standard)]
    isolation: Tier,
    /// How long before leaving the owner gives notice, such as 24h.
    #[arg(long)]
    notice: Option<String>,
    /// Address of the hub's API server as the provider reaches it (default: the hub's setting, then the kubeconfig's).
    #[arg(long)]
    server: Option<String>,
    /// Chart to install (default: the hub's setting).
    #[arg(long)]
    chart: Option<String>,
    /// Price in USD per GPU and hour to put into the command.
    #[arg(long, default_value = "1.00")]
    price: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tier {
    Standard,
    Sandboxed,
    Confidential,
}

impl From<Tier> for Isolation {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Standard => Self::Standard,
            Tier::Sandboxed => Self::Sandboxed,
            Tier::Confidential => Self::Confidential,
        }
    }
}

pub(crate) async fn run(hub: &Hub, arguments: Arguments) -> anyhow::Result<()> {
    let connection = hub.connect().await?;
    let client = connection.client;
    let settings = settings(&client).await?;
    let signers = order_signers(&client).await?;
    register(&client, &arguments).await?;
    let secret = join_secret(&client, &arguments.name).await?;
    let token = mint(&client, &arguments.name, &secret).await?;
    let setting = |key: &str| {
        settings
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .filter(|value| !value.is_empty())
    };
    let server = arguments
        .server
        .clone()
        .or_else(|| setting("server").cloned())
        .unwrap_or(connection.server);
    let bundle = json!({
        "server": server.trim_end_matches('/'),
        "caData": BASE64_STANDARD.encode(authority(&client).await?),
        "provider": arguments.name,
        "namespace": names::provider_namespace(&arguments.name),
        "token": token,
        "chainId": setting("chainId").context("the hub has no chainId setting")?.parse::<u64>()?,
        "contract": setting("contract").context("the hub has no contract setting")?,
        "orderSigners": signers,
        "payout": arguments.payout,
    });
    let chart = arguments
        .chart
        .or_else(|| setting("providerChart").cloned())
        .unwrap_or_else(|| "spillway-provider".to_owned());
    let bundle = BASE64_STANDARD.encode(bundle.to_string());
    eprintln!("Run this on the provider's cluster within an hour; set the price you ask for:");
    println!(
        "helm install spillway-provider {chart} --namespace spillway --create-namespace --set-string price={} --set-string join.bundle={bundle}",
        arguments.price
    );
    Ok(())
}

/// Keys that some payer authorised here; an agent works for these alone.
async fn order_signers(client: &Client) -> anyhow::Result<Vec<String>> {
    let policies: Api<SpendPolicy> = Api::all(client.clone());
    let mut signers: Vec<String> = policies
        .list(&ListParams::default())
        .await?
        .into_iter()
        .map(|policy| policy.spec.order_signing_key.address)
        .collect();
    signers.sort();
    signers.dedup();
    ensure!(
        !signers.is_empty(),
        "the hub has no SpendPolicy: apply one first, an agent works for its order-signing key alone"
    );
    Ok(signers)
}

async fn register(client: &Client, arguments: &Arguments) -> anyhow::Result<()> {
    let providers: Api<GpuProvider> = Api::all(client.clone());
    let wanted = GpuProvider::new(
        &arguments.name,
        GpuProviderSpec {
            class: arguments.class.into(),
            region: arguments.region.clone(),
            jurisdiction: arguments.jurisdiction.clone(),
            isolation: arguments.isolation.into(),
            qualified: None,
            payout_address: arguments.payout.clone(),
            notice: arguments.notice.clone(),
        },
    );
    match providers.create(&PostParams::default(), &wanted).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let found = providers.get(&arguments.name).await?;
            ensure!(
                found.spec == wanted.spec,
                "GpuProvider {} exists with other class, region, jurisdiction, isolation, notice or payout: delete it first, or give the same values",
                arguments.name
            );
            Ok(())
        }
        other => other
            .map(drop)
            .with_context(|| format!("create GpuProvider {}", arguments.name)),
    }
}

/// The Secret that the join token is bound to; the operator makes it, and deletes it at the first heartbeat.
async fn join_secret(client: &Client, provider: &str) -> anyhow::Result<Secret> {
    let providers: Api<GpuProvider> = Api::all(client.clone());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &names::provider_namespace(provider));
    let started = Instant::now();
    loop {
        if let Some(secret) = secrets.get_opt(names::JOIN_SECRET).await? {
            return Ok(secret);
        }
        let status = providers.get(provider).await?.status.unwrap_or_default();
        if status.joined_at.is_some() {
            bail!(
                "provider {provider} has joined already; to join another cluster under this name run `kubectl delete gpuprovider {provider}` first"
            );
        }
        ensure!(
            started.elapsed() < PROVISION_LIMIT,
            "the operator has not prepared provider {provider} within {PROVISION_LIMIT:?}: is it running?"
        );
        tokio::time::sleep(POLL).await;
    }
}

async fn mint(client: &Client, provider: &str, secret: &Secret) -> anyhow::Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &names::provider_namespace(provider));
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Secret".to_owned()),
                name: Some(secret.name_any()),
                uid: secret.uid(),
            }),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(names::JOIN_SERVICE_ACCOUNT, &PostParams::default(), &request)
        .await
        .context("mint the join token")?;
    answer
        .status
        .and_then(|status| status.token)
        .context("the API server answered without a token")
}

/// The certificate authority that Kubernetes publishes to every namespace.
async fn authority(client: &Client) -> anyhow::Result<String> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), names::SYSTEM_NAMESPACE);
    let published = maps
        .get("kube-root-ca.crt")
        .await
        .context("read ConfigMap kube-root-ca.crt")?;
    published
        .data
        .and_then(|data| data.get("ca.crt").cloned())
        .context("ConfigMap kube-root-ca.crt has no ca.crt")
}
