//! `tgtd`, the target daemon of the tgt project, through its own management socket: what tgtadm(8) speaks, without a
//! process for every question, and without a password in anybody's list of processes.

mod daemon;
mod grow;
mod listing;
mod request;
pub mod target;
pub mod unit;

pub use daemon::{Error, Tgtd};
pub use grow::{check as check_growing, grow};
pub use listing::{Lun, Session, Target, parse};
