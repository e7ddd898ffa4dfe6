//! A node with a real sshd: a tree of processes in a user, mount and process namespace, whose power is a file.
//!
//! Its root is no root of this machine, so whatever the agent orders, `reboot` and `poweroff` in there reach only the shell that is
//! the node's kernel here (`node.sh`); it kills everything in its namespace and starts sshd anew.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::agent::{self, Run};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_fence_ssh");

/// The first of the identifiers that belong to users of a node. Nobody of this machine has them.
const FIRST_ID: u32 = 100_000;

pub struct Node {
    directory: tempfile::TempDir,
    child: Child,
    address: SocketAddr,
}

fn sh(line: &str) {
    let done = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{line}: {done:?}");
}

/// Waits until `what` holds, at most ten seconds.
#[track_caller]
pub fn until(words: &str, mut what: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(10), "not in time: {words}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Node {
    /// A running node that takes the key in [`Self::identity`] and the password `s3cret1` for root. `settings` are lines for sshd.
    pub fn start(settings: &str) -> Self {
        // Free until sshd takes it: nobody else asks for this number within the next moments.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self::start_at(address, settings, false)
    }

    /// The same in a network of its own, at the usual port of its loopback address. See [`Self::network`].
    pub fn apart() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 22)), "", true)
    }

    fn start_at(address: SocketAddr, settings: &str, apart: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let d = directory.path();
        if apart {
            fs::write(d.join("apart"), "").unwrap();
        }
        let q = d.display();
        sh(&format!(
            "cd {q} && mkfifo trigger && cat /proc/sys/kernel/random/uuid >boot_id && echo 0.3 >boot_time && echo off >power && : >orders \
             && ssh-keygen -q -t ed25519 -N '' -f host_key && ssh-keygen -q -t ed25519 -N '' -f id && cp id.pub authorized_keys \
             && printf 'root:%s:19000:0:99999:7:::\\nsshd:*:19000::::::\\n' \"$(openssl passwd -6 s3cret1)\" >shadow"
        ));
        fs::write(
            d.join("sshd_config"),
            format!(
                "{settings}\nListenAddress {address}\nHostKey {q}/host_key\nAuthorizedKeysFile {q}/authorized_keys\nStrictModes no\n\
                 PidFile none\nUsePAM no\nPermitRootLogin yes\nMaxStartups 500\n"
            ),
        )
        .unwrap();
        fs::write(d.join("node.sh"), include_str!("node.sh")).unwrap();
        sh(&format!("chown -R {FIRST_ID}:{FIRST_ID} {q} && chown root {q}/id && chmod 755 {q}"));
        let key = fs::read_to_string(d.join("host_key.pub")).unwrap();
        let key: Vec<&str> = key.split(' ').take(2).collect();
        let name = if apart { "node1".into() } else { format!("[127.0.0.1]:{}", address.port()) };
        fs::write(d.join("known_hosts"), format!("{name} {}\n", key.join(" "))).unwrap();
        let mut child = Command::new("unshare")
            .args(["--user", "--keep-caps", "sh", "-c"])
            .arg(
                "read go; exec setpriv --reuid 0 --regid 0 --clear-groups unshare $1 --mount --pid --fork --kill-child \
                 --mount-proc sh \"$0/node.sh\" \"$0\"",
            )
            .arg(d)
            .arg(if apart { "--net" } else { "" })
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let own = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
        let pid = child.id().to_string();
        until("a user namespace", || own(&pid) != own("self"));
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{pid}/{map}"), format!("0 {FIRST_ID} 65536\n")).unwrap();
        }
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let node = Self { directory, child, address };
        until("sshd", || {
            assert!(!node.path("broken").exists(), "{:?}", fs::read_to_string(node.path("broken")));
            if apart { node.is_on() } else { TcpStream::connect(node.address).is_ok() }
        });
        node
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The network of a node that is [apart](Self::apart).
    pub fn network(&self) -> String {
        format!("/proc/{}/ns/net", self.child.id())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn is_on(&self) -> bool {
        fs::read_to_string(self.path("power")).unwrap() == "on\n"
    }

    /// Powered on, and so far that sshd listens.
    pub fn is_up(&self) -> bool {
        self.is_on() && TcpStream::connect(self.address).is_ok()
    }

    /// Processes of sshd that serve somebody who has logged in.
    pub fn logins(&self) -> usize {
        let below = format!("/proc/{}/task/{}/children", self.child.id(), self.child.id());
        let kernel = fs::read_to_string(below).unwrap().trim().to_owned();
        let own = fs::read_link(format!("/proc/{kernel}/ns/pid")).unwrap();
        let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        all.filter(|path| fs::read_link(path.join("ns/pid")).is_ok_and(|ns| ns == own))
            .filter(|path| {
                fs::read_to_string(path.join("cmdline")).is_ok_and(|line| line.starts_with("sshd: root"))
            })
            .count()
    }

    /// Keys pressed by orders: `b` reboot, `o` off.
    pub fn orders(&self) -> String {
        fs::read_to_string(self.path("orders")).unwrap().replace('\n', "")
    }

    pub fn boot_id(&self) -> String {
        fs::read_to_string(self.path("boot_id")).unwrap()
    }

    /// `lies` takes orders and ignores them, `stays_down` and `same_boot` are about coming back.
    pub fn be(&self, what: &str, so: bool) {
        if so {
            fs::write(self.path(what), "").unwrap();
        } else {
            let _ = fs::remove_file(self.path(what));
        }
    }

    pub fn boots_in(&self, seconds: &str) {
        fs::write(self.path("boot_time"), seconds).unwrap();
    }

    /// Presses a key from outside: `k` kill, `p` power on.
    pub fn press(&self, key: &str) {
        fs::OpenOptions::new()
            .write(true)
            .open(self.path("trigger"))
            .unwrap()
            .write_all(key.as_bytes())
            .unwrap();
    }

    pub fn power_on(&self) {
        self.press("p\n");
        until("sshd is up", || self.is_up());
    }

    pub fn forget_orders(&self) {
        fs::write(self.path("orders"), "").unwrap();
    }

    /// Options that reach this node with its key.
    pub fn options(&self, lines: &str) -> String {
        self.options_at(self.address, lines)
    }

    /// The same, through another port.
    pub fn options_at(&self, address: SocketAddr, lines: &str) -> String {
        format!(
            "plug={}\nipport={}\nidentity_file={}\nknown_hosts={}\nreboot_command=reboot -nf\noff_command=poweroff -nf\n{lines}\n",
            address.ip(),
            address.port(),
            self.path("id").display(),
            self.path("known_hosts").display()
        )
    }

    pub fn act(&self, lines: &str) -> Run {
        given(&self.options(lines))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, options on standard input.
pub fn given(stdin: &str) -> Run {
    agent::run(Path::new(PROGRAM), &[], stdin)
}

/// The mode of a file.
pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
