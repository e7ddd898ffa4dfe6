//! The same words to upstream's `fence_xenapi` and to ours, before the same pool: status, standard output, what the pool was told to
//! do, and the power afterwards.
//!
//! A case either is equal or names the entry of `conformance/divergences.toml` that says why not; an entry whose difference is gone
//! makes its case red. Needs the package `fence-agents`; upstream's program is run, never read.

use std::collections::BTreeMap;
use std::path::Path;

use ringfence_tests::sim::xenapi::{Pool, Settings, Vm};

use super::agent::{PROGRAM, Run, run};

const UPSTREAM: &str = "/usr/sbin/fence_xenapi";
const DIVERGENCES: &str = include_str!("../../../conformance/divergences.toml");

/// The ids for this agent and for all fence agents.
fn divergences() -> Vec<&'static str> {
    DIVERGENCES
        .split("[[divergence]]")
        .filter(|entry| entry.contains("agent = \"fence_xenapi\"") || entry.contains("agent = \"fence/*\""))
        .filter_map(|entry| entry.split("id = \"").nth(1)?.split('"').next())
        .collect()
}

/// Options, the machine's state, and the divergence.
type Case = (&'static str, &'static str, Option<&'static str>);

/// `BASE` stands for url, user, password and plug; `URL` and `SLAVE` for the hosts, `UUID` for the machine's.
const CASES: &[Case] = &[
    ("BASE\naction=status", "Running", None),
    ("BASE\naction=status", "Halted", None),
    ("BASE\naction=status", "Paused", None),
    ("BASE\naction=status", "Suspended", None),
    ("BASE\naction=monitor", "Running", None),
    ("BASE\naction=monitor", "Halted", None),
    ("BASE\naction=off", "Running", None),
    ("BASE\naction=off", "Halted", None),
    ("BASE\naction=off", "Paused", None),
    ("BASE\naction=off", "Suspended", None),
    ("BASE\naction=on", "Running", None),
    ("BASE\naction=on", "Halted", None),
    ("BASE\naction=on", "Paused", Some("resumed-by-on")),
    ("BASE\naction=on", "Suspended", Some("resumed-by-on")),
    ("BASE\naction=reboot", "Running", None),
    ("BASE\naction=reboot", "Halted", None),
    ("BASE\naction=reboot", "Suspended", None),
    ("BASE", "Running", None),
    ("BASE\naction=STATUS", "Running", None),
    ("BASE\nplug=UUID\naction=off", "Running", None),
    ("BASE\nport=UUID\naction=status", "Running", None),
    ("BASE\nplug=node1,other\naction=off", "Running", None),
    ("BASE\naction=status\nquiet=1", "Running", None),
    ("BASE\naction=status\nnodename=node1", "Running", None),
    ("BASE\naction=bogus", "Running", None),
    ("BASE\naction=", "Running", None),
    ("BASE\naction=validate-all", "Running", None),
    ("BASE\naction=status\npower_timeout=x", "Running", None),
    ("BASE\naction=status\nplug=", "Running", Some("errors-on-stderr")),
    ("BASE\npasswd_script=echo s3cret1\npasswd=other\naction=status", "Running", None),
    ("BASE\nplug=template\naction=off", "Running", None),
    ("BASE\nplug=dom0\naction=off", "Running", None),
    ("BASE\naction=list\nseparator=:", "Running", Some("list-in-order")),
    ("BASE\naction=list-status", "Running", Some("list-status-tells")),
    ("BASE\noption=status", "Running", Some("option-is-action")),
    ("BASE\nplug=nobody\naction=status", "Running", Some("errors-on-stderr")),
    ("BASE\nplug=twin\naction=off", "Running", Some("errors-on-stderr")),
    ("BASE\npasswd=wrong\naction=status", "Running", Some("errors-on-stderr")),
    ("BASE\nplug=namesake\naction=off", "Running", Some("snapshots-do-not-count")),
    ("BASE\nplug=nobody\naction=monitor", "Running", Some("monitor-of-the-plug")),
    ("BASE\nsession_url=SLAVE\naction=off", "Running", Some("master-is-followed")),
    ("BASE\nsession_url=http://127.0.0.1:1,URL\naction=off", "Running", Some("several-hosts")),
    ("action=validate-all\nplug=node1", "Running", Some("needs-what-it-needs")),
];

fn machine(state: &'static str) -> Vec<Vm> {
    let other = |name: &str, uuid: &str| Vm { uuid: uuid.into(), ..Vm::running(name) };
    vec![
        Vm { power: state, ..Vm::running("node1") },
        Vm::running("other"),
        Vm { template: true, ..Vm::halted("template") },
        Vm { control_domain: true, ..Vm::running("dom0") },
        other("twin", "11111111-0000-0000-0000-000000000001"),
        other("twin", "11111111-0000-0000-0000-000000000002"),
        other("namesake", "11111111-0000-0000-0000-000000000003"),
        Vm {
            snapshot: true,
            template: true,
            power: "Halted",
            ..other("namesake", "11111111-0000-0000-0000-000000000004")
        },
    ]
}

/// What is compared.
#[derive(Debug, PartialEq)]
struct Seen {
    code: Option<i32>,
    stdout: String,
    orders: Vec<String>,
    power: String,
}

fn seen(state: &'static str, program: &str, lines: &str) -> (Seen, Run) {
    let pool = Pool::start(Settings { hosts: 2, vms: machine(state), ..Settings::default() }).unwrap();
    let text = lines.replace("BASE", "session_url=URL\nlogin=root\npasswd=s3cret1\nplug=node1") + "\n";
    let text = text
        .replace("SLAVE", &pool.url(1))
        .replace("URL", &pool.url(0))
        .replace("UUID", &Vm::running("node1").uuid);
    let run = run(Path::new(program), &[], &text);
    let seen = Seen {
        code: run.code,
        stdout: run.stdout.clone(),
        orders: pool.orders(),
        power: pool.power("node1"),
    };
    (seen, run)
}

#[test]
fn the_same_words_and_the_same_deeds() {
    let known = divergences();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let faults = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((lines, state, divergence)) =
                    CASES.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let (theirs, their_run) = seen(state, UPSTREAM, lines);
                    let (ours, our_run) = seen(state, PROGRAM, lines);
                    let why = match divergence {
                        None if theirs != ours => "differs",
                        Some(id) if !known.contains(id) => "has no entry in divergences.toml",
                        Some(_) if theirs == ours => "does not differ any more",
                        _ => continue,
                    };
                    faults.lock().unwrap().push(format!("{lines:?} {state} {why}:\n  theirs {their_run:?}\n  ours {our_run:?}\n  {theirs:?}\n  {ours:?}"));
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), CASES.len(), faults.join("\n"));
}

