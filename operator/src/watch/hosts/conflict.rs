//! What a bot asks for, and what may stand against it.

use crds::api::{Expose, IssuerRef, TlsSpec};

/// Why a bot cannot have what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostConflict {
    /// Another has it.
    #[error(
        "spec.expose.path: {path} of host {host} is held by TradingBot {holder}; choose another path or host, or move that bot"
    )]
    Taken {
        /// The host.
        host: String,
        /// The path.
        path: String,
        /// Who has it.
        holder: String,
    },
    /// The bots of a host name several Secrets.
    #[error(
        "spec.expose.tls: bots that share a host share its certificate, and TradingBot {holder} of host {host} has {theirs} where this one has {ours}; name the same"
    )]
    Certificate {
        /// The host.
        host: String,
        /// The other bot.
        holder: String,
        /// What it names.
        theirs: String,
        /// What this one names.
        ours: String,
    },
    /// One Secret would hold the certificates of two hosts.
    #[error(
        "spec.expose.tls.secretName: {secret} is issued for host {host} of TradingBot {holder}; name another Secret"
    )]
    Secret {
        /// The Secret.
        secret: String,
        /// The other host.
        host: String,
        /// The other bot.
        holder: String,
    },
}

/// What a spec asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub host: String,
    pub path: String,
    pub tls: Option<TlsSpec>,
}

impl Asked {
    pub fn of(expose: &Expose) -> Self {
        Self { host: expose.host.clone(), path: expose.path.clone(), tls: expose.tls.clone() }
    }

    pub fn issued(&self) -> Option<(&str, &IssuerRef)> {
        let tls = self.tls.as_ref()?;
        Some((&tls.secret_name, tls.issuer_ref.as_ref()?))
    }

    pub fn certificate(&self) -> String {
        match &self.tls {
            None => "no tls".into(),
            Some(TlsSpec { secret_name, issuer_ref: None }) => format!("Secret {secret_name}"),
            Some(TlsSpec { secret_name, issuer_ref: Some(issuer) }) => {
                format!("Secret {secret_name} of {} {}", issuer.kind.as_str(), issuer.name)
            }
        }
    }
}
