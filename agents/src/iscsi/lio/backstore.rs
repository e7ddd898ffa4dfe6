//! What LIO exports: an object `core/<kind>_<number>/<name>`, one for each number, as rtslib makes them.

use super::Lio;
use crate::iscsi::configfs::{is_absent, is_in_use};
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use ocf_lib::resource::runfile::RunFile;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How LIO reaches the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A block device, past the page cache.
    Block,
    /// A file, or a block device through the page cache.
    File,
    /// A SCSI device whose commands are passed on.
    Passthrough,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Block, Self::File, Self::Passthrough];

    fn prefix(self) -> &'static str {
        match self {
            Self::Block => "iblock_",
            Self::File => "fileio_",
            Self::Passthrough => "pscsi_",
        }
    }
}

/// Where an object is: `iblock_0/lu1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub hba: String,
    pub name: String,
}

impl Place {
    /// Out of a link's text: `../../../../../../target/core/iblock_0/lu1`.
    pub fn from_link(text: &str) -> Option<Self> {
        let mut parts = text.rsplit('/');
        let (name, hba, core) = (parts.next()?, parts.next()?, parts.next()?);
        (core == "core").then(|| Self { hba: hba.to_owned(), name: name.to_owned() })
    }

    fn path(&self, lio: &Lio) -> PathBuf {
        lio.root.join("core").join(&self.hba).join(&self.name)
    }

    /// The device or file that it was made of; empty for one that is not finished.
    pub fn device(&self, lio: &Lio) -> Result<String, Fault> {
        lio.objects().read(&self.path(lio).join("udev_path"))
    }

    pub fn object(&self, lio: &Lio) -> PathBuf {
        self.path(lio)
    }

    /// The size in bytes that it tells of a file, which is the one from when it was made or last grown. `None`: it has none of its
    /// own, and the kernel asks the device each time.
    pub fn fixed_size(&self, lio: &Lio) -> Result<Option<u64>, Fault> {
        if !self.hba.starts_with(Kind::File.prefix()) {
            return Ok(None);
        }
        // `fd_show_configfs_dev_params` of target_core_file.c: File: /srv/disk  Size: 16777216  Mode: O_DSYNC
        let info = lio.objects().read(&self.path(lio).join("info"))?;
        let size = info.rsplit("Size: ").next().and_then(|rest| rest.split_ascii_whitespace().next());
        Ok(size.and_then(|size| size.parse().ok()))
    }
}

/// Every object, of any kind and name.
pub fn all(lio: &Lio) -> Result<Vec<Place>, Fault> {
    let core = lio.root.join("core");
    let mut found = Vec::new();
    for hba in lio.objects().list(&core)? {
        if Kind::ALL.iter().any(|kind| hba.starts_with(kind.prefix())) {
            for name in lio.objects().list(&core.join(&hba))? {
                let place = Place { hba: hba.clone(), name };
                // Beside the objects there are attributes.
                if lio.objects().exists(&place.path(lio).join("udev_path"))? {
                    found.push(place);
                }
            }
        }
    }
    Ok(found)
}

/// Objects of that name, of any kind.
pub fn named(lio: &Lio, name: &str) -> Result<Vec<Place>, Fault> {
    let mut found = Vec::new();
    for hba in lio.objects().list(&lio.root.join("core"))? {
        if Kind::ALL.iter().any(|kind| hba.starts_with(kind.prefix())) {
            let place = Place { hba, name: name.to_owned() };
            if lio.objects().exists(&place.path(lio))? {
                found.push(place);
            }
        }
    }
    Ok(found)
}

