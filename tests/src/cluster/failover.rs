//! The story of one failover, picked out of a cluster's events, and whether it was a clean one.

use super::address_plan::{SERVICE_ADDRESS, node_name};
use super::stamp::{self, Micros};
use super::timeline::{Event, Kind};
use std::collections::BTreeSet;

/// One failover, from the fault to the first answer of the address on another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// The node that was broken.
    pub victim: u8,
    /// The node that answers now.
    pub survivor: Option<u8>,
    /// The steps, in the order they are meant to happen.
    pub steps: Vec<Step>,
}

/// One step of a failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub stage: Stage,
    /// When; `None` when it was not seen.
    pub at: Option<Micros>,
}

/// The stages of a failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The fault itself.
    Fault,
    /// A survivor's corosync lost the token.
    TokenLost,
    /// A survivor is in a new membership without the victim.
    NewMembership,
    /// The controller decided to fence.
    FencingDecided,
    /// The victim's power is gone.
    PowerCut,
    /// The victim's BMC answered "off" to a question asked after the decision.
    BmcSaysOff,
    /// The fence agent returned success to Pacemaker.
    FencingConfirmed,
    /// A survivor's kernel has the address.
    AddressUp,
    /// A client got an answer from the address on a survivor.
    FirstPing,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 9] = [
        Self::Fault,
        Self::TokenLost,
        Self::NewMembership,
        Self::FencingDecided,
        Self::PowerCut,
        Self::BmcSaysOff,
        Self::FencingConfirmed,
        Self::AddressUp,
        Self::FirstPing,
    ];

    /// A few words for a person.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::TokenLost => "detected: token lost",
            Self::NewMembership => "new membership",
            Self::FencingDecided => "fencing decided",
            Self::PowerCut => "power cut",
            Self::BmcSaysOff => "BMC says off",
            Self::FencingConfirmed => "fence agent returned",
            Self::AddressUp => "address up",
            Self::FirstPing => "first ping answered",
        }
    }

    /// One word for a machine.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::TokenLost => "token_lost",
            Self::NewMembership => "new_membership",
            Self::FencingDecided => "fencing_decided",
            Self::PowerCut => "power_cut",
            Self::BmcSaysOff => "bmc_says_off",
            Self::FencingConfirmed => "fencing_confirmed",
            Self::AddressUp => "address_up",
            Self::FirstPing => "first_ping",
        }
    }
}

impl Failover {
    /// Picks the story out of all events. `fault`: when the victim was broken.
    #[must_use]
    pub fn of(events: &[Event], victim: u8, fault: Micros) -> Self {
        let first = |since: Option<Micros>, wanted: &dyn Fn(&Event) -> bool| {
            let since = since?;
            events.iter().find(|event| event.at >= since && wanted(event))
        };
        let other = |event: &Event| event.node != Some(victim);
        let about_victim = |event: &Event| event.node == Some(victim);
        let at = |event: Option<&Event>| event.map(|event| event.at);

        let token_lost = at(first(Some(fault), &|event| event.kind == Kind::TokenLost && other(event)));
        let membership = at(first(token_lost, &|event| event.kind == Kind::NewMembership && other(event)));
        let decided =
            at(first(Some(fault), &|event| event.kind == Kind::FencingDecided && about_victim(event)));
        let cut = at(first(Some(fault), &|event| event.kind == Kind::PowerOff && about_victim(event)));
        let says_off = at(first(decided, &|event| {
            event.kind == Kind::BmcAsked && event.detail == "off" && about_victim(event)
        }));
        let confirmed =
            at(first(decided, &|event| event.kind == Kind::FencingConfirmed && about_victim(event)));
        // A log's stamp is the earliest that the event can have been. Where the BMC's own record shows, within what the log can
        // tell apart, that it was later, the BMC's is the better one; beyond that it stays and is a finding.
        let confirmed = match (confirmed, says_off) {
            (Some(logged), Some(answered))
                if (0..=stamp::log_resolution()).contains(&(answered - logged)) =>
            {
                Some(answered)
            }
            _ => confirmed,
        };
        let address = SERVICE_ADDRESS.to_string();
        let up = at(first(Some(fault), &|event| {
            event.kind == Kind::AddressUp && event.detail == address && other(event)
        }));
        let ping = first(Some(fault), &|event| event.kind == Kind::PingAnswered && other(event));

        let times = [Some(fault), token_lost, membership, decided, cut, says_off, confirmed, up, at(ping)];
        let steps = Stage::ALL.into_iter().zip(times).map(|(stage, at)| Step { stage, at }).collect();
        Self { victim, survivor: ping.and_then(|event| event.node), steps }
    }

    /// When a stage was reached.
    #[must_use]
    pub fn at(&self, stage: Stage) -> Option<Micros> {
        self.steps.iter().find(|step| step.stage == stage).and_then(|step| step.at)
    }

    /// Time from one stage to another.
    #[must_use]
    pub fn between(&self, from: Stage, to: Stage) -> Option<Micros> {
        Some(self.at(to)? - self.at(from)?)
    }

    /// From the cluster's decision to fence until the address answers on a survivor: the part that agents are answerable for.
    #[must_use]
    pub fn recovery(&self) -> Option<Micros> {
        self.between(Stage::FencingDecided, Stage::FirstPing)
    }

