//! The agent on recorded words of zpool 2.3.2 and a kstat made by hand.

use super::*;
use ocf_lib::resource::testkit::{Bench, Commands};
use std::path::Path;

// Standard error of zpool 2.3.2, as recorded.
const USED_ELSEWHERE: &str = "cannot import 'tank': pool was previously in use from another system.\n\
    Last accessed by za (hostid=11111111) at Sat Nov 21 00:56:25 2026\n\
    The pool can be imported, use 'zpool import -f' to import the pool.\n";
const ACTIVE_ELSEWHERE: &str = "cannot import 'tank': pool is imported on za (hostid: 0x11111111)\n\
    Export the pool on the other system, then run 'zpool import'.\n";
const BUSY: &str = "cannot unmount '/tank/data': pool or dataset is busy\n";
const SCAN: &str = "   pool: tank\n     id: 14203118064084987936\n  state: ONLINE\n";

fn agent(root: &Path, importforce: Option<bool>) -> Zfs {
    let pool = PoolName("tank".to_owned());
    let params = Params { pool, importargs: "-d /dev".to_owned(), importforce, report_degraded: false };
    Zfs { params, kstat: root.join("kstat"), fuse: root.join("none"), proc: root.join("proc") }
}

fn kernel_says(root: &Path, state: &str) {
    let folder = root.join("kstat/tank");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("state"), format!("{state}\n")).unwrap();
}

fn probed(state: &str) -> State {
    let root = tempfile::tempdir().unwrap();
    kernel_says(root.path(), state);
    agent(root.path(), None).probe(&Bench::new("ZFS", Verb::Monitor).into_cx()).unwrap()
}

#[test]
fn an_imported_pool_is_never_called_stopped() {
    assert_eq!(probed("ONLINE"), State::Running);
    assert_eq!(probed("DEGRADED"), State::Running);
    for state in ["SUSPENDED", "FAULTED", "UNAVAIL", "OFFLINE", "", "SOMETHING"] {
        assert!(matches!(probed(state), State::Failed(_)), "{state}: {:?}", probed(state));
    }
}

#[test]
fn a_pool_without_kstat_is_stopped_and_no_tool_is_asked() {
    let root = tempfile::tempdir().unwrap();
    let bench = Bench::new("ZFS", Verb::Monitor);
    let commands = bench.commands();
    let cx = bench.into_cx();
    assert_eq!(agent(root.path(), None).probe(&cx), Ok(State::Stopped));
    std::fs::create_dir_all(root.path().join("kstat/tank2")).unwrap();
    assert_eq!(agent(root.path(), None).probe(&cx), Ok(State::Stopped));
    assert!(commands.borrow().is_empty());
}

/// resource-agents 2206, 2213: a healthy pool failed its monitor while its devices were being opened.
#[test]
fn a_passing_state_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("kstat/tank")).unwrap();
    let probe = |states: &[&str]| {
        let bench = Bench::new("ZFS", Verb::Monitor);
        let bench = states.iter().fold(bench, |bench, state| bench.answer("zpool", 0, state, ""));
        agent(root.path(), None).probe(&bench.into_cx()).unwrap()
    };
    assert_eq!(probe(&["OFFLINE\n", "UNAVAIL\n", "", "ONLINE\n"]), State::Running);
    assert!(matches!(probe(&["OFFLINE\n"; 100]), State::Failed(_)), "but not for ever");
}

#[test]
fn zfs_fuse_is_asked_through_its_tool() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("socket"), "").unwrap();
    let agent = Zfs { fuse: root.path().join("socket"), ..agent(root.path(), None) };
    let probe = |code, out, err| {
        agent.probe(&Bench::new("ZFS", Verb::Monitor).answer("zpool", code, out, err).into_cx())
    };
    assert_eq!(probe(0, "ONLINE\n", ""), Ok(State::Running));
    assert_eq!(probe(1, "", "cannot open 'tank': no such pool\n"), Ok(State::Stopped));
    assert!(probe(1, "", "internal error: out of memory\n").is_err());
}

