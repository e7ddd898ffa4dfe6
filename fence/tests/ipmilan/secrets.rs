//! Looks for the password where others can read: argv, environment, files, logs, core, of the agent and of what it starts.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_tests::sim::bmc::{Bmc, Config, Quirks};

use super::agent::{self, PROGRAM, Run};

/// Each goes in by another way.
const PASSWORD: &str = "Pw0rdOnStdin#1";
const KG_HEX: &str = "4b675f61735f68657821";
const KG: &str = "Kg_as_hex!";
const SCRIPTED: &str = "Pw0rdByScript#2";
const OTHER: &str = "Pw0rdMisspelt#3";

fn holds(bytes: &[u8], secret: &str) -> bool {
    let plain = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    // as Rust would print a byte string, or in hexadecimal
    let numbers: Vec<String> = secret.bytes().map(|b| b.to_string()).collect();
    let hex = secret.bytes().map(|b| format!("{b:02x}")).collect::<Vec<_>>().concat();
    let text = String::from_utf8_lossy(bytes);
    plain || text.contains(&numbers.join(", ")) || text.to_lowercase().contains(&hex)
}

/// A file of `/proc`, and what it showed.
type Shown = BTreeSet<(String, Vec<u8>)>;

/// The process and everything below it.
fn family(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    found
}

