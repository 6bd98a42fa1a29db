//! Which bot has which path of which host, and who waits for one.
//!
//! A claim is given once, to whoever is looked at first, and is then in the bot's `status.claims`. Kept here it counts
//! before the watch has shown it, and every other bot is asked in no time.

mod conflict;
mod state;

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crds::api::{Claim, ClaimKind, Expose, ExposeSpec};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::runtime::watcher::Event;

use super::{Cause, Triggers, version};
use crate::controller::{Guarded, Owner};
use conflict::Asked;
use state::{Entry, Group, State};

pub use conflict::HostConflict;

/// The hosts of all bots that one operator sees.
#[derive(Debug)]
pub struct Hosts {
    state: Mutex<State>,
    triggers: Triggers,
}
impl Hosts {
    /// None yet; whoever may have moved up is looked at again.
    pub fn new(triggers: Triggers) -> Self {
        Self { state: Mutex::default(), triggers }
    }

    /// Takes in what the watch shows of a bot.
    pub fn observe(&self, event: &Event<Guarded>) {
        let mut state = self.lock();
        let moved_up = match event {
            Event::Apply(bot) | Event::InitApply(bot) => {
                if let (Event::InitApply(_), Some(uid)) = (event, &bot.meta().uid) {
                    state.listed.get_or_insert_default().insert(uid.clone());
                }
                seen(&mut state, bot)
            }
            Event::Delete(bot) => {
                let uid = bot.meta().uid.clone().unwrap_or_default();
                state.change(&uid, |_| None)
            }
            Event::Init => {
                state.listed = Some(HashSet::new());
                Vec::new()
            }
            Event::InitDone => {
                let listed = state.listed.take().unwrap_or_default();
                let gone: Vec<_> = state.bots.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                gone.iter().flat_map(|uid| state.change(uid, |_| None)).collect()
            }
        };
        drop(state);
        self.look_again(&moved_up);
    }

    /// Gives a bot what it asks for, or says who has it.
    ///
    /// # Errors
    /// When another bot's older claim stands against it.
    pub fn claim(&self, owner: &Owner, expose: &Expose) -> Result<(), HostConflict> {
        let mut state = self.lock();
        let asked = Asked::of(expose);
        let conflict = state.conflict(owner, &asked);
        let moved_up = state.change(&owner.uid, |entry| {
            // The watch has shown whoever asks; of a bot that is gone meanwhile nothing would take the claim back.
            let mut entry = entry?;
            entry.waits = conflict.is_some();
            if conflict.is_none() && entry.since(&asked).is_none() {
                entry.given = Some(Claim {
                    kind: ClaimKind::Host,
                    host: asked.host.clone(),
                    path: asked.path.clone(),
                    since: Time(whole_second(Timestamp::now())),
                });
            }
            entry.asked = Some(asked);
            Some(entry)
        });
        drop(state);
        self.look_again(&moved_up);
        conflict.map_or(Ok(()), Err)
    }

    /// Keeps that a bot asks for nothing any more. The watch has shown it; but a look at its former spec, which was under
    /// way then, has asked since.
    pub fn waive(&self, owner: &Owner) {
        let moved_up =
            self.lock().change(&owner.uid, |entry| Some(Entry { asked: None, waits: false, ..entry? }));
        self.look_again(&moved_up);
    }

    /// Takes back what is in no status: another process may have given it to somebody else since. Every bot is looked
    /// at after that.
    pub fn begin_term(&self) {
        let mut state = self.lock();
        let uids: Vec<_> = state.bots.keys().cloned().collect();
        for uid in uids {
            state.change(&uid, |entry| Some(Entry { given: None, waits: false, ..entry? }));
        }
    }

    /// The claims of a bot on what its spec asks for now.
    pub fn claims(&self, owner: &Owner) -> Vec<Claim> {
        let state = self.lock();
        let Some(entry) = state.bots.get(&owner.uid) else { return Vec::new() };
        let Some(asked) = &entry.asked else { return Vec::new() };
        let of = |claim: &&Claim| claim.host == asked.host && claim.path == asked.path;
        entry.claims().find(of).cloned().into_iter().collect()
    }

