//! `faults`: any agent, many schedules of faults, and the question whether a success was ever false.
//!
//! A schedule follows from its seed alone. Whether a success was true is asked of the device's own power, of the kernel
//! and the files, and of a clean monitor once the fault is over: never of the call that had the fault.

mod busy;
mod command;
mod crew;
mod device;
mod machine;
mod order;
mod power;
mod process;
mod programs;
mod resource;
mod survey;
mod table;
mod wrong;

pub use command::{command, run, worker, worker_command};
