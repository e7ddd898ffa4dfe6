//! Fencing topologies in a real cluster: a second level behind a controller that lies, two power supplies of one node, a map of plugs.
//! The controllers of the nodes are `ipmi_sim`, whose chassis is the node; the others are `ringfence-sim`'s, and no node hangs on them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test's helper functions are tests too")]

use ringfence_tests::cluster::timeline::Kind;
use ringfence_tests::cluster::{Agents, Cluster, Fault, NodeProgram, needs};
use ringfence_tests::sim::control::ask;
use ringfence_tests::subjects::subjects;
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);

/// A controller that listens on n1's loopback: a second power supply, or a first level.
struct Extra {
    id: &'static str,
    port: u16,
    folder: PathBuf,
}

impl Extra {
    /// In a folder that host and node both see: a cluster's own is not there for the host.
    fn start(cluster: &Cluster, within: &Path, id: &'static str, port: u16) -> Self {
        let folder = within.join(id);
        let line = format!(
            "setsid {} ipmi --user admin:s3cret:administrator --listen 127.0.0.1:{port} --folder {folder} >{folder}.log 2>&1 </dev/null &",
            env!("CARGO_BIN_EXE_ringfence-sim"),
            folder = folder.display()
        );
        let said = said(cluster, &["sh", "-c", &line]);
        let extra = Self { id, port, folder };
        let end = Instant::now() + LIMIT;
        while ask(&extra.control(), &json!({"do": "state"})).is_err() {
            let log = std::fs::read_to_string(extra.folder.with_extension("log")).unwrap_or_default();
            assert!(Instant::now() < end, "{id} does not answer: {said}{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        extra
    }

    fn control(&self) -> PathBuf {
        self.folder.join("control")
    }

    fn power(&self) -> String {
        std::fs::read_to_string(self.folder.join("power")).unwrap().trim().to_owned()
    }

    /// Its fence device, which only n1 reaches.
    fn device(&self, more: &[(&str, &str)]) -> String {
        let id = self.id;
        let port = self.port.to_string();
        let usual = [
            ("ipport", &*port),
            ("username", "admin"),
            ("password", "s3cret"),
            ("lanplus", "1"),
            ("cipher", "3"),
            // Under Pacemaker the agent else waits as long as Pacemaker does, as upstream's.
            ("disable_timeout", "0"),
            ("power_timeout", "5"),
            ("pcmk_off_retries", "1"),
            ("pcmk_host_check", "static-list"),
        ];
        let mut xml = format!(
            "<primitive id='{id}' class='stonith' type='fence_ipmilan'><instance_attributes id='{id}-ia'>"
        );
        for (name, value) in usual.iter().chain(more) {
            let _ = write!(xml, "<nvpair id='{id}-{name}' name='{name}' value='{value}'/>");
        }
        xml + "</instance_attributes></primitive>"
    }

    fn places(&self) -> [String; 2] {
        ["n2", "n3"].map(|node| {
            format!("<rsc_location id='l-{0}-{node}' rsc='{0}' node='{node}' score='-INFINITY'/>", self.id)
        })
    }
}

fn said(cluster: &Cluster, argv: &[&str]) -> String {
    let output = cluster.exec(1, argv).unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn put(cluster: &Cluster, scope: &str, xml: &str) {
    let done = cluster.exec(1, &["cibadmin", "--create", "--scope", scope, "--xml-text", xml]).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn until(what: &str, seen: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !seen() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Microseconds since 1970 at which the controller's power was seen to change, and to what.
fn watched(extra: &Extra, act: impl FnOnce()) -> Vec<(i64, String)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let (mut seen, mut last) = (Vec::new(), extra.power());
            while !over.load(Ordering::Relaxed) {
                let now = extra.power();
                if !now.is_empty() && now != last {
                    last.clone_from(&now);
                    seen.push((ringfence_tests::cluster::stamp::now(), now));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            seen
        });
        act();
        over.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    })
}

#[test]
fn a_cluster_fences_by_levels_and_by_two_power_supplies() {
    let tree = subjects(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap().tree;
    let agents = Agents::Ours { dir: tree };
    if !needs::met_or_blocked(
        "a_cluster_fences_by_levels_and_by_two_power_supplies",
        &needs::missing(&agents),
    ) {
        return;
    }
    let helper = NodeProgram::new(env!("CARGO_BIN_EXE_rf-node"));
    let cluster = Cluster::builder(helper).nodes(3).agents(agents).up().unwrap();
    cluster.wait_until_started(Duration::from_secs(40)).unwrap();

    // One device for a whole rack, whose plugs are addresses; and a first level of n3's own.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let second = Extra::start(&cluster, folder.path(), "second-supply", 6231);
    let first = Extra::start(&cluster, folder.path(), "first-level", 6232);
    // Its monitor knows no plug.
    let mapped =
        second.device(&[("ip", "127.0.0.1"), ("port_as_ip", "1"), ("pcmk_host_map", "n2:127.0.0.1")]);
    let listed = first.device(&[("ip", "127.0.0.1"), ("pcmk_host_list", "n3")]);
    put(&cluster, "resources", &mapped);
    put(&cluster, "resources", &listed);
    for place in second.places().iter().chain(&first.places()) {
        put(&cluster, "constraints", place);
    }
    let levels = "<fencing-topology><fencing-level id='t1' target='n2' index='1' devices='fence-n2,second-supply'/>\
        <fencing-level id='t2' target='n3' index='1' devices='first-level'/>\
        <fencing-level id='t3' target='n3' index='2' devices='fence-n3'/></fencing-topology>";
    put(&cluster, "configuration", levels);
    let started = |status: &ringfence_tests::cluster::status::Status| {
        status.is_started("second-supply") && status.is_started("first-level")
    };
    cluster.wait_for("both devices", LIMIT, started).unwrap();
    let known = said(&cluster, &["stonith_admin", "--list", "n2"]);
    assert!(known.contains("second-supply") && !known.contains("first-level"), "{known}");

    // Two supplies: both are off before one is on again. The same action as the cluster would choose for a node that it loses: it
    // fences but once then.
    said(&cluster, &["crm_attribute", "-n", "stonith-action", "-v", "reboot"]);
    let changes = watched(&second, || {
        let rebooted = said(&cluster, &["stonith_admin", "--reboot", "n2", "--timeout", "60"]);
        assert!(!rebooted.to_lowercase().contains("fail"), "{rebooted}");
    });
    let told: Vec<(i64, String)> = cluster
        .events()
        .into_iter()
        .filter(|event| event.kind == Kind::BmcTold && event.node == Some(2))
        .map(|event| (event.at, event.detail))
        .collect();
    let [(own_off, a), (own_on, b)] = &told[..] else { panic!("{told:?}") };
    let [(other_off, c), (other_on, d)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!([a, b, c, d].map(String::as_str), ["off", "on", "off", "on"]);
    assert!(own_off.max(other_off) < own_on.min(other_on), "{told:?} {changes:?}");
    cluster.wait_for("n2 back", LIMIT, |status| status.is_online("n2")).unwrap();

    // A first level whose controller takes the order and does nothing: that is no fencing, and the second level does it.
    said(&cluster, &["crm_attribute", "-n", "stonith-action", "-v", "off"]);
    ask(&first.control(), &json!({"do": "fault", "lies": true})).unwrap();
    cluster.inject(Fault::KillCorosync, 3).unwrap();
    until("n3 has no power", || !cluster.has_power(3).unwrap());
    let log = || -> String { (1..=2).map(|node| cluster.log(node, "pacemaker/pacemaker.log")).collect() };
    until("the cluster knows", || log().contains("targeting n3 using fence-n3 returned 0"));
    assert!(log().contains("targeting n3 using first-level returned 1"), "{}", log());
    assert_eq!(first.power(), "on");
}
