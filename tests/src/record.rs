//! Every state of every bot that a watch shows.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::process::ending_with_this_thread;

/// A folder in which every cluster of the tests leaves the states of its bots, for `judge-statuses`.
const FOLDER: &str = "TRADINGBOT_STATES";

/// A watch of all bots into a file; ended when dropped.
pub struct Record {
    file: PathBuf,
    stop: Arc<AtomicBool>,
    watch: Option<JoinHandle<()>>,
}

impl Record {
    /// Starts one that ends with the value, into a file that is there or is made.
    pub fn start(kubectl: &Path, kubeconfig: &Path, file: &Path) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (kubectl, kubeconfig) = (kubectl.to_owned(), kubeconfig.to_owned());
        let (output, told) = (file.to_owned(), Arc::clone(&stop));
        let watch = std::thread::spawn(move || {
            // It ends where the kind is not there yet, and with the API server.
            while !told.load(Ordering::Relaxed) {
                watch(&kubectl, &kubeconfig, &output, &told);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        Self { file: file.to_owned(), stop, watch: Some(watch) }
    }

    /// Starts one into a file of its own in the folder that `TRADINGBOT_STATES` names, if it names one.
    pub fn start_if_asked(kubectl: &Path, kubeconfig: &Path) -> Option<Self> {
        let folder = std::env::var_os(FOLDER)?;
        let (_, file) = tempfile::NamedTempFile::with_suffix_in(".json", folder)
            .and_then(|file| file.keep().map_err(Into::into))
            .expect("a file of states");
        Some(Self::start(kubectl, kubeconfig, &file))
    }

    /// The states so far.
    pub fn states(&self) -> Vec<Value> {
        read(&self.file)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(watch) = self.watch.take() {
            watch.join().ok();
        }
    }
}

/// The states in a file. What a watch that was ended left half written is passed over, and so is the `Status` with which
/// an API server ends a watch.
pub fn read(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("text");
    // kubectl prints each object from the first column on.
    text.split("\n{")
        .filter_map(|object| {
            serde_json::from_str(object).or_else(|_| serde_json::from_str(&format!("{{{object}"))).ok()
        })
        .filter(|object: &Value| object["kind"] == "TradingBot")
        .collect()
}

fn watch(kubectl: &Path, kubeconfig: &Path, output: &Path, stop: &AtomicBool) {
    let output = OpenOptions::new().create(true).append(true).open(output).expect("a file of states");
    let mut command = ending_with_this_thread(kubectl);
    command.env("KUBECONFIG", kubeconfig);
    command.args(["get", "tradingbots", "-A", "--watch", "-o", "json", "--show-managed-fields"]);
    let mut child = command.stdout(output).stderr(Stdio::null()).spawn().expect("kubectl runs");
    while matches!(child.try_wait(), Ok(None)) {
        if stop.load(Ordering::Relaxed) {
            child.kill().ok();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.wait().ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_although_a_watch_was_cut_short_or_refused() {
        let state = |name: &str| {
            let state = serde_json::json!({"kind": "TradingBot", "metadata": {"name": name}});
            serde_json::to_string_pretty(&state).unwrap()
        };
        let refused = "{\n    \"kind\": \"Status\",\n    \"status\": \"Failure\"\n}";
        let (first, cut, last) = (state("a"), "{\n    \"kind\": {", state("c"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [&first, cut, refused, &last, "{\n  \"k"].join("\n")).unwrap();
        let names: Vec<_> = read(file.path()).iter().map(|state| state["metadata"]["name"].clone()).collect();
        assert_eq!(names, ["a", "c"]);
    }
}
