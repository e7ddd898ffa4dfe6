//! The detached child: who it is, that it can be stopped, that it ends by itself, and that nobody else is hit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test: it observes from outside and panics when it is not as it should be"
)]

use ringfence_agents::detached::{Detached, Stopped, run, stop};
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn detached(pid_file: &Path) -> Detached<'_> {
    Detached { name: "send_arp", pid_file, limit: Duration::from_secs(20), keep: &[] }
}

fn sleep() {
    std::thread::sleep(Duration::from_secs(60));
}

/// Running, and not just waiting for its parent to collect it.
fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.starts_with(" Z"))
}

fn wait_for(what: impl Fn() -> bool) {
    let until = soon();
    while !what() {
        assert!(Instant::now() < until, "it never came about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn it_has_a_session_a_name_a_pid_file_and_no_open_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("send_arp-10.0.0.5");
    let kept = fs::File::open("/proc/version").unwrap();
    let closed = fs::File::open("/proc/uptime").unwrap();
    let keep = [kept.as_fd()];
    let pid = run(&Detached { keep: &keep, ..detached(&path) }, soon(), sleep).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().next(), Some(pid.to_string().as_str()));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(stat.contains("(send_arp)"));
    let session: i32 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert_eq!(session, pid);
    let files = || -> Vec<String> {
        let mut files: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.display().to_string()))
            .collect();
        files.sort();
        files
    };
    wait_for(|| files() == ["/dev/null", "/dev/null", "/dev/null", "/proc/version"]);
    drop(closed);
    assert_eq!(stop(&path, &[], soon()), Ok(Stopped::Now));
    assert!(!alive(pid) && !path.exists());
    assert_eq!(stop(&path, &[], soon()), Ok(Stopped::WasNot));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn it_removes_its_pid_file_at_the_end_on_sigterm_and_when_its_time_is_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let pid = run(&detached(&path), soon(), || ()).unwrap();
    wait_for(|| !alive(pid) && !path.exists());
    let pid = run(&detached(&path), soon(), || panic!("in the work")).unwrap();
    wait_for(|| !alive(pid) && !path.exists());
    let pid = run(&detached(&path), soon(), sleep).unwrap();
    assert!(alive(pid) && path.exists());
    Command::new("kill").arg(pid.to_string()).status().unwrap();
    wait_for(|| !alive(pid) && !path.exists());
    let begin = Instant::now();
    let short = Detached { limit: Duration::from_millis(300), ..detached(&path) };
    let pid = run(&short, soon(), sleep).unwrap();
    wait_for(|| !alive(pid) && !path.exists());
    assert!(begin.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_second_one_replaces_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let first = run(&detached(&path), soon(), sleep).unwrap();
    let second = run(&detached(&path), soon(), sleep).unwrap();
    assert!(!alive(first) && alive(second));
    assert!(fs::read_to_string(&path).unwrap().starts_with(&format!("{second}\n")));
    assert_eq!(stop(&path, &[], soon()), Ok(Stopped::Now));
    assert!(!alive(second));
}

#[test]
fn a_pid_that_belongs_to_somebody_else_now_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let mut bystander = Command::new("sleep").arg("30").spawn().unwrap();
    let pid = i32::try_from(bystander.id()).unwrap();
    for text in [
        format!("{pid}\n12345\n"),
        format!("{pid}\n"),
        format!("{pid}"),
        String::new(),
        "1\n".into(),
        "-1\n".into(),
        "0\n1\n".into(),
        "x".into(),
    ] {
        fs::write(&path, &text).unwrap();
        assert_eq!(stop(&path, &["send_arp"], soon()), Ok(Stopped::WasNot), "{text:?}");
        assert!(alive(pid) && !path.exists(), "{text:?}");
    }
    // upstream's file holds only the pid: then the name decides
    fs::write(&path, format!("{pid}\n")).unwrap();
    assert_eq!(stop(&path, &["sleep"], soon()), Ok(Stopped::Now));
    assert!(!alive(pid));
    bystander.wait().unwrap();
}

#[test]
fn a_stubborn_one_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let mut stubborn = Command::new("sh")
        .args(["-c", "trap '' TERM; echo; while :; do sleep 1; done"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 1];
    std::io::Read::read_exact(stubborn.stdout.as_mut().unwrap(), &mut ready).unwrap();
    fs::write(&path, format!("{}\n", stubborn.id())).unwrap();
    assert_eq!(stop(&path, &["sh"], soon()), Ok(Stopped::Now));
    assert!(!stubborn.wait().unwrap().success() && !path.exists());
}

#[test]
fn a_folder_that_is_not_there_is_an_error_and_nothing_runs() {
    let error = run(&detached(Path::new("/nonexistent/pid")), soon(), sleep).unwrap_err();
    assert_eq!(error.to_string(), "cannot write the pid file (/nonexistent/pid): No such file or directory");
}
