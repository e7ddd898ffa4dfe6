use super::*;
use ocf_lib::resource::testkit::Bench;
use std::cell::Cell;

thread_local! {
    static LOADED: Cell<bool> = const { Cell::new(true) };
    static OLD: Cell<bool> = const { Cell::new(true) };
    static LOG: Cell<&'static str> = const { Cell::new("") };
}

/// So is which one it is, as long as it is there at all.
pub fn is_84() -> bool {
    OLD.get()
}

/// And what its log says.
pub fn kernel_messages() -> String {
    LOG.get().to_owned()
}

/// Whether the module is there is the test's to say.
pub fn is_loaded() -> bool {
    LOADED.get()
}

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/fixtures/drbd/", $name, ".txt"))
    };
}

const PRIMARY: &str = recording!("n1-05-UpToDate-Connected");
const SECONDARY: &str = recording!("n2-05-UpToDate-Connected");
const SPLIT: &str = recording!("n1-10-split-brain-StandAlone");
const NONE: &str = "exists -\n";
const HELD: &str = "0: State change failed: (-12) Device is held open by someone\n\
                    Command 'drbdsetup-84 secondary 0' terminated with exit code 11\n";
const VERSION: &str = "DRBD_KERNEL_VERSION_CODE=0x08040b\n";

struct Run {
    code: u8,
    reason: String,
    asked: Vec<String>,
}

fn bench(verb: Verb) -> Bench {
    LOADED.set(true);
    OLD.set(true);
    LOG.set("");
    Bench::new("drbd", verb)
        .recurring()
        .param("drbd_resource", "r0")
        .set("OCF_RESKEY_CRM_meta_notify", "true")
        .set("OCF_RESKEY_CRM_meta_on_node", "n1")
        .timeout_ms(90_000)
}

fn run(bench: Bench) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("drbd.conf");
    std::fs::write(&conf, "").unwrap();
    let bench = bench
        .set("HA_RSCTMP", dir.path().to_str().unwrap())
        .param("drbdconf", conf.to_str().unwrap())
        .answer("crm_attribute", 0, "", "");
    let commands = bench.commands();
    let verdict = bench.perform::<Drbd>();
    let asked = commands.borrow().iter().map(|c| c.replace(&format!("-c {} ", conf.display()), "")).collect();
    Run { code: verdict.code.number(), reason: verdict.reason.unwrap_or_default(), asked }
}

fn events(bench: Bench, text: &str) -> Bench {
    bench.answer("drbdsetup", 0, text, "")
}

fn start() -> Bench {
    events(bench(Verb::Start), NONE)
        .answer("drbdadm", 0, VERSION, "")
        .answer("drbdadm", 0, "/dev/drbd0\n", "")
        .answer("drbdadm", 0, "", "")
}

#[test]
fn the_roles_are_the_codes_of_a_monitor_with_one_exec_and_the_score() {
    for (text, code, score) in [
        (PRIMARY, 8, "-v 10000"),
        (SECONDARY, 0, "-v 10000"),
        (SPLIT, 8, "-v 10000"),
        (recording!("n2-04-SyncTarget"), 0, "-v 10"),
        (recording!("n2-12-Diskless-secondary"), 0, "-v 9999"),
        (recording!("n2-14-StandAlone-Outdated"), 0, "-D"),
    ] {
        let ran = run(events(bench(Verb::Monitor), text));
        assert_eq!((ran.code, ran.asked.len()), (code, 2), "{text} {:?}", ran.asked);
        assert_eq!(ran.asked[0], "drbdsetup events2 --now r0");
        assert!(ran.asked[1].ends_with(score), "{text}: {:?}", ran.asked);
    }
    // Upstream publishes 9999 for what does not run.
    let ran = run(events(bench(Verb::Monitor), NONE));
    assert_eq!((ran.code, ran.asked.len()), (7, 1), "{:?}", ran.asked);
}

#[test]
fn a_probe_without_the_module_runs_nothing() {
    let probe = bench(Verb::Monitor).set("OCF_RESKEY_CRM_meta_interval", "0");
    LOADED.set(false);
    let ran = run(probe);
    assert_eq!((ran.code, ran.asked.len()), (7, 0));
}

