//! The agent on recorded words of xl 4.17, with a clock that moves only when somebody waits.

mod vm;

use super::*;
use ocf_lib::resource::testkit::{Bench, Commands};
use std::path::Path;

const HEADER: &str = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n";
const DOM0: &str = "Domain-0                                     0   768     1     r-----      13.1\n";

/// A list with these rows beside dom0: `NAME STATE`.
fn list(rows: &[&str]) -> String {
    let rows = rows.iter().zip(1..).map(|(row, id)| {
        let (name, state) = row.split_once(' ').unwrap();
        format!("{name:<40} {id:>5}   128     1     {state}       4.3\n")
    });
    format!("{HEADER}{DOM0}{}", rows.collect::<String>())
}

/// A host with a run directory and a configuration file of its own, and nothing of the real one's `/proc`.
struct Host(tempfile::TempDir);

impl Host {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("d1.cfg"), config).unwrap();
        Self(dir)
    }

    fn bench(&self, verb: Verb) -> Bench {
        Bench::new("Xen", verb)
            .set("HA_RSCTMP", self.0.path().to_str().unwrap())
            .param("xmfile", self.0.path().join("d1.cfg").to_str().unwrap())
    }

    fn keeper(&self, name: &str) {
        let folder = self.0.path().join("proc/77");
        std::fs::create_dir_all(folder.join("fd")).unwrap();
        std::fs::write(folder.join("comm"), "xl\n").unwrap();
        std::os::unix::fs::symlink(format!("/var/log/xen/xl-{name}.log"), folder.join("fd/1")).unwrap();
    }

    fn agent(&self, cx: &Cx) -> Xen {
        let mut reader = ocf_lib::resource::param::Reader::new(cx.env());
        let params = <Params as ocf_lib::resource::param::ParamSet>::read(&mut reader).unwrap();
        Xen { proc: self.0.path().join("proc"), ..Xen::new(params, cx) }
    }
}

fn host() -> Host {
    Host::new("name = \"d1\"\nmemory = 128\n")
}

fn listed(bench: Bench, lists: &[&[&str]]) -> Bench {
    lists.iter().fold(bench, |bench, rows| bench.answer("xl", 0, &list(rows), ""))
}

fn probed(bench: Bench, host: &Host) -> (State, usize) {
    let commands = bench.commands();
    let cx = bench.into_cx();
    let state = host.agent(&cx).probe(&cx).unwrap();
    let looks = commands.borrow().len();
    (state, looks)
}

fn words(commands: &Commands) -> Vec<String> {
    commands.borrow().iter().filter(|command| *command != "xl list").cloned().collect()
}

#[test]
fn a_healthy_monitor_runs_one_program() {
    let host = host();
    for bench in [host.bench(Verb::Monitor), host.bench(Verb::Monitor).recurring()] {
        assert_eq!(probed(listed(bench, &[&["d1 -b----"]]), &host), (State::Running, 1));
    }
}

#[test]
fn what_does_not_execute_does_not_run() {
    let host = host();
    for state in ["---sc-", "---s--", "---sr-", "---ss-", "---sw-", "-----d"] {
        let row = format!("d1 {state}");
        let lists = vec![[row.as_str()]; 40];
        let lists: Vec<&[&str]> = lists.iter().map(<[&str; 1]>::as_slice).collect();
        let (seen, _) = probed(listed(host.bench(Verb::Monitor).recurring(), &lists), &host);
        assert!(matches!(seen, State::Failed(_)), "{state}: {seen:?}");
    }
}

#[test]
fn a_paused_guest_is_degraded_where_there_is_a_word_for_it_and_never_a_reason_to_fail() {
    let host = host();
    let seen = |dialect| {
        probed(listed(host.bench(Verb::Monitor).recurring().dialect(dialect), &[&["d1 --p---"]]), &host).0
    };
    assert!(matches!(seen(Dialect::Ocf11), State::Degraded(_)));
    for dialect in [Dialect::Ocf10, Dialect::Rgmanager] {
        assert_eq!(seen(dialect), State::Running);
    }
}