/// What all of them show in `/proc` while `root` runs, with the name of the file.
fn watched(root: u32, until: impl Fn() -> bool) -> Shown {
    let mut seen = BTreeSet::new();
    let end = Instant::now() + Duration::from_secs(20);
    while !until() && Instant::now() < end {
        for pid in family(root) {
            for file in ["cmdline", "environ"] {
                if let Ok(bytes) = fs::read(format!("/proc/{pid}/{file}")) {
                    seen.insert((format!("{} {file}", if pid == root { "agent" } else { "child" }), bytes));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    seen
}

/// One run that is watched in `/proc`, in a mount namespace with a `/dev/log` of ours, in an own working directory.
fn watched_run(args: &[&str], stdin: &str) -> (Run, Shown, Vec<Vec<u8>>, PathBuf) {
    let directory = tempfile::tempdir().unwrap().keep();
    let dev = directory.join("dev");
    fs::create_dir(&dev).unwrap();
    let log = UnixDatagram::bind(dev.join("log")).unwrap();
    log.set_nonblocking(true).unwrap();
    let mut command = agent::command(Path::new("/usr/bin/unshare"));
    command
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg(
            "set -e; mount --rbind /dev \"$1/olddev\"; mount --bind \"$1/dev\" /dev; for f in null urandom random; do \
             touch /dev/$f; mount --bind \"$1/olddev/$f\" /dev/$f; done; ulimit -c unlimited; cd \"$1\"; shift; exec \"$@\"",
        )
        .arg("sh")
        .arg(&directory)
        .arg(PROGRAM)
        .args(args);
    fs::create_dir(directory.join("olddev")).unwrap();
    let begun = Instant::now();
    let child = agent::started(command, stdin);
    let pid = child.id();
    let ended = std::sync::atomic::AtomicBool::new(false);
    let (run, seen) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watched(pid, || ended.load(std::sync::atomic::Ordering::Relaxed)));
        let run = agent::ended(child, begun);
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        (run, watcher.join().unwrap())
    });
    let mut lines = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(length) = log.recv(&mut buffer) {
        lines.push(buffer[..length].to_vec());
    }
    (run, seen, lines, directory)
}

#[test]
fn nobody_else_can_read_them() {
    let bmc = Bmc::start(Config {
        kg: Some(KG.into()),
        users: vec![
            ringfence_tests::sim::bmc::User { name: b"admin".to_vec(), password: PASSWORD.into(), limit: 4 },
            ringfence_tests::sim::bmc::User {
                name: b"scripted".to_vec(),
                password: SCRIPTED.into(),
                limit: 4,
            },
        ],
        quirks: Quirks { answers_after: Duration::from_millis(40), ..Quirks::default() },
        ..Config::default()
    })
    .unwrap();
    let port = bmc.address().port();
    let base = format!(
        "ip=127.0.0.1\nipport={port}\nlanplus=1\nverbose=1\nverbose_level=3\ndebug_file=debug.log\naction=status\n\
         password2={OTHER}\nhexadecimal_kg={KG_HEX}\n"
    );
    let scripted = tempfile::NamedTempFile::new().unwrap();
    fs::write(scripted.path(), SCRIPTED).unwrap();
    let mut kinds = BTreeSet::new();
    for (lines, fine) in [
        (format!("login=admin\npasswd={PASSWORD}"), true),
        // the script waits, so that its process is seen; it prints the secret from a file as it should
        ("login=scripted\npasswd_script=sleep 0.2; cat secret".to_owned(), true),
        (format!("login=admin\npasswd={PASSWORD}x"), false),
        (format!("login=admin\npasswd={PASSWORD}\nprivlvl={PASSWORD}"), false),
        (format!("login=nobody\npasswd={PASSWORD}\nlanplus=0"), false),
    ] {
        let lines = lines.replace("cat secret", &format!("cat {}", scripted.path().display()));
        let (run, seen, log, directory) = watched_run(&[], &format!("{base}{lines}\n"));
        assert_eq!(run.code, Some(i32::from(!fine)), "{run:?}");
        assert!(seen.iter().any(|(name, _)| name == "agent cmdline"), "the watcher saw nothing: {seen:?}");
        kinds.extend(seen.iter().map(|(name, _)| name.clone()));
        let debug = fs::read(directory.join("debug.log")).unwrap_or_default();
        if fine {
            assert!(!log.is_empty() && !debug.is_empty(), "nothing was logged: {run:?}");
        }
        for secret in [PASSWORD, SCRIPTED, KG, KG_HEX, OTHER] {
            for (name, bytes) in &seen {
                assert!(!holds(bytes, secret), "{secret} in {name} of {lines}");
            }
            for line in &log {
                // what the administrator wrote where no secret belongs is masked as well, because it equals the password
                assert!(
                    !holds(line, secret),
                    "{secret} in syslog of {lines}: {}",
                    String::from_utf8_lossy(line)
                );
            }
            assert!(!holds(&debug, secret), "{secret} in the debug file of {lines}");
            assert!(
                !holds(run.stdout.as_bytes(), secret) && !holds(run.stderr.as_bytes(), secret),
                "{secret}: {run:?}"
            );
        }
        // fails, as it should, if the namespace's view of /dev were still mounted here
        fs::remove_dir(directory.join("olddev")).unwrap();
        fs::remove_dir_all(directory).unwrap();
    }
    assert!(kinds.contains("child cmdline") && kinds.contains("child environ"), "{kinds:?}");
}

/// A password on the command line stands in `/proc/PID/cmdline` until the agent has read it: it wipes it before anything slow.
#[test]
fn a_password_in_argv_is_wiped_early() {
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    mute.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let port = mute.local_addr().unwrap().port().to_string();
    let kg = format!("--hexadecimal-kg={KG_HEX}");
    let joined = format!("-p{PASSWORD}");
    let long = format!("--password={PASSWORD}");
    for secret in
        [&["-p", PASSWORD][..], &[&joined], &["--password", PASSWORD], &[&long], &["-p", PASSWORD, &kg]]
    {
        let base = [
            "-a",
            "127.0.0.1",
            "-u",
            &port,
            "-l",
            "admin",
            "-o",
            "status",
            "--login-timeout=1",
            "--ipmitool-timeout=0.2",
        ];
        let mut command = agent::command(Path::new(PROGRAM));
        command.args(base).args(secret);
        let begun = Instant::now();
        let child = agent::started(command, "");
        let pid = child.id();
        // the first datagram is out: everything has been read
        mute.recv(&mut [0; 256]).unwrap();
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(
            !holds(&cmdline, PASSWORD) && !holds(&cmdline, KG_HEX),
            "{}",
            String::from_utf8_lossy(&cmdline)
        );
        // the rest stays for `ps`
        assert!(
            holds(&cmdline, "127.0.0.1") && holds(&cmdline, "status"),
            "{}",
            String::from_utf8_lossy(&cmdline)
        );
        agent::ended(child, begun).is(1, "", "timed out");
        while mute.set_nonblocking(true).is_ok() && mute.recv(&mut [0; 256]).is_ok() {}
        mute.set_nonblocking(false).unwrap();
    }
}

#[test]
fn no_core_file_and_no_other_reader() {
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    mute.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut command = agent::command(Path::new("/bin/sh"));
    // as nobody, who has to be able to read the program
    let program = directory.path().join("fence_ipmilan");
    fs::copy(PROGRAM, &program).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    command
        .current_dir(directory.path())
        .args(["-c", "ulimit -c unlimited; exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\""]);
    command.arg(&program);
    let begun = Instant::now();
    let child =
        agent::started(command, &agent::at(mute.local_addr().unwrap(), "action=off\nlogin_timeout=10"));
    let pid = child.id();
    mute.recv(&mut [0; 256]).unwrap();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // not dumpable: its /proc belongs to root though nobody runs it (proc_pid(5)), and a pipe in core_pattern gets nothing
    let environment = fs::metadata(format!("/proc/{pid}/environ")).unwrap();
    assert_eq!(environment.uid(), 0);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
    std::process::Command::new("kill").args(["-ABRT", &pid.to_string()]).status().unwrap();
    let run = agent::ended(child, begun);
    assert_eq!(run.signal, Some(6), "{run:?}");
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().flatten().map(|entry| entry.path()).collect();
    assert_eq!(left, [program]);
}