#[test]
fn check_level_10_proves_a_write() {
    let root = tempfile::tempdir().unwrap();
    kernel_says(root.path(), "ONLINE");
    let probe = |code, err| {
        let bench =
            Bench::new("ZFS", Verb::Monitor).set("OCF_CHECK_LEVEL", "10").answer("zpool", code, "", err);
        let commands = bench.commands();
        (agent(root.path(), None).probe(&bench.into_cx()).unwrap(), commands.borrow().join(";"))
    };
    assert_eq!(probe(0, ""), (State::Running, "zpool sync -f tank".to_owned()));
    let State::Failed(why) = probe(1, "cannot sync").0 else { panic!("not failed") };
    assert_eq!(why, "a write to pool tank did not reach its disks: zpool exited 1: cannot sync");
}

/// The result of start and what was run for it.
fn started(force: Option<bool>, answers: &[(&str, i32, &str, &str)]) -> (Result<(), String>, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    let bench = Bench::new("ZFS", Verb::Start)
        .set("OCF_ROOT", "/nonexistent")
        .set("OCF_RESKEY_CRM_meta_on_node", "zb");
    let bench =
        answers.iter().fold(bench, |bench, (tool, code, out, err)| bench.answer(tool, *code, out, err));
    let commands: Commands = bench.commands();
    let result = agent(root.path(), force).start(&bench.into_cx()).map_err(|fault| fault.reason().to_owned());
    let ran = commands.borrow().clone();
    (result, ran)
}

const PLAIN: &str = "zpool import -d /dev -o cachefile=none tank";
const FORCED: &str = "zpool import -f -d /dev -o cachefile=none tank";

#[test]
fn a_pool_that_was_exported_needs_no_force() {
    assert_eq!(started(Some(false), &[("zpool", 0, "", "")]), (Ok(()), vec![PLAIN.to_owned()]));
    let nodes = ("crm_node", 0, "2 zb member\n", "");
    let (result, ran) = started(None, &[nodes, ("zpool", 0, "", "")]);
    assert_eq!((result, ran), (Ok(()), vec!["crm_node -l".to_owned(), PLAIN.to_owned()]));
    assert_eq!(started(Some(true), &[("zpool", 0, "", "")]), (Ok(()), vec![FORCED.to_owned()]));
}

#[test]
fn the_pool_of_a_lost_node_is_taken_and_that_of_a_living_or_unknown_host_is_not() {
    let nodes = |list: &'static str| {
        [("zpool", 1, "", USED_ELSEWHERE), ("crm_node", 0, list, ""), ("zpool", 0, "", "")]
    };
    let (result, ran) = started(None, &nodes("1 za.example.com lost\n2 zb member\n"));
    assert_eq!(
        (result, ran),
        (Ok(()), vec!["crm_node -l".to_owned(), PLAIN.to_owned(), FORCED.to_owned()]),
        "the cluster is asked first: the watch of multihost takes longer than the boot of the one that was fenced"
    );
    for (list, because) in [
        ("1 za member\n2 zb member\n", "which is alive"),
        ("1 zc lost\n2 zb member\n", "which is no node of this cluster and may be alive"),
    ] {
        let (result, ran) = started(None, &nodes(list));
        let why = result.unwrap_err();
        assert!(why.starts_with(&format!("pool tank was used last by host za, {because}: ")), "{why}");
        assert!(!ran.contains(&FORCED.to_owned()), "{ran:?}");
    }
}

#[test]
fn without_a_cluster_only_the_administrator_says_force() {
    let (result, ran) = started(None, &[("zpool", 1, "", USED_ELSEWHERE)]);
    assert!(result.unwrap_err().contains("crm_node is not installed"));
    assert_eq!(ran.len(), 2);
    let (result, ran) = started(Some(false), &[("zpool", 1, "", USED_ELSEWHERE)]);
    assert!(
        result.unwrap_err().starts_with("cannot import pool tank: cannot import 'tank': pool was previously")
    );
    assert_eq!(ran, [PLAIN]);
}

