//! Pid 1 of a cluster: the switch between the nodes, the power supply behind their BMCs, and the only one who starts or kills a node.

use super::address_plan::{
    MANAGEMENT_ADDRESS, OBSERVER_ADDRESS, bmc_address, mac_text, management_mac, node_name, service_mac,
};
use super::event_log::EventLog;
use super::namespace::{self, CLEAN_ENVIRONMENT};
use super::spec::Spec;
use super::{config, control, ip_command, mounts, supervisor};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Group, Pid, User};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The program that all helpers of a cluster run, a copy in its state directory.
const HELPER: &str = "helper";

/// `switch`: reads the [`Spec`] from the first line of stdin.
pub(crate) fn main() -> io::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let spec: Spec = serde_json::from_str(&line)?;
    let mut switch = Switch::prepare(spec)?;
    let listener = UnixListener::bind(control::SOCKET)?;
    listener.set_nonblocking(true)?;
    switch.start_helpers()?;
    for node in 1..=switch.spec.nodes {
        switch.power_on(node)?;
    }
    switch.serve(&listener)
}

struct Switch {
    spec: Spec,
    events: EventLog,
    /// The nodes that have power, with the pid of their pid 1 in our own pid namespace.
    powered: BTreeMap<u8, Pid>,
}

impl Switch {
    /// Mounts, files and bridges. Afterwards the state directory is the working directory.
    fn prepare(spec: Spec) -> io::Result<Self> {
        mounts::make_private()?;
        mounts::tmpfs(&spec.dir, "755")?;
        std::env::set_current_dir(&spec.dir)?;
        fs::copy("/proc/self/exe", HELPER)?;
        mounts::proc_and_sys()?;
        mounts::tmpfs(Path::new("/run"), "755")?;
        mounts::hide_syslog()?;
        mounts::install_agents(&spec.agents, &spec.dir)?;
        nix::unistd::sethostname("switch")?;
        write_configuration(&spec)?;

        // The bridges have MACs of their own: otherwise they take a port's, which changes when that node goes, and the
        // survivors' ARP entries for the BMCs go stale in the middle of a fencing.
        let mut links = String::from("link set lo up\n");
        for (bridge, mac) in [("brc", "02:00:00:00:00:77"), ("brm", "02:00:00:00:00:88")] {
            let _ = writeln!(
                links,
                "link add {bridge} address {mac} type bridge forward_delay 0\nlink set {bridge} up"
            );
        }
        let _ = writeln!(
            links,
            "addr add {OBSERVER_ADDRESS}/24 dev brc\naddr add {MANAGEMENT_ADDRESS}/24 dev brm"
        );
        for node in 1..=spec.nodes {
            let _ = writeln!(links, "addr add {}/24 dev brm", bmc_address(node));
        }
        ip_command::batch(&links)?;
        // The observer is to notice an address in its own time, not in that of the kernel's ARP retries (1 s).
        fs::write("/proc/sys/net/ipv4/neigh/brc/retrans_time_ms", "50")?;
        let events = EventLog::open(Path::new("events.log"))?;
        Ok(Self { spec, events, powered: BTreeMap::new() })
    }

    /// The argv of a helper that runs inside the cluster.
    fn helper(&self, words: &[&str]) -> Vec<OsString> {
        let mut argv = vec![self.spec.dir.join(HELPER).into_os_string()];
        argv.extend(self.spec.helper_args.iter().map(OsString::from));
        argv.extend(words.iter().map(OsString::from));
        argv
    }

