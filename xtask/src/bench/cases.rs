//! What is measured: the same work for ours and for upstream's.

use super::bed::{self, ADDRESS, Bed, Device};
use super::call::Call;
use crate::built::{Built, Kind};
use std::path::{Path, PathBuf};

/// One comparison.
pub struct Case {
    pub agent: &'static str,
    pub work: &'static str,
    /// The exit code that both must end with.
    pub code: i32,
    /// At most so many calls of each.
    pub runs: usize,
    pub prepare: Prepare,
    pub ours: Option<Subject>,
    pub upstream: Option<Subject>,
}

/// Whose agent it is, on this work.
pub struct Subject {
    pub call: Call,
    /// Undoes the work before each measured call, unmeasured.
    pub before: Option<Call>,
}

/// What the case finds on the device, put there by `ip` and not by one of the agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepare {
    Nothing,
    Address,
    ThousandAddresses,
    NoAddress,
}

impl Prepare {
    pub fn establish(self) -> Result<(), String> {
        match self {
            Self::Nothing => Ok(()),
            Self::Address => bed::ip(&format!("addr replace {ADDRESS}/24 brd + dev {}", bed::DEVICE)),
            Self::ThousandAddresses => Self::Address.establish().and_then(|()| bed::crowd("add")),
            // Fails when it is not there, and then it is as wanted.
            Self::NoAddress => bed::ip(&format!("addr del {ADDRESS}/24 dev {}", bed::DEVICE)).or(Ok(())),
        }
    }

    pub fn clear(self) -> Result<(), String> {
        match self {
            Self::Nothing | Self::NoAddress | Self::Address => Ok(()),
            Self::ThousandAddresses => bed::crowd("del"),
        }
    }
}

const MANY: usize = usize::MAX;
/// Upstream's agents sleep whole seconds in these.
const FEW: usize = 5;

/// Work on a resource agent: word of the report, verb, exit code, what is there, what undoes it.
type Work = (&'static str, &'static str, i32, Prepare, Option<&'static str>);

const IPADDR2: [Work; 7] = [
    ("meta-data", "meta-data", 0, Prepare::Nothing, None),
    ("validate-all", "validate-all", 0, Prepare::Nothing, None),
    ("monitor, stopped", "monitor", 7, Prepare::NoAddress, None),
    ("monitor", "monitor", 0, Prepare::Address, None),
    ("monitor, 1,000 addresses", "monitor", 0, Prepare::ThousandAddresses, None),
    ("start", "start", 0, Prepare::NoAddress, Some("stop")),
    ("stop", "stop", 0, Prepare::NoAddress, Some("start")),
];

const DUMMY: [Work; 4] = [
    ("meta-data", "meta-data", 0, Prepare::Nothing, None),
    ("start", "start", 0, Prepare::Nothing, Some("stop")),
    ("monitor", "monitor", 0, Prepare::Nothing, Some("start")),
    ("stop", "stop", 0, Prepare::Nothing, Some("start")),
];

// Its start sets a promotion score: a cluster's work, not the agent's.
const STATEFUL: [Work; 2] = [
    ("meta-data", "meta-data", 0, Prepare::Nothing, None),
    ("monitor, stopped", "monitor", 7, Prepare::Nothing, None),
];

// Of the storage agents, what a host without their modules, daemons and disks can show. A pool or a target that runs is
// compared in the lab: `lab_zfs` measures both agents in the same guest, in turns.
const STORAGE: [Work; 2] = [
    ("meta-data", "meta-data", 0, Prepare::Nothing, None),
    ("monitor, stopped", "monitor", 7, Prepare::Nothing, None),
];
const IQN: &str = "iqn.2026-01.org.bench:none";

// Without its module upstream's agent ends every other action with 5.
const DRBD: [Work; 1] = [("meta-data", "meta-data", 0, Prepare::Nothing, None)];

/// All comparisons that can be made here; a side that is not there stays `None` and is told.
pub fn all(bed: &Bed, agents: &[Built]) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    let address = [("ip", ADDRESS), ("cidr_netmask", "24")];
    resource(&mut cases, bed, agents, "IPaddr2", &address, &IPADDR2);
    resource(&mut cases, bed, agents, "Dummy", &[], &DUMMY);
    resource(&mut cases, bed, agents, "Stateful", &[], &STATEFUL);
    let lio = ("implementation", "lio-t");
    let lun = [lio, ("target_iqn", IQN), ("lun", "1"), ("path", "/dev/null")];
    resource(&mut cases, bed, agents, "ZFS", &[("pool", "bench-has-none")], &STORAGE);
    resource(&mut cases, bed, agents, "iSCSITarget", &[lio, ("iqn", IQN)], &STORAGE);
    resource(&mut cases, bed, agents, "iSCSILogicalUnit", &lun, &STORAGE);
    resource(&mut cases, bed, agents, "drbd", &[("drbd_resource", "bench-has-none")], &DRBD);
    // Upstream has nothing like these two.
    resource(&mut cases, bed, agents, "LVM-filter", &[("accept", "^/dev/bench-has-none")], &STORAGE);
    resource(&mut cases, bed, agents, "multipath-resize", &[("device", "/dev/bench-has-none")], &STORAGE);

    fence(&mut cases, bed, agents, "fence_ipmilan", Some(Device::Ipmi))?;
    fence(&mut cases, bed, agents, "fence_ilo", Some(Device::Ilo))?;
    fence(&mut cases, bed, agents, "fence_xenapi", Some(Device::Pool))?;
    // Their disks are in the lab. Upstream has nothing like fence_ssh and fence_manual any more.
    for agent in ["fence_scsi", "fence_mpath", "fence_ssh", "fence_manual"] {
        fence(&mut cases, bed, agents, agent, None)?;
    }
    Ok(cases)
}

