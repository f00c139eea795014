//! The identities and admission policies of the hub's chart, exactly as the chart renders them.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, ObjectMeta, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde::Deserialize;
use spillway_crds::names::SYSTEM_NAMESPACE;

use crate::ControlPlane;

/// What `charts/check.sh` holds the chart against.
const RENDERED: &str = include_str!("../../../charts/golden/spillway.yaml");
/// Kinds that say who may do what, in the order in which they are applied.
const KINDS: [&str; 7] = [
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

impl ControlPlane {
    /// A client of the chart's service account `name`, whose roles and bindings carry that name too.
    ///
    /// # Errors
    /// When the chart has no such account, or the API server refuses.
    pub async fn chart_client(&self, name: &str) -> anyhow::Result<Client> {
        self.apply_chart_objects(name).await?;
        self.client_with_token(&self.service_account_token(SYSTEM_NAMESPACE, name).await?)
            .await
    }

    /// Applies what the chart names `name`: an identity with its rights, or an admission policy.
    ///
    /// # Errors
    /// When the chart renders nothing of that name, or the API server refuses.
    pub async fn apply_chart_objects(&self, name: &str) -> anyhow::Result<()> {
        let admin = self.client().await?;
        apply_namespace(&admin).await?;
        let objects = objects_named(name)?;
        ensure!(!objects.is_empty(), "the chart renders nothing that is named {name}");
        for object in &objects {
            apply(&admin, object).await?;
        }
        Ok(())
    }
}

fn objects_named(name: &str) -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(RENDERED) {
        if let Some(object) = Option::<DynamicObject>::deserialize(document)? {
            objects.push(object);
        }
    }
    objects.retain(|object| object.name_any() == name && rank(object).is_some());
    objects.sort_by_key(rank);
    Ok(objects)
}

fn rank(object: &DynamicObject) -> Option<usize> {
    let kind = &object.types.as_ref()?.kind;
    KINDS.iter().position(|wanted| wanted == kind)
}

async fn apply_namespace(admin: &Client) -> anyhow::Result<()> {
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(SYSTEM_NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    namespaces
        .patch(SYSTEM_NAMESPACE, &PatchParams::apply("test"), &Patch::Apply(namespace))
        .await?;
    Ok(())
}

async fn apply(admin: &Client, object: &DynamicObject) -> anyhow::Result<()> {
    let types = object.types.as_ref().context("an object without a kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
    let api = match &object.metadata.namespace {
        Some(namespace) => Api::<DynamicObject>::namespaced_with(admin.clone(), namespace, &resource),
        None => Api::all_with(admin.clone(), &resource),
    };
    api.patch(&object.name_any(), &PatchParams::apply("test"), &Patch::Apply(object))
        .await?;
    Ok(())
}
