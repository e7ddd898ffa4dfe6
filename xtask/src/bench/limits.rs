//! What must hold, judged on the figures of this run.

use super::Outcome;
use super::figures::{Figures, ms, ratio};

/// One promise and whether it was kept.
#[derive(Clone, Debug)]
pub struct Limit {
    pub what: String,
    pub found: String,
    /// `None`: a side is missing, so nothing was shown.
    pub kept: Option<bool>,
}

/// Peak memory of each agent, KiB.
const PEAK: u64 = 8 * 1024;

pub fn judge(outcomes: &[Outcome]) -> Vec<Limit> {
    let mut limits = Vec::new();
    let find = |agent: &str, work: &str| outcomes.iter().find(|one| one.agent == agent && one.work == work);
    let ours = |agent: &str, work: &str| find(agent, work).and_then(|one| one.ours.as_ref());
    let upstream = |agent: &str, work: &str| find(agent, work).and_then(|one| one.upstream.as_ref());

    let monitor = ours("IPaddr2", "monitor");
    for work in ["monitor", "monitor, stopped", "start", "stop"] {
        let figures = ours("IPaddr2", work);
        limits.push(Limit {
            what: format!(
                "IPaddr2 {work}: {} further programs",
                if work == "start" { "no" } else { "no processes, no" }
            ),
            found: figures.map_or_else(missing, |f| {
                format!("{} forks, {} execs", f.processes.forks, f.processes.execs)
            }),
            // The announcer of a start is a process of its own and outlives it.
            kept: figures.map(|f| f.processes.execs == 0 && (work == "start" || f.processes.forks == 0)),
        });
    }
    for agent in ["ZFS", "iSCSITarget", "iSCSILogicalUnit", "multipath-resize"] {
        let figures = ours(agent, "monitor, stopped");
        limits.push(Limit {
            what: format!("{agent} monitor, stopped: no processes, no further programs"),
            found: figures.map_or_else(missing, |f| {
                format!("{} forks, {} execs", f.processes.forks, f.processes.execs)
            }),
            kept: figures.map(|f| f.processes.execs == 0 && f.processes.forks == 0),
        });
    }
    limits.push(part(
        "IPaddr2 monitor: wall minimum",
        monitor,
        upstream("IPaddr2", "monitor"),
        1.0 / 25.0,
        wall,
    ));
    limits.push(part(
        "IPaddr2 monitor: CPU minimum",
        monitor,
        upstream("IPaddr2", "monitor"),
        1.0 / 25.0,
        cpu,
    ));
    let empty = find("IPaddr2", "monitor").map(|one| &one.empty);
    limits.push(part("IPaddr2 monitor: wall minimum, of an empty Rust program", monitor, empty, 1.5, wall));
    let many = ours("IPaddr2", "monitor, 1,000 addresses");
    limits.push(part(
        "IPaddr2 monitor with 1,000 addresses: wall minimum, of that with one",
        many,
        monitor,
        2.0,
        wall,
    ));
    let fence = (ours("fence_ipmilan", "status"), upstream("fence_ipmilan", "status"));
    limits.push(part("fence_ipmilan status: wall minimum", fence.0, fence.1, 0.1, wall));

    for one in outcomes.iter().filter(|one| one.agent.starts_with("fence_") && one.upstream.is_some()) {
        let (ours, upstream) = (one.ours.as_ref(), one.upstream.as_ref());
        limits.push(part(&format!("{} {}: wall minimum", one.agent, one.work), ours, upstream, 0.2, wall));
        let memory = ours.zip(upstream).map(|(a, b)| (a.processes.peak_kib, b.processes.peak_kib));
        limits.push(Limit {
            what: format!("{} {}: peak memory: at most 1/4 of upstream's", one.agent, one.work),
            found: memory.map_or_else(missing, |(a, b)| format!("{:.1} of {:.1} MB", mib(a), mib(b))),
            kept: memory.map(|(a, b)| a * 4 <= b),
        });
    }

    let peak = outcomes
        .iter()
        .filter_map(|one| one.ours.as_ref().map(|f| (f.processes.peak_kib, one.agent, one.work)))
        .max();
    limits.push(Limit {
        what: "peak memory of each agent: under 8 MB".to_owned(),
        found: peak.map_or_else(missing, |(kib, agent, work)| {
            format!("at most {:.1} MB ({agent} {work})", mib(kib))
        }),
        kept: peak.map(|(kib, ..)| kib < PEAK),
    });
    limits
}

