//! A client of persistent reservations: who may write to a shared disk.
//!
//! A node registers a key with the disk over every path it has (an *I_T nexus* in SCSI's words). One
//! registrant reserves the disk as "write exclusive, registrants only": from then on the disk itself
//! refuses the writes of whoever is not registered. A node is fenced by preempting its key.
//!
//! * [`Port`] is one path to a disk; [`scsi`] and [`nvme`] speak to it over a transport, of which
//!   [`sg`] and [`nvme_ioctl`] are the kernel's.
//! * [`Lun`] is one disk with all its paths, and what joining and fencing are there.
//! * [`device`] finds the paths behind a device file; [`node_key`] computes keys as upstream does;
//!   [`store`] keeps what a host knows of itself; [`fabric`] is what the agents share; [`watchdog`]
//!   is the check that reboots a host that was fenced.
//!
//! Standards: SPC-4 (T10/BSR INCITS 513) 5.12, 6.15 and 6.16; *NVM Express Base 2.0* 8.19 and 7.2 to 7.5.
//!
//! Invariants:
//! - A registration that is good is never taken away on the way to another one: only REGISTER AND
//!   IGNORE EXISTING KEY with the same key, never an unregistration.
//! - `Ok` of [`Lun::fence`] means: the disk listed the keys after the request, the victim's was not
//!   among them, our own was, and a reservation keeps others from writing.

pub mod device;
mod fabric;
mod fault;
mod key;
mod lun;
pub mod multipathd;
pub mod node_key;
pub mod nvme;
pub mod nvme_ioctl;
mod options;
mod port;
pub mod scsi;
mod scsi_data;
pub mod sg;
pub mod store;
pub mod watchdog;

pub use fabric::{Fabric, Knowledge, Proof};
pub use fault::Fault;
pub use key::Key;
pub use lun::{Joined, Lun, PathTo, Seen};
pub use options::{KeyList, words};
pub use port::{Keys, Kind, Port, Registration, Reservation};
