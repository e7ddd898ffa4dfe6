//! `fence_cxs_redhat`: the names of options and actions, and the default, that its configurations hold.

use ringfence_tests::sim::xenapi::{Pool, Settings, Vm};

use super::agent::{given, linked, run};

#[test]
fn every_name_of_then() {
    let directory = tempfile::tempdir().unwrap();
    let old = linked(directory.path(), "fence_cxs_redhat");
    let pool = Pool::start(Settings::default()).unwrap();
    let url = pool.url(0);
    let uuid = Vm::running("node1").uuid;
    for (name, user, password, plug, action) in [
        ("session_url", "login", "passwd", "port=node1", "action"),
        ("session_url", "user", "pass", "vm_name=node1", "operation"),
        ("url", "session_user", "session_pass", "vm-name=node1", "op"),
        ("session-url", "session-user", "session-pass", "uuid=UUID", "option"),
        ("session_url", "login-name", "password", "uuid=UUID", "action"),
        ("session_url", "login_name", "passwd", "plug=UUID", "action"),
        ("session_url", "username", "passwd", "plug=node1", "action"),
    ] {
        let plug = plug.replace("UUID", &uuid);
        let act = |word: &str| {
            run(
                &old,
                &[],
                &format!("{name}={url}\n{user}=root\n{password}=s3cret1\n{plug}\n{action}={word}\n"),
            )
        };
        for (word, said, code) in [
            ("powerstatus", "Status: ON\n", 0),
            ("poweroff", "Success: Powered OFF\n", 0),
            ("status", "Status: OFF\n", 2),
            ("poweron", "Success: Powered ON\n", 0),
            ("restart", "Success: Rebooted\n", 0),
            ("reset", "Success: Rebooted\n", 0),
            ("RESTART", "Success: Rebooted\n", 0),
            ("powerdown", "Success: Powered OFF\n", 0),
            ("powerup", "Success: Powered ON\n", 0),
        ] {
            let run = act(word);
            run.is(code, said, "");
            assert!(!run.stderr.contains("unknown option"), "{run:?}");
        }
    }
    assert_eq!((pool.open_sessions(), pool.tasks()), (0, 0));
}

#[test]
fn the_command_line_of_then() {
    let directory = tempfile::tempdir().unwrap();
    let old = linked(directory.path(), "fence_cxs_redhat");
    let pool = Pool::start(Settings::default()).unwrap();
    let uuid = Vm::running("node1").uuid;
    let base = ["-s", &pool.url(0), "-l", "root", "-p", "s3cret1"];
    for plug in [["-U", &uuid], ["-n", "node1"], ["--uuid", &uuid], ["--vm-name", "node1"]] {
        // without an action it looks and does nothing
        run(&old, &[&base[..], &plug].concat(), "").is(0, "Status: ON\n", "");
        assert_eq!(pool.orders(), [""; 0]);
        run(&old, &[&base[..], &plug, &["-o", "off"]].concat(), "").is(0, "Success: Powered OFF\n", "");
        run(&old, &[&base[..], &plug, &["-o", "poweron"]].concat(), "").is(0, "Success: Powered ON\n", "");
        pool.forget_orders();
    }
    let list = run(&old, &[&base[..], &["-o", "list"]].concat(), "");
    assert_eq!(list.stdout, format!("{uuid},node1\n{},node2\n", Vm::running("node2").uuid), "{list:?}");
}

/// The same file under its usual name: neither words nor default are those of the older form.
#[test]
fn nothing_of_it_under_the_other_name() {
    let pool = Pool::start(Settings::default()).unwrap();
    let base = format!("session_url={}\nlogin=root\npasswd=s3cret1\n", pool.url(0));
    given(&format!("{base}plug=node1\naction=poweroff\n")).is(1, "", "Unrecognised action 'poweroff'");
    given(&format!("{base}uuid=node1\naction=off\n")).is(1, "", "You have to enter plug");
    assert_eq!(pool.orders(), [""; 0]);
    given(&format!("{base}plug=node1\n")).is(0, "Success: Rebooted\n", "");
}

#[test]
fn its_metadata_has_its_name_and_default() {
    let directory = tempfile::tempdir().unwrap();
    let old = linked(directory.path(), "fence_cxs_redhat");
    let metadata = run(&old, &["-o", "metadata"], "").stdout;
    assert!(metadata.contains("<resource-agent name=\"fence_cxs_redhat\""), "{metadata}");
    assert!(metadata.contains("<content type=\"string\" default=\"status\""), "{metadata}");
    assert!(!metadata.contains("name=\"poweroff\"") && !metadata.contains("name=\"uuid\""), "{metadata}");
}