/// Paths of units, of whatever fabric, that export the object.
pub fn exporters(lio: &Lio, place: &Place) -> Result<Vec<PathBuf>, Fault> {
    let objects = lio.objects();
    let mut found = Vec::new();
    for fabric in objects.list(&lio.root)?.iter().filter(|name| *name != "core") {
        for target in objects.list(&lio.root.join(fabric))? {
            let target = lio.root.join(fabric).join(target);
            for group in objects.list(&target)?.iter().filter(|name| name.starts_with("tpgt_")) {
                let units = target.join(group).join("lun");
                for unit in objects.list(&units)? {
                    let unit = units.join(unit);
                    let links = objects.links(&unit)?;
                    if links.iter().any(|(_, to)| Place::from_link(to).as_ref() == Some(place)) {
                        found.push(unit);
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Takes an object of the resource `owner` away, and the number that it had for itself.
pub fn remove(lio: &Lio, place: &Place, owner: &str, cx: &Cx) -> Result<(), Fault> {
    let objects = lio.objects();
    let path = place.path(lio);
    mark(owner, cx).write(&place.hba)?;
    for group in objects.list(&path.join("alua"))? {
        if group != "default_tg_pt_gp" {
            objects.rmdir(&path.join("alua").join(group))?;
        }
    }
    objects.rmdir(&path)?;
    give_back_number(lio, owner, cx)
}

/// Says which number a start takes, or a stop gives back. Without an object in it nobody could tell whose it is.
fn mark(name: &str, cx: &Cx) -> RunFile {
    RunFile::new(cx.run_dir().join(format!("iSCSILogicalUnit-{name}.hba")))
}

/// Gives back a number that one who was killed had taken or not given back, and nothing else.
pub fn give_back_number(lio: &Lio, name: &str, cx: &Cx) -> Result<(), Fault> {
    let mark = mark(name, cx);
    if let Some(hba) = mark.read()? {
        if Kind::ALL.iter().any(|kind| hba.starts_with(kind.prefix())) && !hba.contains('/') {
            let number = lio.root.join("core").join(hba);
            match lio.tree.rmdir(&number) {
                // The kernel refuses while there is an object in it, ours or another's.
                Err(error) if !is_absent(&error) && !is_in_use(&error) => {
                    return Err(
                        Fault::from(error).context(format_args!("cannot remove {}", number.display()))
                    );
                }
                Ok(()) | Err(_) => {}
            }
        }
        mark.remove()?;
    }
    Ok(())
}

/// What an object is to be.
pub struct Plan<'a> {
    pub name: &'a str,
    pub kind: Kind,
    pub path: &'a str,
    pub serial: &'a str,
    pub vendor: Option<&'a str>,
    pub product: Option<&'a str>,
    pub block_size: Option<u32>,
    pub write_cache: bool,
    /// Names and values under `attrib`.
    pub attributes: &'a [(&'a str, u32)],
}

impl Plan<'_> {
    /// Makes it, with everything that can only be set while nobody uses it.
    pub fn make(&self, lio: &Lio, cx: &Cx) -> Result<Place, Fault> {
        let place = self.place(lio, cx)?;
        let object = place.path(lio);
        let objects = lio.objects();
        objects.mkdir(&object)?;
        mark(self.name, cx).remove()?;
        let made = self
            .configure(lio, &object, cx)
            .map_err(|fault| fault.context(format_args!("cannot export {}", self.path)));
        if let Err(fault) = made {
            if let Err(left) = remove(lio, &place, self.name, cx) {
                cx.warn(left.reason());
            }
            return Err(fault);
        }
        Ok(place)
    }

    /// A number that nobody has, of whatever kind: rtslib counts so.
    fn place(&self, lio: &Lio, cx: &Cx) -> Result<Place, Fault> {
        let core = lio.root.join("core");
        let taken: Vec<u32> = lio
            .objects()
            .list(&core)?
            .iter()
            .filter_map(|hba| hba.rsplit_once('_').and_then(|(_, number)| number.parse().ok()))
            .collect();
        let number = (0..=u32::MAX).find(|number| !taken.contains(number)).unwrap_or(0);
        let hba = format!("{}{number}", self.kind.prefix());
        mark(self.name, cx).write(&hba)?;
        lio.objects().mkdir(&core.join(&hba))?;
        Ok(Place { hba, name: self.name.to_owned() })
    }

    fn configure(&self, lio: &Lio, object: &Path, cx: &Cx) -> Result<(), Fault> {
        let objects = lio.objects();
        let control = |text: &str| objects.write(&object.join("control"), text);
        match self.kind {
            Kind::Block => {
                control(&format!("udev_path={}", self.path))?;
                control("readonly=0")?;
            }
            Kind::File => {
                control(&self.file()?)?;
                if self.write_cache {
                    control("fd_buffered_io=1")?;
                }
            }
            Kind::Passthrough => control(&self.scsi_address(lio)?)?,
        }
        objects.write(&object.join("udev_path"), self.path)?;
        objects.write(&object.join("enable"), "1")?;
        self.identify(lio, object, cx)?;
        if let Some(size) = self.block_size {
            objects.write(&object.join("attrib/block_size"), &size.to_string())?;
        }
        for (name, value) in self.attributes {
            objects.write(&object.join("attrib").join(name), &value.to_string())?;
        }
        Ok(())
    }

    fn identify(&self, lio: &Lio, object: &Path, cx: &Cx) -> Result<(), Fault> {
        let objects = lio.objects();
        let wwn = object.join("wwn");
        let serial = objects.write(&wwn.join("vpd_unit_serial"), self.serial);
        if self.kind == Kind::Passthrough {
            // Its own is told to initiators.
            return Ok(());
        }
        serial?;
        if let Some(product) = self.product {
            objects.write(&wwn.join("product_id"), product)?;
        }
        if let Some(vendor) = self.vendor {
            // Linux 4.21 and later.
            if let Err(fault) = objects.write(&wwn.join("vendor_id"), vendor) {
                cx.warn(format!("parameter vendor_id is not in force: {fault}"));
            }
        }
        self.restore_reservations(lio, object, cx);
        Ok(())
    }

    fn file(&self) -> Result<String, Fault> {
        let meta = std::fs::metadata(self.path)
            .map_err(|error| Fault::from(error).context(format_args!("cannot look at {}", self.path)))?;
        if meta.file_type().is_block_device() {
            return Ok(format!("fd_dev_name={}", self.path));
        }
        if !meta.is_file() || meta.len() == 0 {
            return Err(Fault::args("it is neither a block device nor a file with something in it"));
        }
        Ok(format!("fd_dev_name={},fd_dev_size={}", self.path, meta.len()))
    }

    /// sysfs names a SCSI device after its address: host, channel, target, unit.
    fn scsi_address(&self, lio: &Lio) -> Result<String, Fault> {
        let meta = std::fs::metadata(self.path)?;
        let class = if meta.file_type().is_block_device() { "block" } else { "char" };
        let (major, minor) = (nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev()));
        let link = lio.devices.join(format!("{class}/{major}:{minor}/device"));
        let device = std::fs::read_link(link).ok();
        let name = device.as_deref().and_then(Path::file_name).and_then(std::ffi::OsStr::to_str);
        let numbers: Vec<&str> = name.unwrap_or_default().split(':').collect();
        match numbers.as_slice() {
            [host, channel, target, unit] => Ok(format!(
                "scsi_host_id={host},scsi_channel_id={channel},scsi_target_id={target},scsi_lun_id={unit}"
            )),
            _ => Err(Fault::args("it is not a SCSI device, as liot_bstype=pscsi needs")),
        }
    }

    /// Reservations that were to survive a power loss are in a file named after the serial number; the kernel wants to
    /// be told of them (`target_core_pr.c`). Nobody can reserve where its folder is missing.
    fn restore_reservations(&self, lio: &Lio, object: &Path, cx: &Cx) {
        let Ok(base) = lio.objects().read(&lio.root.join("dbroot")) else { return };
        if base.is_empty() {
            return;
        }
        for folder in ["pr", "alua"] {
            let folder = Path::new(&base).join(folder);
            if let Err(error) = std::fs::create_dir_all(&folder) {
                cx.warn(format!(
                    "initiators cannot reserve units: cannot make {}: {error}",
                    folder.display()
                ));
            }
        }
        let kept = Path::new(&base).join(format!("pr/aptpl_{}", self.serial));
        let Ok(text) = std::fs::read_to_string(&kept) else { return };
        for registration in registrations(&text) {
            if let Err(fault) = lio.objects().write(&object.join("pr/res_aptpl_metadata"), &registration) {
                cx.warn(format!("a reservation in {} is lost: {fault}", kept.display()));
            }
        }
    }
}

/// Each registration of the kernel's file as the one line that it takes back.
fn registrations(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut current: Option<Vec<&str>> = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with("PR_REG_START:") {
            current = Some(Vec::new());
        } else if line.starts_with("PR_REG_END:") {
            all.extend(current.take().map(|words| words.join(",")));
        } else if let Some(words) = &mut current {
            words.extend(line.split_whitespace());
        }
    }
    all
}

