//! What happened in a cluster and when: the observers' records and the daemons' logs, read into one list.

use super::event_log::lines;
use super::stamp::{Micros, split_log_line};

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A node got power.
    PowerOn,
    /// A node is dead: every process gone, its cables out.
    PowerOff,
    /// A BMC was asked for the power state; the detail is its answer.
    BmcAsked,
    /// A BMC was told to change the power state; the detail is what to.
    BmcTold,
    /// A link of the switch was put down or up.
    Link,
    /// A node's kernel got an address (the detail).
    AddressUp,
    /// A node's kernel lost an address (the detail).
    AddressDown,
    /// The address answers a ping, from this node, after silence or after another node.
    PingAnswered,
    /// The address stopped answering; the stamp is that of the last answer.
    PingSilent,
    /// Another node than before answers ARP requests for the address.
    ArpOwner,
    /// One ARP request was answered by more than one node.
    DoubleOwner,
    /// Corosync noted that the link to a peer is down.
    LinkDown,
    /// Corosync lost the token.
    TokenLost,
    /// Corosync formed a new membership.
    NewMembership,
    /// Pacemaker's controller decided to have a node fenced; the node is the target, not the author.
    FencingDecided,
    /// The fence agent returned success; the node is the target.
    FencingConfirmed,
    /// The fence agent returned failure; the node is the target.
    FencingFailed,
    /// A node's observer lost track of its kernel's messages: address intervals are not complete.
    LostTrack,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Micros,
    /// The node it is about, or whose log tells of it.
    pub node: Option<u8>,
    /// What.
    pub kind: Kind,
    /// The source's own words, or an address, or a state.
    pub detail: String,
}

/// Reads the records of one cluster.
pub(crate) struct Sources {
    near: Micros,
    events: Vec<Event>,
}

impl Sources {
    /// `near`: a point of the cluster's life, for logs whose stamps have no year.
    pub(crate) fn new(near: Micros) -> Self {
        Self { near, events: Vec::new() }
    }

    fn add(&mut self, at: Micros, node: Option<u8>, kind: Kind, detail: &str) {
        self.events.push(Event { at, node, kind, detail: detail.to_owned() });
    }

    /// The switch's record.
    pub(crate) fn switch(&mut self, text: &str) {
        for (at, line) in lines(text) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (node, kind, detail) = match words.as_slice() {
                ["node", node, "on"] => (node, Kind::PowerOn, ""),
                ["node", node, "off"] => (node, Kind::PowerOff, ""),
                ["node", node, "link", state] => (node, Kind::Link, *state),
                ["bmc", node, "get", state] => (node, Kind::BmcAsked, *state),
                ["bmc", node, "set", state] => (node, Kind::BmcTold, *state),
                _ => continue,
            };
            self.add(at, node.parse().ok(), kind, detail);
        }
    }

    /// The observer's record.
    pub(crate) fn observer(&mut self, text: &str) {
        for (at, line) in lines(text) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["ping", node] => self.add(at, node.parse().ok(), Kind::PingAnswered, ""),
                ["ping", "silent", "since", last, "from", node] => {
                    self.add(last.parse().unwrap_or(at), node.parse().ok(), Kind::PingSilent, "");
                }
                ["arp", node] => self.add(at, node.parse().ok(), Kind::ArpOwner, ""),
                ["double", ..] => self.add(at, None, Kind::DoubleOwner, line),
                _ => {}
            }
        }
    }

    /// A node's own record of its addresses.
    pub(crate) fn node(&mut self, node: u8, text: &str) {
        for (at, line) in lines(text) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["address", "+", address] => self.add(at, Some(node), Kind::AddressUp, address),
                ["address", "-", address] => self.add(at, Some(node), Kind::AddressDown, address),
                ["address", "lost-track"] => self.add(at, Some(node), Kind::LostTrack, ""),
                _ => {}
            }
        }
    }

    /// A node's corosync log.
    pub(crate) fn corosync(&mut self, node: u8, text: &str) {
        for line in text.lines() {
            let Some((at, rest)) = split_log_line(line, self.near) else { continue };
            let kind = if rest.contains("A processor failed") {
                Kind::TokenLost
            } else if rest.contains("A new membership") {
                Kind::NewMembership
            } else if rest.contains("link: host:") && rest.contains("is down") {
                Kind::LinkDown
            } else {
                continue;
            };
            self.add(at, Some(node), kind, rest);
        }
    }

    /// A node's Pacemaker log.
    pub(crate) fn pacemaker(&mut self, _author: u8, text: &str) {
        for line in text.lines() {
            let Some((at, rest)) = split_log_line(line, self.near) else { continue };
            if rest.contains("pacemaker-controld") && rest.contains("Requesting fencing (") {
                self.add(at, target_of(rest), Kind::FencingDecided, rest);
            } else if rest.contains("pacemaker-fenced") && rest.contains("Operation 'off' [") {
                let kind =
                    if rest.contains("returned 0") { Kind::FencingConfirmed } else { Kind::FencingFailed };
                self.add(at, target_of(rest), kind, rest);
            }
        }
    }

    /// All events in the order of time.
    pub(crate) fn into_events(mut self) -> Vec<Event> {
        self.events.sort_by_key(|event| event.at);
        self.events
    }
}