#[test]
fn a_guest_that_reboots_is_waited_for_by_a_recurring_monitor_and_by_a_probe_that_sees_its_xl_process() {
    let host = host();
    let lists: [&[&str]; 4] = [&[], &[], &["d1 --p---"], &["d1 -b----"]];
    let (state, looks) = probed(listed(host.bench(Verb::Monitor).recurring(), &lists[..2]), &host);
    assert_eq!((state, looks), (State::Stopped, 2), "and then there is no xl any more");
    let back: [&[&str]; 3] = [&[], &[], &["d1 -b----"]];
    assert_eq!(probed(listed(host.bench(Verb::Monitor).recurring(), &back), &host), (State::Running, 3));
    assert_eq!(probed(listed(host.bench(Verb::Monitor), &back), &host), (State::Stopped, 1));
    host.keeper("d1");
    assert_eq!(probed(listed(host.bench(Verb::Monitor), &back), &host), (State::Running, 3));
}

#[test]
fn a_missing_guest_is_missing_after_a_bounded_time() {
    let host = host();
    let lists: Vec<&[&str]> = vec![&["d10 -b----"]; 60];
    let (state, looks) = probed(listed(host.bench(Verb::Monitor).recurring(), &lists), &host);
    assert_eq!(state, State::Stopped);
    assert!((8..=12).contains(&looks), "{looks}");
    assert_eq!(probed(listed(host.bench(Verb::Monitor), &lists), &host), (State::Stopped, 1));
}

#[test]
fn half_of_a_migration_is_not_running_and_not_stopped() {
    let host = host();
    for row in ["d1--incoming --p---", "d1--migratedaway --pss-", "migrating-d1 -b----"] {
        let rows: [&str; 1] = [row];
        let (state, _) = probed(listed(host.bench(Verb::Monitor), &[&rows]), &host);
        assert!(matches!(state, State::Unusable(_)), "{row}: {state:?}");
    }
}

#[test]
fn a_start_creates_once_and_under_the_name_that_is_looked_for() {
    let host = host();
    let bench =
        listed(host.bench(Verb::Start), &[&[], &[]]).answer("xl", 0, "", "Parsing config from d1.cfg\n");
    let bench = listed(bench, &[&["d1 ------"]]);
    let commands = bench.commands();
    let verdict = bench.perform::<Xen>();
    assert_eq!(verdict.code.number(), 0, "{verdict:?}");
    let path = host.0.path().join("d1.cfg");
    assert_eq!(words(&commands), [format!("xl create {} name=\"d1\"", path.display())]);
    assert_eq!(std::fs::read_to_string(host.0.path().join("Xen-test.guest")).unwrap(), "d1");
}

#[test]
fn a_start_that_fails_tells_the_cause_and_takes_back_what_it_made() {
    let host = host();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/xen/create-nokernel.err");
    let words_of_xl = std::fs::read_to_string(fixture).unwrap();
    let bench = listed(host.bench(Verb::Start), &[&[], &[]]).answer("xl", 3, "", &words_of_xl);
    let verdict = listed(bench, &[&[]]).perform::<Xen>();
    assert_eq!(verdict.code.number(), 1);
    let reason = verdict.reason.unwrap();
    assert!(
        reason.starts_with("cannot create guest d1: xl exited 3: failed to open file '/root/dom/nosuch'"),
        "{reason}"
    );
}

#[test]
fn nothing_is_created_beside_half_of_a_migration() {
    let host = host();
    for row in ["d1--incoming --p---", "d1--migratedaway --pss-", "d1 ---ss-", "d1 -----d"] {
        let rows: [&str; 1] = [row];
        let lists: Vec<&[&str]> = vec![&rows; 200];
        let bench = listed(host.bench(Verb::Start), &lists);
        let commands = bench.commands();
        let verdict = bench.perform::<Xen>();
        assert_eq!(verdict.code.number(), 1, "{row}");
        assert!(verdict.reason.unwrap().contains("nothing is started beside it"), "{row}");
        assert_eq!(words(&commands), Vec::<String>::new(), "{row}: nothing of it was touched");
    }
}

