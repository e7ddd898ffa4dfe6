//! Guests of the lab that are Xen hosts: Debian's kernel as first domain of Debian's hypervisor, and tiny guests on it.
//!
//! ```no_run
//! use ringfence_tests::lab::{Disks, Lab, LabError, Needs, xen::{Domain, Watch}};
//! # fn main() -> Result<(), LabError> {
//! let lab = Lab::open(&Needs::of("a_xen_guest_moves").xen())?;
//! let [a, b] = lab.guests(["xa", "xb"], &Disks::none())?;
//! let vm = Domain::named("vm");
//! let watch = Watch::over(&[&a, &b])?;
//! vm.put(&a)?;
//! a.run("xl create -q /etc/xen/vm.cfg && xl migrate vm xb")?.ok()?;
//! let seen = watch.end()?;
//! seen.never_two(&vm)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What differs from an ordinary guest
//! * The machine: `qemu64`, 1280 MiB, of which 768 are the host's; two tiny guests fit beside it. The snapshot was taken with the
//!   hypervisor running, so a host is there in seconds, too, and every restored or newly powered one has no guest.
//! * The hypervisor is Debian's, built with shadow paging: without it no paravirtual guest migrates while it runs. Only `pv` works
//!   under emulation; `pvh` and `hvm` guests do not.
//! * The daemons of the tools run (`xenstored`, `xenconsoled`), consoles are logged to `/var/log/xen/console/guest-NAME.log`.
//! * `ssh` is a stand-in without encryption (`tests/lab/xen/ssh`), because `xl migrate` needs one and real encryption takes
//!   an emulated processor half a minute for a guest's memory. It asks for no key: a lab has nobody else on its network.
//! * `/usr/lib/lab/xen/kernel` and `/var/lib/lab/xen-guest` are the tiny guest's kernel and initramfs: [`Domain`].

mod domain;
mod hypervisor;
mod layer;
mod seen;
mod watch;

pub use domain::Domain;
pub use seen::{Life, Seen};
pub use watch::Watch;

use super::failure::LabError;
use super::image::Image;
use super::machine::Over;
use super::{debian, recipe};

/// Hypervisor and tools; made, in some five minutes of two idle processors, if they are not kept.
pub(crate) fn ready(image: &Image, say: &dyn Fn(&str)) -> Result<Over, LabError> {
    let package = debian::stands_for("xen-system-amd64", "xen-hypervisor-")?;
    let hypervisor = hypervisor::ready(&package, say)?;
    let layer = layer::ready(image, &package, say)?;
    Ok(Over { name: "xen", layer, hypervisor: Some(hypervisor), start: recipe::XEN_START })
}
