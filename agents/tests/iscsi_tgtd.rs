//! The agents of iSCSI targets and units with a real tgtd, and libiscsi as a real initiator. Root, a network namespace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test: it observes from outside and panics when it is not as it should be"
)]

mod namespace;

use namespace::fresh;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const IQN: &str = "iqn.2026-01.lab:t";
const URL: &str = "127.0.0.1:3260/iqn.2026-01.lab:t";

/// A daemon of our own, and what its agents get told.
struct Host {
    folder: tempfile::TempDir,
    tgtd: Child,
}

impl Drop for Host {
    fn drop(&mut self) {
        // SIGTERM is not enough while it has targets.
        let _ = self.tgtd.kill();
        let _ = self.tgtd.wait();
    }
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tgtd = Self::daemon(folder.path());
        let host = Self { folder, tgtd };
        std::fs::write(host.disk(), vec![0; 8 << 20]).unwrap();
        host.wait_for_the_daemon();
        host
    }

    fn daemon(folder: &Path) -> Child {
        Command::new("tgtd")
            .args(["-f", "--iscsi", "portal=127.0.0.1:3260"])
            .env("TGT_IPC_SOCKET", folder.join("socket"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tgtd (package tgt)")
    }

    fn wait_for_the_daemon(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        while !self.tgtadm(&["--mode", "sys", "--op", "show"]).status.success() {
            assert!(Instant::now() < until, "tgtd does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn tgtadm(&self, words: &[&str]) -> Output {
        Command::new("tgtadm")
            .args(["--lld", "iscsi"])
            .args(words)
            .env("TGT_IPC_SOCKET", self.folder.path().join("socket"))
            .output()
            .unwrap()
    }

    /// What tgtadm shows, the observer that is not the agent.
    fn shown(&self) -> String {
        let output = self.tgtadm(&["--mode", "target", "--op", "show"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    fn call(&self, agent: &str, action: &str, parameters: &[(&str, &str)]) -> (i32, String) {
        let mut command = Command::new(agent);
        command
            .arg(action)
            .env_clear()
            .env("OCF_RA_VERSION_MAJOR", "1")
            .env("OCF_RA_VERSION_MINOR", "1")
            .env("OCF_ROOT", "/usr/lib/ocf")
            .env("OCF_RESOURCE_INSTANCE", "lu1")
            .env("HA_RSCTMP", self.folder.path().join("run"))
            .env("HA_LOGFACILITY", "none")
            .env("TGT_IPC_SOCKET", self.folder.path().join("socket"))
            .env("OCF_RESKEY_CRM_meta_timeout", "10000")
            .env("OCF_RESKEY_implementation", "tgt");
        for (name, value) in parameters {
            command.env(format!("OCF_RESKEY_{name}"), value);
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), text(&output.stderr))
    }

    fn target(&self, action: &str, more: &[(&str, &str)]) -> (i32, String) {
        self.call(env!("CARGO_BIN_EXE_iscsitarget"), action, &[&[("iqn", IQN), ("tid", "1")], more].concat())
    }

    fn unit(&self, action: &str, more: &[(&str, &str)]) -> (i32, String) {
        let disk = self.disk();
        let own = [("target_iqn", IQN), ("lun", "1"), ("path", disk.to_str().unwrap())];
        self.call(env!("CARGO_BIN_EXE_iscsilogicalunit"), action, &[&own, more].concat())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A program of libiscsi; all that it says.
fn initiator(words: &[&str]) -> String {
    let output = Command::new("timeout").arg("10").args(words).output().expect("libiscsi-bin");
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_target_and_a_unit_from_start_to_stop() {
    fresh(|| {
        let host = Host::new();
        assert_eq!([host.target("monitor", &[]).0, host.unit("monitor", &[]).0], [7, 7]);
        assert_eq!([host.target("stop", &[]).0, host.unit("stop", &[]).0], [0, 0]);
        assert_eq!(host.unit("start", &[]).0, 1, "there is no target yet");
        let (code, said) = host.target("start", &[]);
        assert_eq!(code, 0, "{said}");
        let (code, said) = host.unit("start", &[("vendor_id", "RING"), ("product_id", "FENCE")]);
        assert_eq!(code, 0, "{said}");
        assert_eq!([host.target("start", &[]).0, host.unit("start", &[]).0], [0, 0]);
        assert_eq!([host.target("monitor", &[]).0, host.unit("monitor", &[]).0], [0, 0]);
        let seen = initiator(&["iscsi-ls", "-s", "iscsi://127.0.0.1:3260/"]);
        assert!(seen.contains(IQN) && seen.contains("Lun:1    Type:DIRECT_ACCESS (Size:7M)"), "{seen}");
        let inquiry = initiator(&["iscsi-inq", &format!("iscsi://{URL}/1")]);
        assert!(inquiry.contains("Vendor:RING") && inquiry.contains("Product:FENCE"), "{inquiry}");
        // The rule of upstream: the first 8 digits of the MD5 of the name, and the name.
        assert!(host.shown().contains("SCSI SN: b56fbecf\n") && host.shown().contains("SCSI ID: lu1\n"));
        assert_eq!([host.unit("stop", &[]).0, host.unit("monitor", &[]).0], [0, 7]);
        assert!(!host.shown().contains("LUN: 1"));
        assert_eq!([host.target("stop", &[]).0, host.target("monitor", &[]).0], [0, 7]);
        assert_eq!(host.shown(), "");
    });
}

#[test]
fn chap_is_asked_for_and_the_password_is_in_no_argv() {
    fresh(|| {
        let host = Host::new();
        let account = [("incoming_username", "alice"), ("incoming_password", "correct-horse-1")];
        let (code, said) = host.target("start", &account);
        assert_eq!(code, 0, "{said}");
        assert_eq!(host.unit("start", &[]).0, 0);
        let inquiry = |user: &str| initiator(&["iscsi-inq", &format!("iscsi://{user}{URL}/1")]);
        assert!(inquiry("alice%correct-horse-1@").contains("DIRECT_ACCESS"));
        assert!(!inquiry("alice%wrong-horse-123@").contains("DIRECT_ACCESS"));
        assert!(!inquiry("").contains("DIRECT_ACCESS"));
        assert_eq!(host.target("monitor", &account).0, 0);
        assert_eq!(host.target("stop", &account).0, 0);
        let accounts = text(&host.tgtadm(&["--mode", "account", "--op", "show"]).stdout);
        assert!(!accounts.contains("alice"), "{accounts}");
        // No child at all, so none with a password; and no word of it in what is said.
        let trace = host.folder.path().join("trace");
        let strace = |account: &[(&str, &str)]| {
            let mut command = Command::new("strace");
            command.args(["-f", "-e", "trace=execve,fork,vfork,clone,clone3", "-o"]).arg(&trace);
            command.args([env!("CARGO_BIN_EXE_iscsitarget"), "start"]);
            command.env("TGT_IPC_SOCKET", host.folder.path().join("socket"));
            command.env("HA_RSCTMP", host.folder.path().join("run"));
            for (name, value) in [("implementation", "tgt"), ("iqn", IQN), ("tid", "1")].iter().chain(account)
            {
                command.env(format!("OCF_RESKEY_{name}"), value);
            }
            command.output().unwrap()
        };
        let output = strace(&account);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("correct-horse"));
        let calls = std::fs::read_to_string(&trace).unwrap();
        assert_eq!(
            calls.lines().filter(|line| line.contains('(')).count(),
            1,
            "only the agent itself: {calls}"
        );
    });
}

#[test]
fn a_user_of_another_target_is_not_taken() {
    fresh(|| {
        let host = Host::new();
        host.tgtadm(&[
            "--mode",
            "target",
            "--op",
            "new",
            "--tid",
            "7",
            "--targetname",
            "iqn.2026-01.lab:other",
        ]);
        host.tgtadm(&["--mode", "account", "--op", "new", "--user", "alice", "--password", "theirs"]);
        host.tgtadm(&["--mode", "account", "--op", "bind", "--tid", "7", "--user", "alice"]);
        let before = host.shown();
        let account = [("incoming_username", "alice"), ("incoming_password", "correct-horse-1")];
        let (code, said) = host.target("start", &account);
        assert_eq!(code, 1);
        assert!(said.contains("target iqn.2026-01.lab:other uses one of that name"), "{said}");
        assert!(!said.contains("correct-horse"), "{said}");
        assert_eq!(host.shown(), before, "ours was taken back, theirs is untouched");
    });
}

#[test]
fn only_allowed_initiators_get_in() {
    fresh(|| {
        let host = Host::new();
        assert_eq!(host.target("start", &[("allowed_initiators", "192.0.2.7 iqn.2026-01.lab:n1")]).0, 0);
        assert_eq!(host.unit("start", &[]).0, 0);
        let refused = initiator(&["iscsi-inq", &format!("iscsi://{URL}/1")]);
        assert!(!refused.contains("DIRECT_ACCESS"), "{refused}");
        // 127.0.0.1 is not allowed as an address, and this name is.
        let named = initiator(&["iscsi-inq", "-i", "iqn.2026-01.lab:n1", &format!("iscsi://{URL}/1")]);
        assert!(named.contains("DIRECT_ACCESS"), "{named}");
        let acl = host.shown();
        assert!(acl.contains("192.0.2.7") && !acl.contains("ALL"), "{acl}");
    });
}

#[test]
fn names_are_compared_whole() {
    fresh(|| {
        let host = Host::new();
        host.tgtadm(&["--mode", "target", "--op", "new", "--tid", "1", "--targetname", "iqn.2026-01.lab:tx"]);
        host.tgtadm(&["--mode", "target", "--op", "new", "--tid", "11", "--targetname", "iqn.2026-01-lab:t"]);
        let before = host.shown();
        assert_eq!(host.target("monitor", &[]).0, 7);
        assert_eq!(host.target("stop", &[]).0, 0);
        let (code, said) = host.target("start", &[]);
        assert_eq!(code, 1);
        assert!(said.contains("tid 1 is in use by iqn.2026-01.lab:tx"), "{said}");
        assert_eq!(host.shown(), before);
    });
}

#[test]
fn a_unit_of_another_with_our_number_or_our_path_is_not_ours() {
    fresh(|| {
        let host = Host::new();
        let other = host.folder.path().join("other");
        std::fs::write(&other, vec![0; 1 << 20]).unwrap();
        assert_eq!(host.target("start", &[]).0, 0);
        let path = other.to_str().unwrap();
        let new = ["--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "-b", path];
        assert!(host.tgtadm(&new).status.success());
        let before = host.shown();
        assert_eq!([host.unit("monitor", &[]).0, host.unit("stop", &[]).0], [7, 0]);
        let (code, said) = host.unit("start", &[]);
        assert_eq!(code, 1);
        assert!(said.contains(&format!("that is {path}")), "{said}");
        assert_eq!(host.shown(), before);
    });
}

#[test]
fn half_made_ones_are_told_repaired_and_taken_away() {
    fresh(|| {
        let host = Host::new();
        let half = || {
            host.tgtadm(&["--mode", "target", "--op", "new", "--tid", "1", "--targetname", IQN]);
            let disk = host.disk();
            let path = disk.to_str().unwrap();
            host.tgtadm(&["--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "-b", path]);
        };
        half();
        let (code, said) = host.target("monitor", &[]);
        assert_eq!(code, 1);
        assert!(said.contains("half configured: it does not let ALL in"), "{said}");
        assert_eq!(host.unit("monitor", &[]).0, 1);
        assert_eq!([host.target("start", &[]).0, host.unit("start", &[]).0], [0, 0]);
        assert!(initiator(&["iscsi-inq", &format!("iscsi://{URL}/1")]).contains("DIRECT_ACCESS"));
        assert_eq!([host.unit("stop", &[]).0, host.target("stop", &[]).0], [0, 0]);
        half();
        assert_eq!([host.unit("stop", &[]).0, host.target("stop", &[]).0], [0, 0]);
        assert_eq!(host.shown(), "");
        // A stop that was killed leaves it offline.
        assert_eq!(host.target("start", &[]).0, 0);
        host.tgtadm(&[
            "--mode", "target", "--op", "update", "--tid", "1", "--name", "state", "--value", "offline",
        ]);
        assert_eq!([host.target("monitor", &[]).0, host.target("start", &[]).0], [1, 0]);
        assert_eq!(host.target("monitor", &[]).0, 0);
    });
}

#[test]
fn a_failed_start_leaves_nothing() {
    fresh(|| {
        let host = Host::new();
        let (code, said) = host.target("start", &[("additional_parameters", "NoSuchThing=1")]);
        assert_eq!(code, 1);
        assert!(said.contains("NoSuchThing"), "{said}");
        assert_eq!(host.shown(), "");
        assert_eq!(host.target("start", &[("additional_parameters", "MaxRecvDataSegmentLength=65536")]).0, 0);
        let parameters = text(&host.tgtadm(&["--mode", "target", "--op", "show", "--tid", "1"]).stdout);
        assert!(parameters.contains("MaxRecvDataSegmentLength=65536"), "{parameters}");
        let (code, said) = host.unit("start", &[("additional_parameters", "nonsense=1")]);
        assert_eq!(code, 1);
        assert!(said.contains("nonsense"), "{said}");
        assert!(!host.shown().contains("LUN: 1"), "{}", host.shown());
        let (code, said) = host.unit("start", &[("tgt_bstype", "nonsense")]);
        assert_eq!(code, 1);
        assert!(said.contains("is the backing store known?"), "{said}");
        assert_eq!(host.unit("start", &[("tgt_bstype", "rdwr"), ("tgt_bsoflags", "sync")]).0, 0);
        assert!(host.shown().contains("Backing store flags: sync"));
    });
}

#[test]
fn stop_wins_against_an_initiator_that_never_rests() {
    fresh(|| {
        let host = Host::new();
        assert_eq!([host.target("start", &[]).0, host.unit("start", &[]).0], [0, 0]);
        let busy = || {
            let child = Command::new("iscsi-perf")
                .args(["-t", "60", &format!("iscsi://{URL}/1")])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("iscsi-perf");
            let until = Instant::now() + Duration::from_secs(5);
            while !host.shown().contains("Initiator:") {
                assert!(Instant::now() < until, "the initiator did not log in");
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis(200));
            child
        };
        let end = |mut child: Child| {
            let _ = child.kill();
            let _ = child.wait();
        };
        let child = busy();
        let (code, said) = host.unit("stop", &[]);
        end(child);
        assert_eq!(code, 0, "{said}");
        assert!(!host.shown().contains("LUN: 1"));
        assert_eq!(host.unit("start", &[]).0, 0);
        let child = busy();
        let (code, said) = host.target("stop", &[]);
        end(child);
        assert_eq!(code, 0, "{said}");
        assert_eq!(host.shown(), "");
    });
}

#[test]
fn without_the_daemon_nothing_runs_and_a_start_says_so() {
    fresh(|| {
        let mut host = Host::new();
        assert_eq!([host.target("start", &[]).0, host.unit("start", &[]).0], [0, 0]);
        host.tgtd.kill().unwrap();
        host.tgtd.wait().unwrap();
        for action in ["monitor", "stop"] {
            let expected = if action == "stop" { 0 } else { 7 };
            assert_eq!([host.target(action, &[]).0, host.unit(action, &[]).0], [expected; 2], "{action}");
        }
        let (code, said) = host.target("start", &[]);
        assert_eq!(code, 1);
        assert!(said.contains("tgtd is not running"), "{said}");
    });
}

#[test]
fn a_path_that_is_gone_is_not_running_and_is_still_let_go() {
    fresh(|| {
        let host = Host::new();
        assert_eq!([host.target("start", &[]).0, host.unit("start", &[]).0], [0, 0]);
        std::fs::remove_file(host.disk()).unwrap();
        assert_eq!(host.unit("monitor", &[]).0, 7);
        let (code, said) = host.unit("stop", &[]);
        assert_eq!(code, 0, "{said}");
        assert!(!host.shown().contains("LUN: 1"));
        assert_eq!(host.unit("start", &[]).0, 2);
    });
}

#[test]
fn a_long_identifier_is_known_again() {
    fresh(|| {
        let host = Host::new();
        let long = [
            ("scsi_id", "an-identifier-that-is-longer-than-tgtd-keeps"),
            ("scsi_sn", "0123456789012345678901234567890123456789"),
        ];
        assert_eq!(
            [host.target("start", &[]).0, host.unit("start", &long).0, host.unit("monitor", &long).0],
            [0, 0, 0]
        );
    });
}