#[test]
fn an_unknown_resource_is_not_running_but_another_failure_is_no_proof() {
    let unknown = bench(Verb::Monitor).answer("drbdsetup", 10, "", "r0: No such resource\n");
    assert_eq!(run(unknown).code, 7);
    let broken = bench(Verb::Monitor).answer("drbdsetup", 20, "", "Could not connect to netlink\n");
    let ran = run(broken);
    assert!(ran.code == 1 && ran.reason.contains("Could not connect"), "{}", ran.reason);
    assert_eq!(run(events(bench(Verb::Monitor), "exists resource name:r0 role:Primary\n")).code, 1);
    assert_eq!(run(events(bench(Verb::Stop), "exists resource name:r0 role:Primary\n")).code, 1);
}

#[test]
fn half_configured_is_a_failure() {
    let bare = "exists resource name:r0 role:Secondary\nexists -\n";
    assert_eq!(run(events(bench(Verb::Monitor), bare)).code, 1);
    let detached =
        "exists resource name:r0 role:Secondary\nexists device name:r0 minor:0 disk:Diskless\nexists -\n";
    assert_eq!(run(events(bench(Verb::Monitor), detached)).code, 1);
    let dead = detached.replace("Secondary", "Primary");
    assert_eq!(run(events(bench(Verb::Monitor), &dead)).code, 9);
}

const ASKED: &str =
    "drbd r0: conn( Connected -> Disconnecting ) \ndrbd r0: conn( Disconnecting -> StandAlone ) \n";
const LOSE: &str =
    "LOST: drbdadm disconnect r0; drbdadm secondary r0 && drbdadm connect --discard-my-data r0";

#[test]
fn a_split_brain_is_reported_with_the_way_out_and_the_primary_serves_on() {
    let told = |log: &'static str| {
        let bench = events(bench(Verb::Monitor).param("report_degraded", "true"), SPLIT);
        LOG.set(log);
        // The recording's commands are without the configuration's path.
        let mut ran = run(bench);
        assert_eq!(ran.code, 191);
        assert!(ran.asked.iter().all(|asked| !asked.contains("discard")));
        while let Some(at) = ran.reason.find(" -c /") {
            let end = ran.reason[at + 4..].find(' ').unwrap();
            ran.reason.replace_range(at..at + 4 + end, "");
        }
        ran.reason
    };
    let split = told("block drbd0: Split-Brain detected but unresolved, dropping connection!\n");
    assert!(split.starts_with("split brain: r0") && split.contains(LOSE), "{split}");
    assert!(split.ends_with("on the other: drbdadm connect r0"), "{split}");
    let asked = told(ASKED);
    assert!(asked.ends_with("drbdadm connect r0") && !asked.contains("split brain"), "{asked}");
    let unknown = told("");
    assert!(unknown.contains("split brain or disconnected") && unknown.contains(LOSE), "{unknown}");
    let other = told("block drbd0: Unrelated data, aborting!\n");
    assert!(other.contains("Unrelated data") && !other.contains("discard"), "{other}");
}

#[test]
fn start_attaches_connects_and_waits_for_the_peer() {
    let waiting = recording!("n1-02-up-WFConnection");
    let bench = start().answer("drbdadm", 0, "", "");
    let ran = run(events(events(events(bench, waiting), SECONDARY), SECONDARY));
    assert_eq!(ran.code, 0, "{}", ran.reason);
    assert_eq!(
        ran.asked,
        [
            "drbdsetup events2 --now r0",
            "drbdadm --version",
            "drbdadm sh-dev r0",
            "drbdadm check-resize r0",
            "drbdadm adjust r0",
            "drbdsetup events2 --now r0",
            "drbdsetup events2 --now r0",
            "drbdsetup events2 --now r0",
            "crm_attribute -N n1 -n master-test -l reboot -Q -v 10000",
        ]
    );
}