/// Each action of a fence agent on its simulator; without one, its metadata.
fn fence(
    cases: &mut Vec<Case>,
    bed: &Bed,
    agents: &[Built],
    agent: &'static str,
    device: Option<Device>,
) -> Result<(), String> {
    let ours = file_of(agents, Kind::Fence, agent);
    let upstream = there(&format!("/usr/sbin/{agent}"));
    // Off begins with a node that is on; after a reboot it is on again.
    let work = [
        ("status", None, MANY),
        ("monitor", None, MANY),
        ("off", Some("on"), FEW),
        ("reboot", Some("on"), FEW),
    ];
    let mut add = |work, code, runs, of: &dyn Fn(&Path) -> Result<Subject, String>| -> Result<(), String> {
        let side = |program: &Option<PathBuf>| program.as_deref().map(of).transpose();
        let (ours, upstream) = (side(&ours)?, side(&upstream)?);
        cases.push(Case { agent, work, code, runs, prepare: Prepare::Nothing, ours, upstream });
        Ok(())
    };
    for (action, undo, runs) in work {
        let Some(device) = device else { continue };
        add(action, 0, runs, &|program| {
            let before = undo.map(|undo| bed.fence(program, device, undo)).transpose()?;
            Ok(Subject { call: bed.fence(program, device, action)?, before })
        })?;
    }
    add("metadata", 0, MANY, &|program| {
        Ok(Subject { call: Call::new(program, &["-o", "metadata"]), before: None })
    })
}

fn resource(
    cases: &mut Vec<Case>,
    bed: &Bed,
    agents: &[Built],
    agent: &'static str,
    parameters: &[(&str, &str)],
    work: &[Work],
) {
    let ours = file_of(agents, Kind::Resource, agent);
    let upstream = ["heartbeat", "linbit"]
        .iter()
        .find_map(|provider| there(&format!("/usr/lib/ocf/resource.d/{provider}/{agent}")));
    for &(work, verb, code, prepare, undo) in work {
        let subject = |program: &Option<PathBuf>| {
            program.as_ref().map(|program| Subject {
                call: bed.resource(program, verb, parameters),
                before: undo.map(|undo| bed.resource(program, undo, parameters)),
            })
        };
        let (ours, upstream) = (subject(&ours), subject(&upstream));
        cases.push(Case { agent, work, code, runs: MANY, prepare, ours, upstream });
    }
}

fn file_of(agents: &[Built], kind: Kind, name: &str) -> Option<PathBuf> {
    agents.iter().find(|agent| agent.kind == kind && agent.name == name).map(|agent| agent.file.clone())
}

fn there(path: &str) -> Option<PathBuf> {
    Path::new(path).is_file().then(|| PathBuf::from(path))
}
