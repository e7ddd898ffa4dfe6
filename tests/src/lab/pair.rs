//! Two guests that are a Pacemaker cluster already, kept as a pair of snapshots.

use super::disks::Disks;
use super::failure::LabError;
use super::guest::Guest;
use super::open::{Lab, Layer, Needs};
use super::{cache, recipe};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The names of its nodes.
pub const NODES: [&str; 2] = ["n1", "n2"];
/// From no daemon at all to two nodes that have seen each other, on a busy host.
const LIMIT: Duration = Duration::from_secs(600);

/// The folder with one snapshot for each node, by name. Made if it is not kept.
pub(crate) fn ready(base: &Path, layer: Option<Layer>, say: &dyn Fn(&str)) -> Result<PathBuf, LabError> {
    let of = base.to_string_lossy();
    let scripts = [recipe::CLUSTER_START, recipe::CLUSTER_REST, recipe::GUEST_WAKE];
    let name = format!("cluster-{}", recipe::digest(&[&[&*of], scripts.as_slice()].concat()));
    cache::kept(&cache::folder()?, &name, |folder| {
        say("snapshot: starting a cluster of two");
        make(folder, layer)
    })
}

fn make(folder: &Path, layer: Option<Layer>) -> Result<(), LabError> {
    let lab = Lab::open(&Needs::of("lab-cluster").layer(layer))?;
    let guests = lab.guests(NODES, &Disks::none())?;
    let each = |step: &(dyn Fn(&Guest) -> Result<(), LabError> + Sync)| -> Result<(), LabError> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = guests.iter().map(|guest| scope.spawn(|| step(guest))).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err(LabError::Refused("a guest's thread ended".to_owned())))
            })
        })
    };
    each(&start)?;
    each(&|guest| guest.rest(recipe::CLUSTER_REST, &NODES, LIMIT))?;
    // Both stand still before either is written: they come up again at the same moment of their lives.
    for guest in &guests {
        guest.pause()?;
    }
    each(&|guest| guest.save(&folder.join(guest.name())))
}

/// Starts the daemons on one node, and waits until it is in.
pub(crate) fn start(guest: &Guest) -> Result<(), LabError> {
    let script = format!("set -- {}\n{}", NODES.join(" "), recipe::CLUSTER_START);
    guest.run_within(LIMIT, &script)?.ok().map(|_| ())
}
