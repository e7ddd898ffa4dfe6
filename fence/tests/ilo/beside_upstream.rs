//! The same words to upstream's `fence_ilo` and `fence_ilo2` and to ours, before the same simulator: status, standard output, and the
//! power afterwards.
//!
//! A case either is equal or names the entry of `conformance/divergences.toml` that says why not; an entry whose difference is gone
//! makes its case red. Needs the packages `fence-agents` and `gnutls-bin`; upstream's program is run, never read.

use std::collections::BTreeMap;
use std::path::Path;

use ringfence_tests::sim::ribcl::{Generation, Quirks};

use super::agent::{Bed, PROGRAM, Run, with};
use super::ran::{command, ended, run, started};

const DIVERGENCES: &str = include_str!("../../../conformance/divergences.toml");

/// The ids for this agent and for all fence agents.
fn divergences() -> Vec<&'static str> {
    DIVERGENCES
        .split("[[divergence]]")
        .filter(|entry| entry.contains("agent = \"fence_ilo\"") || entry.contains("agent = \"fence/*\""))
        .filter_map(|entry| entry.split("id = \"").nth(1)?.split('"').next())
        .collect()
}

/// Options, whether the node is on, the device, and the divergence.
type Case = (&'static str, bool, Generation, Option<&'static str>);

/// `BASE` stands for address, port, user and password of an administrator, and `ssl_insecure=1`.
const CASES: &[Case] = &[
    ("BASE\naction=status", true, Generation::Ilo2, None),
    ("BASE\naction=status", false, Generation::Ilo2, None),
    ("BASE\naction=status", true, Generation::Ilo1, None),
    ("BASE\naction=monitor", true, Generation::Ilo2, None),
    ("BASE\naction=monitor", false, Generation::Ilo2, None),
    ("BASE\naction=off", true, Generation::Ilo2, None),
    ("BASE\naction=off", false, Generation::Ilo2, None),
    ("BASE\naction=off", true, Generation::Ilo1, None),
    ("BASE\naction=off", true, Generation::Riloe, None),
    ("BASE\naction=on", false, Generation::Ilo2, None),
    ("BASE\naction=on", true, Generation::Ilo2, None),
    ("BASE\naction=on", false, Generation::Ilo1, None),
    ("BASE\naction=reboot", true, Generation::Ilo2, None),
    ("BASE\naction=reboot", false, Generation::Ilo1, None),
    ("BASE", true, Generation::Ilo2, None),
    ("BASE\naction=status\npasswd=wrong\nlogin_timeout=2\npower_timeout=2", true, Generation::Ilo2, None),
    ("BASE\naction=off\nlogin=looker\npower_timeout=2", true, Generation::Ilo2, None),
    ("BASE\naction=status\nssl_insecure=0\nssl_secure=1", true, Generation::Ilo2, Some("false-is-false")),
    ("BASE\naction=list", true, Generation::Ilo2, None),
    ("BASE\naction=enable", true, Generation::Ilo2, None),
    ("BASE\naction=validate-all", true, Generation::Ilo2, None),
    ("BASE\naction=status\nport_as_ip=1\nplug=127.0.0.1\nip=192.0.2.1", true, Generation::Ilo2, None),
    ("BASE\naction=status\nssl_insecure=0", true, Generation::Ilo2, Some("false-is-false")),
    ("BASE\naction=status\nribcl=2.22", true, Generation::Ilo2, Some("ribcl-version-works")),
    ("BASE\naction=status\nlogin_timeout=4", true, Generation::Ilo4, Some("ribcl-over-http")),
];

/// What is compared.
#[derive(Debug, PartialEq)]
struct Seen {
    code: Option<i32>,
    stdout: String,
    on: bool,
}

fn seen(bed: &Bed, on: bool, program: &Path, stdin: &str) -> (Seen, Run) {
    bed.sim.set_power(on);
    let run = run(program, &[], stdin);
    (Seen { code: run.code, stdout: run.stdout.clone(), on: bed.sim.is_on() }, run)
}

#[test]
fn the_same_words_and_the_same_deeds() {
    let known = divergences();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let faults = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((lines, on, generation, divergence)) =
                    CASES.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let bed = with(*generation, *on, Quirks::default());
                    let base = format!(
                        "ip=127.0.0.1\nipport={}\nlogin=admin\npasswd=s3cret1\nssl_insecure=1\nshell_timeout=20",
                        bed.sim.address().port()
                    );
                    let text = lines.replace("BASE", &base) + "\n";
                    let name = if *generation == Generation::Ilo2 { "fence_ilo2" } else { "fence_ilo" };
                    let (theirs, their_run) = seen(&bed, *on, Path::new(&format!("/usr/sbin/{name}")), &text);
                    let (ours, our_run) = seen(&bed, *on, Path::new(PROGRAM), &text);
                    let why = match divergence {
                        None if theirs != ours => "differs",
                        Some(id) if !known.contains(id) => "has no entry in divergences.toml",
                        Some(_) if theirs == ours => "does not differ any more",
                        _ => continue,
                    };
                    faults.lock().unwrap().push(format!(
                        "{lines:?} on={on} {why}:\n  theirs {their_run:?}\n  ours {our_run:?}\n  {theirs:?}\n  {ours:?}"
                    ));
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), CASES.len(), faults.join("\n"));
}

