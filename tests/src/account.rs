//! Users of the API server that tests make, so that the audit log tells who called.

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{AuthInfo, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

/// Where the accounts are; every API server makes this namespace itself.
const NAMESPACE: &str = "kube-system";
/// Longer than any test.
const TOKEN_SECONDS: i64 = 12 * 3600;

/// How the API server calls an account of that name.
pub fn user(name: &str) -> String {
    format!("system:serviceaccount:{NAMESPACE}:{name}")
}

/// A kubeconfig of an administrator who has a name of its own.
///
/// # Errors
/// When the API server refuses, or the kubeconfig is none.
pub async fn administrator(kubeconfig: &Kubeconfig, name: &str) -> Result<Kubeconfig> {
    let client = client(kubeconfig, None).await?;
    let params = PatchParams::apply("tests").force();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    accounts.patch(name, &params, &Patch::Apply(&account)).await.context("a ServiceAccount")?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("tests-{name}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
    });
    let bindings: Api<ClusterRoleBinding> = Api::all(client);
    bindings
        .patch(&format!("tests-{name}"), &params, &Patch::Apply(&binding))
        .await
        .context("a ClusterRoleBinding")?;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": [], "expirationSeconds": TOKEN_SECONDS}});
    let request: TokenRequest = serde_json::from_value(request)?;
    let answer: TokenRequest = accounts
        .create_subresource("token", name, &PostParams::default(), &request)
        .await
        .context("a token")?;
    let token = answer.status.context("a TokenRequest without an answer")?.token.context("an empty token")?;

    let mut own = kubeconfig.clone();
    for named in &mut own.auth_infos {
        named.auth_info = Some(AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() });
    }
    Ok(own)
}

/// A client, with a user agent of its own if one is given.
///
/// # Errors
/// When the kubeconfig is none.
pub async fn client(kubeconfig: &Kubeconfig, user_agent: Option<&'static str>) -> Result<Client> {
    let mut config = Config::from_custom_kubeconfig(kubeconfig.clone(), &Default::default()).await?;
    config
        .headers
        .extend(user_agent.map(|agent| (http::header::USER_AGENT, http::HeaderValue::from_static(agent))));
    Ok(Client::try_from(config)?)
}
