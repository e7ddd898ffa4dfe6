//! `LVM-filter` with the real LVM on a configuration of its own, whose devices are files: no device of this host is
//! looked at. What is in force is asked of lvmconfig(8), never of the agent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test: it observes from outside and panics when it is not as it should be"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

struct Host {
    folder: tempfile::TempDir,
    before: String,
}

impl Host {
    /// `None`: this machine lacks LVM or root, which was noted.
    fn new(test: &str) -> Option<Self> {
        let mut missing = ringfence_tests::cluster::needs::missing_of(&[("lvm", "lvm2")]);
        if !nix::unistd::geteuid().is_root() {
            missing.push("root (LVM)".to_owned());
        }
        if !ringfence_tests::cluster::needs::met_or_blocked(test, &missing) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("dev")).unwrap();
        let before = format!(
            "# Of this test.\ndevices {{\n\tdir = \"{0}/dev\"\n\tscan = [ \"{0}/dev\" ]\n\texternal_device_info_source = \"none\"\n\
             \tuse_devicesfile = 0\n\tfilter = [ \"a|.*|\" ] # everything\n}}\n",
            folder.path().display()
        );
        fs::write(folder.path().join("lvm.conf"), &before).unwrap();
        fs::set_permissions(folder.path().join("lvm.conf"), fs::Permissions::from_mode(0o640)).unwrap();
        Some(Self { folder, before })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn conf(&self) -> String {
        fs::read_to_string(self.path("lvm.conf")).unwrap()
    }

    fn agent(&self, action: &str, more: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lvm_filter"))
            .arg(action)
            .env_clear()
            .env("HA_RSCTMP", self.path("run"))
            .env("OCF_RESKEY_accept", "^/dev/drbd")
            .env("OCF_RESKEY_reject", "^/dev/sd[bc]$")
            .env("OCF_RESKEY_confdir", self.folder.path())
            .env("OCF_RESKEY_record", self.path("state/record.json"))
            .env("OCF_RESKEY_CRM_meta_timeout", "20000")
            .env("OCF_RESKEY_CRM_meta_interval", "10000")
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn is(&self, action: &str, code: i32) -> Output {
        self.is_with(action, &[], code)
    }

    #[track_caller]
    fn is_with(&self, action: &str, more: &[(&str, &str)], code: i32) -> Output {
        let output = self.agent(action, more);
        assert_eq!(output.status.code(), Some(code), "{action}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// LVM's own answer.
    fn in_force(&self, setting: &str) -> String {
        let output = Command::new("lvm")
            .args(["lvmconfig", &format!("devices/{setting}")])
            .env("LVM_SYSTEM_DIR", self.folder.path())
            .env("LVM_SUPPRESS_FD_WARNINGS", "1")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const OURS: &str = r#"global_filter=["a|^/dev/drbd|","r|^/dev/sd[bc]$|"]"#;

#[test]
fn a_new_setting_is_in_force_and_goes_to_the_letter() {
    let Some(host) = Host::new("a_new_setting_is_in_force_and_goes_to_the_letter") else { return };
    host.is("monitor", 7);
    host.is("start", 0);
    assert_eq!(host.in_force("global_filter"), OURS);
    assert_eq!(fs::metadata(host.path("lvm.conf")).unwrap().permissions().mode() & 0o7777, 0o640);
    host.is("monitor", 0);
    host.is_with("monitor", &[("OCF_CHECK_LEVEL", "10")], 0);
    host.is("start", 0);
    host.is("stop", 0);
    assert_eq!((host.conf(), host.in_force("global_filter").as_str()), (host.before.clone(), ""));
    host.is("stop", 0);
    host.is("monitor", 7);
}

#[test]
fn rules_stand_before_those_that_are_there() {
    let Some(host) = Host::new("rules_stand_before_those_that_are_there") else { return };
    let filter = [("OCF_RESKEY_setting", "filter")];
    host.is_with("start", &filter, 0);
    assert_eq!(host.in_force("filter"), r#"filter=["a|^/dev/drbd|","r|^/dev/sd[bc]$|","a|.*|"]"#);
    assert!(host.conf().contains("] # everything\n"), "{}", host.conf());
    host.is_with("stop", &filter, 0);
    assert_eq!(host.conf(), host.before);
}

#[test]
fn a_local_file_that_holds_over_ours_is_seen() {
    let Some(host) = Host::new("a_local_file_that_holds_over_ours_is_seen") else { return };
    host.is("start", 0);
    fs::write(host.path("lvmlocal.conf"), "devices { global_filter = [ \"a|.*|\" ] }\n").unwrap();
    let output = host.is("monitor", 1);
    assert!(said(&output).contains("LVM does not take the rules"), "{}", said(&output));
    host.is("stop", 0);
    assert_eq!(host.conf(), host.before);
}

#[test]
fn plan_shows_and_changes_nothing() {
    let Some(host) = Host::new("plan_shows_and_changes_nothing") else { return };
    let output = host.is("plan", 0);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("+\tglobal_filter = [ \"a|^/dev/drbd|\", \"r|^/dev/sd[bc]$|\" ]\n"), "{shown}");
    assert_eq!(host.conf(), host.before);
    assert!(!host.path("state").exists());
}

#[test]
fn what_cannot_be_written_or_read_is_left_alone() {
    let Some(host) = Host::new("what_cannot_be_written_or_read_is_left_alone") else { return };
    let broken = host.before.replace("# everything\n}", "# everything\n");
    fs::write(host.path("lvm.conf"), &broken).unwrap();
    // LVM does not understand it either, and says so first.
    let output = host.agent("start", &[]);
    assert_ne!(output.status.code(), Some(0));
    assert!(said(&output).starts_with("ocf-exit-reason:"), "{}", said(&output));
    assert_eq!(host.conf(), broken);
    host.is("stop", 0);
    host.is("monitor", 7);
}

/// SIGKILL at many moments of start and stop: the next stop leaves the file as it was, the next start works.
#[test]
fn a_kill_at_any_moment_is_mended() {
    let Some(host) = Host::new("a_kill_at_any_moment_is_mended") else { return };
    for round in 0..40u64 {
        for action in ["start", "stop"] {
            let mut child = Command::new(env!("CARGO_BIN_EXE_lvm_filter"))
                .arg(action)
                .env_clear()
                .env("HA_RSCTMP", host.path("run"))
                .env("OCF_RESKEY_accept", "^/dev/drbd")
                .env("OCF_RESKEY_confdir", host.folder.path())
                .env("OCF_RESKEY_record", host.path("state/record.json"))
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(std::time::Duration::from_micros(round * 700));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        host.is("stop", 0);
        assert_eq!(host.conf(), host.before, "round {round}");
        host.is("monitor", 7);
        let left: Vec<_> =
            fs::read_dir(host.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".new")), "{left:?}");
        if round % 8 == 0 {
            host.is("start", 0);
            assert_eq!(host.in_force("global_filter"), OURS);
            host.is("stop", 0);
        }
    }
}
