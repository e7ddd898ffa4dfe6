//! LIO, the kernel's own target, through configfs, as rtslib (targetcli) lays it out: `core/iblock_0/<name>` is what is
//! exported, `iscsi/<target>/tpgt_1` who exports it, a link in `lun/lun_<n>` joins them. So targetcli shows and saves
//! what is made here, and what it made is found.

mod backstore;
mod mapping;
pub mod target;
pub mod unit;

pub use backstore::{Kind, Place, all, grow, named};

use crate::iscsi::configfs::{Kernel, Objects, Tree};
use ocf_lib::cmd::Cmd;
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/kernel/config/target";
const RTSLIB_DATABASE: &str = "/etc/target";
/// Agents, as targetcli by default, use one group of portals.
const GROUP: &str = "tpgt_1";

/// The target subsystem.
pub struct Lio {
    tree: Box<dyn Tree>,
    root: PathBuf,
    /// Where sysfs tells the SCSI address of a device (pscsi).
    devices: PathBuf,
}

impl Default for Lio {
    fn default() -> Self {
        Self { tree: Box::new(Kernel), root: ROOT.into(), devices: "/sys/dev".into() }
    }
}

impl Lio {
    /// Another tree, for tests.
    pub fn of(tree: Box<dyn Tree>, root: &Path) -> Self {
        Self { tree, root: root.into(), devices: root.join("no-devices") }
    }

    fn objects(&self) -> Objects<'_> {
        Objects(self.tree.as_ref())
    }

    fn group(&self, target: &str) -> PathBuf {
        self.root.join("iscsi").join(target).join(GROUP)
    }

    /// The subsystem, loaded if it is not: code 5 where the kernel has none.
    fn load(&self, cx: &Cx) -> Result<(), Fault> {
        let objects = self.objects();
        if !objects.exists(&self.root)? {
            if !Path::new("/sys/kernel/config").is_dir() {
                cx.run_checked(&Cmd::new("modprobe").arg("configfs")).map_err(|fault| missing(&fault))?;
            }
            cx.run_checked(&Cmd::new("modprobe").args(["-a", "target_core_mod", "iscsi_target_mod"]))
                .map_err(|fault| missing(&fault))?;
            if !objects.exists(&self.root)? {
                let mount = ["-t", "configfs", "configfs", "/sys/kernel/config"];
                cx.run_checked(&Cmd::new("mount").args(mount)).map_err(|fault| missing(&fault))?;
            }
        }
        self.choose_database();
        // Loads the module by itself where modprobe(8) is set up.
        objects.mkdir(&self.root.join("iscsi")).map_err(|fault| missing(&fault))
    }

    /// rtslib has the kernel keep reservations in /etc/target. They must be found there by whoever starts the unit next;
    /// the kernel lets the place be chosen until the first fabric is there.
    fn choose_database(&self) {
        let database = self.root.join("dbroot");
        let is_first = self.objects().exists(&self.root.join("iscsi")) == Ok(false);
        if is_first && Path::new(RTSLIB_DATABASE).is_dir() {
            // A kernel before 4.8 has no such file, and keeps to its default.
            let _ = self.objects().write(&database, RTSLIB_DATABASE);
        }
    }
}

fn missing(fault: &Fault) -> Fault {
    Fault::installed(format!(
        "the kernel has no iSCSI target (modules target_core_mod, iscsi_target_mod): {fault}"
    ))
}
