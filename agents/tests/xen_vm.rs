//! `Xen` linked as rgmanager's `vm.sh`: called as clurgmgrd calls it, with `xl`, `virsh` and `ssh` replaced by programs that keep the
//! guests as files. Root, a mount namespace of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test: it observes from outside and panics when it is not as it should be"
)]

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where programs are looked up first.
const FIRST: &str = "/usr/local/sbin";

/// A guest is a file of its state's letters. `away` is the file that says how a migration ends.
const XL: &str = r#"#!/bin/sh
d=FOLDER
echo "xl $*" >>$d/calls
case $1 in
  list)
    printf 'Name                                        ID   Mem VCPUs\tState\tTime(s)\n'
    echo 'Domain-0                                     0   768     1     r-----      13.1'
    for g in $d/guests/*; do
      [ -e "$g" ] && printf '%-40s %5d   128     1     %s       4.3\n' "${g##*/}" 4 "$(cat "$g")"
    done
    exit 0 ;;
  create) n=${3#name=\"}; echo -b---- >"$d/guests/${n%\"}" ;;
  shutdown) [ -e $d/deaf ] || rm "$d/guests/$2" ;;
  destroy) rm "$d/guests/$2" ;;
  migrate)
    for last; do to=$last; done
    case $(cat $d/away) in
      done) rm $d/guests/d1 ;;
      refused) echo 'migration receiver stream closed' >&2; exit 1 ;;
      given) mv $d/guests/d1 $d/guests/d1--migratedaway; echo ---ss- >$d/guests/d1--migratedaway; exit 1 ;;
    esac ;;
  *) exit 1 ;;
esac
"#;

const VIRSH: &str = r#"#!/bin/sh
d=FOLDER
echo "virsh $*" >>$d/calls
[ "$1 $2" = '-c xen:///' ] || exit 1
shift 2
case $1 in
  uri) echo xen:/// ;;
  create) echo -b---- >$d/guests/d1 ;;
  shutdown|destroy) rm "$d/guests/$2" ;;
  migrate) rm $d/guests/d1 ;;
  *) exit 1 ;;
esac
"#;

/// The other host has nobody, or does not answer.
const SSH: &str = r#"#!/bin/sh
d=FOLDER
echo "ssh $*" >>$d/calls
[ ! -e $d/unreachable ] || { echo 'ssh: connect to host n2 port 22: No route to host' >&2; exit 255; }
printf 'Name                                        ID   Mem VCPUs\tState\tTime(s)\n'
"#;

struct Host {
    folder: tempfile::TempDir,
    link: PathBuf,
}

