//! A real corosync and Pacemaker cluster in namespaces, with a real IPMI simulator as each node's BMC.
//!
//! A node has network, mount, pid, UTS and IPC namespaces of its own; its BMC's chassis power *is* the life of its pid 1. All of a
//! cluster lives under one outer pid, mount and network namespace, whose pid 1 is the switch between the nodes. The kernel ends all
//! of it when that process dies, and it dies with its driver ([`Cluster`], or the program that holds it) on every path, `SIGKILL`
//! included. Nothing on the host changes: state is a tmpfs inside, agents are laid over the nodes' own view of the file system.
//!
//! ```no_run
//! use ringfence_tests::cluster::{Agents, Cluster, NodeProgram};
//! use std::time::Duration;
//! # fn main() -> Result<(), ringfence_tests::cluster::ClusterError> {
//! let cluster = Cluster::builder(NodeProgram::new("rf-node")).nodes(3).agents(Agents::Upstream).up()?;
//! cluster.wait_until_started(Duration::from_secs(40))?;
//! let at = cluster.kill_corosync(1)?;
//! let story = cluster.wait_for_failover(1, at, Duration::from_secs(40))?;
//! assert!(story.faults().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Needs root and the packages that [`needs::missing`] names.
#![allow(
    clippy::disallowed_methods,
    reason = "a test bed runs the cluster's own tools and waits for them; ocf_lib::cmd is the subject here, not the observer"
)]

pub mod address_plan;
mod address_watch;
mod chassis_hook;
mod config;
mod control;
mod driver;
mod event_log;
pub mod failover;
mod failure;
mod fault;
mod ip_command;
mod kept;
mod look;
pub(crate) mod mounts;
mod namespace;
pub mod needs;
mod node_init;
pub mod node_program;
mod observer;
mod spec;
pub mod stamp;
pub mod status;
mod supervisor;
mod switch;
pub mod timeline;

pub use driver::{Builder, Cluster};
pub use failure::ClusterError;
pub use fault::Fault;
pub use kept::Kept;
pub use node_program::NodeProgram;
pub use spec::Agents;
