//! The kinds of a bot's children.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::core::{ApiResource, GroupVersionKind};

/// A kind of child, in the order of their writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    /// The agent's identity.
    ServiceAccount,
    /// The agent's rights.
    Role,
    /// Gives the one to the other.
    RoleBinding,
    /// The rendered configuration.
    ConfigMap,
    /// The keys of the agent's API. Created, never read.
    ApiSecret,
    /// By which one agent trades. Created; its spec is the agent's.
    Lease,
    /// The journal's volume.
    JournalClaim,
    /// The agent's address.
    Service,
    /// Whom the agent may reach, and who may reach it.
    NetworkPolicy,
    /// The way in through an Ingress.
    Ingress,
    /// The way in through a Gateway. Its API may be missing.
    HttpRoute,
    /// The certificate of a host. Its API may be missing.
    Certificate,
    /// The agent's pod.
    Deployment,
}

impl ChildKind {
    /// The kinds that are watched from the start: all that every cluster has, but Secrets.
    pub const WATCHED: [Self; 10] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::ConfigMap,
        Self::Lease,
        Self::JournalClaim,
        Self::Service,
        Self::NetworkPolicy,
        Self::Ingress,
        Self::Deployment,
    ];
    /// The kinds that are watched while the cluster has them.
    pub const OPTIONAL: [Self; 2] = [Self::HttpRoute, Self::Certificate];

    /// How the API server names the kind.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::Role => ApiResource::erase::<Role>(&()),
            Self::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::ApiSecret => ApiResource::erase::<Secret>(&()),
            Self::Lease => ApiResource::erase::<Lease>(&()),
            Self::JournalClaim => ApiResource::erase::<PersistentVolumeClaim>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::Ingress => ApiResource::erase::<Ingress>(&()),
            Self::HttpRoute => foreign("gateway.networking.k8s.io", "HTTPRoute"),
            Self::Certificate => foreign("cert-manager.io", "Certificate"),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
        }
    }

    /// The kind's name, for messages and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::ConfigMap => "ConfigMap",
            Self::ApiSecret => "Secret",
            Self::Lease => "Lease",
            Self::JournalClaim => "PersistentVolumeClaim",
            Self::Service => "Service",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Ingress => "Ingress",
            Self::HttpRoute => "HTTPRoute",
            Self::Certificate => "Certificate",
            Self::Deployment => "Deployment",
        }
    }
}

/// A kind that is no part of Kubernetes; both are served as `v1`.
fn foreign(group: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind))
}
