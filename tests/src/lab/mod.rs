//! Virtual machines with a kernel of their own, for what namespaces cannot show: DRBD, LVM, multipath, targets, file systems.
//!
//! ```no_run
//! use ringfence_tests::lab::{Disks, Lab, LabError, Needs};
//! # fn main() -> Result<(), LabError> {
//! let lab = Lab::open(&Needs::of("drbd_promotes").agents())?;
//! let [a, b] = lab.guests(["n1", "n2"], &Disks::none().own("data", 64))?;
//! a.put("/etc/drbd.d/r0.res", "...")?;
//! a.run("drbdadm create-md --force r0 && drbdadm up r0")?.ok()?;
//! let started = a.agent("ringfence/drbd", "start", &[("drbd_resource", "r0")])?.ok()?;
//! assert_eq!(started.code, 0);
//! b.cut_power();
//! # Ok(())
//! # }
//! ```
//!
//! # How to write a case
//! A file `tests/tests/lab_SUBJECT.rs` that begins with `#![cfg(feature = "lab")]`; each test opens a lab of its own and unwraps: an
//! error shows the command with its output and the console's tail. They run under `cargo xtask lab [--only FILTER]`, or by hand with
//! `cargo nextest run -p ringfence-tests --features lab --test lab_SUBJECT`. Logs: `target/tmp/lab-logs/TEST/GUEST/` (console, QEMU's
//! words, every command with its output).
//!
//! # What a guest is
//! Debian's kernel and packages (`tests/lab/packages.txt`: LVM, multipath, DRBD 8.4, LIO, tgt, Pacemaker and upstream's agents ...),
//! booted once, kept as a snapshot and restored for each test in about a second: no test sees what another one did. Emulated in
//! software, so some ten times slower than the host. Pid 1 is a small script and there is no systemd: a daemon that a test needs is
//! started by it (`multipathd`, `iscsid`, `tgtd`, `corosync`). udev runs; the modules of `tests/lab/modules.txt` are loaded.
//!
//! * Disks come by name: [`Disks`], `/dev/lab/NAME` in the guest. They are all that survives [`Guest::cut_power`]; `/etc` does not,
//!   but for the files of [`Guest::put`].
//! * The network: n1 is 10.55.0.11, n2 10.55.0.12, the host 10.55.0.1 ([`Lab::host`]); [`Guest::link`] pulls the cable.
//! * The project's agents are in `/usr/lib/ocf/resource.d/ringfence` and `/usr/sbin` when [`Needs::agents`] says so; upstream's are
//!   where Debian has them. [`Guest::agent`] calls either.
//! * With [`Needs::cluster`] two guests are a running Pacemaker cluster, a third one its client; [`bmc`] gives them power that a
//!   fence agent can cut; [`Writer`] is a client that counts what was acknowledged. With [`Needs::zfs`] a guest has OpenZFS,
//!   with [`Needs::xen`] it is a Xen host ([`xen`]).
//! * `/host` is a folder of the host ([`Lab::share`]), the same in all guests.
//!
//! Everything lives in a network and a process namespace that the kernel ends with the test, also when it is killed; nothing of the
//! host changes. Images and snapshots are kept in the user's cache folder under a name made of all that went in.
#![allow(
    clippy::disallowed_methods,
    reason = "a test bed runs the host's tools and waits for them; ocf_lib::cmd is the subject here, not the observer"
)]

mod agent;
pub mod bmc;
mod cache;
mod client;
mod debian;
mod disks;
mod failure;
mod guest;
mod image;
mod json_line;
mod machine;
mod monitor;
pub mod needs;
mod open;
mod pair;
mod place;
mod ran;
mod recipe;
mod snapshot;
mod tool;
pub mod xen;
mod zfs;

pub use client::{Writer, Written};
pub use debian::{Sources, backports};
pub use disks::Disks;
pub use failure::LabError;
pub use guest::{Guest, Running};
pub use open::{Lab, Layer, Needs, prepare};
pub use ran::Ran;