    /// Whether every stage was seen.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.steps.iter().all(|step| step.at.is_some())
    }

    /// Which stages were seen and which not, in words.
    #[must_use]
    pub fn last_seen(&self) -> String {
        let words = |seen: bool| -> Vec<&str> {
            self.steps
                .iter()
                .filter(|step| step.at.is_some() == seen)
                .map(|step| step.stage.label())
                .collect()
        };
        format!("seen: {}; not seen: {}", words(true).join(", "), words(false).join(", "))
    }

    /// What was wrong with it: an address that came up before the victim was known to be off, or a BMC that was not asked.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (earlier, later) in [
            (Stage::FencingDecided, Stage::BmcSaysOff),
            (Stage::PowerCut, Stage::FencingConfirmed),
            (Stage::BmcSaysOff, Stage::FencingConfirmed),
            (Stage::PowerCut, Stage::AddressUp),
            (Stage::FencingConfirmed, Stage::AddressUp),
            (Stage::AddressUp, Stage::FirstPing),
        ] {
            // What the observers write is stamped when they come to it, on a machine that runs a cluster besides: 20 ms are
            // no finding.
            match self.between(earlier, later) {
                Some(time) if time >= -20_000 => {}
                Some(time) => {
                    faults.push(format!("{} came {} µs before {}", later.label(), -time, earlier.label()));
                }
                None => faults.push(format!("{} or {} was not seen", earlier.label(), later.label())),
            }
        }
        faults
    }
}

/// Every moment at which more than one node had the service address, as the nodes' kernels and the switch saw it, or more than one
/// answered for it on the wire; empty is what a cluster is for.
#[must_use]
pub fn double_owners(events: &[Event]) -> Vec<String> {
    let address = SERVICE_ADDRESS.to_string();
    let mut holders = BTreeSet::new();
    let mut findings = Vec::new();
    for event in events {
        match (event.kind, event.node) {
            (Kind::AddressUp, Some(node)) if event.detail == address => {
                holders.insert(node);
                if holders.len() > 1 {
                    let names: Vec<String> = holders.iter().map(|node| node_name(*node)).collect();
                    findings.push(format!("{} have the address at {}", names.join(" and "), event.at));
                }
            }
            (Kind::AddressDown, Some(node)) if event.detail == address => {
                holders.remove(&node);
            }
            (Kind::PowerOff, Some(node)) => {
                holders.remove(&node);
            }
            (Kind::DoubleOwner, _) => findings.push(format!("on the wire at {}: {}", event.at, event.detail)),
            (Kind::LostTrack, _) => findings.push(format!("an observer lost track at {}", event.at)),
            _ => {}
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: Micros, node: u8, kind: Kind, detail: &str) -> Event {
        Event { at: at * 1_000_000, node: Some(node), kind, detail: detail.to_owned() }
    }

    fn clean() -> Vec<Event> {
        vec![
            event(1, 1, Kind::AddressUp, "10.77.0.50"),
            event(2, 1, Kind::PingAnswered, ""),
            event(11, 2, Kind::TokenLost, ""),
            event(12, 2, Kind::NewMembership, ""),
            event(13, 1, Kind::FencingDecided, ""),
            event(14, 1, Kind::BmcAsked, "on"),
            event(15, 1, Kind::BmcTold, "off"),
            event(16, 1, Kind::PowerOff, ""),
            event(17, 1, Kind::BmcAsked, "off"),
            event(18, 1, Kind::FencingConfirmed, ""),
            event(19, 2, Kind::AddressUp, "10.77.0.50"),
            event(20, 2, Kind::PingAnswered, ""),
        ]
    }

    #[test]
    fn a_clean_failover_has_no_faults() {
        let story = Failover::of(&clean(), 1, 10_000_000);
        assert!(story.is_complete(), "{}", story.last_seen());
        assert_eq!(story.survivor, Some(2));
        assert_eq!(story.recovery(), Some(7_000_000));
        assert_eq!(story.faults(), Vec::<String>::new());
        assert_eq!(double_owners(&clean()), Vec::<String>::new());
    }

    #[test]
    fn an_address_before_the_end_of_the_victim_is_found() {
        let mut events = clean();
        events.retain(|event| event.kind != Kind::PowerOff);
        assert_eq!(double_owners(&events).len(), 1);
        assert!(!Failover::of(&events, 1, 10_000_000).is_complete());

        let mut events = clean();
        events
            .iter_mut()
            .filter(|event| event.kind == Kind::FencingConfirmed)
            .for_each(|event| event.at = 19_500_000);
        let faults = Failover::of(&events, 1, 10_000_000).faults();
        assert_eq!(faults, ["address up came 500000 µs before fence agent returned"]);
    }

    #[test]
    fn a_log_that_cannot_tell_a_millisecond_is_no_finding() {
        let mut events = clean();
        events
            .iter_mut()
            .filter(|event| event.kind == Kind::FencingConfirmed)
            .for_each(|event| event.at = 16_999_000);
        events.sort_by_key(|event| event.at);
        let story = Failover::of(&events, 1, 10_000_000);
        assert_eq!(story.faults(), Vec::<String>::new());
        assert_eq!(story.at(Stage::FencingConfirmed), Some(17_000_000));

        events
            .iter_mut()
            .filter(|event| event.kind == Kind::FencingConfirmed)
            .for_each(|event| event.at = 16_500_000);
        assert_eq!(Failover::of(&events, 1, 10_000_000).faults().len(), 1, "half a second is one");
    }

    #[test]
    fn a_bmc_that_was_asked_only_before_the_decision_does_not_count() {
        let mut events = clean();
        events.iter_mut().filter(|event| event.detail == "off").for_each(|event| event.at = 12_500_000);
        events.sort_by_key(|event| event.at);
        assert!(
            Failover::of(&events, 1, 10_000_000).faults().iter().any(|fault| fault.contains("was not seen"))
        );
    }
}