    /// The BMCs and the observer.
    fn start_helpers(&self) -> io::Result<()> {
        for node in 1..=self.spec.nodes {
            let state = format!("bmc{node}");
            fs::create_dir(&state)?;
            let (lan, commands) = (format!("{state}.lan"), format!("{state}.emu"));
            // The simulator runs the hook through a shell in its own working directory, ours.
            let hook = format!("./{HELPER} {} chassis-hook {node}", self.spec.helper_args.join(" "));
            fs::write(&lan, config::bmc_lan(node, &hook))?;
            fs::write(&commands, config::BMC_COMMANDS)?;
            start(
                "ipmi_sim".as_ref(),
                &["-n", "-d", "-c", &lan, "-f", &commands, "-s", &state],
                &format!("{state}.log"),
            )?;
        }
        let observer = self.helper(&["observe"]);
        if let Some((program, args)) = observer.split_first() {
            start(program.as_ref(), args, "observe.out")?;
        }
        Ok(())
    }

    fn serve(&mut self, listener: &UnixListener) -> io::Result<()> {
        loop {
            self.reap();
            let mut watched = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            if poll(&mut watched, PollTimeout::from(20_u8)).unwrap_or(0) == 0 {
                continue;
            }
            match listener.accept() {
                Ok((stream, _)) => {
                    // A client that hangs or goes away is its own problem.
                    let _ = self.answer(&stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn answer(&mut self, stream: &UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        let mut request = String::new();
        BufReader::new(stream).read_line(&mut request)?;
        let words: Vec<&str> = request.split_whitespace().collect();
        let answer = match self.act(&words) {
            Ok(answer) => format!("ok {answer}\n"),
            Err(error) => format!("error {error}\n"),
        };
        let mut stream = stream;
        stream.write_all(answer.as_bytes())
    }

    fn act(&mut self, words: &[&str]) -> io::Result<String> {
        match words {
            ["hello"] => Ok(String::new()),
            ["pids"] => {
                let pairs: Vec<String> =
                    self.powered.iter().map(|(node, pid)| format!("{node}:{pid}")).collect();
                Ok(pairs.join(" "))
            }
            ["detach"] => fs::write(supervisor::DETACHED, "").map(|()| String::new()),
            ["power", node, wanted] => {
                let node = self.known(node)?;
                self.set_power(node, wanted).map(|()| String::new())
            }
            ["bmc-get", node] => {
                let node = self.known(node)?;
                let state = if self.powered.contains_key(&node) { "on" } else { "off" };
                self.events.write(&format!("bmc {node} get {state}"));
                Ok(state.to_owned())
            }
            ["bmc-set", node, wanted] => {
                let node = self.known(node)?;
                self.events.write(&format!("bmc {node} set {wanted}"));
                self.set_power(node, wanted).map(|()| String::new())
            }
            ["link", node, state @ ("up" | "down")] => {
                let node = self.known(node)?;
                ip_command::batch(&format!("link set vc{node} {state}\n"))?;
                self.events.write(&format!("node {node} link {state}"));
                Ok(String::new())
            }
            _ => Err(io::Error::other(format!("unknown request '{}'", words.join(" ")))),
        }
    }

    fn known(&self, node: &str) -> io::Result<u8> {
        let node = node.parse().map_err(io::Error::other)?;
        if (1..=self.spec.nodes).contains(&node) {
            Ok(node)
        } else {
            Err(io::Error::other(format!("there is no node {node}")))
        }
    }

    fn set_power(&mut self, node: u8, wanted: &str) -> io::Result<()> {
        match wanted {
            "off" => self.power_off(node),
            "on" => self.power_on(node),
            "reset" => {
                self.power_off(node)?;
                self.power_on(node)
            }
            _ => Err(io::Error::other(format!("unknown power state '{wanted}'"))),
        }
    }

    /// Starts the node's pid 1 and plugs in its two cables.
    fn power_on(&mut self, node: u8) -> io::Result<()> {
        if self.powered.contains_key(&node) {
            return Ok(());
        }
        let number = node.to_string();
        let argv = self.helper(&["node-init", &number]);
        let argv: Vec<&std::ffi::OsStr> = argv.iter().map(OsString::as_os_str).collect();
        let console = log_file(&format!("{}/console.log", node_name(node)))?;
        // The node waits until its stdin ends: only then are its cables in.
        let (stdin, plug) = io::pipe()?;
        let pid = namespace::spawn_init(&argv, stdin.as_fd(), console.as_fd())?;
        self.powered.insert(node, pid);
        let plugged = ip_command::batch(&format!(
            "link add vc{node} type veth peer name eth0 address {} netns {pid}\nlink set vc{node} master brc up\n\
             link add vm{node} type veth peer name eth1 address {} netns {pid}\nlink set vm{node} master brm up\n",
            mac_text(service_mac(node)),
            mac_text(management_mac(node)),
        ));
        if let Err(error) = plugged {
            self.power_off(node)?;
            return Err(error);
        }
        drop(plug);
        self.events.write(&format!("node {node} on"));
        Ok(())
    }

    /// Pulls the plug: all processes of the node are dead and its cables out when this returns.
    fn power_off(&mut self, node: u8) -> io::Result<()> {
        let Some(pid) = self.powered.get(&node).copied() else { return Ok(()) };
        kill(pid, Signal::SIGKILL)?;
        waitpid(pid, None)?;
        self.powered.remove(&node);
        self.unplug(node);
        Ok(())
    }

    /// A network namespace is taken down by a kernel worker some time after its last process: the cables must not wait for it.
    fn unplug(&mut self, node: u8) {
        for cable in [format!("vc{node}"), format!("vm{node}")] {
            // The namespace's own end may have taken the pair already.
            let _ = ip_command::batch(&format!("link del {cable}\n"));
        }
        self.events.write(&format!("node {node} off"));
    }

    /// Buries what died by itself: helpers, orphans, and nodes that ended their own life (`reboot(2)` in a pid namespace).
    fn reap(&mut self) {
        while let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) =
            waitpid(None, Some(WaitPidFlag::WNOHANG))
        {
            let died = self.powered.iter().find(|(_, init)| **init == pid).map(|(node, _)| *node);
            if let Some(node) = died {
                self.powered.remove(&node);
                self.unplug(node);
            }
        }
    }
}

fn log_file(path: &str) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Starts a helper of the switch, with a clean environment and its output in a file.
fn start<A: AsRef<std::ffi::OsStr>>(program: &std::ffi::OsStr, args: &[A], log: &str) -> io::Result<()> {
    let output = log_file(log)?;
    Command::new(program)
        .args(args)
        .env_clear()
        .envs(CLEAN_ENVIRONMENT)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .map(drop)
        .map_err(|error| io::Error::other(format!("cannot run {}: {error}", program.display())))
}

/// The files that nodes find: one set for all, and each node's own disk.
fn write_configuration(spec: &Spec) -> io::Result<()> {
    fs::create_dir("corosync")?;
    fs::write("corosync/corosync.conf", config::corosync(spec.nodes))?;
    fs::write("hosts", config::hosts(spec.nodes))?;
    let user = User::from_name("hacluster")?
        .ok_or_else(|| io::Error::other("there is no user hacluster (package pacemaker)"))?;
    let group = Group::from_name("haclient")?
        .ok_or_else(|| io::Error::other("there is no group haclient (package pacemaker)"))?;
    let own = |path: &Path| chown(path, Some(user.uid.as_raw()), Some(group.gid.as_raw()));
    for node in 1..=spec.nodes {
        let disk = PathBuf::from(node_name(node));
        for folder in ["log/pacemaker", "log/corosync", "corosync"] {
            fs::create_dir_all(disk.join(folder))?;
        }
        own(&disk.join("log/pacemaker"))?;
        for folder in
            ["pacemaker", "pacemaker/cib", "pacemaker/pengine", "pacemaker/cores", "pacemaker/blackbox"]
        {
            let path = disk.join(folder);
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o750))?;
            own(&path)?;
        }
        let cib = disk.join("pacemaker/cib/cib.xml");
        fs::write(&cib, config::cib(spec))?;
        fs::set_permissions(&cib, fs::Permissions::from_mode(0o600))?;
        own(&cib)?;
    }
    Ok(())
}