#[test]
fn start_does_not_wait_or_connect_if_told() {
    let bench = start().param("wfc_timeout", "").answer("drbdadm", 0, "", "");
    assert_eq!(run(events(bench, recording!("n1-02-up-WFConnection"))).code, 0);
    let bench = start().param("connect_only_after_promote", "true");
    let bench = (0..3).fold(bench, |bench, _| bench.answer("drbdadm", 0, "", ""));
    let ran = run(events(bench, recording!("n2-14-StandAlone-Outdated")));
    assert_eq!(ran.code, 0, "{}", ran.reason);
    let steps = ["drbdadm new-resource r0", "drbdadm new-minor r0", "drbdadm attach r0"];
    assert_eq!(ran.asked[4..7], steps);
    assert!(!ran.asked.contains(&"drbdadm adjust r0".to_owned()), "{:?}", ran.asked);
}

#[test]
fn what_is_attached_already_needs_not_be_attached() {
    let bench = start().param("connect_only_after_promote", "true");
    let bench = bench.answer("drbdadm", 0, "", "").answer("drbdadm", 0, "", "");
    let bench = bench.answer("drbdadm", 20, "", "Device '0' is configured!\n");
    let attached = recording!("n2-14-StandAlone-Outdated");
    assert_eq!(run(events(events(bench, attached), attached)).code, 0);
}

#[test]
fn nine_attaches_before_it_connects() {
    let start = || {
        let bench = start();
        OLD.set(false);
        bench.answer("drbdadm", 0, "", "")
    };
    let ran = run(events(events(start().answer("drbdadm", 0, "", ""), SECONDARY), SECONDARY));
    assert_eq!(ran.code, 0, "{}", ran.reason);
    assert_eq!(ran.asked[4..6], ["drbdadm --skip-net adjust r0", "drbdadm adjust r0"]);
    let ran = run(events(start().param("connect_only_after_promote", "true"), SECONDARY));
    assert!(ran.code == 0 && !ran.asked.contains(&"drbdadm adjust r0".to_owned()), "{:?}", ran.asked);
}

#[test]
fn stop_tells_of_a_primary_that_lives_on_this_disk() {
    let peer = SECONDARY
        .replace("connection:Connected role:Secondary", "connection:Connected role:Primary")
        .replace("peer-disk:UpToDate", "peer-disk:Diskless");
    assert!(peer.contains("role:Primary") && peer.contains("Diskless"));
    let refused = "r0: State change failed: (-10) State change was refused by peer node\nadditional info from kernel:\n\
                   failed to disconnect\n";
    let bench = (0..3).fold(bench(Verb::Stop).timeout_ms(3_000), |bench, _| {
        events(bench, &peer).answer("drbdsetup", 11, "", refused)
    });
    let ran = run(events(bench, &peer));
    assert!(ran.code == 1 && ran.reason.contains("is primary and has no current data"), "{}", ran.reason);
}

#[test]
fn start_names_what_is_missing() {
    let ran = run(events(start().answer("drbdadm", 1, "", "No valid meta data found\n"), NONE));
    assert!(ran.code == 1 && ran.reason.contains("drbdadm create-md r0"), "{}", ran.reason);
    let unknown = events(events(bench(Verb::Start), NONE), NONE).answer("drbdadm", 0, VERSION, "").answer(
        "drbdadm",
        1,
        "",
        "'r0' not defined in your config (for this host).\n",
    );
    let ran = run(unknown);
    assert!(ran.code == 5 && ran.reason.contains("not defined in your config"), "{}", ran.reason);
    let ran = run(events(start(), NONE).param("require_drbd_module_version_ge", "9.0.16"));
    assert!(ran.code == 5 && ran.reason.contains("8.4.11 is older than 9.0.16"), "{}", ran.reason);
    assert_eq!(run(events(start(), NONE).param("require_drbd_module_version_lt", "8.4.11")).code, 5);
    assert_eq!(run(start().param("require_drbd_module_version_lt", "8.4")).code, 6);
}

#[test]
fn the_clone_must_suit_drbd_where_something_is_started_only() {
    for (name, value) in
        [("clone_node_max", "2"), ("master_node_max", "2"), ("promoted_max", "3"), ("notify", "false")]
    {
        let name = format!("OCF_RESKEY_CRM_meta_{name}");
        assert_eq!(run(start().set(&name, value)).code, 6, "{name}");
        assert_eq!(run(events(events(bench(Verb::Stop), NONE), NONE).set(&name, value)).code, 0, "{name}");
        assert_eq!(run(events(bench(Verb::Monitor), SECONDARY).set(&name, value)).code, 0, "{name}");
    }
    assert_eq!(run(events(start(), NONE).set("OCF_RESKEY_CRM_meta_clone_max", "3")).code, 6);
}