    /// Keeps the claims that a bot's status has from now on; what is not among them is free.
    pub fn settle(&self, owner: &Owner, version: u64, claims: &[Claim]) {
        let mut state = self.lock();
        let moved_up = state.change(&owner.uid, |entry| {
            let mut entry = entry?;
            entry.version = entry.version.max(version);
            entry.recorded = claims.to_vec();
            // What a refused spec did not record may have been made already.
            let asked = entry.asked.as_ref();
            entry.given = entry.given.filter(|given| {
                !claims.contains(given)
                    && asked.is_some_and(|asked| asked.host == given.host && asked.path == given.path)
            });
            Some(entry)
        });
        drop(state);
        self.look_again(&moved_up);
    }

    /// The bots of a namespace whose certificate is issued into the Secret.
    pub fn certificate_users(&self, namespace: &str, secret: &str) -> Vec<Owner> {
        let state = self.lock();
        let group = Group::Secret(namespace.to_owned(), secret.to_owned());
        // Also who is in conflict since: its last good children are served with this certificate.
        let users = state.members(&group).filter(|(_, entry)| entry.holds_what_it_asks());
        users.map(|(_, entry)| entry.owner.clone()).collect()
    }

    /// Whether there is this very bot.
    pub fn knows(&self, owner: &Owner) -> bool {
        self.triggers.uid(&owner.bot_ref()).as_deref() == Some(&owner.uid)
    }