#[test]
fn multihost_decides_besides() {
    let (result, ran) = started(None, &[("zpool", 1, "", ACTIVE_ELSEWHERE)]);
    assert!(result.unwrap_err().contains("pool is imported on za"));
    assert!(!ran.contains(&FORCED.to_owned()), "{ran:?}");
    let (result, _) = started(Some(true), &[("zpool", 1, "", ACTIVE_ELSEWHERE)]);
    assert!(result.is_err());
}

/// As zpool 2.3.2 says it on a kernel without the module.
#[test]
fn a_kernel_without_zfs_is_a_matter_of_installation() {
    let root = tempfile::tempdir().unwrap();
    let said =
        "The ZFS modules cannot be auto-loaded.\nTry running 'modprobe zfs' as root to manually load them.\n";
    let bench = Bench::new("ZFS", Verb::Start).set("OCF_ROOT", "/nonexistent").answer("zpool", 1, "", said);
    let fault = agent(root.path(), Some(false)).start(&bench.into_cx()).unwrap_err();
    assert_eq!(fault.kind(), ocf_lib::resource::code::Kind::Installed);
    assert!(fault.reason().contains("modprobe zfs"), "{}", fault.reason());
}

#[test]
fn what_the_own_host_used_last_is_its_own() {
    let own = USED_ELSEWHERE.replace("za", "zb");
    let answers =
        [("zpool", 1, "", own.as_str()), ("crm_node", 0, "2 zb member\n", ""), ("zpool", 0, "", "")];
    assert_eq!(started(None, &answers).0, Ok(()));
}

/// What stop noted, and what was run for it. The pool stays as it is: nobody answers the export by doing it.
fn stopped(state: &str, answers: &[(i32, &str)]) -> (Vec<String>, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    kernel_says(root.path(), state);
    let bench = Bench::new("ZFS", Verb::Stop).set("OCF_ROOT", "/nonexistent");
    let bench = answers.iter().fold(bench, |bench, (code, err)| bench.answer("zpool", *code, "", err));
    let commands = bench.commands();
    let mut faults = Faults::default();
    agent(root.path(), None).stop(&bench.into_cx(), &mut faults);
    let ran = commands.borrow().clone();
    (faults.as_slice().iter().map(|fault| fault.reason().to_owned()).collect(), ran)
}

#[test]
fn a_suspended_pool_fails_the_stop_at_once() {
    let (faults, ran) = stopped("SUSPENDED", &[]);
    assert!(faults[0].starts_with("pool tank is suspended and cannot be exported"), "{faults:?}");
    assert!(ran.is_empty());
}

#[test]
fn a_busy_pool_is_tried_again_for_half_of_the_time() {
    let (faults, ran) = stopped("ONLINE", &[(1, BUSY), (1, BUSY), (0, "")]);
    assert_eq!((faults, ran.len()), (vec![], 3));
    let (faults, ran) = stopped("ONLINE", &[(1, BUSY); 30]);
    assert_eq!(faults, ["zpool exited 1: cannot unmount '/tank/data': pool or dataset is busy"]);
    assert_eq!(ran.len(), 11, "20 s of time");
    let (faults, ran) = stopped("ONLINE", &[(1, "cannot export 'tank': permission denied")]);
    assert_eq!((faults.len(), ran.len()), (1, 1));
}

#[test]
fn a_scan_finds_the_pool_by_its_whole_name() {
    let root = tempfile::tempdir().unwrap();
    let seen = |list: &str| {
        let cx = Bench::new("ZFS", Verb::ValidateAll).answer("zpool", 0, list, "").into_cx();
        agent(root.path(), None).must_be_visible(&cx).map_err(|fault| fault.reason().to_owned())
    };
    assert_eq!(seen(SCAN), Ok(()));
    for list in ["", "   pool: tank2\n", "   pool: tan\n"] {
        assert_eq!(seen(list).unwrap_err(), "no pool tank is imported or can be imported here");
    }
}

