//! The kinds that the API server stores.

mod bot;
mod definition;
mod deployment;
mod expose;
mod manifest;
mod reference;
mod status;

pub use bot::{
    AgentSpec, Reconciliation, ResourcesSpec, Retain, SqliteSpec, StorageSpec, TradingBot, TradingBotSpec,
};
pub use definition::trading_bot_crd;
pub use deployment::{Deployment, Journal};
pub use expose::{
    Expose, ExposeSpec, GatewaySpec, IngressSpec, IssuerKind, IssuerRef, ParentRef, Route, TlsSpec,
};
pub use manifest::{Manifest, ManifestError, find_bot};
pub use reference::{ReferenceError, reference};
pub use status::{
    AccountStatus, AgentStatus, Claim, ClaimKind, DecisionStatus, LoopHealth, MountedCertificate,
    PositionStatus, Summary, TlsStatus, TradingBotStatus, TradingStatus,
};

/// The group of every kind.
pub const GROUP: &str = "trading.three-rivers-tech.com";
