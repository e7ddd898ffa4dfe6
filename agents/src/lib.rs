//! Drivers that two agents share, or that are too big for one file: each named for the thing it drives.

pub mod detached;
pub mod iscsi;
pub mod net;
