//! The same words to upstream's `fence_ipmilan` and to ours, before the same `ipmi_sim`: status, standard output, what the chassis
//! was told, and the power afterwards.
//!
//! A case either is equal or names the entry of `conformance/divergences.toml` that says why not; an entry whose difference is gone
//! makes its case red. Needs the packages `fence-agents` and `ipmitool`; upstream's program is run, never read.

use std::collections::BTreeMap;
use std::path::Path;

use ringfence_tests::sim::ipmi_sim::IpmiSim;

use super::agent::{PROGRAM, Run, linked, run};

const UPSTREAM: &str = "/usr/sbin/fence_ipmilan";
const DIVERGENCES: &str = include_str!("../../../conformance/divergences.toml");

/// The ids for this agent and for all fence agents.
fn divergences() -> Vec<&'static str> {
    DIVERGENCES
        .split("[[divergence]]")
        .filter(|entry| entry.contains("agent = \"fence_ipmilan\"") || entry.contains("agent = \"fence/*\""))
        .filter_map(|entry| entry.split("id = \"").nth(1)?.split('"').next())
        .collect()
}

/// Options, whether the node is on, and the divergence.
type Case = (&'static str, bool, Option<&'static str>);

/// `BASE` stands for address, port, user and password of an administrator.
const CASES: &[Case] = &[
    ("BASE\naction=status", true, None),
    ("BASE\naction=status", false, None),
    ("BASE\naction=monitor", true, None),
    ("BASE\naction=monitor", false, None),
    ("BASE\naction=off", true, None),
    ("BASE\naction=off", false, None),
    ("BASE\naction=on", true, None),
    ("BASE\naction=on", false, None),
    ("BASE\naction=reboot", true, None),
    ("BASE\naction=reboot", false, None),
    ("BASE", true, None),
    ("BASE\nlanplus=1\ncipher=3\naction=off", true, None),
    ("BASE\nlanplus=1\ncipher=3\naction=on", false, None),
    ("BASE\nlanplus=1\naction=status", true, None),
    ("BASE\nlanplus=0\naction=status", true, None),
    ("BASE\nlanplus=1\ncipher=3\nprivlvl=operator\naction=status", true, None),
    ("BASE\nlanplus=1\ncipher=3\nprivlvl=OPERATOR\naction=off", true, None),
    ("BASE\nauth=md5\naction=status", true, None),
    ("BASE\nauth=password\naction=status", false, None),
    ("BASE\nauth=none\naction=status", true, None),
    ("BASE\nlanplus=1\ncipher=3\ntarget=0x30\naction=status", true, None),
    ("BASE\nipmitool_timeout=1\naction=status", true, None),
    ("BASE\naction=STATUS\nmethod=Cycle", true, None),
    ("BASE\naction=metadata\nlogin=", true, Some("metadata-prose")),
    ("BASE\naction=list", true, None),
    ("BASE\naction=enable", true, None),
    ("BASE\naction=bogus", true, None),
    ("BASE\naction=", true, None),
    ("BASE\naction=validate-all", true, None),
    ("BASE\naction=validate-all\nprivlvl=root", true, None),
    ("BASE\naction=status\nprivlvl=root", true, None),
    ("BASE\naction=status\nauth=md9", true, None),
    ("BASE\naction=status\npower_timeout=x", true, None),
    ("BASE\naction=status\nipport=x", true, None),
    ("action=status\nlogin=admin\npasswd=s3cret1", true, None),
    ("BASE\naction=status\npasswd=Wr0ng#1\nlanplus=1\ncipher=3\nipmitool_timeout=1", true, None),
    ("BASE\naction=status\nlogin=nobody\nlanplus=1\ncipher=3\nipmitool_timeout=1", true, None),
    ("BASE\naction=status\npasswd_script=echo s3cret1\npasswd=other", true, None),
    ("BASE\naction=status\nplug=n1\nnodename=n1", true, None),
    ("port_as_ip=1\nplug=127.0.0.1\nBASE\nip=192.0.2.1\naction=status", true, None),
    ("BASE\naction=status\nquiet=1", true, None),
    ("BASE\noption=status", true, Some("option-is-action")),
    // ipmi_sim has no diagnostic interrupt
    ("BASE\naction=diag\nlanplus=1\ncipher=3", true, None),
    ("BASE\naction=reboot\nmethod=cycle\nlanplus=1\ncipher=3", false, Some("cycle-verified")),
    ("BASE\naction=status\nuse_sudo=1\nsudo_path=/nowhere", true, Some("no-ipmitool")),
    ("BASE\naction=status\nipmitool_path=/nowhere/ipmitool", true, Some("no-ipmitool")),
    ("BASE\naction=status\nlanplus=1\ncipher=3\nipmitool_timeout=0.5", true, Some("timeout-fraction")),
    ("BASE\naction=validate-all\nlanplus=1\ncipher=99", true, Some("values-checked")),
    ("BASE\naction=validate-all\ntarget=x", true, Some("values-checked")),
];

/// What is compared.
#[derive(Debug, PartialEq)]
struct Seen {
    code: Option<i32>,
    stdout: String,
    commands: Vec<String>,
    on: bool,
}

fn seen(sim: &IpmiSim, on: bool, program: &Path, args: &[&str], stdin: &str) -> (Seen, Run) {
    sim.set_power(on).unwrap();
    sim.forget_commands().unwrap();
    let run = run(program, args, stdin);
    (Seen { code: run.code, stdout: run.stdout.clone(), commands: sim.commands(), on: sim.is_on() }, run)
}

