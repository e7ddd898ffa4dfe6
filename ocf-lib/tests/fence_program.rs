//! The example fence agent as a program: streams, exit statuses, signals, what a caller can see of it.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, clippy::disallowed_methods, reason = "a test")]

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// cargo builds examples next to the folder of the tests.
fn example() -> Command {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples/fence_example");
    assert!(path.exists(), "build it: cargo build -p ocf-lib --examples");
    let mut command = Command::new(path);
    command.env_remove("PCMK_service").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Node {
    _dir: tempfile::TempDir,
    file: PathBuf,
}

fn node(state: &str) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node");
    std::fs::write(&file, state).unwrap();
    Node { _dir: dir, file }
}

impl Node {
    fn state(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap().trim().to_owned()
    }

    fn session_is_open(&self) -> bool {
        self.file.with_extension("session").exists()
    }

    fn start(&self, lines: &str) -> Child {
        let mut child = example().stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        write!(stdin, "state_file={}\n{lines}\n", self.file.display()).unwrap();
        child
    }

    fn ask(&self, lines: &str) -> Output {
        self.start(lines).wait_with_output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn check(output: &Output, status: i32, stdout: &str) {
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str()),
        (Some(status), stdout),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn fences_and_unfences() {
    let node = node("on");
    check(&node.ask("action=status"), 0, "Status: ON\n");
    check(&node.ask("action=off"), 0, "Success: Powered OFF\n");
    assert_eq!(node.state(), "off");
    check(&node.ask("action=off"), 0, "Success: Already OFF\n");
    check(&node.ask("action=status"), 2, "Status: OFF\n");
    check(&node.ask("action=monitor"), 0, "");
    check(&node.ask("action=on"), 0, "Success: Powered ON\n");
    check(&node.ask(""), 0, "Success: Rebooted\n");
    assert_eq!(node.state(), "on");
    assert!(!node.session_is_open());
}

#[test]
fn the_command_line_does_the_same() {
    let node = node("on");
    let run = |args: &[&str]| example().arg("--state-file").arg(&node.file).args(args).output().unwrap();
    check(&run(&["-o", "status"]), 0, "Status: ON\n");
    check(&run(&["--act=off"]), 0, "Success: Powered OFF\n");
    let output = run(&["-o", "destroy"]);
    check(&output, 1, "");
    assert!(text(&output.stderr).contains("Failed: Unrecognised action 'destroy'"));
}

#[test]
fn what_is_missing_is_told_on_standard_error() {
    let output = example().output().unwrap();
    check(&output, 1, "");
    assert!(text(&output.stderr).contains("ERROR: Failed: You have to set --state-file"));
    let output = node("on").ask("missing_is_off=1\nstate_file=/nonexistent/dir/x\naction=off");
    check(&output, 1, "");
    assert!(!output.stderr.is_empty(), "Pacemaker calls silence 'no data available'");
}

fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} never happened");
        ocf_lib::deadline::Deadline::never().sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

#[test]
fn a_signal_closes_the_session_and_is_seen_by_the_parent() {
    for sent in [nix::sys::signal::Signal::SIGTERM, nix::sys::signal::Signal::SIGINT] {
        let node = node("stuck");
        let child = node.start("action=off\npower_timeout=600");
        wait_until("the session", || node.session_is_open());
        signal(&child, sent);
        let start = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), Some(sent as i32), "{}", text(&output.stderr));
        assert!(start.elapsed() < Duration::from_millis(2500));
        assert!(!node.session_is_open(), "the device's session slot leaked");
        assert!(output.stdout.is_empty());
        assert!(text(&output.stderr).contains("ended by a signal"));
    }
}

#[test]
fn a_signal_ends_the_delay_and_the_reading_of_options() {
    let node = node("on");
    let child = node.start("action=off\ndelay=600");
    let path = format!("/proc/{}/limits", child.id());
    // The signal handlers stand before the limit on core files is readable only after exec: wait for it.
    wait_until("the limit on core files", || {
        std::fs::read_to_string(&path)
            .unwrap_or_default()
            .lines()
            .any(|line| line.starts_with("Max core file size") && line.contains(" 0 "))
    });
    ocf_lib::deadline::Deadline::never().sleep(Duration::from_millis(200));
    signal(&child, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(child.wait_with_output().unwrap().status.signal(), Some(15));
    assert_eq!(node.state(), "on");

    let mut child = example().stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    ocf_lib::deadline::Deadline::never().sleep(Duration::from_millis(300));
    signal(&child, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(child.wait_with_output().unwrap().status.signal(), Some(15));
    drop(stdin);
}

#[test]
fn a_signal_ends_also_what_does_not_listen_and_its_children() {
    let node = node("on");
    let mark = node.file.with_extension("mark");
    let child = node.start(&format!("action=off\npasswd_script=echo $$ > {}; exec sleep 60", mark.display()));
    let script = || std::fs::read_to_string(&mark).unwrap_or_default().trim().to_owned();
    wait_until("the password script", || !script().is_empty());
    signal(&child, nix::sys::signal::Signal::SIGTERM);
    let start = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(15));
    assert!(start.elapsed() < Duration::from_secs(10));
    wait_until("the end of the script", || !Path::new(&format!("/proc/{}", script())).exists());
    assert_eq!(node.state(), "on");
}

#[test]
fn a_stuck_node_is_a_failure_in_time() {
    let node = node("stuck");
    let start = Instant::now();
    let output = node.ask("action=reboot\npower_timeout=1");
    check(&output, 1, "");
    assert!(text(&output.stderr).contains("Failed: Timed out waiting to power OFF"));
    assert!(start.elapsed() < Duration::from_secs(8));
    assert!(!node.session_is_open());
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let node = node("on");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output =
        example().args(["-o", "status", "--state-file"]).arg(&node.file).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write the result"));
}

#[test]
fn no_secret_in_any_log() {
    let node = node("on");
    let debug = node.file.with_extension("debug");
    let output = node.ask(&format!(
        "action=status\npasswd=hunter2\npasword=hunter2\nverbose=1\ndebug_file={}",
        debug.display()
    ));
    check(&output, 0, "Status: ON\n");
    let logged = std::fs::read_to_string(&debug).unwrap();
    assert!(logged.contains("the node is ON"), "{logged}");
    for text in [text(&output.stderr), logged] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(text(&output.stderr).contains("Ignoring unknown option 'pasword'"));
}

#[test]
fn the_name_decides_about_the_defaults() {
    let run = |name: &str| {
        let output = example().arg0(name).args(["-o", "metadata"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        text(&output.stdout)
    };
    assert!(run("fence_example").contains("name=\"fence_example\""));
    let other = run("/usr/sbin/fence_example2");
    assert!(other.contains("<resource-agent name=\"fence_example2\"") && other.contains("default=\"4\""));
}

#[test]
fn input_without_end_is_refused() {
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let output = example().stdin(zero).output().unwrap();
    check(&output, 1, "");
    assert!(text(&output.stderr).contains("cannot read standard input: more than 1024 KiB"));
}
