//! What a cluster is made of: the message that the driver hands to the cluster's own pid 1.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Whose agents a cluster runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Agents {
    /// `ocf:heartbeat:IPaddr2` and the `fence_ipmilan` of the host.
    Upstream,
    /// `ocf:ringfence:IPaddr2` and the `fence_ipmilan` of an install tree, laid over the nodes' own view of the file system.
    Ours {
        /// The tree: `usr/lib/ocf/resource.d/ringfence/<Name>` and `usr/sbin/fence_<device>`.
        dir: PathBuf,
    },
}

impl Agents {
    /// The OCF provider of the resource agents.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        match self {
            Self::Upstream => "heartbeat",
            Self::Ours { .. } => "ringfence",
        }
    }
}

/// A cluster's whole description.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// How many nodes: 2 or 3.
    pub nodes: u8,
    pub agents: Agents,
    /// More CIB resources, as XML, next to the address and the fence devices.
    pub extra_resources: String,
    /// More CIB constraints, as XML.
    pub extra_constraints: String,
    /// The state directory; inside the cluster a tmpfs lies over it.
    pub dir: PathBuf,
    /// What stands before the helper's own arguments when the helper program is called.
    pub helper_args: Vec<String>,
}
