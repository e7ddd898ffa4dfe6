//! Guests that were booted once, kept whole.

use super::failure::LabError;
use super::image::Image;
use super::machine::{self, Machine, Over, Plan};
use super::place::Place;
use super::{cache, recipe};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For each step in the booted guest.
const LIMIT: Duration = Duration::from_secs(600);

/// A booted guest of this image: modules loaded, udev settled, no network and no share yet. Made if it is not kept.
///
/// With a layer over the image what that needs at boot has run, too.
pub(crate) fn base(image: &Image, over: Option<&Over>, say: &dyn Fn(&str)) -> Result<PathBuf, LabError> {
    let of = image.folder.file_name().unwrap_or_default().to_string_lossy();
    let start = over.map_or("", |over| over.start);
    let parts = [&*of, &machine::shape(over)?, recipe::GUEST_WARM, start];
    let prefix = over.map_or("", |over| over.name);
    let name = format!("{prefix}base-{}", recipe::digest(&parts));
    let folder = cache::kept(&cache::folder()?, &name, |folder| {
        say(&format!("snapshot: booting a guest{}{prefix}", if over.is_some() { " with " } else { "" }));
        save(image, over, folder)
    })?;
    Ok(folder.join("guest"))
}

fn save(image: &Image, over: Option<&Over>, folder: &Path) -> Result<(), LabError> {
    let scratch = tempfile::Builder::new()
        .prefix("ringfence-lab-")
        .tempdir()
        .map_err(LabError::io("make a folder for the guest"))?;
    let empty = scratch.path().join("empty");
    fs::create_dir(&empty).map_err(LabError::io("make a folder for the guest"))?;
    let plan = Plan {
        image: image.clone(),
        over: over.cloned(),
        number: 1,
        folder: scratch.path().to_owned(),
        logs: scratch.path().to_owned(),
        host: empty.clone(),
        tree: empty,
    };
    let place = Place::new(Duration::from_secs(1800), scratch.path())?;
    let mut machine = Machine::boot(&plan, &place)?;
    let tell = |why: LabError| why.with(&machine::tail(&plan.logs));
    if let Some(over) = over {
        let starting = machine.agent.begin(over.start, &[]).map_err(tell)?;
        machine.agent.finish(starting, &format!("the start of {}", over.name), LIMIT).map_err(tell)?;
    }
    // A disk that comes and goes: what udev runs for one is in the guest's memory then, which saves every test a second.
    let disk = json!({"node-name": "warm", "driver": "null-co", "size": 64 << 20, "read-zeroes": true});
    let device = json!({"driver": "scsi-hd", "id": "warm", "drive": "warm", "bus": "scsi.0", "scsi-id": 7, "serial": "warm"});
    let mut warm = || {
        machine.monitor.execute("blockdev-add", &disk)?;
        machine.monitor.execute("device_add", &device)?;
        let there = machine.agent.begin(recipe::GUEST_WARM, &["there"])?;
        machine.agent.finish(there, "warming the guest up", LIMIT)?;
        machine.monitor.execute("device_del", &json!({"id": "warm"}))?;
        let gone = machine.agent.begin(recipe::GUEST_WARM, &["gone"])?;
        machine.agent.finish(gone, "warming the guest up", LIMIT)
    };
    warm().map_err(tell)?;
    machine.monitor.save(&folder.join("guest")).map_err(tell)?;
    Ok(())
}
