//! How fit a node is to be promoted, by what its DRBD says: the rules of upstream's agent.

use crate::events::{Connection, Disk, Resource, Role};
use ocf_lib::resource::param::{Content, FromParam};
use ocf_lib::resource::prelude::*;

/// The four steps of parameter `adjust_master_score`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Only data that was consistent once.
    pub consistent: i32,
    /// Only a peer's data is up to date.
    pub remote: i32,
    /// Ours is, but nobody knows what a peer has.
    pub alone: i32,
    /// Ours is, and so is known what the others have.
    pub full: i32,
    /// Whether these are what was asked for. As upstream, a list that is none is reported and replaced, not refused.
    pub as_given: bool,
}

impl FromParam for Steps {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        let numbers: Vec<i32> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
        Ok(match *numbers {
            [consistent, remote, alone, full]
                if text.split_whitespace().count() == 4 && numbers.is_sorted() =>
            {
                Self { consistent, remote, alone, full, as_given: true }
            }
            _ => Self { consistent: 0, remote: 10, alone: 1000, full: 10000, as_given: false },
        })
    }
}

/// A connected peer that is primary and has all of the data.
pub fn healthy_primary(resource: &Resource) -> Option<&Connection> {
    let healthy =
        |peer: &&Connection| peer.role == Role::Primary && peer.is_connected() && peer.all_up_to_date();
    resource.connections.iter().find(healthy)
}

/// The score. What is not above 0 is taken away: a negative one makes Pacemaker move instances about.
pub fn score(resource: &Resource, steps: Steps) -> Score {
    match rule(resource, steps) {
        Score::Of(value) if value <= 0 => Score::Never,
        told @ (Score::Keep | Score::Never | Score::Of(_)) => told,
    }
}

fn rule(resource: &Resource, steps: Steps) -> Score {
    let primary = resource.role == Role::Primary;
    let ours = |wanted: &[Disk]| resource.devices.iter().all(|device| wanted.contains(&device.disk));
    let good = resource.connections.iter().filter(|peer| peer.all_up_to_date()).count();
    if resource.devices.is_empty() || resource.devices.iter().any(|device| !device.quorum) {
        return Score::Never;
    }
    if ours(&[Disk::Diskless]) {
        return match good {
            0 => Score::Never,
            _ if primary || good == resource.connections.len() => Score::Of(steps.full - 1),
            _ => Score::Of(steps.alone - 1),
        };
    }
    if ours(&[Disk::UpToDate]) {
        // A peer that is not even configured (not connected yet) is not known either.
        let known = |peer: &Connection| !peer.disks.is_empty() && !peer.disks.contains(&Disk::Unknown);
        let all_known = !resource.connections.is_empty() && resource.connections.iter().all(known);
        return Score::Of(if primary || all_known { steps.full } else { steps.alone });
    }
    if good > 0 {
        return Score::Of(steps.remote);
    }
    // On its way to another state: the next monitor will know.
    if resource.devices.iter().any(|device| matches!(device.disk, Disk::Attaching | Disk::Negotiating)) {
        return Score::Keep;
    }
    if ours(&[Disk::Consistent, Disk::UpToDate]) { Score::Of(steps.consistent) } else { Score::Never }
}

#[cfg(test)]
mod tests;
