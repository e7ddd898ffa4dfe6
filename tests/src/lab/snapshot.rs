//! Guests that were booted once, kept whole.

use super::failure::LabError;
use super::image::Image;
use super::machine::{self, Machine, Plan};
use super::place::Place;
use super::{cache, recipe};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A booted guest of this image: modules loaded, udev settled, no network and no share yet. Made if it is not kept.
pub(crate) fn base(image: &Image, say: &dyn Fn(&str)) -> Result<PathBuf, LabError> {
    let of = image.folder.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("base-{}", recipe::digest(&[&of, &machine::shape()?]));
    let folder = cache::kept(&cache::folder()?, &name, |folder| {
        say("snapshot: booting a guest");
        save(image, folder)
    })?;
    Ok(folder.join("guest"))
}

fn save(image: &Image, folder: &Path) -> Result<(), LabError> {
    let scratch = tempfile::Builder::new()
        .prefix("ringfence-lab-")
        .tempdir()
        .map_err(LabError::io("make a folder for the guest"))?;
    let empty = scratch.path().join("empty");
    fs::create_dir(&empty).map_err(LabError::io("make a folder for the guest"))?;
    let plan = Plan {
        image: image.clone(),
        number: 1,
        folder: scratch.path().to_owned(),
        logs: scratch.path().to_owned(),
        host: empty.clone(),
        tree: empty,
    };
    let place = Place::new(Duration::from_secs(300), scratch.path())?;
    let mut machine = Machine::boot(&plan, &place)?;
    let tell = |why: LabError| why.with(&machine::tail(&plan.logs));
    // What the guest has read is in the host's memory as well; without it the snapshot is smaller.
    let lean = machine.agent.begin("sync; echo 3 >/proc/sys/vm/drop_caches", &[]);
    lean.and_then(|pid| machine.agent.finish(pid, "tidying up the guest", Duration::from_secs(60)))
        .map_err(tell)?;
    machine.monitor.save(&folder.join("guest")).map_err(tell)?;
    machine.quit();
    Ok(())
}
