//! What the state of a resource means for the cluster, and what an administrator must know of it.

use crate::events::{Connection, Disk, Resource, Role};
use crate::kernel_log::Parting;
use ocf_lib::resource::prelude::*;

/// What a message needs besides the state.
pub struct Told<'a> {
    pub name: &'a str,
    /// How an administrator calls drbdadm for this resource.
    pub adm: &'a str,
    pub parting: Parting,
}

/// The state for `monitor`.
pub fn state(told: &Told<'_>, seen: Option<&Resource>, report_degraded: bool) -> State {
    let name = told.name;
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
        if report_degraded { loneliness(told, resource).or_else(|| staleness(name, resource)) } else { None };
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
pub fn loneliness(told: &Told<'_>, resource: &Resource) -> Option<String> {
    let Told { name, adm, parting } = told;
    let unconnected = resource.connections.iter().find(|peer| !peer.is_connected())?;
    let peer = &unconnected.peer;
    if !unconnected.stands_alone() {
        return Some(format!("{name} is not connected to {peer} ({})", unconnected.state));
    }
    // The node that loses is first: the other one's attempt would find the same split brain again. It may still be trying to
    // connect, which keeps it from being told anything else; if it is not, disconnect fails and nothing is lost by it. The other
    // may be trying, too: then its command is refused, and not needed.
    let lose =
        format!("{adm} disconnect {name}; {adm} secondary {name} && {adm} connect --discard-my-data {name}");
    Some(match parting {
        Parting::SplitBrain => format!(
            "split brain: {name} was changed here and on {peer}, each without the other (StandAlone). First, on the node whose \
             changes shall be LOST: {lose} - then, on the other: {adm} connect {name}"
        ),
        Parting::Asked => format!(
            "{name} was told on this node to disconnect from {peer} (StandAlone). To end that: {adm} connect {name}"
        ),
        Parting::Refused(words) => {
            format!("{name} gave up {peer} (StandAlone): {words} To try again: {adm} connect {name}")
        }
        // To connect is harmless: data that differs is refused again, and then the log has it.
        Parting::Unknown => format!(
            "{name} gave up {peer} (StandAlone): split brain or disconnected. To try again: {adm} connect {name} - if it is a \
             split brain, first, on the node whose changes shall be LOST: {lose}"
        ),
    })
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