#[test]
fn what_is_left_of_a_crashed_guest_makes_room_for_it() {
    let host = host();
    let crashed: &[&str] = &["d1 ---sc-"];
    // The probe of the framework waits for five seconds, half a second at a time.
    let bench = listed(host.bench(Verb::Start), &[crashed; 12]).answer("xl", 0, "", "");
    let bench = listed(bench, &[&[]]).answer("xl", 0, "", "");
    let bench = listed(bench, &[&["d1 ------"]]);
    let commands = bench.commands();
    let verdict = bench.perform::<Xen>();
    assert_eq!(verdict.code.number(), 0, "{verdict:?}, {commands:?}");
    assert_eq!(words(&commands)[0], "xl destroy d1");
    assert!(words(&commands)[1].starts_with("xl create "));
}

#[test]
fn a_start_of_what_its_own_xl_process_brings_back_creates_nothing() {
    let host = host();
    host.keeper("d1");
    let cx = listed(host.bench(Verb::Start), &[&[], &[], &["d1 -b----"]]).into_cx();
    let agent = host.agent(&cx);
    assert_eq!(agent.start(&cx), Ok(()));
    assert!(!agent.begun.get());
}

#[test]
fn a_guest_is_asked_and_its_end_is_seen() {
    let host = host();
    let bench =
        listed(host.bench(Verb::Stop), &[&["d1 -b----"]]).answer("xl", 0, "", "Shutting down domain 1\n");
    let bench = listed(bench, &[&["d1 -b----"], &["d1 ---s--"]]).answer("xl", 0, "", "");
    let bench = listed(bench, &[&[], &[]]);
    let commands = bench.commands();
    assert_eq!(bench.perform::<Xen>().code.number(), 0);
    assert_eq!(words(&commands), ["xl shutdown d1", "xl destroy d1"]);
}

#[test]
fn a_guest_that_does_not_hear_is_destroyed_within_the_time_of_the_stop() {
    let host = host();
    let bench = listed(host.bench(Verb::Stop).timeout_ms(40_000), &[&["d1 -b----"]]).answer("xl", 0, "", "");
    let lists: Vec<&[&str]> = vec![&["d1 -b----"]; 55];
    let bench = listed(bench, &lists).answer("xl", 0, "", "");
    let bench = listed(bench, &[&[], &[]]);
    let commands = bench.commands();
    let verdict = bench.perform::<Xen>();
    assert_eq!(verdict.code.number(), 0, "{verdict:?}");
    assert_eq!(words(&commands), ["xl shutdown d1", "xl destroy d1"]);
}

#[test]
fn a_stop_never_succeeds_while_the_guest_is_seen() {
    let host = host();
    let lists: Vec<&[&str]> = vec![&["d1 -----d"]; 200];
    let verdict = listed(host.bench(Verb::Stop), &lists).perform::<Xen>();
    assert_eq!(verdict.code.number(), 1);
    assert!(verdict.reason.unwrap().contains("is dying"));
}

#[test]
fn the_button_comes_first_when_asked_for_and_else_when_the_request_is_refused() {
    let host = host();
    let run = |acpi: &str, refused: bool| {
        let bench = listed(host.bench(Verb::Stop).param("shutdown_acpi", acpi), &[&["d1 -b----"]]);
        let bench =
            if refused { bench.answer("xl", 1, "", "PV control interface not available\n") } else { bench };
        let bench = listed(bench.answer("xl", 0, "", ""), &[&[], &[]]);
        let commands = bench.commands();
        assert_eq!(bench.perform::<Xen>().code.number(), 0);
        words(&commands)
    };
    assert_eq!(run("0", false), ["xl shutdown d1"]);
    assert_eq!(run("1", false), ["xl trigger d1 power"]);
    assert_eq!(run("0", true), ["xl shutdown d1", "xl trigger d1 power"]);
    assert_eq!(run("1", true), ["xl trigger d1 power", "xl shutdown d1"]);
}

#[test]
fn a_stop_waits_for_a_guest_that_reboots_and_then_stops_it() {
    let host = host();
    let bench = listed(host.bench(Verb::Stop), &[&[], &[], &["d1 ------"]]).answer("xl", 0, "", "");
    let bench = listed(bench, &[&[], &[]]);
    let commands = bench.commands();
    assert_eq!(bench.perform::<Xen>().code.number(), 0);
    assert_eq!(words(&commands), ["xl shutdown d1"]);
}

