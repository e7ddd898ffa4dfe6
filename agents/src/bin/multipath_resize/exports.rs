//! The units of iSCSI targets on this host, by what they are made of: LIO's from configfs, tgtd's from its socket.

use crate::stack::{Export, Exporter, Size};
use crate::sysfs::Host;
use ocf_lib::deadline::Deadline;
use ocf_lib::resource::code::Fault;
use ringfence_agents::iscsi::configfs::Kernel;
use ringfence_agents::iscsi::lio::{self, Lio};
use ringfence_agents::iscsi::tgt;
use std::path::Path;
use std::time::Duration;

/// A daemon that does not answer must not hold up a monitor.
const ANSWER: Duration = Duration::from_secs(3);

/// All that is exported here.
///
/// # Errors
/// When a target does not answer: what it exports is then not known.
pub fn all(host: &Host) -> Result<Vec<Export>, Fault> {
    let lio = tree(host);
    let mut found = Vec::new();
    for place in lio::all(&lio)? {
        let path = place.device(&lio)?;
        if path.is_empty() {
            continue;
        }
        // A block device behind a file object is asked by the kernel itself.
        let is_file = Path::new(&path).is_file();
        let bytes =
            if is_file { place.fixed_size(&lio)?.map_or(Size::Same, Size::Bytes) } else { Size::Same };
        found.push(Export { by: Exporter::Lio(place), path, bytes });
    }
    let targets = match host.tgtd.targets(Deadline::after(ANSWER)) {
        Ok(targets) => targets,
        Err(tgt::Error::NotRunning) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    for target in targets {
        for lun in target.luns {
            let Some(path) = lun.path else { continue };
            let by = Exporter::Tgt { target: target.name.clone(), number: lun.number, store: lun.store };
            found.push(Export { by, path, bytes: Size::Megabytes(lun.megabytes) });
        }
    }
    Ok(found)
}

/// LIO, wherever it is looked at.
pub fn tree(host: &Host) -> Lio {
    Lio::of(Box::new(Kernel), &host.lio)
}

/// Those of a device, by the kernel's name.
pub fn of_device(host: &Host, all: &[Export], name: &str) -> Vec<Export> {
    let is_it = |export: &&Export| host.of_node(Path::new(&export.path)).is_ok_and(|of| of == name);
    all.iter().filter(is_it).cloned().collect()
}

/// Those of a file, by its real path.
pub fn of_file(all: &[Export], file: &Path) -> Vec<Export> {
    let is_it = |export: &&Export| std::fs::canonicalize(&export.path).is_ok_and(|path| path == file);
    all.iter().filter(is_it).cloned().collect()
}
