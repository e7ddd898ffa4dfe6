//! The same parameters and the same state to upstream's agent and to ours: exit codes and the kernel's addresses
//! must agree, or the difference stands in `conformance/divergences.toml` under the id that the case names. A case
//! that names an id and does not differ any more fails too.

use super::situations::{SITUATIONS, Situation};
use super::world::{RUN, UPSTREAM, Vip, ip, needs, sh, snapshot, vip, world};
use std::fmt::Write;

/// What an agent makes of a situation, in a world of its own.
fn behaviour(situation: &'static Situation, upstream: bool) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    world(move || {
        sh(situation.given);
        let mut resource = vip("");
        for (name, value) in situation.parameters {
            resource = resource.with(name, value);
        }
        if upstream {
            resource = resource.upstream();
        }
        let mut text = String::new();
        for action in situation.actions {
            if let Some(line) = action.strip_prefix('!') {
                sh(line);
                continue;
            }
            let outcome = call(&resource, action);
            writeln!(text, "{action}: {outcome} {}", addresses()).unwrap();
        }
        writeln!(text, "files: {}", left_files()).unwrap();
        tell.send(text).unwrap();
    });
    told.recv().unwrap()
}

fn call(resource: &Vip, action: &str) -> i32 {
    match action {
        "probe" => resource.probe().code,
        "monitor" => resource.monitor().code,
        other => resource.run(other).code,
    }
}

/// Interface, address, prefix, broadcast, label, flags: without numbers of the moment.
fn addresses() -> String {
    let mut lines = Vec::new();
    for link in ip("addr show").as_array().unwrap() {
        for entry in link["addr_info"].as_array().into_iter().flatten() {
            let of = |key: &str| entry[key].to_string().trim_matches('"').to_owned();
            let flags = ["noprefixroute", "nodad", "deprecated", "secondary"]
                .map(|flag| entry.get(flag).map(|_| flag));
            let flags: Vec<&str> = flags.into_iter().flatten().collect();
            lines.push(format!(
                "{} {}/{} brd {} {} {flags:?}",
                link["ifname"],
                of("local"),
                of("prefixlen"),
                of("broadcast"),
                of("label")
            ));
        }
    }
    lines.sort();
    // what both have from the beginning
    lines.retain(|line| {
        !line.contains(" 10.0.0.2/24")
            && !line.contains(" fd00::2/64")
            && !line.contains("127.0.0.1/8")
            && !line.contains(" ::1/128")
            && !line.contains(" fe80:")
    });
    format!("{lines:?}")
}

fn left_files() -> String {
    let names = std::fs::read_dir(RUN).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // announcers may still be at it; a lock is no state
    names.retain(|name| {
        !name.starts_with("send_arp-") && !name.starts_with("IPaddr2-CIP-") && !name.starts_with("send_ua-")
    });
    names.sort();
    format!("{names:?}")
}

/// Ids of our entries in the list of divergences.
fn divergences() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/divergences.toml");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let value = |block: &str, key: &str| {
        let line =
            block.lines().find(|line| line.split('=').next().is_some_and(|name| name.trim() == key))?;
        Some(line.split_once('=')?.1.trim().trim_matches('"').to_owned())
    };
    text.split("[[divergence]]")
        .filter(|block| value(block, "agent").as_deref() == Some("IPaddr2"))
        .filter_map(|block| value(block, "id"))
        .collect()
}

/// Three tests, so that they run side by side.
const PARTS: usize = 3;

#[test]
fn both_agents_agree_where_no_difference_is_written_down_1() {
    compare(0);
}

#[test]
fn both_agents_agree_where_no_difference_is_written_down_2() {
    compare(1);
}

#[test]
fn both_agents_agree_where_no_difference_is_written_down_3() {
    compare(2);
}

fn compare(part: usize) {
    if !needs(UPSTREAM) {
        return;
    }
    let known = divergences();
    let mut findings = String::new();
    for situation in SITUATIONS.iter().skip(part).step_by(PARTS) {
        let (theirs, ours) = (behaviour(situation, true), behaviour(situation, false));
        let report = format!("\n== {}\n-- upstream\n{theirs}-- ours\n{ours}", situation.name);
        match situation.differs {
            None if theirs != ours => findings += &report,
            Some(id) if theirs == ours => {
                let name = situation.name;
                writeln!(findings, "\n== {name}: '{id}' does not differ any more\n{ours}").unwrap();
            }
            Some(id) if !known.iter().any(|entry| entry == id) => {
                writeln!(findings, "{report}'{id}' is not in conformance/divergences.toml").unwrap();
            }
            None | Some(_) => {}
        }
    }
    assert!(findings.is_empty(), "{findings}");
}

#[test]
fn what_one_agent_started_the_other_stops() {
    if !needs(UPSTREAM) {
        return;
    }
    world(|| {
        sh("ip addr add 10.0.0.51/32 brd 255.255.255.255 dev lo");
        let before = snapshot();
        let resources = [
            vip("10.0.0.50"),
            vip("10.0.0.50").with("iflabel", "ha").with("cidr_netmask", "28"),
            vip("10.0.0.51").with("nic", "v0").with("lvs_support", "true"),
            vip("fd00::50").with("nodad", "true").with("lvs_ipv6_addrlabel", "true"),
        ];
        for ours in resources {
            let theirs = ours.upstream();
            for (first, second) in [(&ours, &theirs), (&theirs, &ours)] {
                first.start().is(0);
                second.monitor().is(0);
                second.start().is(0);
                second.stop().is(0);
                assert_eq!(first.probe().code, 7);
                sh("rm -f /run/resource-agents/send_*");
                assert_eq!(snapshot(), before, "{first:?}");
            }
        }
    });
}

/// What is written down and cannot be seen in a situation is shown by another case, named here.
const SHOWN_ELSEWHERE: &[&str] = &[
    // announcements.rs
    "announced-in-background",
    "announced-by-itself",
    // cluster_ip.rs
    "cluster-ip-defaults",
    // the snapshots of the metadata
    "metadata-extensions",
    // parameters.rs
    "metric-parameter",
    "orphaned-prefix-route",
];

#[test]
fn every_difference_that_is_written_down_is_shown() {
    for id in divergences() {
        let shown = SITUATIONS.iter().any(|situation| situation.differs == Some(&id));
        assert!(shown || SHOWN_ELSEWHERE.contains(&id.as_str()), "{id}: no case shows it");
    }
}