#[test]
fn a_stop_removes_both_halves_of_a_migration_by_their_own_names() {
    let host = host();
    let bench = listed(host.bench(Verb::Stop), &[&["d1--incoming --p---"]]).answer("xl", 0, "", "");
    let bench = listed(bench, &[&["d1--migratedaway --pss-"]]).answer("xl", 0, "", "");
    let bench = listed(bench, &[&[], &[]]);
    let commands = bench.commands();
    assert_eq!(bench.perform::<Xen>().code.number(), 0);
    assert_eq!(words(&commands), ["xl destroy d1--incoming", "xl destroy d1--migratedaway"]);
}

#[test]
fn the_name_is_remembered_for_a_stop_that_finds_no_file() {
    let host = host();
    std::fs::remove_file(host.0.path().join("d1.cfg")).unwrap();
    let bench = || host.bench(Verb::Stop).param("shutdown_timeout", "0");
    let stopped = |bench: Bench| {
        let bench = listed(bench, &[&["d1 -b----"]]).answer("xl", 0, "", "");
        let lists: Vec<&[&str]> = vec![&[]; 30];
        let bench = listed(bench, &lists);
        let commands = bench.commands();
        (bench.perform::<Xen>().code.number(), words(&commands))
    };
    assert_eq!(stopped(bench()).1, Vec::<String>::new(), "nothing is known of d1");
    std::fs::write(host.0.path().join("Xen-test.guest"), "d1").unwrap();
    assert_eq!(stopped(bench()), (0, vec!["xl destroy d1".to_owned()]));
    assert!(!host.0.path().join("Xen-test.guest").exists());
}

/// A file that cannot be read in time, as on shared storage that hangs: this one has nobody who writes to it.
#[test]
fn a_guest_that_is_named_is_watched_and_stopped_without_its_file() {
    let host = host();
    let file = host.0.path().join("d1.cfg");
    std::fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let monitor = listed(host.bench(Verb::Monitor).recurring().param("name", "d1"), &[&["d1 -b----"]]);
        let seen = probed(monitor, &host);
        let stop = host.bench(Verb::Stop).param("name", "d1").param("shutdown_timeout", "0");
        let stop = listed(stop, &[&["d1 -b----"]]).answer("xl", 0, "", "");
        let lists: Vec<&[&str]> = vec![&[]; 30];
        done.send((seen, listed(stop, &lists).perform::<Xen>().code.number()))
    });
    let all = ended.recv_timeout(Duration::from_secs(20)).expect("it has read the file");
    assert_eq!(all, ((State::Running, 1), 0));
}

#[test]
fn a_stop_where_there_is_no_xen_succeeds_whatever_is_configured() {
    let host = host();
    let bench = host.bench(Verb::Stop).param("xmfile", "/nonexistent").param("shutdown_timeout", "nonsense");
    assert_eq!(bench.perform::<Xen>().code.number(), 0);
    assert_eq!(host.bench(Verb::Monitor).param("name", "a\"b").perform::<Xen>().code.number(), 7);
}

#[test]
fn a_list_that_cannot_be_had_is_never_a_stopped_guest() {
    let host = host();
    for verb in [Verb::Stop, Verb::Monitor, Verb::Start] {
        let bench = (0..6)
            .fold(host.bench(verb), |bench, _| bench.answer("xl", 1, "", "libxl_list_domain failed.\n"));
        assert_eq!(bench.perform::<Xen>().code.number(), 1, "{verb:?}");
    }
}

fn migration(host: &Host, there: &str) -> Bench {
    listed(host.bench(Verb::MigrateTo).set("OCF_RESKEY_CRM_meta_migrate_target", "n2"), &[&["d1 -b----"]])
        .answer("timeout", 0, "", "")
        .answer("ssh", 0, there, "")
}