/// Upstream leaves one session behind at each call, ours none.
#[test]
fn sessions_are_given_back() {
    assert!(divergences().contains(&"sessions-logged-out"));
    for (program, left) in [(UPSTREAM, 3), (PROGRAM, 0)] {
        let pool = Pool::start(Settings::default()).unwrap();
        for action in ["status", "off", "monitor"] {
            let text = format!(
                "session_url={}\nlogin=root\npasswd=s3cret1\nplug=node1\naction={action}\n",
                pool.url(0)
            );
            assert_eq!(run(Path::new(program), &[], &text).code, Some(0), "{program} {action}");
        }
        assert_eq!(pool.open_sessions(), left, "{program}");
    }
}

#[test]
fn the_same_command_line() {
    let pool = Pool::start(Settings::default()).unwrap();
    let base = ["-s", &pool.url(0), "-l", "root", "-p", "s3cret1", "-n", "node1"];
    for args in [
        &["-o", "status"][..],
        &["--act=status"],
        &["-o", "status", "--nonsense"],
        &["-o", "status", "extra"],
        &["-o"],
        &["-o", "off"],
        &["-o", "on", "--power-wait", "0"],
    ] {
        let args = [&base[..], args].concat();
        let seen = |program: &str| {
            pool.set_power("node1", "Running").unwrap();
            pool.forget_orders();
            let run = run(Path::new(program), &args, "");
            (run.code, run.stdout, pool.orders())
        };
        assert_eq!(seen(PROGRAM), seen(UPSTREAM), "{args:?}");
    }
}

/// All attributes of the elements of one metadata document, in order; prose left out.
fn table(xml: &str) -> Vec<BTreeMap<String, String>> {
    let mut rows = Vec::new();
    for tag in xml.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default().trim_end_matches(['/', ' ']);
        let name = tag.split_whitespace().next().unwrap_or_default();
        if !["resource-agent", "parameter", "getopt", "content", "option", "action"].contains(&name) {
            continue;
        }
        let mut row = BTreeMap::from([("element".to_owned(), name.to_owned())]);
        let mut rest = &tag[name.len()..];
        while let Some((attribute, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"').unwrap();
            if attribute.trim() != "shortdesc" {
                row.insert(attribute.trim().to_owned(), value.to_owned());
            }
            rest = after;
        }
        rows.push(row);
    }
    rows
}

#[test]
fn the_same_parameters() {
    assert!(divergences().contains(&"tls-options"));
    let ours = table(&run(Path::new(PROGRAM), &["-o", "metadata"], "").stdout);
    let theirs = table(&run(Path::new(UPSTREAM), &["-o", "metadata"], "").stdout);
    // a parameter is followed by its getopt, content and options
    let mut mine = Vec::new();
    let mut dropping = false;
    for row in ours {
        match row["element"].as_str() {
            "parameter" => {
                let added = ["ssl_insecure", "ssl_secure", "ssl_ca_file", "ssl_fingerprint", "output"];
                dropping = added.contains(&row["name"].as_str());
            }
            "action" | "resource-agent" => dropping = false,
            _ => {}
        }
        if !dropping {
            mine.push(row);
        }
    }
    for (at, (mine, theirs)) in mine.iter().zip(&theirs).enumerate() {
        assert_eq!(mine, theirs, "element {at}");
    }
    assert_eq!(mine.len(), theirs.len());
}
