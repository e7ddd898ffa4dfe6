//! Breaking things in a running cluster.

use super::address_plan::node_name;
use super::driver::Cluster;
use super::failure::ClusterError;
use super::namespace;
use super::stamp::{self, Micros};
use std::io;

/// What to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `SIGKILL` to corosync: the node lives on, alone, with the address.
    KillCorosync,
    /// The cable of the service network is out; the node lives on with the address.
    CutLink,
    /// The node loses power without anybody having asked its BMC.
    PowerCut,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::KillCorosync, Self::CutLink, Self::PowerCut];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KillCorosync => "kill-corosync",
            Self::CutLink => "cut-link",
            Self::PowerCut => "power-cut",
        }
    }
}

impl Cluster {
    /// Breaks something and returns when.
    pub fn inject(&self, fault: Fault, node: u8) -> Result<Micros, ClusterError> {
        match fault {
            Fault::KillCorosync => self.kill_corosync(node),
            Fault::CutLink => self.cut_link(node),
            Fault::PowerCut => self.power_off(node),
        }
    }

    /// Kills corosync on a node and returns when.
    pub fn kill_corosync(&self, node: u8) -> Result<Micros, ClusterError> {
        let what = format!("kill corosync on {}", node_name(node));
        let init = self.node_pid(node)?;
        let pid = namespace::processes_of(init)
            .into_iter()
            .find(|(_, name)| name == "corosync")
            .map(|(pid, _)| nix::unistd::Pid::from_raw(pid))
            .ok_or_else(|| ClusterError::Io(what.clone(), io::Error::other("it does not run")))?;
        let at = stamp::now();
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
            .map_err(|errno| ClusterError::Io(what, errno.into()))?;
        Ok(at)
    }

    /// Pulls the cable of the service network and returns when.
    pub fn cut_link(&self, node: u8) -> Result<Micros, ClusterError> {
        let at = stamp::now();
        self.ask(&format!("link {node} down"))?;
        Ok(at)
    }

    /// Puts the cable of the service network back.
    pub fn mend_link(&self, node: u8) -> Result<Micros, ClusterError> {
        let at = stamp::now();
        self.ask(&format!("link {node} up"))?;
        Ok(at)
    }

    /// Pulls a node's plug, without its BMC, and returns when.
    pub fn power_off(&self, node: u8) -> Result<Micros, ClusterError> {
        let at = stamp::now();
        self.ask(&format!("power {node} off"))?;
        Ok(at)
    }

    /// Gives a node power again, without its BMC.
    pub fn power_on(&self, node: u8) -> Result<Micros, ClusterError> {
        let at = stamp::now();
        self.ask(&format!("power {node} on"))?;
        Ok(at)
    }
}
