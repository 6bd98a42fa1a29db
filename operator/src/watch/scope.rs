//! Where the operator looks: everywhere, or in some namespaces.

use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{self, BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

/// The events of a watch, however many requests it is made of.
pub type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// The namespaces whose bots are looked after. Every watch of namespaced objects is made here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All.
    #[default]
    Cluster,
    /// These. The operator then needs rights in them alone.
    Namespaces(Arc<[String]>),
}

impl Scope {
    /// The scope of `--watch-namespaces`: none named means all.
    pub fn of(namespaces: &[String]) -> Self {
        let mut names: Vec<String> = namespaces.iter().filter(|name| !name.is_empty()).cloned().collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { Self::Cluster } else { Self::Namespaces(names.into()) }
    }

    /// Watches a kind, coming back after errors.
    pub fn watch<K>(&self, client: &Client, config: &watcher::Config) -> Events<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        self.merge(config, Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace))
    }

    /// Watches a kind that is known at run time only.
    pub fn watch_dynamic(
        &self,
        client: &Client,
        resource: &ApiResource,
        config: &watcher::Config,
    ) -> Events<DynamicObject> {
        self.merge(config, Api::all_with(client.clone(), resource), |namespace| {
            Api::namespaced_with(client.clone(), namespace, resource)
        })
    }

    fn merge<K>(&self, config: &watcher::Config, all: Api<K>, within: impl Fn(&str) -> Api<K>) -> Events<K>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        match self {
            Self::Cluster => watcher(all, config.clone()).default_backoff().boxed(),
            Self::Namespaces(names) => {
                let apis: Vec<Api<K>> = names.iter().map(|name| within(name)).collect();
                let config = config.clone();
                merged(apis.len(), move |place| match apis.get(place) {
                    Some(api) => watcher(api.clone(), config.clone()).default_backoff().boxed(),
                    None => stream::pending().boxed(),
                })
                .boxed()
            }
        }
    }
}

/// One stream of events out of several, each of which begins with a list of its own. To whoever keeps a
/// store of all it looks like one watch: the lists become one, and when one stream lists anew, all do, for
/// a new list replaces all that was there before.
fn merged<K>(
    count: usize,
    start: impl Fn(usize) -> Events<K> + Send + 'static,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Send + 'static,
{
    let launch = move || -> SelectAll<BoxStream<'static, _>> {
        (0..count).map(|place| start(place).map(move |event| (place, event)).boxed()).collect()
    };
    let streams = launch();
    stream::unfold((streams, Round::new(count), launch), |(mut streams, mut round, launch)| async move {
        let (place, event) = streams.next().await?;
        let events = match event {
            Err(error) => vec![Err(error)],
            Ok(Event::Init) if round.complete => {
                streams = launch();
                round = Round::new(round.places.len());
                Vec::new()
            }
            Ok(event) => round.take(place, event).into_iter().map(Ok).collect(),
        };
        Some((stream::iter(events), (streams, round, launch)))
    })
    .flatten()
}

/// The lists of all streams until each is whole.
struct Round<K> {
    places: Vec<Place<K>>,
    begun: bool,
    complete: bool,
}

/// What one stream has listed.
struct Place<K> {
    objects: Vec<K>,
    done: bool,
}

impl<K: Resource> Round<K> {
    fn new(count: usize) -> Self {
        let places = (0..count).map(|_| Place { objects: Vec::new(), done: false }).collect();
        Self { places, begun: false, complete: false }
    }

