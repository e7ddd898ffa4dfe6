//! Every action on machines in every state, over every kind of connection.

use std::path::Path;
use std::time::{Duration, Instant};

use ringfence_tests::sim::xenapi::{Life, Pool, Quirks, Settings, Vm};

use super::agent::{PROGRAM, Run, at, command, ended, given, started};

/// A pool with these traits.
fn pool(quirks: Quirks) -> Pool {
    Pool::start(Settings { quirks, ..Settings::default() }).unwrap()
}

fn act(pool: &Pool, lines: &str) -> Run {
    given(&at(&pool.url(0), lines))
}

/// Nothing is left behind in the pool.
#[track_caller]
fn tidy(pool: &Pool) {
    assert_eq!((pool.open_sessions(), pool.tasks()), (0, 0));
}

#[test]
fn every_action_over_every_connection() {
    for (tls, path) in [(false, ""), (false, "/jsonrpc"), (true, "/RPC2"), (true, "/jsonrpc/")] {
        let pool = Pool::start(Settings { tls, hosts: 2, ..Settings::default() }).unwrap();
        let authority = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(authority.path(), pool.authority()).unwrap();
        let trust = if tls { format!("ssl_ca_file={}", authority.path().display()) } else { String::new() };
        let act = |action: &str| {
            given(&at(&format!("{}{path}", pool.url(0)), &format!("{trust}\naction={action}")))
        };
        act("status").is(0, "Status: ON\n", "");
        act("monitor").is(0, "", "");
        act("on").is(0, "Success: Already ON\n", "");
        assert_eq!(pool.orders(), [""; 0]);
        act("off").is(0, "Success: Powered OFF\n", "");
        assert!(!pool.is_running("node1") && pool.power("node1") == "Halted");
        act("status").is(2, "Status: OFF\n", "");
        act("monitor").is(0, "", "");
        act("off").is(0, "Success: Already OFF\n", "");
        act("on").is(0, "Success: Powered ON\n", "");
        assert!(pool.is_running("node1"));
        act("reboot").is(0, "Success: Rebooted\n", "");
        assert_eq!(
            pool.orders(),
            ["VM.hard_shutdown node1", "VM.start node1", "VM.hard_shutdown node1", "VM.start node1"]
        );
        // no action at all is reboot
        pool.forget_orders();
        act("reboot\naction=reboot").is(0, "Success: Rebooted\n", "");
        given(&at(&format!("{}{path}", pool.url(0)), &trust)).is(0, "Success: Rebooted\n", "");
        assert_eq!(pool.orders().len(), 4);
        tidy(&pool);
    }
}

#[test]
fn a_status_is_four_calls() {
    let pool = pool(Quirks::default());
    act(&pool, "action=status").is(0, "Status: ON\n", "");
    assert_eq!(
        pool.calls(),
        ["session.login_with_password", "VM.get_by_name_label", "VM.get_record", "session.logout"]
    );
}

#[test]
fn a_machine_by_its_uuid_in_any_case() {
    let pool = pool(Quirks::default());
    let uuid = Vm::running("node1").uuid;
    for plug in [uuid.clone(), uuid.to_uppercase()] {
        act(&pool, &format!("plug={plug}\naction=status")).is(0, "Status: ON\n", "");
    }
    act(&pool, "plug=00000000-0000-0000-0000-000000000000\naction=off").is(
        1,
        "",
        "no machine of the pool has the uuid",
    );
    tidy(&pool);
}

/// A13 and A14 of what users want: every state that is not clearly off is not off.
#[test]
fn paused_and_suspended_are_not_off() {
    let pool = pool(Quirks::default());
    for (state, resume) in [("Paused", "VM.unpause node1"), ("Suspended", "VM.resume node1")] {
        pool.set_power("node1", state).unwrap();
        act(&pool, "action=status").is(0, "Status: ON\n", "");
        let list = act(&pool, "action=list-status");
        assert!(list.stdout.contains(",node1,ON\n"), "{list:?}");
        pool.forget_orders();
        act(&pool, "action=on").is(0, "Success: Powered ON\n", "");
        assert_eq!((pool.orders(), pool.power("node1").as_str()), (vec![resume.to_owned()], "Running"));
        pool.set_power("node1", state).unwrap();
        act(&pool, "action=off").is(0, "Success: Powered OFF\n", "");
        assert_eq!(pool.power("node1"), "Halted");
        pool.set_power("node1", state).unwrap();
        act(&pool, "action=reboot").is(0, "Success: Rebooted\n", "");
        assert_eq!(pool.power("node1"), "Running");
    }
    tidy(&pool);
}

