//! A namespace per case, the agent called as Pacemaker calls it, and what the kernel says afterwards.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Hardware address of the interface under test.
pub const MAC: &str = "02:00:00:00:00:0a";
/// Hardware address of the other end.
pub const PEER_MAC: &str = "02:00:00:00:00:0b";
pub const RUN: &str = "/run/resource-agents";
pub const UPSTREAM: &str = "/usr/lib/ocf/resource.d/heartbeat/IPaddr2";

/// Runs a case in network and mount namespaces of its own (they end with its thread), with a private `/run`.
/// Needs root: without it the case fails, it never passes.
///
/// `v0` (`10.0.0.2/24`, `fd00::2/64`) is wired to `v1` (`10.0.0.1/24`, `fd00::1/64`) in the named namespace `peer`.
pub fn world(case: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        let kinds = nix::sched::CloneFlags::CLONE_NEWNET | nix::sched::CloneFlags::CLONE_NEWNS;
        nix::sched::unshare(kinds).expect("unshare needs root");
        sh(
            "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/resource-agents \
            && sysctl -qw net.ipv6.conf.default.dad_transmits=1 && ip link set lo up && ip netns add peer \
            && ip link add v0 address 02:00:00:00:00:0a type veth peer name v1 address 02:00:00:00:00:0b netns peer \
            && ip link set v0 addrgenmode none && ip -n peer link set v1 addrgenmode none \
            && ip -n peer link set lo up && ip -n peer link set v1 up && ip link set v0 up \
            && ip -n peer addr add 10.0.0.1/24 dev v1 && ip -n peer addr add fd00::1/64 nodad dev v1 \
            && ip addr add 10.0.0.2/24 brd + dev v0 && ip addr add fd00::2/64 nodad dev v0",
        );
        case();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a shell line in this thread's namespaces and returns what it prints; panics when it fails.
pub fn sh(line: &str) -> String {
    let (ok, out) = try_sh(line);
    assert!(ok, "{line}: {out}");
    out
}

/// Whether a shell line succeeds, and what it prints.
pub fn try_sh(line: &str) -> (bool, String) {
    let mut command = Command::new("sh");
    command.args(["-c", line]).stdin(Stdio::null());
    dies_with_us(&mut command);
    let output = command.output().expect("sh runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// The child is killed when the thread that started it ends, however it ends.
pub fn dies_with_us(command: &mut Command) {
    // SAFETY: prctl(2) with plain numbers is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            nix::libc::prctl(nix::libc::PR_SET_PDEATHSIG, nix::libc::SIGKILL);
            Ok(())
        });
    }
}

/// A program or file that a case cannot do without. Missing is a failure; on a developer's machine
/// `RINGFENCE_ALLOW_MISSING=1` turns it into a notice. True when the case is to run.
pub fn needs(path: &str) -> bool {
    let found = path.starts_with('/') && Path::new(path).exists()
        || try_sh(&format!("command -v {path} >/dev/null")).0;
    if found {
        return true;
    }
    eprintln!("needs {path}: not run");
    let allowed = std::env::var_os("RINGFENCE_ALLOW_MISSING").is_some_and(|value| value == "1");
    assert!(allowed && std::env::var_os("CI").is_none(), "needs {path}");
    false
}

/// How a call of an agent ended.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "all of it is printed when a case fails")]
pub struct Outcome {
    pub code: i32,
    /// The texts after `ocf-exit-reason:`.
    pub reasons: Vec<String>,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
}