impl Host {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn guests(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path("guests"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// What was called since the last time, but for the looks.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        text.lines().filter(|line| *line != "xl list").map(str::to_owned).collect()
    }

    fn call(&self, args: &[&str], attributes: &[(&str, &str)]) -> Output {
        let folder = self.folder.path();
        let mut command = Command::new(&self.link);
        command
            .args(args)
            .env_clear()
            .env("OCF_RA_VERSION_MAJOR", "1")
            .env("OCF_RA_VERSION_MINOR", "0")
            .env("OCF_ROOT", "/usr/share/cluster")
            .env("OCF_RESOURCE_INSTANCE", "vm:d1")
            .env("OCF_RESOURCE_TYPE", "vm")
            .env("OCF_RESKEY_RGMANAGER_meta_refcnt", "0")
            .env("OCF_RESKEY_RGMANAGER_meta_timeout", "10")
            .env("HA_RSCTMP", folder)
            .env("OCF_RESKEY_name", "d1")
            .env("OCF_RESKEY_path", folder)
            // It hands on what the metadata has as a default.
            .env("OCF_RESKEY_xmlfile", "")
            .env("OCF_RESKEY_migrate", "live")
            .env("OCF_RESKEY_hypervisor", "auto")
            .env("OCF_RESKEY_migration_mapping", "")
            .stdin(Stdio::null());
        for (name, value) in attributes {
            command.env(format!("OCF_RESKEY_{name}"), value);
        }
        command.output().unwrap()
    }

    #[track_caller]
    fn is(&self, args: &[&str], attributes: &[(&str, &str)], code: i32) {
        let output = self.call(args, attributes);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Runs a case on a thread whose mounts are its own: they end with it, and with the test however it ends.
fn on_a_host(case: impl FnOnce(&Host) + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).expect("unshare -m needs root");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>).unwrap();
        mount(Some("tmpfs"), FIRST, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("xl", XL), ("virsh", VIRSH), ("ssh", SSH)] {
            let path = Path::new(FIRST).join(name);
            fs::write(&path, text.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir_all(folder.path().join("guests")).unwrap();
        fs::create_dir_all(folder.path().join("share/cluster")).unwrap();
        let link = folder.path().join("share/cluster/vm.sh");
        symlink(env!("CARGO_BIN_EXE_xen"), &link).unwrap();
        fs::write(folder.path().join("d1.cfg"), "name = 'd1'\n").unwrap();
        case(&Host { folder, link });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn it_lives_from_start_to_stop() {
    on_a_host(|host| {
        host.is(&["stop"], &[], 0);
        host.is(&["status"], &[], 7);
        host.is(&["start"], &[], 0);
        assert_eq!(host.guests(), ["d1"]);
        assert_eq!(host.calls(), [format!("xl create {} name=\"d1\"", host.path("d1.cfg").display())]);
        for (args, code) in
            [(["status"], 0), (["monitor"], 0), (["start"], 0), (["reconfig"], 0), (["verify-all"], 0)]
        {
            host.is(&args, &[], code);
        }
        assert_eq!(host.calls(), [""; 0]);
        host.is(&["recover"], &[], 0);
        assert_eq!(host.guests(), ["d1"]);
        host.is(&["stop"], &[("RGMANAGER_meta_refcnt", "1")], 0);
        assert_eq!(host.guests(), ["d1"], "another service has it, too");
        host.is(&["stop"], &[], 0);
        assert_eq!(host.guests(), [""; 0]);
        host.is(&["status"], &[], 7);
    });
}

#[test]
fn a_guest_of_libvirts_lives_through_virsh() {
    on_a_host(|host| {
        fs::remove_file(host.path("d1.cfg")).unwrap();
        let file = host.path("guest.xml");
        fs::write(&file, "<domain type='xen'><name>d1</name></domain>").unwrap();
        let of = [("xmlfile", file.to_str().unwrap()), ("use_virsh", "1")];
        host.is(&["start"], &of, 0);
        host.is(&["status"], &of, 0);
        host.is(&["stop"], &of, 0);
        assert_eq!(
            host.calls(),
            [
                format!("virsh -c xen:/// create {}", file.display()).as_str(),
                "virsh -c xen:/// uri",
                "virsh -c xen:/// shutdown d1"
            ]
        );
        host.is(&["start"], &of, 0);
        host.calls();
        host.is(&["migrate", "n2"], &of, 0);
        assert_eq!(host.calls(), ["ssh n2 xl list", "virsh -c xen:/// migrate --live d1 xen+ssh://n2/"]);
    });
}

/// 7: it stays started here. 150: nobody knows, and rgmanager waits for a person.
#[test]
fn a_migration_tells_rgmanager_where_the_guest_is() {
    on_a_host(|host| {
        let end = |how: &str| fs::write(host.path("away"), how).unwrap();
        host.is(&["migrate", "n2"], &[], 7);
        host.is(&["start"], &[], 0);
        host.calls();
        end("refused");
        host.is(&["migrate", "n2"], &[], 7);
        assert_eq!(host.guests(), ["d1"]);
        host.is(&["migrate", "n2"], &[("migration_mapping", "n2")], 6);
        host.is(&["status"], &[], 0);
        host.calls();
        end("done");
        host.is(&["migrate", "n2"], &[("migration_mapping", "n1:m1,n2:m2")], 0);
        assert_eq!(host.guests(), [""; 0]);
        assert!(host.calls().iter().all(|call| !call.contains(" n2")), "the mapping holds");

        host.is(&["start"], &[], 0);
        end("given");
        fs::write(host.path("unreachable"), "").unwrap();
        host.is(&["migrate", "n2"], &[], 150);
        assert_eq!(host.guests(), ["d1--migratedaway"], "it may run there");
        host.is(&["start"], &[], 1);
        assert_eq!(host.guests(), ["d1--migratedaway"], "and is not started beside it");
    });
}

#[test]
fn no_kill_is_obeyed_to_the_end_of_the_time() {
    on_a_host(|host| {
        host.is(&["start"], &[], 0);
        fs::write(host.path("deaf"), "").unwrap();
        let of = [("no_kill", "1"), ("RGMANAGER_meta_timeout", "4")];
        host.is(&["stop"], &of, 1);
        assert_eq!(host.guests(), ["d1"]);
        host.is(&["stop"], &[("RGMANAGER_meta_timeout", "4")], 0);
        assert_eq!(host.guests(), [""; 0]);
    });
}

#[test]
fn a_status_program_is_run_at_depth_10() {
    on_a_host(|host| {
        host.is(&["start"], &[("status_program", "test -e /")], 0);
        let program = host.path("asked");
        let line = format!("echo x >>{}; false", program.display());
        let status = |level: &str, code| {
            let mut command = Command::new(&host.link);
            command.arg("status").env_clear().env("OCF_CHECK_LEVEL", level).env("OCF_RESKEY_name", "d1");
            let status =
                command.env("OCF_RESKEY_status_program", &line).stdin(Stdio::null()).output().unwrap().status;
            assert_eq!(status.code(), Some(code), "depth {level}");
        };
        status("0", 0);
        assert!(!program.exists());
        status("10", 1);
        assert!(program.exists());
    });
}
