//! iSCSI targets: the userland daemon `tgtd` and the kernel's own target (LIO), and the words of a configuration that
//! both share.

pub mod configfs;
pub mod implementation;
pub mod lio;
pub mod lock;
pub mod names;
pub mod portal;
pub mod serial;
pub mod tgt;
