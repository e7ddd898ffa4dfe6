//! A real cluster loses a node: it is fenced through its BMC, and only then does another node get the address.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test's helper functions are tests too"
)]

use ringfence_tests::cluster::address_plan::node_name;
use ringfence_tests::cluster::failover::{Stage, double_owners};
use ringfence_tests::cluster::timeline::Kind;
use ringfence_tests::cluster::{Agents, Cluster, Fault, Kept, NodeProgram, needs};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// One cluster at a time: on two cores, two clusters disturb each other's token.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn helper() -> NodeProgram {
    NodeProgram::new(env!("CARGO_BIN_EXE_rf-node"))
}

/// Boots, breaks the node that has the address, and judges what happened.
fn fails_over(test: &str, agents: Agents, nodes: u8, fault: Fault) {
    if !needs::met_or_blocked(test, &needs::missing(&agents)) {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::builder(helper()).nodes(nodes).agents(agents).up().unwrap();
    cluster.wait_until_started(Duration::from_secs(40)).unwrap();
    let holders = cluster.who_has_ip().unwrap();
    assert_eq!(holders.len(), 1, "one node has the address: {holders:?}");
    let victim = holders[0];

    let at = cluster.inject(fault, victim).unwrap();
    let story = cluster.wait_for_failover(victim, at, Duration::from_secs(40)).unwrap();

    assert_eq!(story.faults(), Vec::<String>::new());
    let survivor = story.survivor.expect("somebody answers");
    assert_ne!(survivor, victim);
    assert_eq!(cluster.who_has_ip().unwrap(), [survivor], "the kernels agree with the wire");
    assert!(!cluster.has_power(victim).unwrap(), "the victim stays off");
    let events = cluster.events();
    assert_eq!(double_owners(&events), Vec::<String>::new());
    let decided = story.at(Stage::FencingDecided).unwrap();
    let told_off = events.iter().any(|event| {
        event.kind == Kind::BmcTold
            && event.detail == "off"
            && event.node == Some(victim)
            && event.at >= decided
    });
    // A node that is off already needs no command, but its BMC's word: that is in the story's stages.
    assert!(told_off || fault == Fault::PowerCut, "the BMC was told to cut the power");
    let spared = events.iter().all(|event| event.kind != Kind::PowerOff || event.node == Some(victim));
    assert!(spared, "nobody else lost power");
    let status = cluster
        .wait_for("status without the victim", Duration::from_secs(10), |status| {
            !status.is_online(&node_name(victim)) && status.running_on("vip") == [node_name(survivor)]
        })
        .unwrap();
    assert!(status.quorum);
}

#[test]
fn upstream_three_nodes_kill_corosync() {
    fails_over("upstream_three_nodes_kill_corosync", Agents::Upstream, 3, Fault::KillCorosync);
}

#[test]
fn upstream_three_nodes_cut_link() {
    fails_over("upstream_three_nodes_cut_link", Agents::Upstream, 3, Fault::CutLink);
}

#[test]
fn upstream_three_nodes_power_cut() {
    fails_over("upstream_three_nodes_power_cut", Agents::Upstream, 3, Fault::PowerCut);
}

#[test]
fn upstream_two_nodes_kill_corosync() {
    fails_over("upstream_two_nodes_kill_corosync", Agents::Upstream, 2, Fault::KillCorosync);
}

/// Our agents: the tree that `RINGFENCE_INSTALLED` names, else one that is built now.
fn ours() -> Agents {
    static TREE: OnceLock<PathBuf> = OnceLock::new();
    let tree = TREE.get_or_init(|| {
        if let Some(tree) = std::env::var_os("RINGFENCE_INSTALLED") {
            return tree.into();
        }
        let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = std::process::Command::new(cargo)
            .args(["run", "--quiet", "--package", "xtask", "--", "install", "--profile", "dev", "--destdir"])
            .arg(&tree)
            .stdin(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "cargo xtask install failed");
        tree
    });
    Agents::Ours { dir: tree.clone() }
}

#[test]
fn ours_three_nodes_kill_corosync() {
    fails_over("ours_three_nodes_kill_corosync", ours(), 3, Fault::KillCorosync);
}

#[test]
fn ours_three_nodes_cut_link() {
    fails_over("ours_three_nodes_cut_link", ours(), 3, Fault::CutLink);
}

#[test]
fn ours_three_nodes_power_cut() {
    fails_over("ours_three_nodes_power_cut", ours(), 3, Fault::PowerCut);
}

#[test]
fn ours_two_nodes_kill_corosync() {
    fails_over("ours_two_nodes_kill_corosync", ours(), 2, Fault::KillCorosync);
}

/// An install tree whose agents are only pointers to upstream's: what is tested is that the nodes run the tree's.
fn tree_of_pointers(root: &Path) {
    let script = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    script(
        "usr/lib/ocf/resource.d/ringfence/IPaddr2",
        "#!/bin/sh\necho \"$1\" >>/run/ipaddr2-calls\nexec /usr/lib/ocf/resource.d/heartbeat/IPaddr2 \"$@\"\n",
    );
    let upstream = std::fs::read_to_string("/usr/sbin/fence_ipmilan").unwrap();
    script("usr/sbin/fence_ipmilan", &upstream);
    // A name that the host does not have: /usr/sbin itself must be laid over.
    script("usr/sbin/fence_ringfence_probe", "#!/bin/sh\necho probe\n");
}

#[test]
fn nodes_run_the_agents_of_an_install_tree_and_the_host_does_not_see_them() {
    let test = "nodes_run_the_agents_of_an_install_tree";
    if !needs::met_or_blocked(test, &needs::missing(&Agents::Upstream)) {
        return;
    }
    let _turn = turn();
    let tree = tempfile::tempdir().unwrap();
    tree_of_pointers(tree.path());
    let mounts_before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let agents = Agents::Ours { dir: tree.path().to_owned() };
    let cluster = Cluster::builder(helper()).nodes(2).agents(agents).up().unwrap();
    let status = cluster.wait_until_started(Duration::from_secs(40)).unwrap();
    let vip = status.resources.iter().find(|resource| resource.id == "vip").unwrap();
    assert_eq!(vip.agent, "ocf:ringfence:IPaddr2");
    let calls = cluster.exec(1, &["cat", "/run/ipaddr2-calls"]).unwrap();
    assert!(String::from_utf8_lossy(&calls.stdout).lines().any(|line| line == "start"));
    let probe = cluster.exec(2, &["fence_ringfence_probe"]).unwrap();
    assert_eq!(String::from_utf8_lossy(&probe.stdout), "probe\n");
    assert!(!Path::new("/usr/sbin/fence_ringfence_probe").exists());
    assert!(
        !Path::new("/usr/lib/ocf/resource.d/ringfence/IPaddr2").exists()
            || mounts_before.contains("ringfence")
    );
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts_before);
}