#[test]
fn a_manager_that_cannot_promote_is_told_so() {
    let without = |dialect| run(bench(Verb::Start).set("OCF_RESKEY_CRM_meta_notify", "").dialect(dialect));
    let ran = without(Dialect::Rgmanager);
    assert!(ran.code == 6 && ran.reason.contains("as Pacemaker does"), "{} {}", ran.code, ran.reason);
    let ran = without(Dialect::Ocf11);
    assert!(ran.code == 6 && ran.reason.contains("notify=true"), "{}", ran.reason);
}

#[test]
fn two_primaries_must_be_allowed() {
    let dual = || {
        events(bench(Verb::Promote), SECONDARY)
            .set("OCF_RESKEY_CRM_meta_master_max", "2")
            .answer("drbdadm", 0, VERSION, "")
            .answer("drbdadm", 0, "/dev/drbd0\n", "")
    };
    assert_eq!(run(dual().answer("drbdadm", 0, "net {\n allow-two-primaries no;\n}\n", "")).code, 6);
    let allowed = dual()
        .answer("drbdadm", 0, "net {\n  allow-two-primaries yes;\n}\n", "")
        .answer("drbdadm", 0, "", "");
    assert_eq!(run(events(events(allowed, SECONDARY), PRIMARY)).code, 0);
}

fn promote() -> Bench {
    events(bench(Verb::Promote), SECONDARY).answer("drbdadm", 0, VERSION, "").answer(
        "drbdadm",
        0,
        "/dev/drbd0\n",
        "",
    )
}

#[test]
fn promote_tries_until_the_peer_lets_go() {
    let refused = "0: State change failed: (-1) Multiple primaries not allowed by config\n";
    let bench = promote().answer("drbdadm", 11, "", refused).answer("drbdadm", 0, "", "");
    let ran = run(events(bench, PRIMARY));
    assert_eq!(ran.code, 0, "{}", ran.reason);
    assert_eq!(ran.asked.iter().filter(|asked| *asked == "drbdadm primary r0").count(), 2);
}

#[test]
fn promote_without_current_data_fails_once_and_not_at_once() {
    let bench =
        promote().answer("drbdadm", 17, "", "0: State change failed: (-2) Need access to UpToDate data\n");
    let cx = bench.into_cx();
    let params = |text: &str| {
        let env = ocf_lib::env::Env::from_pairs([("OCF_RESKEY_drbd_resource", text)]);
        <Params as ocf_lib::resource::param::ParamSet>::read(&mut ocf_lib::resource::param::Reader::new(&env))
            .unwrap()
    };
    let drbd = Drbd::new(params("r0"), &cx);
    // What start and check_host would have asked.
    for _ in 0..2 {
        cx.run(&Cmd::new("drbdadm")).unwrap();
    }
    let before = cx.left_or(FAR);
    let fault = drbd.promote(&cx).unwrap_err();
    assert!(fault.reason().contains("no current data") && fault.reason().contains("Need access"), "{fault}");
    let took = before.saturating_sub(cx.left_or(FAR));
    assert_eq!(took, SLOWEST_FAILURE);
}

#[test]
fn promote_gives_up_early_if_told_and_names_the_primary() {
    let bench = promote().param("fail_promote_early_if_peer_primary", "true").answer(
        "drbdadm",
        11,
        "",
        "0: State change failed: (-1) Multiple primaries not allowed by config\n",
    );
    let ran = run(events(bench, SECONDARY));
    assert!(ran.code == 1 && ran.reason.starts_with("peer is primary"), "{}", ran.reason);
}

#[test]
fn stop_tells_who_holds_it_and_takes_down_what_is_half_there() {
    let held = |bench: Bench| events(bench, PRIMARY).answer("drbdsetup", 11, "", HELD);
    let bench = (0..3).fold(bench(Verb::Stop).timeout_ms(3_000), |bench, _| held(bench));
    let ran = run(events(bench, PRIMARY));
    assert!(ran.code == 1 && ran.reason.contains("held open"), "{}", ran.reason);
    let bare = "exists resource name:r0 role:Secondary\nexists -\n";
    let ran = run(events(events(bench_stop(), bare).answer("drbdsetup", 0, "", ""), NONE));
    assert_eq!(ran.code, 0, "{}", ran.reason);
    assert_eq!(ran.asked[1], "drbdsetup down r0");
    assert!(ran.asked.last().unwrap().ends_with("-D"));
}