/// The race that upstream's TOGGLE loses: the machine goes off by itself between the status and the order.
#[test]
fn upstreams_toggle_starts_a_machine_that_ours_leaves_off() {
    assert!(divergences().contains(&"no-toggle"));
    let flips = || Quirks { flips_before_order: true, ..Quirks::default() };
    let started = |program: &Path| {
        let bed = with(Generation::Ilo2, true, flips());
        let text = format!(
            "ip=127.0.0.1\nipport={}\nlogin=admin\npasswd=s3cret1\nssl_insecure=1\npower_timeout=1\naction=off\n",
            bed.sim.address().port()
        );
        run(program, &[], &text);
        bed.sim.log().contains(&"power on".to_owned())
    };
    assert!(
        started(Path::new("/usr/sbin/fence_ilo2")),
        "upstream does not toggle any more: a stale divergence"
    );
    assert!(!started(Path::new(PROGRAM)));
}

/// All attributes of the elements of one metadata document, in order; prose left out.
fn table(xml: &str) -> Vec<BTreeMap<String, String>> {
    let mut rows = Vec::new();
    for tag in xml.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default().trim_end_matches(['/', ' ']);
        let name = tag.split_whitespace().next().unwrap_or_default();
        if !["parameter", "getopt", "content", "option", "action"].contains(&name) {
            continue;
        }
        let mut row = BTreeMap::from([("element".to_owned(), name.to_owned())]);
        let mut rest = &tag[name.len()..];
        while let Some((attribute, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"').unwrap();
            // build-time places
            if !value.starts_with("/usr/") {
                row.insert(attribute.trim().to_owned(), value.to_owned());
            }
            rest = after;
        }
        rows.push(row);
    }
    rows
}

const OURS_ALONE: [&str; 8] = [
    "ribcl_transport",
    "ssl_ca_file",
    "ssl_fingerprint",
    "ilo_powerdown_method",
    "ilo_proxyhost",
    "ilo_proxyport",
    "method",
    "output",
];

#[test]
fn the_same_parameters_under_both_names() {
    assert!(divergences().contains(&"more-parameters"));
    let directory = tempfile::tempdir().unwrap();
    for name in ["fence_ilo", "fence_ilo2"] {
        let path = directory.path().join(name);
        std::os::unix::fs::symlink(PROGRAM, &path).unwrap();
        let ours = run(&path, &["-o", "metadata"], "");
        let theirs = run(Path::new(&format!("/usr/sbin/{name}")), &["-o", "metadata"], "");
        let (mut mine, upstream) = (table(&ours.stdout), table(&theirs.stdout));
        // a parameter is followed by its getopt, content and options
        let mut dropping = false;
        mine.retain(|row| {
            match row["element"].as_str() {
                "parameter" => dropping = OURS_ALONE.contains(&row["name"].as_str()),
                "action" => dropping = false,
                _ => {}
            }
            !dropping
        });
        for (at, (mine, theirs)) in mine.iter().zip(&upstream).enumerate() {
            assert_eq!(mine, theirs, "{name}, element {at}");
        }
        assert_eq!(mine.len(), upstream.len(), "{name}");
    }
}

/// Upstream's plugin and ours as `external/riloe`: what needs no device.
#[test]
fn the_same_plugin() {
    assert!(divergences().contains(&"riloe-verifies"));
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("riloe");
    std::os::unix::fs::symlink(PROGRAM, &ours).unwrap();
    let said = |program: &Path, args: &[&str], variables: &[(&str, &str)]| {
        let mut command = command(program);
        command.args(args).envs(variables.iter().copied());
        let begun = std::time::Instant::now();
        ended(started(command, ""), begun)
    };
    let theirs = Path::new("/usr/lib/stonith/plugins/external/riloe");
    let words = |run: &Run| run.stdout.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let names = (said(theirs, &["getconfignames"], &[]), said(&ours, &["getconfignames"], &[]));
    assert_eq!(words(&names.0), words(&names.1));
    let hosts =
        [("hostlist", "n1 n2"), ("ilo_hostname", "127.0.0.1"), ("ilo_user", "a"), ("ilo_password", "b")];
    assert_eq!(words(&said(theirs, &["gethosts"], &hosts)), words(&said(&ours, &["gethosts"], &hosts)));
    for (args, variables) in [
        (&["explode"][..], &hosts[..]),
        (&["status"], &hosts[..1]),
        (&["status"], &hosts[1..]),
        (&["status"], &[&hosts[..], &[("ilo_proxyport", "x")]].concat()),
    ] {
        let (theirs, ours) = (said(theirs, args, variables), said(&ours, args, variables));
        assert_eq!(
            (theirs.code, ours.code),
            (Some(1), Some(1)),
            "{args:?} {variables:?} {theirs:?} {ours:?}"
        );
    }
    // Names, whether required and unique, of getinfo-xml.
    let rows = |run: &Run| {
        table(&run.stdout)
            .into_iter()
            .filter(|row| row["element"] == "parameter")
            .map(|row| (row["name"].clone(), row["unique"].clone(), row.get("required").cloned()))
            .collect::<Vec<_>>()
    };
    let required = |rows: Vec<(String, String, Option<String>)>| {
        rows.into_iter().map(|(n, u, r)| (n, u, r.as_deref() == Some("1"))).collect::<Vec<_>>()
    };
    assert_eq!(
        required(rows(&said(theirs, &["getinfo-xml"], &[]))),
        required(rows(&said(&ours, &["getinfo-xml"], &[])))
    );
}