#[test]
fn a_migration_succeeds_when_the_guest_is_not_here_any_more() {
    let host = host();
    let bench = listed(migration(&host, &list(&[])).answer("xl", 0, "", "Migration successful.\n"), &[&[]]);
    let commands = bench.commands();
    let verdict = bench.perform::<Xen>();
    assert_eq!(verdict.code.number(), 0, "{verdict:?}");
    assert_eq!(words(&commands), ["ssh n2 xl list", "xl migrate -s timeout -s KILL 15 ssh d1 n2"]);
}

#[test]
fn a_guest_of_that_name_on_the_target_keeps_it_from_being_sent() {
    let host = host();
    let bench = migration(&host, &list(&["d1 -b----"]));
    let commands = bench.commands();
    let verdict = bench.perform::<Xen>();
    assert_eq!(verdict.code.number(), 1);
    assert!(verdict.reason.unwrap().contains("n2 has a guest of that name"));
    assert_eq!(words(&commands), ["ssh n2 xl list"]);
}

#[test]
fn a_failed_migration_says_who_has_the_guest() {
    let host = host();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/xen/migrate-exists.err");
    let said = std::fs::read_to_string(fixture).unwrap();
    let bench = listed(migration(&host, &list(&[])).answer("xl", 1, "", &said), &[&["d1 -b----"]]);
    let reason = bench.perform::<Xen>().reason.unwrap();
    assert_eq!(
        reason,
        "not migrated, guest d1 runs on here: xl exited 1: migration sender: Target reports startup \
         failure (status code 6)."
    );
}

#[test]
fn a_success_that_xl_reports_is_none_while_the_guest_is_here() {
    let host = host();
    let bench = listed(migration(&host, &list(&[])).answer("xl", 0, "", ""), &[&["d1 -b----"]]);
    assert_eq!(bench.perform::<Xen>().code.number(), 1);
}

#[test]
fn a_copy_that_was_given_away_is_removed_only_when_the_other_side_runs_the_guest() {
    let host = host();
    let away: &[&str] = &["d1--migratedaway ---ss-"];
    let failed = || {
        listed(
            migration(&host, &list(&[])).answer(
                "xl",
                1,
                "",
                "** Migration failed during final handshake **\n",
            ),
            &[away],
        )
    };
    // It runs there.
    let bench = failed().answer("ssh", 0, &list(&["d1 -b----"]), "").answer("xl", 0, "", "");
    let bench = listed(bench, &[&[]]).answer("ssh", 0, &list(&["d1 -b----"]), "");
    let commands = bench.commands();
    assert_eq!(bench.perform::<Xen>().code.number(), 0);
    assert!(words(&commands).contains(&"xl destroy d1--migratedaway".to_owned()));
    // Nobody answers: it stays, suspended.
    let lists: Vec<&[&str]> = vec![away; 100];
    let bench = listed(failed(), &lists);
    let commands = bench.commands();
    let verdict = bench.perform::<Xen>();
    assert_eq!(verdict.code.number(), 1);
    let touched = words(&commands).iter().any(|words| words.contains("destroy") || words.contains("rename"));
    assert!(!touched, "{commands:?}");
    // It has none: ours is resumed.
    let bench = failed().answer("ssh", 0, &list(&[]), "").answer("xl", 0, "", "").answer("xl", 0, "", "");
    let bench = listed(bench, &[&["d1 ------"]]);
    let commands = bench.commands();
    let verdict = bench.perform::<Xen>();
    assert!(verdict.reason.unwrap().contains("runs on here"));
    assert!(words(&commands).contains(&"xl rename d1--migratedaway d1".to_owned()));
    assert!(words(&commands).contains(&"xl resume d1".to_owned()));
}

