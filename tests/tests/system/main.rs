//! The whole system, on clusters of the lab. One program: tests of one file wait while those of another work.

mod bad_objects;
mod claims;
mod definitions;
mod expose;
mod faker;
mod faults;
mod fields;
mod keys;
mod leader;
mod lease;
mod local;
mod local_mistakes;
mod manifests;
mod mistakes;
mod node;
mod rights;
mod secrets;
mod shutdown;
mod status;
mod tls;
mod tls_secret;
mod upgrade;
mod writes;
