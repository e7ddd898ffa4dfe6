//! `Xen` as rgmanager's `vm.sh` on a host that has libvirt alone: a real libvirtd and a real virsh, with libvirt's own test driver in the
//! place of Xen's. The only stand-in turns `xen:///` into that driver. Root, a mount and a network namespace of its own.
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
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where programs are looked up first, and where the real ones are.
const FIRST: &str = "/usr/local/sbin";
/// The drivers that libvirtd loads: each of them would look at this machine.
const DRIVERS: &str = "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver";
const URI: &str = "test+unix:///default";

struct Host {
    folder: tempfile::TempDir,
    link: PathBuf,
    daemon: Child,
    /// The driver keeps its guests as long as somebody is connected.
    connected: Option<Child>,
}

impl Drop for Host {
    fn drop(&mut self) {
        for child in self.connected.iter_mut().chain([&mut self.daemon]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = format!(
            "unix_sock_dir = \"/run/libvirt\"\nauth_unix_rw = \"none\"\npid_file = \"{}/pid\"\n",
            folder.path().display()
        );
        fs::create_dir_all("/run/libvirt").unwrap();
        fs::write(folder.path().join("conf"), socket).unwrap();
        let wrapper = format!(
            "#!/bin/sh\n[ \"$1 $2\" = '-c xen:///' ] || exit 1\nshift 2\nexec /usr/bin/virsh -c {URI} \"$@\"\n"
        );
        let path = Path::new(FIRST).join("virsh");
        fs::write(&path, wrapper).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(folder.path().join("share/cluster")).unwrap();
        let link = folder.path().join("share/cluster/vm.sh");
        symlink(env!("CARGO_BIN_EXE_xen"), &link).unwrap();
        // It ends with the thread of this test, however that ends.
        let daemon = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "/usr/sbin/libvirtd", "-f"])
            .arg(folder.path().join("conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut host = Self { folder, link, daemon, connected: None };
        let until = Instant::now() + Duration::from_secs(20);
        while host.virsh(&["uri"]).is_none() {
            assert!(Instant::now() < until, "libvirtd does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let connected = Command::new("/usr/bin/virsh")
            .args(["-c", URI])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        host.connected = Some(connected.unwrap());
        // What this one makes is still there for the next one only when the other is connected.
        let kept = host.file("kept", "xen");
        while host.virsh(&["domstate", "kept"]).is_none() {
            assert!(Instant::now() < until, "no guest stays");
            host.virsh(&["create", kept.to_str().unwrap()]);
        }
        host
    }

    fn file(&self, name: &str, kind: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.xml"));
        let text = format!(
            "<domain type='{kind}'><name>{name}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// What the real one says; `None`: it failed.
    #[allow(clippy::unused_self, reason = "it is this host's as long as there is one")]
    fn virsh(&self, words: &[&str]) -> Option<String> {
        let output = Command::new("/usr/bin/virsh")
            .args(["-c", URI])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    #[track_caller]
    fn is(&self, args: &[&str], code: i32) -> String {
        let output = Command::new(&self.link)
            .args(args)
            .env_clear()
            .env("OCF_ROOT", "/usr/share/cluster")
            .env("OCF_RESOURCE_INSTANCE", "vm:d1")
            .env("OCF_RESKEY_RGMANAGER_meta_timeout", "10")
            .env("OCF_RESKEY_name", "d1")
            .env("OCF_RESKEY_path", self.folder.path())
            .env("HA_RSCTMP", self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    }
}

fn on_a_host(test: &str, case: impl FnOnce(&Host) + Send + 'static) {
    let mut missing = ringfence_tests::cluster::needs::missing_of(&[
        ("libvirtd", "libvirt-daemon"),
        ("virsh", "libvirt-clients"),
        ("setpriv", "util-linux"),
    ]);
    if !nix::unistd::geteuid().is_root() {
        missing.push("root (namespaces and mounts)".to_owned());
    }
    if !ringfence_tests::cluster::needs::met_or_blocked(test, &missing) {
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>).unwrap();
        for folder in
            [FIRST, "/run", "/var/cache", "/var/lib", "/var/log", "/etc/libvirt", "/sys/fs/cgroup", DRIVERS]
        {
            mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        }
        case(&Host::new());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_guest_lives_through_a_real_virsh() {
    on_a_host("a_guest_lives_through_a_real_virsh", |host| {
        host.file("d1", "xen");
        host.is(&["stop"], 0);
        host.is(&["status"], 7);
        host.is(&["start"], 0);
        assert_eq!(host.virsh(&["domstate", "d1"]).as_deref(), Some("running"));
        host.is(&["status"], 0);
        host.is(&["start"], 0);
        // It was paused by somebody: it is not gone, and nothing makes it run on.
        host.virsh(&["suspend", "d1"]).unwrap();
        host.is(&["status"], 0);
        assert!(host.is(&["start"], 1).contains("guest d1 is paused; nothing is started beside it"));
        assert_eq!(host.virsh(&["domstate", "d1"]).as_deref(), Some("paused"));
        host.virsh(&["resume", "d1"]).unwrap();
        // Nobody answers there, and it runs on here.
        let said = host.is(&["migrate", "nohost.invalid"], 7);
        assert!(said.contains("guest d1 runs on here: virsh exited 1: Cannot recv data: "), "{said}");
        host.is(&["status"], 0);
        host.is(&["stop"], 0);
        assert_eq!(host.virsh(&["domstate", "d1"]), None);
        assert_eq!(
            host.virsh(&["domstate", "kept"]).as_deref(),
            Some("running"),
            "no other guest was touched"
        );
        host.is(&["status"], 7);
    });
}

#[test]
fn what_libvirt_refuses_is_told_in_its_words_and_what_is_not_xens_is_not_started() {
    on_a_host("what_libvirt_refuses_is_told_in_its_words_and_what_is_not_xens_is_not_started", |host| {
        let file = host.file("d1", "xen");
        // It is known to libvirt, with a UUID of its own, and does not run.
        host.virsh(&["define", file.to_str().unwrap()]).unwrap();
        assert!(
            host.is(&["start"], 1).contains("virsh exited 1: operation failed: domain 'd1' already exists")
        );
        host.virsh(&["undefine", "d1"]).unwrap();
        fs::write(&file, "<domain type='xen'><name>d1</name></domain>").unwrap();
        assert!(host.is(&["start"], 1).contains("cannot create guest d1: virsh exited 1: "));
        host.file("d1", "kvm");
        assert!(host.is(&["start"], 5).contains("is for a guest of 'kvm', not of Xen"));
        assert_eq!(host.virsh(&["domstate", "d1"]), None);
        host.is(&["stop"], 0);
    });
}