#[test]
fn a_guest_that_a_killed_xl_has_left_suspended_goes_on_with_an_older_toolstack_too() {
    let host = host();
    let killed = |bench: Bench| listed(bench.answer("xl", 1, "", ""), &[&["d1 ---ss-"]]);
    let bench = killed(migration(&host, &list(&[]))).answer("xl", 1, "", "command not implemented\n").answer(
        "xl",
        1,
        "",
        "Migration failed, resuming at sender.\n",
    );
    let bench = listed(bench, &[&["d1 -b----"]]);
    let commands = bench.commands();
    assert!(bench.perform::<Xen>().reason.unwrap().contains("runs on here"));
    let words = words(&commands);
    let at = words.iter().position(|words| words == "xl resume d1").unwrap();
    assert!(words[at + 1].starts_with("xl migrate -s sh -c 'echo xl migration receiver ready"), "{words:?}");
    // Nothing is done twice.
    let lists: Vec<&[&str]> = vec![&["d1 ---ss-"]; 100];
    let bench = killed(migration(&host, &list(&[]))).answer("xl", 1, "", "command not implemented\n").answer(
        "xl",
        1,
        "",
        "Migration failed, resuming at sender.\n",
    );
    let verdict = listed(bench, &lists).perform::<Xen>();
    assert!(verdict.reason.unwrap().contains("it is suspended here"));
}

#[test]
fn only_a_guest_that_runs_here_is_sent() {
    let host = host();
    for rows in [&[][..], &["d1 --p---"], &["d1 ---sc-"], &["d1 -b----", "d1--incoming --p---"]] {
        let bench =
            listed(host.bench(Verb::MigrateTo).set("OCF_RESKEY_CRM_meta_migrate_target", "n2"), &[rows]);
        let commands = bench.commands();
        assert_eq!(bench.perform::<Xen>().code.number(), 1, "{rows:?}");
        assert_eq!(words(&commands), Vec::<String>::new(), "{rows:?}");
    }
}

#[test]
fn a_guest_that_is_still_being_received_has_not_arrived_and_another_one_never_does() {
    let host = Host::new("name = 'd1'\nuuid = '31ac04b3-6b47-4eb2-9efa-76d5991026f5'\n");
    let with_uuid = |uuid: &str| {
        format!("{HEADER}d1     4   128     1     -b----       4.3 {uuid}        -                -\n")
    };
    let arrives = |uuid: &str| {
        listed(host.bench(Verb::MigrateFrom), &[&["d1--incoming --p---"]])
            .answer("xl", 0, &with_uuid(uuid), "")
            .answer("xl", 0, &list(&["d1 -b----"]), "")
            .perform::<Xen>()
    };
    assert_eq!(arrives("31ac04b3-6b47-4eb2-9efa-76d5991026f5").code.number(), 0);
    let other = arrives("00000000-0000-4eb2-9efa-76d5991026f5");
    assert_eq!(other.code.number(), 1);
    assert!(other.reason.unwrap().contains("it is another one"));
    let lists: Vec<&[&str]> = vec![&["d1--incoming --p---"]; 60];
    let stuck = listed(host.bench(Verb::MigrateFrom), &lists).perform::<Xen>();
    assert_eq!(stuck.code.number(), 1);
    assert!(stuck.reason.unwrap().contains("being received here"));
}

