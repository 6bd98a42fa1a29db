//! What is known of each bot's address, and which of two that meet goes first.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crds::api::Claim;
use jiff::Timestamp;

use super::conflict::{Asked, HostConflict};
use crate::controller::Owner;

/// What is known of one bot.
#[derive(Clone, Debug)]
pub struct Entry {
    pub owner: Owner,
    pub generation: i64,
    pub version: u64,
    pub asked: Option<Asked>,
    /// As the status has it.
    pub recorded: Vec<Claim>,
    /// Given, and not in the status yet.
    pub given: Option<Claim>,
    /// It was refused; worth another look when a neighbour goes or moves.
    pub waits: bool,
}

impl Entry {
    /// All that it has.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.recorded.iter().chain(&self.given)
    }

    /// Since when it has what is asked for.
    pub fn since(&self, asked: &Asked) -> Option<Timestamp> {
        let of = |claim: &&Claim| claim.host == asked.host && claim.path == asked.path;
        self.claims().filter(of).map(|claim| claim.since.0).min()
    }

    /// Since when it has any path of the host.
    pub fn since_on(&self, host: &str) -> Option<Timestamp> {
        self.claims().filter(|claim| claim.host == host).map(|claim| claim.since.0).min()
    }

    /// Whether it has what it asks for.
    pub fn holds_what_it_asks(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| self.since(asked).is_some())
    }

    fn name(&self) -> String {
        format!("{}/{}", self.owner.namespace, self.owner.name)
    }

    /// Those with whom it has to do.
    fn groups(&self) -> BTreeSet<Group> {
        let mut groups: BTreeSet<_> = self.claims().map(|claim| Group::Host(claim.host.clone())).collect();
        if let Some(asked) = &self.asked {
            groups.insert(Group::Host(asked.host.clone()));
            if let Some((secret, _)) = asked.issued() {
                groups.insert(Group::Secret(self.owner.namespace.clone(), secret.to_owned()));
            }
        }
        groups
    }
}

/// Bots that have to do with each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Host(String),
    Secret(String, String),
}

/// What is known of all.
#[derive(Debug, Default)]
pub struct State {
    pub bots: HashMap<String, Entry>,
    groups: BTreeMap<Group, BTreeSet<String>>,
    pub listed: Option<HashSet<String>>,
}

impl State {
    /// The bots of a group, by their UIDs.
    pub fn members<'a>(&'a self, group: &Group) -> impl Iterator<Item = (&'a String, &'a Entry)> {
        let uids = self.groups.get(group).into_iter().flatten();
        uids.filter_map(|uid| self.bots.get_key_value(uid))
    }

    /// Changes one entry, keeps the groups in step, and says who should be looked at again for it.
    pub fn change(&mut self, uid: &str, change: impl FnOnce(Option<Entry>) -> Option<Entry>) -> Vec<Owner> {
        let before = self.bots.remove(uid);
        let after =
            change(before.clone()).filter(|entry| entry.asked.is_some() || entry.claims().next().is_some());
        let groups = |entry: &Option<Entry>| entry.as_ref().map(Entry::groups).unwrap_or_default();
        let (old, new) = (groups(&before), groups(&after));
        for group in old.difference(&new) {
            if let Some(members) = self.groups.get_mut(group) {
                members.remove(uid);
                if members.is_empty() {
                    self.groups.remove(group);
                }
            }
        }
        for group in new.difference(&old) {
            self.groups.entry(group.clone()).or_default().insert(uid.to_owned());
        }
        let asked = |entry: &Option<Entry>| entry.as_ref().and_then(|entry| entry.asked.clone());
        let held = |entry: &Option<Entry>| -> BTreeSet<(String, String)> {
            let claims = entry.iter().flat_map(Entry::claims);
            claims.map(|claim| (claim.host.clone(), claim.path.clone())).collect()
        };
        let waits = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.waits);
        // Who is refused stands against nobody any more.
        let gave_way = !waits(&before) && waits(&after);
        let freed = gave_way || !held(&before).is_subset(&held(&after));
        let other = before.is_some() && asked(&before) != asked(&after);
        let mut again = BTreeMap::new();
        if freed || other {
            // Who waits may move up; who has its place may now stand against an older neighbour.
            let tls = |entry: &Option<Entry>| asked(entry).and_then(|asked| asked.tls);
            let all = after.is_some() && tls(&before) != tls(&after);
            for group in old.union(&new) {
                let members = self.members(group).filter(|(_, entry)| all || entry.waits);
                again.extend(members.map(|(uid, entry)| (uid.clone(), entry.owner.clone())));
            }
        }
        if let Some(after) = after {
            self.bots.insert(uid.to_owned(), after);
        }
        again.into_values().collect()
    }

    /// Who stands against what a bot asks for.
    pub fn conflict(&self, owner: &Owner, asked: &Asked) -> Option<HostConflict> {
        let own = self.bots.get(&owner.uid);
        let rank = |since: Option<Timestamp>, uid: &str| (since.unwrap_or(Timestamp::MAX), uid.to_owned());
        let host = Group::Host(asked.host.clone());
        let others = || self.members(&host).filter(|(uid, _)| **uid != owner.uid);
        let own_rank = rank(own.and_then(|own| own.since(asked)), &owner.uid);
        for (uid, other) in others() {
            let since = other.since(asked);
            if since.is_some() && rank(since, uid) < own_rank {
                return Some(HostConflict::Taken {
                    host: asked.host.clone(),
                    path: asked.path.clone(),
                    holder: other.name(),
                });
            }
        }
        let own_rank = rank(own.and_then(|own| own.since_on(&asked.host)), &owner.uid);
        for (uid, other) in others() {
            let Some(theirs) = &other.asked else { continue };
            let older = rank(other.since_on(&asked.host), uid) < own_rank;
            let near = other.owner.namespace == owner.namespace && theirs.host == asked.host;
            if near && older && !other.waits && other.holds_what_it_asks() && theirs.tls != asked.tls {
                return Some(HostConflict::Certificate {
                    host: asked.host.clone(),
                    holder: other.name(),
                    theirs: theirs.certificate(),
                    ours: asked.certificate(),
                });
            }
        }
        let (secret, _) = asked.issued()?;
        for (uid, other) in self.members(&Group::Secret(owner.namespace.clone(), secret.to_owned())) {
            let Some(theirs) = &other.asked else { continue };
            let older = rank(other.since_on(&theirs.host), uid) < own_rank;
            if *uid != owner.uid
                && older
                && !other.waits
                && other.holds_what_it_asks()
                && theirs.host != asked.host
            {
                return Some(HostConflict::Secret {
                    secret: secret.to_owned(),
                    host: theirs.host.clone(),
                    holder: other.name(),
                });
            }
        }
        None
    }
}
