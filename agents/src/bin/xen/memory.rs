//! Memory management as upstream's: all guests of a host get the same share of what is left beside dom0.

use crate::Xen;
use crate::config;
use crate::listing::{Condition, Domain};
use crate::toolstack::Toolstack;
use ocf_lib::deadline::Deadline;
use ocf_lib::resource::prelude::*;
use std::time::Duration;

/// One call; a share that cannot be set fails neither start nor stop.
const LIMIT: Duration = Duration::from_secs(10);

impl Xen {
    /// Makes room for this guest among the others, and writes its share into its configuration file.
    pub(crate) fn make_room(&self, cx: &Cx, tool: Toolstack) -> Option<u64> {
        let share = self.shared_out(cx, tool, 1)?;
        let path = self.file()?;
        let text = std::fs::read_to_string(path).ok()?;
        if let Some(changed) = config::with_memory(&text, share).filter(|changed| *changed != text)
            && let Err(error) = replace(path, &changed)
        {
            cx.warn(format!("cannot write memory = {share} into {path}: {error}"));
        }
        Some(share)
    }

    /// Gives the others what a guest that has stopped had.
    pub(crate) fn give_back(&self, cx: &Cx, tool: Toolstack) {
        self.shared_out(cx, tool, 0);
    }

    fn shared_out(&self, cx: &Cx, tool: Toolstack, more: u64) -> Option<u64> {
        if !self.params.allow_mem_management {
            return None;
        }
        let domains = crate::toolstack::domains(cx, self.name(cx), false).ok()??;
        let guests: Vec<&Domain> =
            domains.iter().filter(|domain| takes_part(domain, self.name(cx))).collect();
        let total = total_memory(&call(cx, tool, &["info"])?)?;
        let reserved = self.params.reserved_dom0_memory.0;
        let share = share(total, reserved, u64::try_from(guests.len()).ok()? + more).or_else(|| {
            cx.warn(format!("no memory to share out: {total} MB, of which {reserved} MB are dom0's"));
            None
        })?;
        for guest in guests {
            if call(cx, tool, &["mem-set", &guest.name, &share.to_string()]).is_none() {
                cx.warn(format!("guest {} keeps its memory", guest.name));
            }
        }
        Some(share)
    }
}

/// A guest that is half there, or not alive, cannot give or take memory.
fn takes_part(domain: &Domain, own: &str) -> bool {
    domain.id != 0
        && domain.name != own
        && !domain.name.contains("--")
        && matches!(domain.condition, Condition::Running | Condition::Blocked)
}

/// `total_memory : 4096` of `xl info`, MiB.
fn total_memory(info: &str) -> Option<u64> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "total_memory")
        .and_then(|(_, value)| value.trim().parse().ok())
}

fn share(total: u64, reserved: u64, guests: u64) -> Option<u64> {
    total.checked_sub(reserved)?.checked_div(guests).filter(|share| *share > 0)
}

fn call(cx: &Cx, tool: Toolstack, words: &[&str]) -> Option<String> {
    let limit = Deadline::after(LIMIT.min(cx.left_or(LIMIT * 4) / 4));
    let said = cx.run_until(&tool.cmd(words.iter().copied()), limit).ok()?;
    said.success().then(|| said.stdout_text())
}

/// All at once, with the mode that the file had: who reads it in between sees the old one.
fn replace(path: &str, text: &str) -> std::io::Result<()> {
    let new = format!("{path}.{}.new", std::process::id());
    let mode = std::fs::metadata(path)?.permissions();
    std::fs::write(&new, text)
        .and_then(|()| std::fs::set_permissions(&new, mode))
        .and_then(|()| std::fs::rename(&new, path))
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&new);
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_what_upstream_computes() {
        assert_eq!(share(4096, 512, 3), Some(1194));
        assert_eq!(share(4096, 512, 2), Some(1792));
        assert_eq!(share(512, 512, 1), None);
        assert_eq!(share(256, 512, 1), None);
        assert_eq!(share(4096, 512, 0), None);
    }

    #[test]
    fn the_hosts_memory_is_read_from_recorded_words() {
        let info =
            "nr_cpus                : 1\ntotal_memory           : 1535\nfree_memory            : 620\n";
        assert_eq!(total_memory(info), Some(1535));
        assert_eq!(total_memory("nothing"), None);
    }
}