#[test]
fn the_address_of_a_migration_is_the_nodes_attribute() {
    let host = host();
    let to = |value: &str| {
        let bench = migration(&host, &list(&[])).param("node_ip_attribute", "mig").answer(
            "crm_attribute",
            0,
            value,
            "",
        );
        let bench = listed(bench.answer("xl", 0, "", ""), &[&[]]);
        let commands = bench.commands();
        assert_eq!(bench.perform::<Xen>().code.number(), 0);
        let commands = words(&commands);
        assert_eq!(commands[0], "crm_attribute --type nodes --node n2 -n mig -G -q");
        commands.last().unwrap().rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(to("10.9.0.2\n"), "10.9.0.2");
    assert_eq!(to("(null)\n"), "n2");
    assert_eq!(to("\n"), "n2");
}

#[test]
fn a_monitor_script_that_fails_fails_the_monitor_and_is_named() {
    let host = host();
    let bench = |scripts: &str| {
        listed(host.bench(Verb::Monitor).param("monitor_scripts", scripts), &[&["d1 -b----"]])
    };
    assert_eq!(bench("/s/a").answer("/s/a", 0, "", "").perform::<Xen>().code.number(), 0);
    let verdict =
        bench("/s/a /s/b").answer("/s/a", 0, "", "").answer("/s/b", 3, "", "no reply\n").perform::<Xen>();
    assert_eq!(
        (verdict.code.number(), verdict.reason.as_deref()),
        (1, Some("monitor script b exited 3: no reply"))
    );
    assert_eq!(bench("/s/none").perform::<Xen>().code.number(), 1);
}

#[test]
fn utilization_is_told_when_it_changes() {
    let host = host();
    let monitor = |cluster: &str, calls: usize| {
        let bench = listed(
            host.bench(Verb::Monitor).param("autoset_utilization_hv_memory", "true"),
            &[&["d1 -b----"]],
        );
        let bench = bench.answer("crm_resource", 0, cluster, "").answer("crm_resource", 0, "", "");
        let commands = bench.commands();
        assert_eq!(bench.perform::<Xen>().code.number(), 0);
        assert_eq!(words(&commands).len(), calls, "{commands:?}");
        words(&commands)
    };
    let said = monitor("64\n", 2);
    assert_eq!(said[0], "crm_resource -Q -r test -z -g hv_memory");
    assert_eq!(said[1], "crm_resource -r test -z -p hv_memory -v 128");
    monitor("128\n", 0);
}

#[test]
fn an_attribute_that_the_cluster_refuses_keeps_nothing_from_the_other() {
    let host = host();
    let bench = host
        .bench(Verb::Monitor)
        .param("autoset_utilization_cpu", "1")
        .param("autoset_utilization_hv_memory", "1");
    let bench =
        (0..4).fold(listed(bench, &[&["d1 -b----"]]), |bench, _| bench.answer("crm_resource", 1, "", "no\n"));
    let commands = bench.commands();
    assert_eq!(bench.perform::<Xen>().code.number(), 0);
    assert!(words(&commands).iter().any(|words| words.ends_with("-p hv_memory -v 128")), "{commands:?}");
}

#[test]
fn memory_is_shared_out_before_the_guest_is_created() {
    let host = Host::new("name = \"d1\"\nmemory=128\n");
    let others: &[&str] = &["a1 -b----", "a2 -b----"];
    let bench = listed(host.bench(Verb::Start).param("allow_mem_management", "1"), &[others, others, others]);
    let bench = bench
        .answer("xl", 0, "total_memory           : 4096\n", "")
        .answer("xl", 0, "", "")
        .answer("xl", 0, "", "");
    let bench = listed(bench.answer("xl", 0, "", "").answer("xl", 0, "", ""), &[&["d1 ------"]]);
    let commands = bench.commands();
    assert_eq!(bench.perform::<Xen>().code.number(), 0);
    let said = words(&commands);
    assert_eq!(said[..3], ["xl info", "xl mem-set a1 1194", "xl mem-set a2 1194"]);
    assert!(said[3].starts_with("xl create ") && said[4] == "xl mem-set d1 1194", "{said:?}");
    let text = std::fs::read_to_string(host.0.path().join("d1.cfg")).unwrap();
    assert_eq!(text, "name = \"d1\"\nmemory = 1194\n");
}

#[test]
fn the_toolstack_of_xend_is_spoken_where_there_is_no_other() {
    let host = host();
    let bench = host.bench(Verb::Start);
    let bench = bench.answer("xm", 0, &list(&[]), "").answer("xm", 0, &list(&[]), "").answer("xm", 0, "", "");
    let bench = bench.answer("xm", 0, &list(&["d1 -b----"]), "");
    let commands = bench.commands();
    assert_eq!(bench.perform::<Xen>().code.number(), 0);
    assert!(
        commands
            .borrow()
            .iter()
            .any(|command| command.starts_with("xm create ") && command.ends_with(" name=d1"))
    );
}

#[test]
fn rgmanagers_guests_of_another_hypervisor_are_refused_and_can_be_stopped() {
    let host = host();
    let of = |verb| host.bench(verb).dialect(Dialect::Rgmanager).set("OCF_RESKEY_hypervisor", "qemu");
    let verdict = of(Verb::Start).perform::<Xen>();
    assert_eq!((verdict.code.number(), verdict.reason.as_deref()), (6, Some("hypervisor qemu is not Xen")));
    assert_eq!(of(Verb::Stop).perform::<Xen>().code.number(), 0);
}