#[test]
fn the_witnesses_see_two_owners_and_the_one_that_answers() {
    let test = "the_witnesses_see_two_owners_and_the_one_that_answers";
    if !needs::met_or_blocked(test, &needs::missing(&Agents::Upstream)) {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::builder(helper()).nodes(2).up().unwrap();
    let until = |what: &str, found: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(4);
        while !found() {
            assert!(Instant::now() < end, "{what}: {:?}", cluster.events());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let saw = |kind: Kind| cluster.events().iter().any(|event| event.kind == kind);
    let add = |node: u8| {
        // By hand: Pacemaker has not begun yet.
        let added = || cluster.exec(node, &["ip", "addr", "add", "10.77.0.50/32", "dev", "eth0"]);
        until("the node takes the address", &|| added().is_ok_and(|output| output.status.success()));
    };
    until("the network is up", &|| saw(Kind::AddressUp));
    add(1);
    until("the one owner answers", &|| saw(Kind::PingAnswered) && saw(Kind::ArpOwner));
    assert_eq!(double_owners(&cluster.events()), Vec::<String>::new());
    assert_eq!(cluster.who_has_ip().unwrap(), [1]);
    add(2);
    until("two owners on the wire", &|| saw(Kind::DoubleOwner));
    until("two owners in the kernels", &|| {
        double_owners(&cluster.events()).iter().any(|finding| finding.starts_with("n1 and n2"))
    });
    assert_eq!(cluster.who_has_ip().unwrap(), [1, 2]);
}

/// Waits until a pid is gone, or fails.
fn gone(pid: i32) {
    let end = Instant::now() + Duration::from_secs(5);
    while Path::new(&format!("/proc/{pid}")).exists() {
        assert!(Instant::now() < end, "pid {pid} outlived its cluster");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the supervisor has removed the state directory, which it does after the last process is gone, or fails.
fn removed(dir: &Path) {
    let end = Instant::now() + Duration::from_secs(5);
    while dir.exists() {
        assert!(Instant::now() < end, "{} was left behind", dir.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_dropped_cluster_leaves_nothing() {
    if !needs::met_or_blocked("a_dropped_cluster_leaves_nothing", &needs::missing(&Agents::Upstream)) {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::builder(helper()).nodes(2).up().unwrap();
    let pids: Vec<i32> = cluster.nodes().map(|node| cluster.node_pid(node).unwrap()).collect();
    let dir = cluster.dir().to_owned();
    drop(cluster);
    pids.into_iter().for_each(gone);
    assert!(!dir.exists());
}

#[test]
fn a_cluster_ends_itself_when_its_time_is_up() {
    if !needs::met_or_blocked("a_cluster_ends_itself_when_its_time_is_up", &needs::missing(&Agents::Upstream))
    {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::builder(helper()).nodes(2).lifetime(Duration::from_secs(2)).up().unwrap();
    let pid = cluster.node_pid(1).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    gone(pid);
    removed(cluster.dir());
}

#[test]
fn a_killed_supervisor_takes_the_cluster_with_it() {
    if !needs::met_or_blocked(
        "a_killed_supervisor_takes_the_cluster_with_it",
        &needs::missing(&Agents::Upstream),
    ) {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::builder(helper()).nodes(2).up().unwrap();
    let pid = cluster.node_pid(2).unwrap();
    let supervisor = nix::unistd::Pid::from_raw(i32::try_from(cluster.supervisor_pid()).unwrap());
    nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGKILL).unwrap();
    gone(pid);
}

#[test]
fn a_kept_cluster_lives_until_it_is_taken_down() {
    if !needs::met_or_blocked(
        "a_kept_cluster_lives_until_it_is_taken_down",
        &needs::missing(&Agents::Upstream),
    ) {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::builder(helper()).nodes(2).lifetime(Duration::from_secs(2)).up().unwrap();
    let kept = cluster.keep().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(Kept::all().contains(&kept));
    let pid = kept.nodes[0].1;
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    kept.down().unwrap();
    gone(pid);
    removed(&kept.dir);
    assert!(!Kept::all().contains(&kept));
    kept.down().expect("twice is once");
}

#[test]
fn a_killed_driver_takes_the_cluster_with_it() {
    if !needs::met_or_blocked("a_killed_driver_takes_the_cluster_with_it", &needs::missing(&Agents::Upstream))
    {
        return;
    }
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("note");
    let mut driver =
        std::process::Command::new(env!("CARGO_BIN_EXE_rf-node")).arg("hold").arg(&note).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let text = loop {
        match std::fs::read_to_string(&note) {
            Ok(text) if text.ends_with('\n') => break text,
            _ => assert!(Instant::now() < end, "the driver made no cluster"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let (pid, dir) = text.trim_end().split_once(' ').unwrap();
    let pid: i32 = pid.parse().unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    driver.kill().unwrap();
    driver.wait().unwrap();
    gone(pid);
    removed(Path::new(dir));
}