    /// Takes in an event and gives out those that can be told.
    fn take(&mut self, place: usize, event: Event<K>) -> Vec<Event<K>> {
        if self.complete {
            return vec![event];
        }
        let Some(place) = self.places.get_mut(place) else { return Vec::new() };
        // The beginning is told when the first list begins: what is written after it may be missing in the lists.
        let mut told = if self.begun { Vec::new() } else { vec![Event::Init] };
        self.begun = true;
        match event {
            // A list that failed half way begins again.
            Event::Init => *place = Place { objects: Vec::new(), done: false },
            Event::InitApply(object) => place.objects.push(object),
            Event::InitDone => place.done = true,
            Event::Apply(object) => {
                place.objects.retain(|other| other.meta().name != object.meta().name);
                place.objects.push(object);
            }
            Event::Delete(object) => place.objects.retain(|other| other.meta().name != object.meta().name),
        }
        if !self.places.iter().all(|place| place.done) {
            return told;
        }
        self.complete = true;
        let objects = self.places.iter_mut().flat_map(|place| std::mem::take(&mut place.objects));
        told.extend(objects.map(Event::InitApply));
        told.push(Event::InitDone);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::channel::mpsc;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;
    use std::sync::Mutex;

    type Sender = mpsc::UnboundedSender<watcher::Result<Event<ConfigMap>>>;

    fn object(namespace: &str, name: &str) -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"namespace": namespace, "name": name}})).unwrap()
    }

    fn tell(event: &Event<ConfigMap>) -> String {
        let name = |object: &ConfigMap| {
            format!(
                "{}/{}",
                object.metadata.namespace.as_deref().unwrap(),
                object.metadata.name.as_deref().unwrap()
            )
        };
        match event {
            Event::Init => "(".into(),
            Event::InitApply(object) => name(object),
            Event::InitDone => ")".into(),
            Event::Apply(object) => format!("+{}", name(object)),
            Event::Delete(object) => format!("-{}", name(object)),
        }
    }

    /// Two streams that a test feeds, and what comes out of them merged.
    struct Bench {
        inputs: Arc<Mutex<Vec<Sender>>>,
        output: Events<ConfigMap>,
    }

    impl Bench {
        fn new() -> Self {
            let inputs: Arc<Mutex<Vec<Sender>>> = Arc::default();
            let started = Arc::clone(&inputs);
            let output = merged(2, move |_| {
                let (sender, receiver) = mpsc::unbounded();
                started.lock().unwrap().push(sender);
                receiver.boxed()
            });
            Self { inputs, output: output.boxed() }
        }

        /// Sends an event to the stream that was started as the `nth`.
        fn send(&self, nth: usize, event: Event<ConfigMap>) {
            self.inputs.lock().unwrap()[nth].unbounded_send(Ok(event)).ok();
        }

        fn heard(&mut self) -> String {
            let mut heard = Vec::new();
            let waker = futures::task::noop_waker();
            let mut context = std::task::Context::from_waker(&waker);
            while let std::task::Poll::Ready(Some(event)) = self.output.poll_next_unpin(&mut context) {
                heard.push(event.as_ref().map_or_else(|_| "!".to_owned(), tell));
            }
            heard.join(" ")
        }
    }

    #[test]
    fn the_lists_become_one_and_what_changed_meanwhile_is_in_it() {
        let mut bench = Bench::new();
        bench.send(0, Event::Init);
        bench.send(0, Event::InitApply(object("a", "ghost")));
        bench.send(0, Event::Init);
        bench.send(0, Event::InitApply(object("a", "1")));
        bench.send(0, Event::InitDone);
        bench.send(0, Event::Apply(object("a", "2")));
        bench.send(0, Event::Delete(object("a", "1")));
        assert_eq!(bench.heard(), "(", "the other namespace is not listed yet");
        bench.send(1, Event::Init);
        bench.send(1, Event::InitApply(object("b", "1")));
        bench.send(1, Event::InitDone);
        assert_eq!(bench.heard(), "a/2 b/1 )");
        bench.send(1, Event::Delete(object("b", "1")));
        bench.send(0, Event::Apply(object("a", "3")));
        assert_eq!(
            bench.heard().split(' ').collect::<std::collections::BTreeSet<_>>(),
            ["+a/3", "-b/1"].into()
        );
    }

    #[test]
    fn when_one_lists_anew_all_do() {
        let mut bench = Bench::new();
        for place in [0, 1] {
            bench.send(place, Event::Init);
            bench.send(place, Event::InitDone);
        }
        assert_eq!(bench.heard(), "( )");
        bench.send(0, Event::Init);
        assert_eq!(bench.heard(), "");
        for (place, namespace) in [(2, "a"), (3, "b")] {
            bench.send(place, Event::Init);
            bench.send(place, Event::InitApply(object(namespace, "1")));
            bench.send(place, Event::InitDone);
        }
        assert_eq!(bench.heard(), "( a/1 b/1 )");
    }

    #[test]
    fn an_error_is_told_at_once() {
        let mut bench = Bench::new();
        bench.inputs.lock().unwrap()[1].unbounded_send(Err(watcher::Error::NoResourceVersion)).unwrap();
        assert_eq!(bench.heard(), "!");
    }

    #[test]
    fn no_name_means_everywhere_and_names_count_once() {
        assert_eq!(Scope::of(&[]), Scope::Cluster);
        assert_eq!(Scope::of(&[String::new()]), Scope::Cluster);
        let names = ["b", "a", "b"].map(str::to_owned);
        assert_eq!(Scope::of(&names), Scope::Namespaces(["a".to_owned(), "b".to_owned()].into()));
    }
}