#[test]
fn a_power_state_of_another_world_is_none() {
    for word in ["halted", "HALTED", "Crashed", "", "Halted ", "Unknown"] {
        let pool = pool(Quirks { power_word: Some(word.into()), ..Quirks::default() });
        for action in ["status", "off", "reboot"] {
            act(&pool, &format!("action={action}")).is(1, "", "Unable to obtain correct plug status");
        }
        assert!(pool.is_running("node1") && pool.orders().is_empty());
        let list = act(&pool, "action=list-status");
        assert!(list.stdout.contains(",node1,UNKNOWN\n"), "{list:?}");
        tidy(&pool);
    }
    for field in [
        "power_state",
        "is_a_template",
        "is_a_snapshot",
        "is_control_domain",
        "resident_on",
        "current_operations",
    ] {
        let pool = pool(Quirks { missing_field: Some(field.into()), ..Quirks::default() });
        act(&pool, "action=off").is(1, "", &format!("has no usable '{field}'"));
        assert!(pool.is_running("node1"));
        tidy(&pool);
    }
}

#[test]
fn a_halted_machine_that_comes_up_is_not_off() {
    // Somebody else starts it: the record says Halted and an operation that ends with Running.
    let pool = pool(Quirks { takes: Duration::from_secs(2), ..Quirks::default() });
    let starter = started(command(Path::new(PROGRAM)), &at(&pool.url(0), "plug=node2\naction=on"));
    let begun = Instant::now();
    while !pool.orders().contains(&"VM.start node2".to_owned()) {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
    act(&pool, "plug=node2\naction=status").is(1, "", "between on and off");
    let off = act(&pool, "plug=node2\naction=off\npower_timeout=6");
    assert!(off.code == Some(1) || !pool.is_running("node2"), "{off:?}");
    ended(starter, begun);
}

#[test]
fn a_database_that_contradicts_itself_proves_nothing() {
    let vms = vec![Vm { still_resident: true, ..Vm::halted("node1") }];
    let pool = Pool::start(Settings { vms, ..Settings::default() }).unwrap();
    for action in ["status", "off", "reboot"] {
        act(&pool, &format!("action={action}")).is(1, "", "Unable to obtain correct plug status");
    }
    tidy(&pool);
}

#[test]
fn a_pool_that_lies_is_not_believed() {
    let pool = pool(Quirks { lies: true, ..Quirks::default() });
    for action in ["off", "reboot"] {
        act(&pool, &format!("action={action}\npower_timeout=1")).is(1, "", "Timed out waiting to power OFF");
        assert!(pool.is_running("node1"));
    }
    act(&pool, "plug=node2\naction=on\npower_timeout=1\nretry_on=1").is(
        1,
        "",
        "Timed out waiting to power ON",
    );
    assert_eq!(pool.orders().iter().filter(|order| *order == "VM.start node2").count(), 2);
    tidy(&pool);
}

/// The pool's word for it stays "Running" until somebody declares the host dead.
#[test]
fn the_machine_of_a_dead_host_is_never_off() {
    let vms = vec![Vm { host: 1, ..Vm::running("node1") }];
    let pool = Pool::start(Settings { hosts: 2, vms, ..Settings::default() }).unwrap();
    pool.set_life(1, Life::Down);
    act(&pool, "action=status").is(0, "Status: ON\n", "");
    for action in ["off", "reboot"] {
        let run = act(&pool, &format!("action={action}"));
        run.is(1, "", "the host on which the machine runs does not answer to the pool");
        assert!(!run.stderr.to_lowercase().contains("timed out"), "{run:?}");
    }
    let list = act(&pool, "action=list-status");
    assert!(list.stdout.contains(",node1,ON\n"), "{list:?}");
    // The same where the pool waits for the host instead of refusing.
    pool.set_quirks(Quirks { waits_for_dead_host: true, ..Quirks::default() });
    act(&pool, "action=off\npower_timeout=1").is(1, "", "Timed out waiting to power OFF");
    assert!(pool.is_running("node1") && pool.power("node1") == "Running");
    tidy(&pool);
}

#[test]
fn a_host_that_dies_during_the_shutdown() {
    let vms = vec![Vm { host: 1, ..Vm::running("node1") }];
    let quirks = Quirks { takes: Duration::from_millis(2600), ..Quirks::default() };
    let pool = Pool::start(Settings { hosts: 2, vms, quirks, ..Settings::default() }).unwrap();
    let begun = Instant::now();
    let child = started(command(Path::new(PROGRAM)), &at(&pool.url(0), "action=off\npower_timeout=4"));
    while pool.orders().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
    pool.set_life(1, Life::Down);
    ended(child, begun).is(1, "", "HOST_OFFLINE");
    assert!(pool.is_running("node1"));
    tidy(&pool);
}

#[test]
fn what_takes_a_while_is_waited_for() {
    let pool = pool(Quirks { takes: Duration::from_millis(2700), ..Quirks::default() });
    let run = act(&pool, "action=off");
    run.is(0, "Success: Powered OFF\n", "");
    assert!(run.took > Duration::from_millis(2690) && run.took < Duration::from_secs(6), "{run:?}");
    pool.set_quirks(Quirks { takes: Duration::from_millis(300), ..Quirks::default() });
    act(&pool, "action=reboot\npower_wait=9").is(0, "Success: Rebooted\n", "");
    tidy(&pool);
}

#[test]
fn a_stuck_task_ends_at_the_deadline() {
    let pool = pool(Quirks { stuck: true, ..Quirks::default() });
    let run = act(&pool, "action=off\npower_timeout=2");
    run.is(1, "", "Timed out waiting to power OFF");
    assert!(run.took < Duration::from_secs(2 + 2 + 3), "{run:?}");
    assert!(pool.is_running("node1"));
    assert_eq!(pool.open_sessions(), 0);
    // The next one finds the machine busy, and says so.
    act(&pool, "action=off\npower_timeout=1").is(1, "", "OTHER_OPERATION_IN_PROGRESS");
    assert_eq!(pool.open_sessions(), 0);
}

#[test]
fn refusals_are_told_with_their_reason() {
    let refusing = |method: &str, words: &[&str]| {
        pool(Quirks {
            refuses: Some((method.into(), words.iter().map(|word| (*word).to_owned()).collect())),
            ..Quirks::default()
        })
    };
    for (method, words, said) in [
        ("session.login_with_password", &["HOST_STILL_BOOTING"][..], "still booting"),
        (
            "session.login_with_password",
            &["SESSION_AUTHENTICATION_FAILED", "root", "no"],
            "refuses username or password",
        ),
        ("VM.get_by_name_label", &["INTERNAL_ERROR", "Db"], "the pool says INTERNAL_ERROR Db"),
        ("Async.VM.hard_shutdown", &["RBAC_PERMISSION_DENIED", "VM.hard_shutdown"], "correct privileges"),
        ("Async.VM.hard_shutdown", &["MESSAGE_METHOD_UNKNOWN", "x"], "does not know the call"),
        ("VM.get_record", &["HANDLE_INVALID", "VM", "OpaqueRef:x"], "does not know it any more"),
        ("task.get_record", &["INTERNAL_ERROR", "Db"], ""),
    ] {
        let pool = refusing(method, words);
        let run = act(&pool, "action=off\npower_timeout=1\nshell_timeout=1");
        if method == "task.get_record" {
            // The machine is off, whatever became of the task.
            run.is(0, "Success: Powered OFF\n", said);
        } else {
            run.is(1, "", said);
            assert!(pool.is_running("node1"), "{run:?}");
        }
        assert!(!run.stderr.contains("OpaqueRef"), "{run:?}");
        assert_eq!(pool.open_sessions(), 0, "{run:?}");
    }
    let reader = pool(Quirks::default());
    act(&reader, "username=reader\naction=off").is(1, "", "correct privileges");
    act(&reader, "username=reader\naction=status").is(0, "Status: ON\n", "");
    act(&reader, "password=nonsense\naction=status").is(1, "", "Unable to connect/login to fencing device");
    tidy(&reader);
}

#[test]
fn a_busy_machine_is_switched_by_who_made_it_busy_or_not_at_all() {
    let pool = pool(Quirks { busy: 1, ..Quirks::default() });
    let run = act(&pool, "action=off\npower_timeout=1");
    run.is(1, "", "OTHER_OPERATION_IN_PROGRESS");
    assert!(pool.is_running("node1"));
    tidy(&pool);
}

#[test]
fn names_that_mean_nothing_or_too_much() {
    let mut vms = Settings::default().vms;
    let other = |name: &str, uuid: &str| Vm { uuid: uuid.into(), ..Vm::running(name) };
    vms.push(other("twin", "11111111-0000-0000-0000-000000000001"));
    vms.push(other("twin", "11111111-0000-0000-0000-000000000002"));
    vms.push(Vm { template: true, snapshot: true, ..Vm::halted("snapshot") });
    vms.push(Vm { template: true, ..Vm::halted("template") });
    vms.push(Vm { control_domain: true, ..Vm::running("dom0") });
    // A snapshot that bears its machine's name does not keep that machine from being fenced.
    vms.push(Vm {
        template: true,
        snapshot: true,
        power: "Halted",
        ..other("node1", "11111111-0000-0000-0000-000000000003")
    });
    let uuids: Vec<(String, String)> = vms.iter().map(|vm| (vm.name.clone(), vm.uuid.clone())).collect();
    let pool = Pool::start(Settings { vms, ..Settings::default() }).unwrap();
    for (name, words) in [
        ("nobody", "machine 'nobody' does not exist in the pool"),
        ("twin", "2 machines of the pool are called 'twin'; use the uuid as plug"),
        ("snapshot", "machine 'snapshot' is a snapshot"),
        ("template", "machine 'template' is a template"),
        ("dom0", "machine 'dom0' is the control domain of a host"),
    ] {
        for action in ["status", "off", "on", "reboot", "monitor"] {
            act(&pool, &format!("plug={name}\naction={action}")).is(1, "", words);
        }
        if !["nobody", "twin"].contains(&name) {
            let uuid = &uuids.iter().find(|(n, _)| n == name).unwrap().1;
            act(&pool, &format!("plug={uuid}\naction=off")).is(
                1,
                "",
                words.split(' ').skip(2).collect::<Vec<_>>().join(" ").as_str(),
            );
        }
    }
    assert_eq!(pool.orders(), [""; 0]);
    act(&pool, "plug=11111111-0000-0000-0000-000000000002\naction=off").is(0, "Success: Powered OFF\n", "");
    assert_eq!(pool.power("11111111-0000-0000-0000-000000000001"), "Running");
    act(&pool, "plug=node1\naction=off").is(0, "Success: Powered OFF\n", "");
    tidy(&pool);
}

#[test]
fn a_machine_that_vanishes_is_not_off() {
    let pool = pool(Quirks { stuck: true, ..Quirks::default() });
    let begun = Instant::now();
    let child = started(command(Path::new(PROGRAM)), &at(&pool.url(0), "action=off\npower_timeout=3"));
    while pool.orders().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
    pool.remove("node1");
    let run = ended(child, begun);
    run.is(1, "", "does not know it any more");
    assert_eq!(pool.open_sessions(), 0);
}

/// A4: all plugs, and each of them.
#[test]
fn several_plugs_are_all_or_nothing() {
    let mut vms = Settings::default().vms;
    vms.push(Vm::running("node3"));
    let pool = Pool::start(Settings { vms, ..Settings::default() }).unwrap();
    let on = |name: &str| pool.is_running(name);
    act(&pool, "plug=node1,node3\naction=off").is(0, "Success: Powered OFF\n", "");
    assert!(!on("node1") && !on("node3"));
    pool.set_power("node1", "Running").unwrap();
    act(&pool, "plug=node1,node3\naction=on").is(0, "Success: Powered ON\n", "");
    assert!(on("node1") && on("node3"));
    act(&pool, "plug=node3,nobody\naction=off").is(1, "", "'nobody' does not exist");
    assert!(on("node3"), "nothing is done by halves");
    act(&pool, "plug=node1,node3\naction=reboot").is(0, "Success: Rebooted\n", "");
    assert!(on("node1") && on("node3"));
    tidy(&pool);
}

#[test]
fn the_list_is_one_call_and_right() {
    let mut vms = Settings::default().vms;
    vms.push(Vm { template: true, snapshot: true, ..Vm::halted("snapshot") });
    vms.push(Vm { template: true, ..Vm::halted("template") });
    vms.push(Vm { control_domain: true, ..Vm::running("dom0") });
    vms.push(Vm::running("b\u{e4}r\nevil,x"));
    let pool = Pool::start(Settings { vms, ..Settings::default() }).unwrap();
    for path in ["", "/jsonrpc"] {
        let url = format!("{}{path}", pool.url(0));
        pool.forget_orders();
        let uuid = |name: &str| Vm::running(name).uuid;
        let odd = uuid("b\u{e4}r\nevil,x");
        given(&at(&url, "action=list-status")).is(
            0,
            &format!("{odd},b\u{e4}r evil,x,ON\n{},node1,ON\n{},node2,OFF\n", uuid("node1"), uuid("node2")),
            "",
        );
        assert_eq!(pool.calls(), ["session.login_with_password", "VM.get_all_records", "session.logout"]);
        given(&at(&url, "action=list\nseparator=:")).is(
            0,
            &format!("{odd}:b\u{e4}r evil,x\n{}:node1\n{}:node2\n", uuid("node1"), uuid("node2")),
            "",
        );
        // verbose does not get into the list, as upstream's does
        let verbose = given(&at(&url, "action=list\nverbose=1"));
        assert_eq!(verbose.stdout.lines().count(), 3, "{verbose:?}");
    }
    tidy(&pool);
}

#[test]
fn a_large_pool_is_listed_in_one_call_within_seconds() {
    let vms = (0..1500).map(|n| Vm::running(&format!("vm{n}"))).collect();
    let pool = Pool::start(Settings { vms, ..Settings::default() }).unwrap();
    let run = act(&pool, "action=list-status\npower_timeout=40");
    assert!(run.code == Some(0) && run.stdout.lines().count() == 1500, "{:?} {}", run.code, run.stderr);
    assert!(run.took < Duration::from_secs(25), "{:?}", run.took);
    pool.forget_orders();
    act(&pool, "plug=vm1499\naction=monitor").is(0, "", "");
    assert!(!pool.calls().contains(&"VM.get_all_records".to_owned()));
}

#[test]
fn monitor_looks_for_what_it_is_to_fence() {
    let pool = pool(Quirks::default());
    given(&format!("session_url={}\nlogin=root\npasswd=s3cret1\naction=monitor\n", pool.url(0)))
        .is(0, "", "");
    assert_eq!(pool.calls(), ["session.login_with_password", "VM.get_all", "session.logout"]);
    act(&pool, "plug=nobody\naction=monitor").is(1, "", "does not exist in the pool");
    pool.set_life(0, Life::Down);
    act(&pool, "action=monitor").is(1, "", "Unable to connect/login to fencing device");
}

#[test]
fn a_signal_ends_the_wait_and_logs_out() {
    for (quirks, seen) in [
        (Quirks { stuck: true, ..Quirks::default() }, "Async.VM.hard_shutdown"),
        (Quirks { answers_after: Duration::from_millis(700), ..Quirks::default() }, "VM.get_by_name_label"),
    ] {
        let pool = pool(quirks);
        let begun = Instant::now();
        let child = started(command(Path::new(PROGRAM)), &at(&pool.url(0), "action=off\npower_timeout=30"));
        while !pool.calls().iter().any(|call| call == seen) {
            assert!(begun.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(5));
        }
        let asked = Instant::now();
        std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        let run = ended(child, begun);
        assert_eq!((run.code, run.signal), (None, Some(15)), "{run:?}");
        assert!(asked.elapsed() < Duration::from_millis(2900), "{run:?}");
        assert_eq!(pool.open_sessions(), 0, "{run:?}");
    }
}

#[test]
fn answers_in_every_form_of_http() {
    for quirks in [
        Quirks { chunked: true, ..Quirks::default() },
        Quirks { closes: true, ..Quirks::default() },
        Quirks { no_length: true, ..Quirks::default() },
        Quirks { closes: true, chunked: true, ..Quirks::default() },
    ] {
        for tls in [false, true] {
            let pool = Pool::start(Settings { tls, quirks: quirks.clone(), ..Settings::default() }).unwrap();
            let trust = if tls { format!("ssl_fingerprint={}", pool.fingerprint()) } else { String::new() };
            act(&pool, &format!("action=reboot\n{trust}")).is(0, "Success: Rebooted\n", "");
            tidy(&pool);
        }
    }
}

#[test]
fn older_pools() {
    let old = pool(Quirks { old_login: true, no_json: true, ..Quirks::default() });
    act(&old, "action=status").is(0, "Status: ON\n", "");
    given(&at(&format!("{}/jsonrpc", old.url(0)), "action=status")).is(1, "", "http 404");
    tidy(&old);
}

#[test]
fn a_session_that_the_pool_forgets_is_opened_again() {
    let pool = pool(Quirks { session_calls: Some(3), ..Quirks::default() });
    act(&pool, "action=reboot").is(0, "Success: Rebooted\n", "");
    assert!(pool.sessions_opened() > 1);
    assert_eq!(pool.open_sessions(), 0);
}

/// Sixty calls leave nothing behind in a pool that keeps three sessions, and push nobody out.
#[test]
fn no_session_is_ever_left() {
    let pool = Pool::start(Settings { most_sessions: 3, ..Settings::default() }).unwrap();
    for round in 0..60 {
        let lines = ["action=status", "plug=nobody\naction=off", "password=x\naction=status", "action=list"]
            [round % 4];
        act(&pool, lines);
    }
    assert_eq!((pool.open_sessions(), pool.sessions_evicted(), pool.sessions_opened()), (0, 0, 45));
}
