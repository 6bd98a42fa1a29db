//! nginx as ingress controller: it follows the Ingresses, Services and Secrets of a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ingress::{Configuration, Key, Objects, Place};
use crate::cluster::Cluster;
use crate::local::free_port;
use crate::process::{Server, ending_with_this_thread};
use crate::wait;

/// A running nginx and the watches that it follows; ended when dropped.
pub struct Nginx {
    /// First, so that no change comes while the rest ends.
    _watches: Vec<Watch>,
    _server: Server,
    http: u16,
    https: u16,
}

/// A change to what is watched.
type Change = Box<dyn FnOnce(&mut Objects) + Send>;

/// A `kubectl get --watch`; ended when dropped.
struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Nginx {
    /// Starts it on two free ports of 127.0.0.1. The certificates of hosts come from the Secrets that Ingresses name.
    pub fn start(cluster: &Cluster) -> Self {
        let folder = cluster.folder("nginx");
        // Its workers are not root and keep large bodies there.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(&folder, readable).expect("a folder of ours");
        let place = Place { folder, http: free_port(), https: free_port() };
        let written = place.configuration(&Objects::default());
        written.write(&place).expect("the configuration");
        let mut command = ending_with_this_thread("nginx");
        command.args(arguments(&place.file()));
        let mut server = Server::start(command, &place.folder.join("output.log"));
        let address = ("127.0.0.1", place.http);
        wait::until("nginx listens", || {
            server.check()?;
            std::net::TcpStream::connect(address).map(drop).map_err(|error| error.to_string())
        });
        let (http, https) = (place.http, place.https);
        let (changes, received) = mpsc::channel();
        let watches = vec![
            watch(cluster, &["ingresses"], changes.clone(), |objects| &mut objects.ingresses),
            watch(cluster, &["services"], changes.clone(), |objects| &mut objects.services),
            watch(cluster, &["secrets", "--field-selector", "type=kubernetes.io/tls"], changes, |objects| {
                &mut objects.secrets
            }),
        ];
        std::thread::spawn(move || follow(&place, written, &received));
        Self { _watches: watches, _server: server, http, https }
    }

    /// Where it speaks plain HTTP.
    pub fn http(&self) -> u16 {
        self.http
    }

    /// Where it speaks HTTPS.
    pub fn https(&self) -> u16 {
        self.https
    }
}

/// Tells nginx of every change, until the watches end.
fn follow(place: &Place, mut written: Configuration, changes: &Receiver<Change>) {
    let mut objects = Objects::default();
    while let Ok(change) = changes.recv() {
        change(&mut objects);
        changes.try_iter().for_each(|change| change(&mut objects));
        let configuration = place.configuration(&objects);
        if configuration == written {
            continue;
        }
        if let Err(error) = configuration.write(place) {
            // The cluster's folder is gone: the test has ended.
            eprintln!("nginx: {error}");
            return;
        }
        written = configuration;
        let reload = Command::new("nginx").args(arguments(&place.file())).args(["-s", "reload"]).output();
        match reload {
            Ok(output) if output.status.success() => {}
            other => eprintln!("nginx: not reloaded: {other:?}"),
        }
    }
}

fn arguments(file: &Path) -> [PathBuf; 4] {
    let folder = file.parent().expect("a file has a folder");
    ["-p".into(), folder.into(), "-c".into(), file.into()]
}

/// One event as kubectl prints it.
#[derive(Deserialize)]
struct Event<T> {
    #[serde(rename = "type")]
    kind: String,
    object: T,
}

fn watch<T>(
    cluster: &Cluster,
    what: &[&str],
    changes: Sender<Change>,
    place: impl Fn(&mut Objects) -> &mut BTreeMap<Key, T> + Copy + Send + 'static,
) -> Watch
where
    T: DeserializeOwned + Resource + Metadata<Ty = ObjectMeta> + Send + 'static,
{
    let kubectl = cluster.kubectl(&[]);
    let mut command = ending_with_this_thread(kubectl.get_program());
    command.arg("--kubeconfig").arg(cluster.kubeconfig()).arg("get").args(what);
    command.args(["--all-namespaces", "--watch", "--output-watch-events", "--output", "json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("kubectl runs");
    let output = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    std::thread::spawn(move || {
        let events = serde_json::Deserializer::from_reader(output).into_iter::<Event<T>>();
        // An end in the middle of an object is the end of the watch.
        for Event { kind, object } in events.map_while(Result::ok) {
            let metadata = object.metadata();
            let key =
                (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
            let change: Change = Box::new(move |objects| {
                if kind == "DELETED" {
                    place(objects).remove(&key);
                } else {
                    place(objects).insert(key, object);
                }
            });
            if changes.send(change).is_err() {
                return;
            }
        }
    });
    Watch(child)
}
