//! What the guest takes of its host, told to the cluster as utilisation of the resource.

use crate::Xen;
use crate::listing::Domain;
use ocf_lib::cmd::Cmd;
use ocf_lib::deadline::Deadline;
use ocf_lib::resource::prelude::*;
use std::time::Duration;

/// One call to the cluster.
const LIMIT: Duration = Duration::from_secs(5);
/// What has not changed is looked up in the cluster again after this time: an administrator may have changed it.
const TOLD_AGAIN: Duration = Duration::from_secs(300);

impl Xen {
    /// Asks and tells only what has changed since the last call, so that a monitor runs no further program.
    pub(crate) fn tell_utilization(&self, cx: &Cx, domain: &Domain) {
        let wanted = [
            (self.params.autoset_utilization_cpu, "cpu", u64::from(domain.processors)),
            (self.params.autoset_utilization_hv_memory, "hv_memory", domain.memory),
        ];
        let wanted: Vec<(&str, u64)> =
            wanted.into_iter().filter(|(asked, ..)| *asked).map(|(_, key, value)| (key, value)).collect();
        if wanted.is_empty() {
            return;
        }
        let told = format!("{wanted:?}");
        let memory = RunFile::new(cx.run_dir().join(format!("Xen-{}.utilization", cx.instance())));
        let fresh = memory.age().is_some_and(|age| age < TOLD_AGAIN);
        if fresh && memory.read().is_ok_and(|text| text.as_deref() == Some(&told)) {
            return;
        }
        // Each for itself: one that is refused keeps nothing from the others.
        let untold = wanted.iter().filter(|(key, value)| !tell(cx, key, *value)).count();
        if untold == 0 {
            let _ = memory.write(&told);
        }
    }
}

/// False: the cluster does not know it. That fails no monitor.
fn tell(cx: &Cx, key: &str, value: u64) -> bool {
    let resource = cx.instance();
    let run = |cmd: &Cmd| {
        let limit = Deadline::after(LIMIT.min(cx.left_or(LIMIT * 4) / 4));
        cx.run_until(cmd, limit).ok().filter(ocf_lib::cmd::Output::success)
    };
    let ask = Cmd::new("crm_resource").args(["-Q", "-r", resource, "-z", "-g", key]);
    if run(&ask).is_some_and(|said| said.stdout_text().trim() == value.to_string()) {
        return true;
    }
    let tell = Cmd::new("crm_resource").args(["-r", resource, "-z", "-p", key, "-v", &value.to_string()]);
    let told = run(&tell).is_some();
    if !told {
        cx.warn(format!("the cluster was not told that the utilization {key} of {resource} is {value}"));
    }
    told
}
