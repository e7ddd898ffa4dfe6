//! What the state of a resource means for the cluster, and what an administrator must know of it.

use crate::events::{Connection, Disk, Resource, Role};
use ocf_lib::resource::prelude::*;

/// The state for `monitor`.
pub fn state(name: &str, seen: Option<&Resource>, report_degraded: bool) -> State {
    let Some(resource) = seen else { return State::Stopped };
    if resource.devices.is_empty() {
        return State::Failed(format!("{name} is half configured: it has no volume"));
    }
    let nowhere = no_data(resource);
    let idle = resource.connections.iter().all(Connection::stands_alone);
    match resource.role {
        // Every read and write fails: whoever uses it is down already, and a start can attach the disk again.
        Role::Primary if nowhere => {
            return State::FailedPromoted(format!("{name} has lost its disk and no peer has current data"));
        }
        // Killed in the middle of its start: it waits for nothing that could mend it.
        Role::Secondary | Role::Unknown if nowhere && idle => {
            return State::Failed(format!(
                "{name} is half configured: neither its disk nor a peer is attached"
            ));
        }
        Role::Primary | Role::Secondary | Role::Unknown => {}
    }
    let lacking =
        if report_degraded { loneliness(name, resource).or_else(|| staleness(name, resource)) } else { None };
    match (resource.role, lacking) {
        (Role::Primary, None) => State::Promoted,
        (Role::Primary, Some(why)) => State::DegradedPromoted(why),
        (Role::Secondary | Role::Unknown, None) => State::Running,
        (Role::Secondary | Role::Unknown, Some(why)) => State::Degraded(why),
    }
}

/// A volume that was to have a disk has none, and no peer stands in.
fn no_data(resource: &Resource) -> bool {
    let lost = |disk: &Disk| matches!(disk, Disk::Diskless | Disk::Failed | Disk::Detaching);
    let peer_helps = resource.connections.iter().any(|peer| peer.is_connected() && peer.all_up_to_date());
    !peer_helps && resource.devices.iter().any(|device| lost(&device.disk) && !device.client)
}

/// Why it has no redundancy, and what to do. 8.4's `drbdadm status` does not even show a peer that it gave up.
pub fn loneliness(name: &str, resource: &Resource) -> Option<String> {
    let unconnected = resource.connections.iter().find(|peer| !peer.is_connected())?;
    if !unconnected.stands_alone() {
        return Some(format!("{name} is not connected to {} ({})", unconnected.peer, unconnected.state));
    }
    // DRBD keeps no record of why. Both commands are needed for a split brain; the second alone is enough otherwise, and
    // harmless: data that differs is refused again.
    Some(format!(
        "{name} gave up {} (StandAlone): split brain or disconnected. On the node whose changes shall be LOST: drbdadm secondary \
         {name} && drbdadm connect --discard-my-data {name}. On the other, or if nothing differs: drbdadm connect {name}",
        unconnected.peer
    ))
}

fn staleness(name: &str, resource: &Resource) -> Option<String> {
    let stale = resource.devices.iter().find(|device| device.disk != Disk::UpToDate && !device.client)?;
    Some(format!("the data of {name} on this node is not current ({:?})", stale.disk))
}

/// Promoted, and everybody has everything.
pub fn all_is_well(resource: &Resource) -> bool {
    resource.role == Role::Primary
        && resource.devices.iter().all(|device| device.disk == Disk::UpToDate)
        && !resource.connections.is_empty()
        && resource.connections.iter().all(Connection::all_up_to_date)
}