/// Seen with 2.3.2: killed in the middle of a start, `stop` said stopped, and a moment later the pool was there.
#[test]
fn a_pool_that_is_being_imported_is_not_stopped() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("proc/77")).unwrap();
    std::fs::write(root.path().join("proc/77/cmdline"), "zpool\0import\0tank\0").unwrap();
    for verb in [Verb::Stop, Verb::Start, Verb::Monitor] {
        let state = agent(root.path(), None).probe(&Bench::new("ZFS", verb).into_cx());
        assert_eq!(state, Ok(State::Failed("an import of pool tank is under way (process 77)".to_owned())));
    }
    let recurring = Bench::new("ZFS", Verb::Monitor).set("OCF_RESKEY_CRM_meta_interval", "5000").into_cx();
    assert_eq!(agent(root.path(), None).probe(&recurring), Ok(State::Stopped));
}

#[test]
fn names_that_are_no_pools() {
    for name in ["-f", "../x", "1tank", "a/b", "", "tank\n"] {
        assert!(PoolName::from_param(name).is_err(), "{name}");
    }
    assert!(PoolName::from_param("tank-1.a_b:c").is_ok());
}

/// After a power failure of all nodes the cluster may want the pool on another one than before.
#[test]
fn the_pool_of_a_living_node_is_taken_if_that_node_has_seen_since_that_it_does_not_have_it() {
    let probed = |at: u64| {
        format!(
            "<lrm_resource id=\"p\"><lrm_rsc_op operation=\"monitor\" call-id=\"5\" rc-code=\"7\" op-status=\"0\" \
             interval=\"0\" last-rc-change=\"{at}\"/></lrm_resource>"
        )
    };
    let used = last_use(USED_ELSEWHERE).unwrap();
    let begun = |at: u64| {
        let probed = probed(at);
        let alive = ("crm_node", 0, "1 za member\n2 zb member\n", "");
        started(
            None,
            &[("zpool", 1, "", USED_ELSEWHERE), alive, ("cibadmin", 0, &probed, ""), ("zpool", 0, "", "")],
        )
    };
    let (result, ran) = begun(used + 1);
    assert_eq!(result, Ok(()));
    assert_eq!(ran.last().unwrap(), FORCED);
    for at in [used, used - 100] {
        let (result, ran) = begun(at);
        assert!(result.unwrap_err().contains("which is alive"), "it was used after the probe");
        assert!(!ran.contains(&FORCED.to_owned()), "{ran:?}");
    }
}

#[test]
fn the_time_of_the_last_use() {
    let at = |time: &str| last_use(&format!("Last accessed by za (hostid=1) at {time}\nThe pool"));
    assert_eq!(last_use(USED_ELSEWHERE), Some(1_795_222_585), "date -ud '2026-11-21 00:56:25' +%s");
    assert_eq!(at("Thu Jan  1 00:00:00 1970"), Some(0));
    assert_eq!(at("Tue Feb 29 23:59:59 2028"), Some(1_835_481_599));
    assert_eq!(at("Sat Mar  1 00:00:00 2036"), Some(2_087_942_400));
    for wrong in ["", "Sat Xyz 21 00:56:25 2026", "Sat Nov 21 2026", "Sat Nov 21 00:56:25 1969"] {
        assert_eq!(at(wrong), None, "{wrong}");
    }
}

#[test]
fn the_host_is_found_in_every_wording() {
    assert_eq!(last_host(USED_ELSEWHERE).as_deref(), Some("za"));
    assert_eq!(last_host(ACTIVE_ELSEWHERE), None);
    assert!(same_host("ZA.example.com", "za") && !same_host("za1", "za"));
}
