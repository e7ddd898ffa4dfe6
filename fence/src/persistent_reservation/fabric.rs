//! All disks of one call: what `fence_scsi` and `fence_mpath` have in common.

use super::fault::Fault;
use super::key::Key;
use super::lun::{Joined, Lun, Seen};
use super::port::Port;
use super::store::Store;
use ocf_lib::fence::FenceError;
use std::collections::BTreeSet;

/// What is known of keys beside what the disks say.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// Keys that belong to other nodes than the victim.
    pub others: BTreeSet<Key>,
    /// Keys that this host has seen registered since it booted; empty where a key may have changed its owner meanwhile.
    pub seen: BTreeSet<Key>,
    /// The victim's key may by now be somebody else's: nobody is fenced while a key is there that nobody has.
    pub doubtful: bool,
}

/// What the disks say about a node that is to be fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It cannot write: its key is on no disk, our own is on each, and so is a reservation; and no key is there that
    /// might be its other one.
    Fenced,
    /// Its key is on at least one disk.
    Registered,
    /// Its key is not there, but nothing keeps an unregistered node from writing to this disk, or we are not in.
    Unguarded(String),
    /// It may be registered with one of these keys, which nobody is known to have.
    Unknown(BTreeSet<u64>),
}

/// The disks of one call, in the order that is the same on every host.
#[derive(Debug)]
pub struct Fabric<P> {
    pub luns: Vec<Lun<P>>,
    /// The victim that this run has preempted itself.
    preempted: Option<Key>,
}

impl<P: Port> Fabric<P> {
    pub const fn new(luns: Vec<Lun<P>>) -> Self {
        Self { luns, preempted: None }
    }