fn bench_stop() -> Bench {
    bench(Verb::Stop)
}

#[test]
fn stop_outdates_a_secondary_only_while_another_is_promoted() {
    let stop = |promoted: &str| {
        let bench = events(bench(Verb::Stop), SECONDARY)
            .param("stop_outdates_secondary", "true")
            .set("OCF_RESKEY_CRM_meta_notify_master_uname", promoted)
            .answer("drbdsetup", 0, "", "")
            .answer("drbdadm", 0, "", "");
        run(events(bench, NONE)).asked.iter().any(|asked| asked == "drbdadm outdate r0")
    };
    assert!(stop("n2"));
    assert!(!stop("n1") && !stop(" "));
}

#[test]
fn demote_waits_for_the_holder_and_then_tells() {
    let bench =
        events(bench(Verb::Demote), PRIMARY).answer("drbdadm", 11, "", HELD).answer("drbdadm", 0, "", "");
    let ran = run(events(bench, SECONDARY));
    assert_eq!(ran.code, 0, "{}", ran.reason);
    let bench = (0..4).fold(bench_demote(), |bench, _| bench.answer("drbdadm", 11, "", HELD));
    let ran = run(events(bench, PRIMARY));
    assert!(
        ran.code == 1 && ran.reason.contains("cannot be demoted") && ran.reason.contains("held open"),
        "{}",
        ran.reason
    );
}

fn bench_demote() -> Bench {
    events(bench(Verb::Demote).timeout_ms(4_000), PRIMARY)
}

#[test]
fn a_promoted_peer_takes_the_score_if_told() {
    let score = |value: &str, located: Option<&str>| {
        let bench =
            events(bench(Verb::Monitor), SECONDARY).param("remove_master_score_if_peer_primary", value);
        let bench = located.into_iter().fold(bench, |bench, text| bench.answer("crm_resource", 0, text, ""));
        run(bench).asked.into_iter().filter(|asked| asked.starts_with("crm_attribute")).collect::<String>()
    };
    assert!(score("false", None).ends_with("10000"));
    assert!(score("true", None).ends_with("-D"));
    assert!(score("unexpected", Some("resource test is running on: n2 Promoted\n")).ends_with("10000"));
    assert!(score("unexpected", Some("resource test is running on: n2 \n")).ends_with("-D"));
    // Nobody answers: what the cluster knows stays.
    assert_eq!(score("unexpected", None), "");
}

#[test]
fn notifications_of_a_start_connect() {
    let told = |when: &str, operation: &str| {
        let bench = events(bench(Verb::Notify), SECONDARY)
            .set("OCF_RESKEY_CRM_meta_notify_type", when)
            .set("OCF_RESKEY_CRM_meta_notify_operation", operation)
            .answer("drbdadm", 0, "", "");
        let ran = run(events(bench, SECONDARY));
        assert_eq!(ran.code, 0);
        ran.asked.iter().any(|asked| asked == "drbdadm adjust r0")
    };
    assert!(told("pre", "start") && told("post", "start"));
    assert!(!told("post", "stop") && !told("pre", "promote"));
}

#[test]
fn unfences_when_all_is_current() {
    let unfences = |text: &str| {
        let bench = events(bench(Verb::Monitor).param("unfence_if_all_uptodate", "true"), text);
        run(bench.answer("drbdadm", 0, "", "")).asked.iter().any(|asked| asked == "drbdadm unfence-peer r0")
    };
    assert!(unfences(PRIMARY));
    assert!(!unfences(SECONDARY) && !unfences(SPLIT));
}

#[test]
fn names_that_a_tool_would_misread_are_refused() {
    for name in ["-f", "all", "a b", "a;b", "", "r0\n"] {
        assert_eq!(run(start().param("drbd_resource", name)).code, 6, "{name}");
    }
}