/// The node that a line about fencing is about: `targeting n1`, `targeting node n1` or `of node n1`.
fn target_of(text: &str) -> Option<u8> {
    let after = text.split_once("targeting ").or_else(|| text.split_once(" of "))?.1;
    let after = after.strip_prefix("node ").unwrap_or(after);
    let name: &str = after.split(|letter: char| !letter.is_ascii_alphanumeric()).next()?;
    name.strip_prefix('n')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-21 02:48:20 UTC
    const NEAR: Micros = 1_795_229_300_000_000;

    fn read(fill: impl FnOnce(&mut Sources)) -> Vec<(i64, Option<u8>, Kind)> {
        let mut sources = Sources::new(NEAR);
        fill(&mut sources);
        sources
            .into_events()
            .into_iter()
            .map(|event| ((event.at - NEAR) / 1000, event.node, event.kind))
            .collect()
    }

    #[test]
    fn the_daemons_own_words_become_events() {
        let events = read(|sources| {
            sources.corosync(
                2,
                "Nov 21 02:48:21.147 [3] n2 corosync notice  [TOTEM ] Token has not been received in 1237 ms \n\
                 Nov 21 02:48:21.559 [3] n2 corosync notice  [TOTEM ] A processor failed, forming new configuration: token timed out (1650ms), waiting 1980ms for consensus.\n\
                 Nov 21 02:48:20.123 [3] n2 corosync info    [KNET  ] link: host: 1 link: 0 is down\n\
                 Nov 21 02:48:23.539 [3] n2 corosync notice  [TOTEM ] A new membership (2.11) was formed. Members left: 1\n",
            );
            sources.pacemaker(
                2,
                "Nov 21 02:48:23.607 n2 pacemaker-controld  [30] (controld_execute_fence_action) \tnotice: Requesting fencing (off) of node n1 | action=1 timeout=60000\n\
                 Nov 21 02:48:26.119 n2 pacemaker-fenced    [26] (log_async_result) \tnotice: Operation 'off' [121] targeting n1 using fence-n1 returned 0 | call 6 from pacemaker-controld.\n\
                 Nov 21 02:48:26.120 n2 pacemaker-fenced    [26] (log_async_result) \tnotice: Operation 'off' [121] targeting n3 using fence-n3 returned 1 | call 6 from pacemaker-controld.\n",
            );
        });
        assert_eq!(
            events,
            [
                (123, Some(2), Kind::LinkDown),
                (1559, Some(2), Kind::TokenLost),
                (3539, Some(2), Kind::NewMembership),
                (3607, Some(1), Kind::FencingDecided),
                (6119, Some(1), Kind::FencingConfirmed),
                (6120, Some(3), Kind::FencingFailed),
            ]
        );
    }

    #[test]
    fn the_observers_records_become_events() {
        let at = |millis: i64| NEAR + millis * 1000;
        let events = read(|sources| {
            sources.switch(&format!(
                "{}\tbmc 1 set off\n{}\tnode 1 off\n{}\tbmc 1 get off\n",
                at(4),
                at(5),
                at(6)
            ));
            sources.observer(&format!(
                "{}\tping silent since {} from 1\n{}\tping 2\n{}\tdouble [1, 2]\n",
                at(9),
                at(3),
                at(10),
                at(11)
            ));
            sources.node(2, &format!("{}\taddress + 10.77.0.50\n", at(8)));
        });
        assert_eq!(
            events,
            [
                (3, Some(1), Kind::PingSilent),
                (4, Some(1), Kind::BmcTold),
                (5, Some(1), Kind::PowerOff),
                (6, Some(1), Kind::BmcAsked),
                (8, Some(2), Kind::AddressUp),
                (10, Some(2), Kind::PingAnswered),
                (11, None, Kind::DoubleOwner),
            ]
        );
    }
}