    /// The devices' names, for messages.
    pub fn names(&self) -> String {
        self.luns.iter().map(|lun| lun.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// What every disk says, over every path that answers.
    ///
    /// # Errors
    /// When a disk cannot be asked over any path, with its name.
    pub fn look(&mut self) -> Result<Vec<Vec<Seen>>, Fault> {
        if self.luns.is_empty() {
            // "Gone from all of no disks" would be a success that nobody observed.
            return Err(Fault::State("there is no device".into()));
        }
        self.luns
            .iter_mut()
            .map(|lun| lun.look_everywhere().map_err(|fault| fault.about(&lun.name)))
            .collect()
    }

    /// All keys that are registered anywhere.
    ///
    /// # Errors
    /// As of [`Self::look`].
    pub fn keys(&mut self) -> Result<BTreeSet<u64>, Fault> {
        Ok(self.look()?.into_iter().flatten().flat_map(|seen| seen.keys).collect())
    }

    /// `Some(true)` when `key` is registered on every disk, `Some(false)` when on none.
    ///
    /// # Errors
    /// As of [`Self::look`].
    pub fn registered(&mut self, key: Key) -> Result<Option<bool>, Fault> {
        let on = self.look()?.iter().flatten().map(|seen| seen.has(key)).collect::<Vec<_>>();
        Ok(if on.iter().all(|has| *has) {
            Some(true)
        } else if on.iter().any(|has| *has) {
            None
        } else {
            Some(false)
        })
    }

    /// For the framework's `on`: `Some(true)` only when `own` is a full member, `Some(false)` when it is nowhere.
    ///
    /// # Errors
    /// As of [`Self::look`].
    pub fn has_joined(&mut self, own: Key) -> Result<Option<bool>, Fault> {
        Ok(match self.registered(own)? {
            Some(true) if self.gap(own)?.is_none() => Some(true),
            Some(true) | None => None,
            Some(false) => Some(false),
        })
    }

    /// For the framework's `status`: whether `key` is on any disk; and where it is on none, why that keeps nobody out.
    ///
    /// # Errors
    /// As of [`Self::look`].
    pub fn status(&mut self, key: Key) -> Result<(bool, Option<&'static str>), Fault> {
        let any = self.registered(key)? != Some(false);
        let unguarded = !any && self.look()?.iter().flatten().any(|seen| !seen.is_guarded());
        let why = "the key is not registered, but without a reservation the node can write all the same";
        Ok((any, unguarded.then_some(why)))
    }

    /// Keeps which keys are registered now, for [`Knowledge::seen`] of a later call.
    ///
    /// # Errors
    /// A phrase for a log: nothing depends on it now.
    pub fn remember(&mut self, store: &Store) -> Result<(), String> {
        let kept = match self.keys() {
            Ok(keys) => store.remember(keys).map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        };
        kept.map_err(|why| format!("the keys that are registered now are not remembered: {why}"))
    }

    /// What keeps `own` from being a full member: the first disk that does not list it or has no reservation.
    ///
    /// # Errors
    /// As of [`Self::look`].
    pub fn gap(&mut self, own: Key) -> Result<Option<String>, Fault> {
        let all = self.look()?;
        Ok(self.luns.iter().zip(&all).find_map(|(lun, seen)| gap_of(&lun.name, seen, own)))
    }

    /// Registers this host everywhere.
    ///
    /// # Errors
    /// Of the first disk that refuses, with its name.
    pub fn join(&mut self, own: Key, aptpl: bool) -> Result<Vec<(String, Joined)>, Fault> {
        let join = |lun: &mut Lun<P>| {
            let joined = lun.join(own, aptpl).map_err(|fault| fault.about(&lun.name))?;
            Ok((lun.name.clone(), joined))
        };
        self.luns.iter_mut().map(join).collect()
    }

    /// Takes the victim away from one disk after the other. The first that refuses ends it: who lost one disk to
    /// the node that it is fencing must not win the next.
    ///
    /// # Errors
    /// Of that disk, with its name.
    pub fn fence(&mut self, own: Key, victim: Key, aptpl: bool) -> Result<(), Fault> {
        if self.look()?.iter().flatten().any(|seen| seen.has(victim)) {
            self.preempted = Some(victim);
        }
        for lun in &mut self.luns {
            lun.fence(own, victim, aptpl).map_err(|fault| fault.about(&lun.name))?;
        }
        Ok(())
    }

    /// What the disks say now about `victim`.
    ///
    /// # Errors
    /// As of [`Self::look`].
    pub fn proof(&mut self, own: Key, victim: Key, knowledge: &Knowledge) -> Result<Proof, Fault> {
        let all = self.look()?;
        let here: BTreeSet<u64> = all.iter().flatten().flat_map(|seen| seen.keys.iter().copied()).collect();
        let known = |key: u64| {
            key == own.number()
                || key == victim.number()
                || knowledge.others.iter().any(|other| other.number() == key)
        };
        let nobodys: BTreeSet<u64> = here.iter().copied().filter(|key| !known(*key)).collect();
        let registered = here.contains(&victim.number());
        let was_there = registered || self.preempted == Some(victim) || knowledge.seen.contains(&victim);
        if !nobodys.is_empty() && (knowledge.doubtful || !was_there) {
            return Ok(Proof::Unknown(nobodys));
        }
        if registered {
            return Ok(Proof::Registered);
        }
        Ok(match self.luns.iter().zip(&all).find_map(|(lun, seen)| gap_of(&lun.name, seen, own)) {
            Some(why) => Proof::Unguarded(why),
            None => Proof::Fenced,
        })
    }

    /// For the framework, before and after [`Self::deny`]: only [`Proof::Fenced`] is "no access".
    ///
    /// # Errors
    /// As of [`Self::look`].
    pub fn has_access(
        &mut self,
        own: Key,
        victim: Key,
        knowledge: &Knowledge,
    ) -> Result<Option<bool>, FenceError> {
        Ok(Some(self.proof(own, victim, knowledge)? != Proof::Fenced))
    }

    /// Fences `victim`, unless it is not certain that this is its key.
    ///
    /// # Errors
    /// Why not, with what to do.
    pub fn deny(
        &mut self,
        own: Key,
        victim: Key,
        knowledge: &Knowledge,
        aptpl: bool,
    ) -> Result<(), FenceError> {
        if own == victim {
            return Err(FenceError::usage("keys cannot be same. You can not fence yourself."));
        }
        if let Proof::Unknown(keys) = self.proof(own, victim, knowledge)? {
            let keys = keys.iter().map(|key| format!("{key:x}")).collect::<Vec<_>>().join(", ");
            let names = self.names();
            let why = if knowledge.doubtful {
                format!(
                    "{names}: nobody is known to have the registered key {keys}: the places in the node list may have moved"
                )
            } else {
                format!(
                    "{names}: key {victim} is not registered and never was as far as this host knows, but {keys} is, \
                     which nobody is known to have: it may be the node's"
                )
            };
            return Err(FenceError::unknown_plug(why)
                .hint("check key or key_value, or tell the keys of all nodes in known_keys"));
        }
        Ok(self.fence(own, victim, aptpl)?)
    }
}

fn gap_of(name: &str, seen: &[Seen], own: Key) -> Option<String> {
    seen.iter().find_map(|seen| {
        if !seen.has(own) {
            Some(format!("{name}: our own key {own} is not registered"))
        } else if let Some(reservation) = seen.reservation.filter(|r| !r.kind.lets_registrants_write()) {
            Some(format!("{name}: it is reserved '{}' by key {:x}", reservation.kind, reservation.key))
        } else if !seen.is_guarded() {
            Some(format!("{name}: no reservation keeps unregistered nodes from writing"))
        } else {
            None
        }
    })
}

impl From<Fault> for FenceError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unsupported(why) => Self::unsupported(why),
            Fault::Path(why) => Self::unreachable(why),
            Fault::Conflict => Self::refused("reservation conflict"),
            Fault::Failed(why) | Fault::State(why) => Self::refused(why),
            Fault::Fenced(why) => Self::refused(why).hint("reboot this host, or unfence it (action on)"),
        }
    }
}