#[test]
fn the_same_words_and_the_same_deeds() {
    let known = divergences();
    let sims: Vec<IpmiSim> = (0..4).map(|_| IpmiSim::start(None).unwrap()).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let faults = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for sim in &sims {
            scope.spawn(|| {
                while let Some((lines, on, divergence)) =
                    CASES.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let base = format!(
                        "ip=127.0.0.1\nipport={}\nlogin=admin\npasswd=s3cret1\npower_wait=0",
                        sim.address().port()
                    );
                    let text = lines.replace("BASE", &base) + "\n";
                    let (theirs, their_run) = seen(sim, *on, Path::new(UPSTREAM), &[], &text);
                    let (ours, our_run) = seen(sim, *on, Path::new(PROGRAM), &[], &text);
                    let why = match divergence {
                        None if theirs != ours => "differs",
                        Some(id) if !known.contains(id) => "has no entry in divergences.toml",
                        Some(_) if theirs == ours => "does not differ any more",
                        _ => continue,
                    };
                    faults.lock().unwrap().push(format!("{lines:?} on={on} {why}:\n  theirs {their_run:?}\n  ours {our_run:?}\n  {theirs:?}\n  {ours:?}"));
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), CASES.len(), faults.join("\n"));
}

#[test]
fn the_same_command_line() {
    let sim = IpmiSim::start(None).unwrap();
    let port = sim.address().port().to_string();
    let base = ["-a", "127.0.0.1", "-u", &port, "-l", "admin", "-p", "s3cret1", "--power-wait=0"];
    for args in [
        &["-o", "status"][..],
        &["-o", "off"],
        &["-o", "off", "-P", "-C", "3"],
        &["-o", "status", "-L", "operator", "-A", "md5"],
        &["--act=status", "--lanplus", "--cipher=3"],
        &["-o", "status", "-n", "127.0.0.1", "--port-as-ip"],
        &["-o", "status", "-n", "127.0.0.1"],
        &["-o", "status", "--nonsense"],
        &["-o", "status", "extra"],
        &["-o"],
        &["-o", "status", "-m", "onoff", "--ipmitool-timeout", "1"],
    ] {
        let args = [&base[..], args].concat();
        let theirs = seen(&sim, true, Path::new(UPSTREAM), &args, "");
        let ours = seen(&sim, true, Path::new(PROGRAM), &args, "");
        assert_eq!(ours.0, theirs.0, "{args:?} {:?} {:?}", ours.1, theirs.1);
    }
}

/// All attributes of the elements of one metadata document, in order; prose left out.
fn table(xml: &str) -> Vec<BTreeMap<String, String>> {
    let mut rows = Vec::new();
    for tag in xml.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default().trim_end_matches(['/', ' ']);
        let name = tag.split_whitespace().next().unwrap_or_default();
        if !["resource-agent", "symlink", "parameter", "getopt", "content", "option", "action"]
            .contains(&name)
        {
            continue;
        }
        let mut row = BTreeMap::from([("element".to_owned(), name.to_owned())]);
        let mut rest = &tag[name.len()..];
        while let Some((attribute, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"').unwrap();
            // prose, and the place of a program that is not run
            if attribute.trim() != "shortdesc" && !value.contains("ipmitool") {
                row.insert(attribute.trim().to_owned(), value.to_owned());
            }
            rest = after;
        }
        rows.push(row);
    }
    rows
}

/// What we have and upstream 4.12 has not.
fn ours_only(row: &BTreeMap<String, String>) -> bool {
    row.get("element").is_some_and(|element| element == "parameter")
        && row.get("name").is_some_and(|name| ["kg", "output"].contains(&name.as_str()))
}

#[test]
fn the_same_parameters_under_every_name() {
    assert!(divergences().contains(&"kg-as-text"));
    let directory = tempfile::tempdir().unwrap();
    for name in [
        "fence_ipmilan",
        "fence_ilo3",
        "fence_ilo4",
        "fence_ilo5",
        "fence_ipmilanplus",
        "fence_imm",
        "fence_idrac",
    ] {
        let path = if name == "fence_ipmilan" { PROGRAM.into() } else { linked(directory.path(), name) };
        let ours = run(&path, &["-o", "metadata"], "");
        let theirs = run(Path::new(&format!("/usr/sbin/{name}")), &["-o", "metadata"], "");
        let (mut mine, mut upstream) = (table(&ours.stdout), table(&theirs.stdout));
        // a parameter is followed by its getopt, content and options
        let mut dropping = false;
        mine.retain(|row| {
            match row["element"].as_str() {
                "parameter" => dropping = ours_only(row),
                "action" | "resource-agent" | "symlink" => dropping = false,
                _ => {}
            }
            !dropping
        });
        for rows in [&mut mine, &mut upstream] {
            for row in rows.iter_mut() {
                // build-time places
                if row.get("default").is_some_and(|default| default.starts_with("/usr/")) {
                    row.remove("default");
                }
            }
        }
        for (at, (mine, theirs)) in mine.iter().zip(&upstream).enumerate() {
            assert_eq!(mine, theirs, "{name}, element {at}");
        }
        assert_eq!(mine.len(), upstream.len(), "{name}");
    }
}