/// Makes a unit as large as the file behind it has become. A block device's size is asked anew by the kernel itself.
/// `size`: bytes.
pub fn grow(lio: &Lio, place: &Place, device: &str, size: u64) -> Result<(), Fault> {
    if !place.hba.starts_with(Kind::File.prefix()) {
        return Ok(());
    }
    lio.objects().write(&place.path(lio).join("control"), &format!("fd_dev_name={device},fd_dev_size={size}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_tells_its_object() {
        let place = Place::from_link("../../../../../../target/core/iblock_0/lu1").unwrap();
        assert_eq!((place.hba.as_str(), place.name.as_str()), ("iblock_0", "lu1"));
        assert_eq!(Place::from_link("../../lun/lun_1"), None);
    }

    #[test]
    fn reservations_are_given_back_as_the_kernel_wrote_them() {
        let text = "PR_REG_START: 0\ninitiator_fabric=iSCSI\nsa_res_key=1\nres_holder=0\nPR_REG_END: 0\n\
                    PR_REG_START: 1\ninitiator_fabric=iSCSI\nPR_REG_END: 1\nPR_REG_START: 2\ncut off";
        assert_eq!(
            registrations(text),
            ["initiator_fabric=iSCSI,sa_res_key=1,res_holder=0", "initiator_fabric=iSCSI"]
        );
    }
}
