//! Logs: text for a person at a terminal, JSON for everyone else.

use std::io::IsTerminal;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error.
///
/// # Errors
/// When the level is none, or logging was started before.
pub fn start(level: &str) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(level)?).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_ansi(false)
            .try_init()
    }
    .map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}

/// kube writes an answer that it cannot read into a warning, in full; that to the creation of a Secret holds keys.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(format!("kube_client=error,{level}"))
        .with_context(|| format!("--log-level {level} is no level; use error, warn, info, debug or trace"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_logged_at_any_level() {
        for level in ["warn", "info", "debug", "trace"] {
            let (log, filter) = (Log::default(), filter(level).unwrap());
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
            let subscriber = subscriber.with_writer(move || writer.clone()).finish();
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!("what else is said");
                tracing::warn!(target: "kube_client::client", "the keys");
                tracing::trace!(target: "kube_client::client", "the keys");
            });
            let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert!(told.contains("what else is said") && !told.contains("the keys"), "{level}: {told}");
        }
        assert!(filter("operator=loud").unwrap_err().to_string().contains("operator=loud is no level"));
    }
}