fn wall(figures: &Figures) -> std::time::Duration {
    figures.wall_min
}

fn cpu(figures: &Figures) -> std::time::Duration {
    figures.cpu_min
}

/// KiB as MiB, for people.
pub fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}

fn missing() -> String {
    "not measured: a side is missing".to_owned()
}

/// `a` must be at most `most` times `b`.
fn part(
    what: &str,
    a: Option<&Figures>,
    b: Option<&Figures>,
    most: f64,
    of: fn(&Figures) -> std::time::Duration,
) -> Limit {
    let shown =
        if most < 1.0 { format!("1/{:.0} of upstream's", 1.0 / most) } else { format!("{most} times") };
    let what = format!("{what}: at most {shown}");
    let (Some(a), Some(b)) = (a, b) else { return Limit { what, found: missing(), kept: None } };
    let part = ratio(of(a), of(b));
    let found = if part < 1.0 { format!("1/{:.1}", 1.0 / part) } else { format!("{part:.2} times") };
    Limit {
        what,
        found: format!("{found} ({:.2} of {:.2} ms)", ms(of(a)), ms(of(b))),
        kept: Some(part <= most),
    }
}

#[cfg(test)]
mod tests {
    use super::super::processes::Processes;
    use super::*;
    use std::time::Duration;

    fn figures(micros: u64, execs: u32, peak_kib: u64) -> Figures {
        let span = Duration::from_micros(micros);
        Figures {
            runs: 1,
            wall_min: span,
            wall_median: span,
            cpu_min: span,
            cpu_median: span,
            processes: Processes { forks: 0, execs, peak_kib, code: 0 },
            datagrams: None,
        }
    }

    fn outcomes(ours: &Figures) -> Vec<Outcome> {
        let works = [
            ("IPaddr2", "monitor"),
            ("IPaddr2", "monitor, stopped"),
            ("IPaddr2", "monitor, 1,000 addresses"),
            ("IPaddr2", "start"),
            ("IPaddr2", "stop"),
            ("fence_ipmilan", "status"),
            ("ZFS", "monitor, stopped"),
            ("iSCSITarget", "monitor, stopped"),
            ("iSCSILogicalUnit", "monitor, stopped"),
            ("multipath-resize", "monitor, stopped"),
        ];
        works
            .map(|(agent, work)| Outcome {
                agent,
                work,
                ours: Some(ours.clone()),
                upstream: Some(figures(30_000, 20, if agent.starts_with("fence_") { 20_000 } else { 4000 })),
                empty: figures(900, 0, 1000),
            })
            .to_vec()
    }

    fn broken(outcomes: &[Outcome]) -> Vec<String> {
        judge(outcomes).into_iter().filter(|limit| limit.kept != Some(true)).map(|limit| limit.what).collect()
    }

    #[test]
    fn good_figures_keep_every_promise() {
        assert_eq!(broken(&outcomes(&figures(1000, 0, 3000))), Vec::<String>::new());
    }

    #[test]
    fn each_limit_breaks_on_its_own_figure() {
        assert_eq!(broken(&outcomes(&figures(1000, 1, 3000))).len(), 8);
        assert_eq!(
            broken(&outcomes(&figures(1000, 0, 8 * 1024))),
            [
                "fence_ipmilan status: peak memory: at most 1/4 of upstream's",
                "peak memory of each agent: under 8 MB"
            ]
        );
        // 1.3 ms: more than 1/25 of 30 ms, less than 1.5 times 0.9 ms.
        assert_eq!(broken(&outcomes(&figures(1300, 0, 3000))).len(), 2);
        assert_eq!(broken(&outcomes(&figures(3100, 0, 3000))).len(), 4);
        let mut many = outcomes(&figures(1000, 0, 3000));
        many[2].ours = Some(figures(2100, 0, 3000));
        assert_eq!(broken(&many).len(), 1);
    }

    #[test]
    fn what_was_not_measured_was_not_kept() {
        let mut none = outcomes(&figures(1000, 0, 3000));
        for one in &mut none {
            one.ours = None;
        }
        assert!(judge(&none).iter().all(|limit| limit.kept.is_none()));
    }
}
