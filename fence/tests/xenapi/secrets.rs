//! Looks for the password and for session references where others can read: argv, output, syslog, debug file.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use ringfence_tests::sim::xenapi::{Pool, Quirks, Settings, User};

use super::agent::{self, PROGRAM, command, ended, given, started};

const PASSWORD: &str = "Pw0rd<&>Xen#1";
const SCRIPTED: &str = "Pw0rdByScript#2";
const OTHER: &str = "Pw0rdMisspelt#3";

fn pool(quirks: Quirks) -> Pool {
    let user =
        |name: &str, password: &str| User { name: name.into(), password: password.into(), read_only: false };
    Pool::start(Settings {
        users: vec![user("root", PASSWORD), user("scripted", SCRIPTED)],
        quirks,
        ..Settings::default()
    })
    .unwrap()
}

#[track_caller]
fn clean(text: &str, about: &str) {
    for secret in [PASSWORD, "Pw0rd&lt;&amp;&gt;Xen#1", SCRIPTED, OTHER, "OpaqueRef:"] {
        assert!(!text.contains(secret), "{secret} in {about}: {text}");
    }
}

#[test]
fn nothing_that_is_written_holds_one() {
    let directory = tempfile::tempdir().unwrap();
    let scripted = directory.path().join("secret");
    fs::write(&scripted, SCRIPTED).unwrap();
    for (n, (quirks, path)) in [
        (Quirks::default(), ""),
        (Quirks::default(), "/jsonrpc"),
        (Quirks { session_calls: Some(2), ..Quirks::default() }, ""),
        (Quirks { session_calls: Some(0), ..Quirks::default() }, ""),
        (Quirks { lies: true, ..Quirks::default() }, "/jsonrpc"),
        (
            Quirks {
                refuses: Some((
                    "VM.get_record".into(),
                    vec!["INTERNAL_ERROR".into(), format!("login {PASSWORD}")],
                )),
                ..Quirks::default()
            },
            "",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let pool = pool(quirks);
        for (m, account) in [
            format!("login=root\npasswd={PASSWORD}"),
            format!("login=scripted\npasswd_script=cat {}", scripted.display()),
            format!("login=root\npasswd={PASSWORD}x"),
            format!("login={PASSWORD}\npasswd={PASSWORD}"),
        ]
        .iter()
        .enumerate()
        {
            // What a pool says about another account's password cannot be known here.
            if n == 5 && m == 1 {
                continue;
            }
            let debug = directory.path().join(format!("debug-{n}-{m}"));
            let run = given(&format!(
                "session_url={}{path}\nplug=node1\naction=off\npower_timeout=1\nverbose=1\nverbose_level=3\npassword2={OTHER}\n\
                 debug_file={}\n{account}\n",
                pool.url(0),
                debug.display()
            ));
            clean(&run.stdout, "standard output");
            clean(&run.stderr, "standard error");
            let debug = fs::read_to_string(debug).unwrap();
            assert!(debug.contains("session.login_with_password"), "nothing was logged: {run:?}");
            clean(&debug, "the debug file");
        }
    }
}

/// A password on the command line stands in `/proc/PID/cmdline` until the agent has read it: it wipes it before anything slow.
#[test]
fn a_password_in_argv_is_wiped_early() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());
    let joined = format!("-p{PASSWORD}");
    let long = format!("--password={PASSWORD}");
    for secret in [&["-p", PASSWORD][..], &[&joined], &["--password", PASSWORD], &[&long]] {
        let mut command = command(Path::new(PROGRAM));
        command
            .args(["-s", &url, "-l", "root", "-n", "node1", "-o", "status", "--login-timeout=1"])
            .args(secret);
        let begun = Instant::now();
        let child = started(command, "");
        let pid = child.id();
        // connected: everything has been read
        let connection = mute.accept().unwrap();
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        clean(&String::from_utf8_lossy(&cmdline), "the command line");
        assert!(String::from_utf8_lossy(&cmdline).contains("node1"));
        ended(child, begun).is(1, "", "timed out");
        drop(connection);
    }
}

/// The password goes to the hosts of the pool, and to nobody before the certificate has been judged: see `tls.rs`. Over http it goes
/// to where a slave says that the master is, but never to another port.
#[test]
fn a_slave_cannot_send_the_password_to_another_port() {
    let thief = TcpListener::bind("127.0.0.9:0").unwrap();
    thief.set_nonblocking(true).unwrap();
    let says = format!("127.0.0.9:{}", thief.local_addr().unwrap().port());
    let pool = Pool::start(Settings {
        hosts: 2,
        quirks: Quirks { slave_says: Some(says), ..Quirks::default() },
        ..Settings::default()
    })
    .unwrap();
    let run = given(&agent::at(&pool.url(1), "action=status\nlogin_timeout=2"));
    assert_eq!(run.code, Some(1), "{run:?}");
    std::thread::sleep(Duration::from_millis(50));
    assert!(thief.accept().is_err());
}
