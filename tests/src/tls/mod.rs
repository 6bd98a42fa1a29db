//! Certificates for real: an ACME server (pebble), cert-manager, and nginx as ingress controller, all on loopback.
//!
//! ```text
//! cert-manager ── order ──▶ pebble ── asks for a host's address ──▶ Dns (every host is 127.0.0.1)
//!      │                      │
//!      │ solver's pod,        │ GET http://HOST/.well-known/acme-challenge/TOKEN
//!      ▼ Service, Ingress     ▼
//!   the cluster ◀───────── nginx ◀── HTTPS ── the test
//! ```

mod acme;
mod cert_manager;
mod client;
mod ingress;
mod nginx;
mod pair;

pub use acme::{Acme, Dns};
pub use cert_manager::{CertManager, crds, gateway_api_crds, install_crds};
pub use client::{Answer, Browser, Certificate};
pub use nginx::Nginx;
pub use pair::SelfSigned;