    fn look_again(&self, bots: &[Owner]) {
        for bot in bots {
            self.triggers.one(bot.bot_ref(), Cause::Stages);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
fn seen(state: &mut State, bot: &Guarded) -> Vec<Owner> {
    let Some(owner) = Owner::of(bot.meta()) else { return Vec::new() };
    // What cannot be read keeps what it has.
    let Ok(read) = &bot.0 else { return Vec::new() };
    let generation = read.metadata.generation.unwrap_or_default();
    let seen_version = version(&read.metadata);
    let spec = read.spec.section("expose");
    let claims = || read.status.as_ref().map(|status| status.claims.clone()).unwrap_or_default();
    let known = state.bots.get(&owner.uid);
    if known.is_none() && spec.is_none() && claims().is_empty() {
        return Vec::new();
    }
    let uid = owner.uid.clone();
    state.change(&uid, |entry| {
        let mut entry = entry.unwrap_or(Entry {
            owner,
            generation: -1,
            version: 0,
            asked: None,
            recorded: Vec::new(),
            given: None,
            waits: false,
        });
        if seen_version >= entry.version {
            entry.version = seen_version;
            entry.recorded = claims();
        }
        if entry.generation != generation {
            entry.generation = generation;
            match spec.map(serde_json::from_value::<ExposeSpec>) {
                None => entry.asked = None,
                Some(Ok(spec)) => {
                    if let Ok(expose) = Expose::new(spec) {
                        entry.asked = Some(Asked::of(&expose));
                    }
                }
                // A spec that is refused leaves the children as they are.
                Some(Err(_)) => {}
            }
        }
        Some(entry)
    })
}
/// What the status keeps.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use futures::channel::mpsc::UnboundedReceiver;
    use kube::runtime::reflector;
    use serde_json::{Value, json};

    use crate::controller::BotRef;

    struct Bench {
        hosts: Hosts,
        bots: reflector::store::Writer<Guarded>,
        triggered: UnboundedReceiver<BotRef>,
        version: u64,
    }

    impl Bench {
        fn new() -> Self {
            let (store, bots) = reflector::store();
            let (triggers, triggered) = Triggers::new(store);
            Self { hosts: Hosts::new(triggers), bots, triggered, version: 0 }
        }

        fn bot(&mut self, name: &str, expose: Option<Value>, claims: Value) -> Guarded {
            self.version += 1;
            let mut bot = json!({
                "metadata": {"name": name, "namespace": "n", "uid": name, "generation": self.version,
                    "resourceVersion": self.version.to_string()},
                "spec": {}, "status": {"claims": claims}
            });
            if let Some(expose) = expose {
                bot["spec"]["expose"] = expose;
            }
            serde_json::from_value(bot).unwrap()
        }

        fn apply(&mut self, name: &str, expose: Option<Value>, claims: Value) {
            let event = Event::Apply(self.bot(name, expose, claims));
            self.bots.apply_watcher_event(&event);
            self.hosts.observe(&event);
        }

        fn claim(&self, name: &str, expose: Value) -> Result<(), HostConflict> {
            let expose = Expose::new(serde_json::from_value(expose).unwrap()).unwrap();
            self.hosts.claim(&owner(name), &expose)
        }

        /// Applies and claims, as the watch and a reconcile do.
        fn ask(&mut self, name: &str, expose: Value) -> Result<(), HostConflict> {
            let claims = json!(self.hosts.claims(&owner(name)));
            self.apply(name, Some(expose.clone()), claims);
            self.claim(name, expose)
        }

        fn triggered(&mut self) -> Vec<String> {
            let mut names = BTreeSet::new();
            while let Ok(bot) = self.triggered.try_recv() {
                names.insert(bot.name);
            }
            names.into_iter().collect()
        }
    }

    fn owner(name: &str) -> Owner {
        Owner { name: name.into(), namespace: "n".into(), uid: name.into() }
    }

    fn at(path: &str) -> Value {
        json!({"host": "a.b", "path": path, "ingress": {}})
    }

    fn issued(path: &str, secret: &str, issuer: &str) -> Value {
        let mut expose = at(path);
        expose["tls"] = json!({"secretName": secret, "issuerRef": {"kind": "Issuer", "name": issuer}});
        expose
    }

    fn claimed(path: &str, second: i64) -> Value {
        json!([{"kind": "Host", "host": "a.b", "path": path, "since": Timestamp::from_second(second).unwrap()}])
    }

    #[test]
    fn the_first_claim_holds_and_the_other_moves_up_when_it_goes_or_moves() {
        let mut bench = Bench::new();
        bench.ask("z", at("/x")).unwrap();
        let refused = bench.ask("a", at("/x")).unwrap_err().to_string();
        for part in ["/x", "a.b", "n/z", "another path"] {
            assert!(refused.contains(part), "`{part}` is not in: {refused}");
        }
        bench.ask("b", at("/y")).unwrap();
        bench.triggered();

        bench.ask("z", at("/z")).unwrap();
        assert!(bench.claim("a", at("/x")).is_err(), "its Ingress is still there");
        bench.hosts.settle(&owner("z"), 0, &bench.hosts.claims(&owner("z")));
        assert_eq!(bench.triggered(), ["a"]);
        bench.claim("a", at("/x")).unwrap();

        let gone = bench.bot("a", Some(at("/x")), json!([]));
        assert!(bench.ask("z", at("/x")).is_err());
        bench.triggered();
        bench.hosts.observe(&Event::Delete(gone));
        assert_eq!(bench.triggered(), ["z"]);
        bench.claim("z", at("/x")).unwrap();
    }

    #[test]
    fn who_asks_for_nothing_any_more_claims_nothing_although_an_older_look_asked_after_that() {
        let mut bench = Bench::new();
        bench.ask("a", at("/x")).unwrap();
        let recorded = json!(bench.hosts.claims(&owner("a")));
        bench.apply("a", None, recorded);
        bench.claim("a", at("/x")).unwrap();
        bench.hosts.waive(&owner("a"));
        assert_eq!(bench.hosts.claims(&owner("a")), []);
        bench.hosts.settle(&owner("a"), 0, &[]);
        bench.ask("b", at("/x")).unwrap();
    }

    #[test]
    fn what_a_former_term_gave_and_never_recorded_does_not_outrank_what_another_process_recorded() {
        let mut bench = Bench::new();
        bench.ask("a", at("/x")).unwrap();
        assert!(bench.ask("b", at("/x")).is_err());
        bench.hosts.begin_term();
        let later = Timestamp::now().as_second() + 60;
        bench.apply("b", Some(at("/x")), claimed("/x", later));
        assert!(bench.claim("a", at("/x")).is_err());
        bench.claim("b", at("/x")).unwrap();
    }

    #[test]
    fn a_bot_that_is_gone_is_given_nothing() {
        let mut bench = Bench::new();
        let gone = bench.bot("a", Some(at("/x")), json!([]));
        bench.ask("a", at("/x")).unwrap();
        bench.hosts.observe(&Event::Delete(gone));
        bench.claim("a", at("/x")).unwrap();
        assert_eq!(bench.hosts.claims(&owner("a")), []);
        bench.ask("b", at("/x")).unwrap();
    }

    #[test]
    fn what_the_status_says_counts_after_a_restart_and_of_equal_times_the_lower_uid() {
        let mut bench = Bench::new();
        bench.apply("a", Some(at("/x")), claimed("/x", 20));
        bench.apply("b", Some(at("/x")), claimed("/x", 10));
        assert!(bench.claim("a", at("/x")).is_err());
        bench.claim("b", at("/x")).unwrap();

        let mut bench = Bench::new();
        bench.apply("b", Some(at("/x")), claimed("/x", 10));
        bench.apply("a", Some(at("/x")), claimed("/x", 10));
        assert!(bench.claim("b", at("/x")).is_err());
        bench.claim("a", at("/x")).unwrap();
    }

    #[test]
    fn an_old_view_of_the_status_takes_nothing_away() {
        let mut bench = Bench::new();
        bench.ask("a", at("/x")).unwrap();
        let claims = bench.hosts.claims(&owner("a"));
        bench.hosts.settle(&owner("a"), 100, &claims);
        bench.apply("a", Some(at("/x")), json!([]));
        assert!(bench.ask("b", at("/x")).is_err());
    }

    #[test]
    fn bots_of_a_host_share_their_certificate_and_the_younger_one_adapts() {
        let mut bench = Bench::new();
        bench.ask("a", issued("/a", "tls", "ca")).unwrap();
        let refused = bench.ask("b", issued("/b", "other", "ca")).unwrap_err().to_string();
        assert!(refused.contains("Secret tls of Issuer ca") && refused.contains("Secret other"), "{refused}");
        assert!(bench.ask("b", issued("/b", "tls", "staging")).is_err());
        assert!(bench.ask("b", at("/b")).is_err(), "keys would travel in the clear");
        bench.ask("b", issued("/b", "tls", "ca")).unwrap();
        let users = |bench: &Bench| -> Vec<String> {
            bench.hosts.certificate_users("n", "tls").into_iter().map(|owner| owner.name).collect()
        };
        assert_eq!(users(&bench), ["a", "b"]);
        bench.triggered();

        bench.apply("b", None, json!(bench.hosts.claims(&owner("b"))));
        assert_eq!(users(&bench), ["a"]);
        assert_eq!(bench.triggered(), ["a"], "the list of owners is shorter");
    }

    #[test]
    fn who_is_refused_makes_way_for_those_who_were_refused_for_its_sake() {
        let mut bench = Bench::new();
        for (second, name) in ["a", "b", "c"].into_iter().enumerate() {
            let path = format!("/{name}");
            bench.apply(name, Some(issued(&path, "old", "ca")), claimed(&path, second as i64));
            bench.claim(name, issued(&path, "old", "ca")).unwrap();
        }
        assert!(bench.ask("c", issued("/c", "new", "ca")).is_err());
        bench.ask("a", issued("/a", "new", "ca")).unwrap();
        bench.triggered();
        assert!(bench.claim("c", issued("/c", "new", "ca")).is_err(), "b stands against it yet");
        assert!(bench.claim("b", issued("/b", "old", "ca")).is_err());
        assert_eq!(bench.triggered(), ["c"]);
        bench.claim("c", issued("/c", "new", "ca")).unwrap();
    }

    #[test]
    fn one_secret_is_issued_for_one_host() {
        let mut bench = Bench::new();
        bench.ask("a", issued("/", "tls", "ca")).unwrap();
        let mut other = issued("/", "tls", "ca");
        other["host"] = json!("c.d");
        let refused = bench.ask("b", other.clone()).unwrap_err().to_string();
        assert!(refused.contains("tls") && refused.contains("a.b") && refused.contains("n/a"), "{refused}");
        other["tls"] = json!({"secretName": "tls"});
        bench.ask("b", other).unwrap();
    }

    #[test]
    fn deletions_that_a_broken_watch_missed_are_noticed_by_the_next_list() {
        let mut bench = Bench::new();
        bench.ask("a", at("/x")).unwrap();
        assert!(bench.ask("b", at("/x")).is_err());
        bench.triggered();
        let b = bench.bot("b", Some(at("/x")), json!([]));
        bench.hosts.observe(&Event::Init);
        bench.hosts.observe(&Event::InitApply(b));
        bench.hosts.observe(&Event::InitDone);
        assert_eq!(bench.triggered(), ["b"]);
        bench.claim("b", at("/x")).unwrap();
    }
}
