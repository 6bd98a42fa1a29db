//! Whether a bot can have the address that it asks for: the last question before it is built.

use crds::api::{Reconciliation, Route, TlsSpec};
use crds::contract::child_name;

use super::validate::{Refusal, Validated};
use crate::watch::{ChildKind, Children, Hosts};

/// Claims the address of a bot whose spec is valid otherwise, and finds out who shares its certificate. A bot whose
/// children are left alone claims nothing.
///
/// # Errors
/// When the cluster lacks an API that the address needs, or another bot stands against it.
pub fn claim(mut bot: Validated, children: &Children, hosts: &Hosts) -> Result<Validated, Refusal> {
    let Some(expose) =
        bot.deployment.expose.clone().filter(|_| bot.reconciliation == Reconciliation::Enabled)
    else {
        return Ok(bot);
    };
    if matches!(expose.route, Route::Gateway(_)) && !children.has(ChildKind::HttpRoute) {
        return Err(Refusal::GatewayApiMissing { live: live(bot, children) });
    }
    let issued = match expose.tls.clone() {
        Some(TlsSpec { secret_name, issuer_ref: Some(_) }) => Some(secret_name),
        _ => None,
    };
    if let Some(secret) = &issued
        && !children.has(ChildKind::Certificate)
    {
        return Err(Refusal::CertManagerMissing { secret: secret.clone(), live: live(bot, children) });
    }
    if let Err(conflict) = hosts.claim(&bot.owner, &expose) {
        return Err(Refusal::Host { conflict, live: live(bot, children) });
    }
    if let Some(secret) = issued {
        bot.certificate_users = hosts.certificate_users(&bot.owner.namespace, &secret);
    }
    Ok(bot)
}

/// What an agent that runs can take over all the same: limits that were lowered must not wait for an address.
fn live(bot: Validated, children: &Children) -> Option<Box<Validated>> {
    let deployment =
        children.get(ChildKind::Deployment, &bot.owner.namespace, &child_name(&bot.owner.name))?;
    let in_use = deployment.is_of(&bot.owner).then(|| deployment.deployment()?.restart_hash.as_deref());
    (in_use.flatten() == Some(bot.restart_hash.as_str())).then(|| Box::new(bot))
}
