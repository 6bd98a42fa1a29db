//! Where the operator looks: everywhere, or in some namespaces.

use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{self, BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tracing::warn;

use super::Unstructured;

/// A namespace that may not be listed is waited for so many tries: rights that were just granted take a moment.
const TRIES: u8 = 3;

/// So many objects of a list are in memory at once, whole, for each kind.
const PAGE: u32 = 100;

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
        let names = namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
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
    ) -> Events<Unstructured> {
        self.merge(config, Api::all_with(client.clone(), resource), |namespace| {
            Api::namespaced_with(client.clone(), namespace, resource)
        })
    }

    fn merge<K>(&self, config: &watcher::Config, all: Api<K>, within: impl Fn(&str) -> Api<K>) -> Events<K>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let config = &config.clone().page_size(PAGE);
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
/// a new list replaces all that was there before. A namespace whose rights are gone, as they are with a namespace
/// that was deleted, is taken for empty until it can be listed, so that it does not keep the others waiting.
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
            Err(error) => {
                let told = if is_refused(&error) { round.refused(place) } else { Vec::new() };
                [Err(error)].into_iter().chain(told.into_iter().map(Ok)).collect()
            }
            Ok(Event::Init) if round.lists_anew(place) => {
                streams = launch();
                round = round.next();
                Vec::new()
            }
            Ok(event) => round.take(place, event).into_iter().map(Ok).collect(),
        };
        Some((stream::iter(events), (streams, round, launch)))
    })
    .flatten()
}

fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.is_forbidden())
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
    /// How often in a row it might not be listed.
    refused: u8,
}

impl<K: Resource> Round<K> {
    fn new(count: usize) -> Self {
        let places = (0..count).map(|_| Place { objects: Vec::new(), done: false, refused: 0 }).collect();
        Self { places, begun: false, complete: false }
    }

    /// The one after it. What might not be listed last time is not waited for.
    fn next(self) -> Self {
        let places = self.places.into_iter();
        let places = places.map(|place| Place { objects: Vec::new(), done: false, refused: place.refused });
        Self { places: places.collect(), begun: false, complete: false }
    }

    /// Whether a list that begins replaces one that was told.
    fn lists_anew(&self, place: usize) -> bool {
        self.complete && self.places.get(place).is_some_and(|place| place.done)
    }

    /// Takes in an event and gives out those that can be told.
    fn take(&mut self, place: usize, event: Event<K>) -> Vec<Event<K>> {
        let complete = self.complete;
        let Some(place) = self.places.get_mut(place) else { return Vec::new() };
        if complete && place.done {
            return vec![event];
        }
        // The beginning is told when the first list begins: what is written after it may be missing in the lists.
        let mut told = if self.begun { Vec::new() } else { vec![Event::Init] };
        self.begun = true;
        match event {
            // A list that failed half way begins again.
            Event::Init => (place.objects, place.done) = (Vec::new(), false),
            Event::InitApply(object) => place.objects.push(object),
            Event::InitDone => (place.done, place.refused) = (true, 0),
            Event::Apply(object) => {
                place.objects.retain(|other| other.meta().name != object.meta().name);
                place.objects.push(object);
            }
            Event::Delete(object) => place.objects.retain(|other| other.meta().name != object.meta().name),
        }
        if complete && place.done {
            // It was taken for empty: all of it is new.
            return std::mem::take(&mut place.objects).into_iter().map(Event::Apply).collect();
        }
        told.extend(self.whole());
        told
    }

    /// Takes in that a place may not be listed, and gives out what waited for it.
    fn refused(&mut self, place: usize) -> Vec<Event<K>> {
        if let Some(place) = self.places.get_mut(place) {
            place.refused = place.refused.saturating_add(1);
        }
        self.whole()
    }

    /// The lists as one, once each is whole or given up. Where none may be made, there is nothing to tell.
    fn whole(&mut self) -> Vec<Event<K>> {
        let is_settled = |place: &Place<K>| place.done || place.refused >= TRIES;
        let is_whole = self.places.iter().all(is_settled) && self.places.iter().any(|place| place.done);
        if self.complete || !is_whole {
            return Vec::new();
        }
        self.complete = true;
        let refused = self.places.iter().filter(|place| !place.done).count();
        if refused > 0 {
            warn!(refused, "namespaces that may not be listed are taken for empty until they may");
        }
        let listed = self.places.iter_mut().filter(|place| place.done);
        let objects = listed.flat_map(|place| std::mem::take(&mut place.objects));
        objects.map(Event::InitApply).chain([Event::InitDone]).collect()
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

        /// Has that stream list one object.
        fn list(&self, nth: usize, namespace: &str) {
            self.send(nth, Event::Init);
            self.send(nth, Event::InitApply(object(namespace, "1")));
            self.send(nth, Event::InitDone);
        }

        /// Has that stream try to list, which it may not.
        fn refuse(&self, nth: usize) {
            self.send(nth, Event::Init);
            let status = kube::core::Status::failure("forbidden", "Forbidden").with_code(403).boxed();
            let error = watcher::Error::InitialListFailed(kube::Error::Api(status));
            self.inputs.lock().unwrap()[nth].unbounded_send(Err(error)).ok();
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
    fn a_namespace_that_may_not_be_listed_keeps_no_other_waiting_and_comes_when_it_may() {
        let mut bench = Bench::new();
        bench.list(0, "a");
        assert_eq!(bench.heard(), "(");
        bench.refuse(1);
        bench.refuse(1);
        assert_eq!(bench.heard(), "! !", "it may be a matter of a moment");
        bench.refuse(1);
        assert_eq!(bench.heard(), "! a/1 )");
        bench.refuse(1);
        bench.send(0, Event::Apply(object("a", "2")));
        assert_eq!(bench.heard().split(' ').collect::<std::collections::BTreeSet<_>>(), ["!", "+a/2"].into());
        bench.send(1, Event::Init);
        bench.send(1, Event::InitApply(object("b", "0")));
        assert_eq!(bench.heard(), "", "half a list is none");
        bench.list(1, "b");
        assert_eq!(bench.heard(), "+b/1");
        bench.send(1, Event::Delete(object("b", "1")));
        assert_eq!(bench.heard(), "-b/1");
        assert_eq!(bench.inputs.lock().unwrap().len(), 2, "the others were not listed anew for it");
    }

    #[test]
    fn a_namespace_that_was_refused_is_not_waited_for_when_the_others_list_anew() {
        let mut bench = Bench::new();
        bench.list(0, "a");
        (0..TRIES).for_each(|_| bench.refuse(1));
        bench.heard();
        bench.send(0, Event::Init);
        assert_eq!(bench.heard(), "");
        bench.list(2, "a");
        assert_eq!(bench.heard(), "( a/1 )");
        bench.list(3, "b");
        assert_eq!(bench.heard(), "+b/1");
        bench.send(3, Event::Init);
        assert_eq!(bench.heard(), "");
        bench.list(4, "a");
        assert_eq!(bench.heard(), "(", "what was listed is waited for again");
    }

    #[test]
    fn where_nothing_may_be_listed_nothing_is_told_to_be_empty() {
        let mut bench = Bench::new();
        for place in [0, 1] {
            (0..=TRIES).for_each(|_| bench.refuse(place));
        }
        assert!(!bench.heard().contains(')'));
        bench.list(0, "a");
        assert_eq!(bench.heard(), "a/1 )");
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
        let names = ["b", " a", "b ", " "].map(str::to_owned);
        assert_eq!(Scope::of(&names), Scope::Namespaces(["a".to_owned(), "b".to_owned()].into()));
    }
}