impl Outcome {
    /// The code, with everything said when it is another one.
    #[track_caller]
    pub fn is(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// The one reason, which holds these words.
    #[track_caller]
    pub fn because(&self, words: &str) -> &Self {
        assert_eq!(self.reasons.len(), 1, "one reason: {self:#?}");
        assert!(self.reasons[0].contains(words), "{words}: {self:#?}");
        self
    }
}

/// A resource: parameters and meta attributes, as the cluster manager hands them over.
#[derive(Debug, Clone)]
pub struct Vip {
    pub environment: BTreeMap<String, String>,
    pub program: String,
}

pub fn vip(ip: &str) -> Vip {
    let environment = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("OCF_ROOT", "/usr/lib/ocf"),
        ("OCF_RESOURCE_INSTANCE", "vip"),
        ("OCF_RESOURCE_TYPE", "IPaddr2"),
        ("OCF_RESOURCE_PROVIDER", "ringfence"),
        ("OCF_RA_VERSION_MAJOR", "1"),
        ("OCF_RA_VERSION_MINOR", "1"),
        ("HA_RSCTMP", RUN),
        ("HA_logfile", "/run/ha.log"),
        ("HA_LOGFILE", "/run/ha.log"),
        ("OCF_RESKEY_CRM_meta_timeout", "20000"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Vip { environment, program: env!("CARGO_BIN_EXE_ipaddr2").to_owned() }.with("ip", ip)
}

impl Vip {
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut more = self.clone();
        more.environment.insert(format!("OCF_RESKEY_{name}"), value.to_owned());
        more
    }

    pub fn without(&self, name: &str) -> Self {
        let mut less = self.clone();
        less.environment.remove(&format!("OCF_RESKEY_{name}"));
        less
    }

    pub fn meta(&self, name: &str, value: &str) -> Self {
        self.with(&format!("CRM_meta_{name}"), value)
    }

    /// Instance `number` of a clone that shares the address between `max`.
    pub fn clone_of(&self, number: u32, max: u32) -> Self {
        self.meta("clone", &number.to_string())
            .meta("clone_max", &max.to_string())
            .meta("globally_unique", "true")
    }

    /// The same resource under upstream's agent.
    pub fn upstream(&self) -> Self {
        Self { program: UPSTREAM.to_owned(), ..self.clone() }
    }

    pub fn command(&self, action: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(action).env_clear().envs(&self.environment).stdin(Stdio::null()).process_group(0);
        dies_with_us(&mut command);
        command
    }

    pub fn run(&self, action: &str) -> Outcome {
        // Files and not pipes: what stays in the background may keep them open.
        let thread = nix::unistd::gettid();
        let (out, err) = (format!("/run/out.{thread}"), format!("/run/err.{thread}"));
        let started = Instant::now();
        let status = self
            .command(action)
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .status()
            .expect("the agent runs");
        let elapsed = started.elapsed();
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let stderr: String = text(&err);
        let reasons = stderr.lines().filter_map(|line| line.strip_prefix("ocf-exit-reason:"));
        Outcome {
            code: status.code().unwrap_or(-1),
            reasons: reasons.map(str::to_owned).collect(),
            stdout: text(&out),
            stderr,
            elapsed,
        }
    }

    pub fn start(&self) -> Outcome {
        self.run("start")
    }

    pub fn stop(&self) -> Outcome {
        self.run("stop")
    }

    /// The first monitor on a node, interval 0.
    pub fn probe(&self) -> Outcome {
        self.meta("interval", "0").run("monitor")
    }

    /// The recurring monitor.
    pub fn monitor(&self) -> Outcome {
        self.meta("interval", "10000").run("monitor")
    }
}

/// `ip -j OBJECT ...` of this namespace.
pub fn ip(words: &str) -> Value {
    serde_json::from_str(&sh(&format!("ip -j {words}"))).unwrap()
}

/// The entries of one address, with `dev` added.
pub fn entries(address: &str) -> Vec<Value> {
    let links = ip("addr show");
    let mut found = Vec::new();
    for link in links.as_array().unwrap() {
        for entry in link["addr_info"].as_array().into_iter().flatten() {
            if entry["local"] == address {
                let mut entry = entry.clone();
                entry["dev"] = link["ifname"].clone();
                found.push(entry);
            }
        }
    }
    found
}

/// The only entry of an address; panics when there is none or more.
#[track_caller]
pub fn entry(address: &str) -> Value {
    let mut found = entries(address);
    assert_eq!(found.len(), 1, "{address}: {found:#?}");
    found.remove(0)
}

/// Everything an action could change: links, addresses, routes, labels, rules, hardware addresses, state files.
pub fn snapshot() -> String {
    sh("ip -j addr show; ip -j route show table all; ip -j -6 route show table all; ip addrlabel list; \
        ip maddr show; nft list ruleset; iptables-save 2>/dev/null | grep -v '^[#:*]' ; ls /run/resource-agents; true")
}

/// What is in the run directory.
pub fn state_files() -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(RUN).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Pids of the announcing processes that live in this network namespace.
pub fn announcers() -> Vec<i32> {
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
    let processes = fs::read_dir("/proc").unwrap();
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let of = |what: &str| format!("/proc/{pid}/{what}");
            fs::read_to_string(of("comm")).is_ok_and(|name| name.trim() == "IPaddr2-arp")
                && fs::read_link(of("ns/net")).is_ok_and(|net| net == own)
                && fs::read_to_string(of("stat")).is_ok_and(|stat| !stat.contains(") Z "))
        })
        .collect()
}
