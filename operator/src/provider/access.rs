//! Everything that a provider's namespace on the hub holds before an agent comes: two identities with the least rights.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::ObjectMeta;
use spillway_crds::{ProviderInventory, ProviderInventorySpec, names};

/// Objects in the order in which they are applied.
#[derive(Clone, Debug)]
pub struct Access {
    pub namespace: Namespace,
    pub service_accounts: Vec<ServiceAccount>,
    pub roles: Vec<Role>,
    pub role_bindings: Vec<RoleBinding>,
    /// Tokens are bound to these: deleting one ends its tokens.
    pub agent_secret: Secret,
    /// Only until the provider has joined.
    pub join_secret: Option<Secret>,
    /// Of the heartbeat, and of the pings.
    pub leases: Vec<Lease>,
    pub inventory: ProviderInventory,
}

/// The access of `provider`; `joined` leaves the join Secret out.
pub fn access(provider: &str, joined: bool) -> Access {
    let namespace = names::provider_namespace(provider);
    let meta = |name: &str| metadata(provider, &namespace, name);
    let account = |name: &str| ServiceAccount {
        metadata: meta(name),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    let secret = |name: &str| Secret {
        metadata: meta(name),
        ..Secret::default()
    };
    let lease = |name: &str| Lease {
        metadata: meta(name),
        spec: Some(LeaseSpec::default()),
    };
    Access {
        namespace: Namespace {
            metadata: cluster_metadata(provider, &namespace),
            ..Namespace::default()
        },
        service_accounts: vec![
            account(names::JOIN_SERVICE_ACCOUNT),
            account(names::AGENT_SERVICE_ACCOUNT),
        ],
        roles: vec![
            role(meta(names::JOIN_SERVICE_ACCOUNT), join_rules()),
            role(meta(names::AGENT_SERVICE_ACCOUNT), agent_rules()),
        ],
        role_bindings: vec![
            binding(
                meta(names::JOIN_SERVICE_ACCOUNT),
                &namespace,
                names::JOIN_SERVICE_ACCOUNT,
            ),
            binding(
                meta(names::AGENT_SERVICE_ACCOUNT),
                &namespace,
                names::AGENT_SERVICE_ACCOUNT,
            ),
        ],
        agent_secret: secret(names::AGENT_SECRET),
        join_secret: (!joined).then(|| secret(names::JOIN_SECRET)),
        leases: vec![lease(names::HEARTBEAT_LEASE), lease(names::PING_LEASE)],
        inventory: ProviderInventory {
            metadata: meta(names::INVENTORY_NAME),
            spec: ProviderInventorySpec::default(),
            status: None,
        },
    }
}

fn cluster_metadata(provider: &str, name: &str) -> ObjectMeta {
    let label = (names::LABEL_PROVIDER.to_owned(), provider.to_owned());
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some([label].into()),
        ..ObjectMeta::default()
    }
}

fn metadata(provider: &str, namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        ..cluster_metadata(provider, name)
    }
}

/// The join token may do one thing: mint the agent's token.
fn join_rules() -> Vec<PolicyRule> {
    vec![rule(
        "",
        "serviceaccounts/token",
        &["create"],
        Some(names::AGENT_SERVICE_ACCOUNT),
    )]
}

/// The agent creates nothing but its own next token.
fn agent_rules() -> Vec<PolicyRule> {
    vec![
        rule(
            "",
            "serviceaccounts/token",
            &["create"],
            Some(names::AGENT_SERVICE_ACCOUNT),
        ),
        rule(
            "coordination.k8s.io",
            "leases",
            &["get", "update", "patch"],
            Some(names::HEARTBEAT_LEASE),
        ),
        rule(
            "coordination.k8s.io",
            "leases",
            &["get", "list", "watch", "patch"],
            Some(names::PING_LEASE),
        ),
        rule(
            "spillway.dev",
            "providerinventories",
            &["get", "update", "patch"],
            Some(names::INVENTORY_NAME),
        ),
        rule("spillway.dev", "workassignments", &["get", "list", "watch"], None),
        rule(
            "spillway.dev",
            "workassignments/status",
            &["get", "update", "patch"],
            None,
        ),
    ]
}

fn rule(group: &str, resource: &str, verbs: &[&str], name: Option<&str>) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        resource_names: name.map(|name| vec![name.to_owned()]),
        ..PolicyRule::default()
    }
}

fn role(metadata: ObjectMeta, rules: Vec<PolicyRule>) -> Role {
    Role {
        metadata,
        rules: Some(rules),
    }
}

fn binding(metadata: ObjectMeta, namespace: &str, account: &str) -> RoleBinding {
    RoleBinding {
        metadata,
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "Role".to_owned(),
            name: account.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: account.to_owned(),
            namespace: Some(namespace.to_owned()),
            ..Subject::default()
        }]),
    }
}
