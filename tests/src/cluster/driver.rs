//! The cluster in the hands of a test or of the demonstration: bring it up, look at it, break it, take it down.

use super::address_plan::{SERVICE_ADDRESS, SERVICE_RESOURCE, node_name};
use super::failover::Failover;
use super::failure::ClusterError;
use super::helper::Helper;
use super::namespace::CLEAN_ENVIRONMENT;
use super::spec::{Agents, Spec};
use super::stamp::{self, Micros};
use super::status::Status;
use super::timeline::{self, Event, Sources};
use super::{control, namespace, needs};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest one command in a node may take.
const COMMAND_SECONDS: &str = "30";

/// What to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `SIGKILL` to corosync: the node lives on, alone, with the address.
    KillCorosync,
    /// The cable of the service network is out; the node lives on with the address.
    CutLink,
    /// The node loses power without anybody having asked its BMC.
    PowerCut,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::KillCorosync, Self::CutLink, Self::PowerCut];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KillCorosync => "kill-corosync",
            Self::CutLink => "cut-link",
            Self::PowerCut => "power-cut",
        }
    }
}

/// How a cluster is to be made.
#[derive(Debug, Clone)]
pub struct Builder {
    helper: Helper,
    nodes: u8,
    agents: Agents,
    extra_resources: String,
    extra_constraints: String,
    lifetime: Duration,
}

/// A running cluster; dropping it ends it.
#[derive(Debug)]
pub struct Cluster {
    dir: TempDir,
    supervisor: Child,
    /// The cluster lives as long as this is open.
    lifeline: Option<ChildStdin>,
    /// The host's pid of the cluster's pid 1.
    init: i32,
    nodes: u8,
    helper: Helper,
    /// When the nodes were powered on.
    born: Micros,
}

/// What is known of a cluster that outlives its driver: enough to enter it and to end it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The host's pid of the cluster's pid 1.
    pub init: i32,
    /// When that process started, in clock ticks since boot (`/proc/PID/stat`), so that a reused pid is not mistaken for it.
    pub started: u64,
    /// The state directory.
    pub dir: PathBuf,
    /// The host's pid of each node's pid 1.
    pub nodes: Vec<(String, i32)>,
}

impl Builder {
    /// 2 or 3 nodes; 3 unless said otherwise.
    #[must_use]
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    /// Whose agents; upstream's unless said otherwise.
    #[must_use]
    pub fn agents(mut self, agents: Agents) -> Self {
        self.agents = agents;
        self
    }

    /// More resources for the first CIB, as XML (`primitive`, `clone`, ...).
    #[must_use]
    pub fn resources(mut self, xml: &str) -> Self {
        self.extra_resources.push_str(xml);
        self
    }

    /// More constraints for the first CIB, as XML.
    #[must_use]
    pub fn constraints(mut self, xml: &str) -> Self {
        self.extra_constraints.push_str(xml);
        self
    }

    /// The cluster ends itself after this long, whatever its driver does; 300 s unless said otherwise.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Makes the cluster and powers its nodes on. It is not yet started: see [`Cluster::wait_until_started`].
    pub fn up(self) -> Result<Cluster, ClusterError> {
        if !(2..=3).contains(&self.nodes) {
            return Err(ClusterError::Shape(format!("a cluster has 2 or 3 nodes, not {}", self.nodes)));
        }
        let missing = needs::missing(&self.agents);
        if !missing.is_empty() {
            return Err(ClusterError::Needs(missing));
        }
        let dir = tempfile::Builder::new()
            .prefix(Kept::PREFIX)
            .tempdir()
            .map_err(ClusterError::io("make a state directory"))?;
        let path = dir.path().canonicalize().map_err(ClusterError::io("find the state directory"))?;
        let mut supervisor = Command::new(&self.helper.program)
            .args(&self.helper.args)
            .arg("supervise")
            .arg(&path)
            .arg(self.lifetime.as_secs().to_string())
            .args(&self.helper.args)
            .current_dir("/")
            .env_clear()
            .envs(CLEAN_ENVIRONMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(ClusterError::io(format!("run {}", self.helper.program.display())))?;
        let lifeline = supervisor.stdin.take();
        let stdout = supervisor.stdout.take();
        let mut cluster = Cluster {
            dir,
            supervisor,
            lifeline,
            init: 0,
            nodes: self.nodes,
            helper: self.helper.clone(),
            born: stamp::now(),
        };
        let spec = Spec {
            nodes: self.nodes,
            agents: self.agents,
            extra_resources: self.extra_resources,
            extra_constraints: self.extra_constraints,
            dir: path,
            helper_args: self.helper.args,
        };
        let spec = serde_json::to_string(&spec)
            .map_err(io::Error::other)
            .map_err(ClusterError::io("write the description"))?;
        if let Some(lifeline) = &mut cluster.lifeline {
            writeln!(lifeline, "{spec}").map_err(ClusterError::io("hand over the description"))?;
        }
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(ClusterError::io("hear from the supervisor"))?;
        }
        cluster.init = line.trim().parse().map_err(|_| {
            ClusterError::Io("start the supervisor".to_owned(), io::Error::other(cluster.console()))
        })?;
        cluster.wait_for_answer()?;
        cluster.born = stamp::now();
        Ok(cluster)
    }
}

impl Cluster {
    /// Starts the description of a cluster whose own processes run `helper`.
    #[must_use]
    pub fn builder(helper: Helper) -> Builder {
        Builder {
            helper,
            nodes: 3,
            agents: Agents::Upstream,
            extra_resources: String::new(),
            extra_constraints: String::new(),
            lifetime: Duration::from_secs(300),
        }
    }

    /// The numbers of its nodes.
    pub fn nodes(&self) -> impl Iterator<Item = u8> + use<> {
        1..=self.nodes
    }

    /// When its nodes were powered on.
    #[must_use]
    pub fn born(&self) -> Micros {
        self.born
    }

    /// The state directory: on the host an empty folder, removed with the cluster.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The pid of the process that owns the cluster: when it dies, the cluster does.
    #[must_use]
    pub fn supervisor_pid(&self) -> u32 {
        self.supervisor.id()
    }

    /// The state directory as it is inside the cluster.
    fn state(&self) -> PathBuf {
        let dir = self.dir.path();
        PathBuf::from(format!("/proc/{}/root", self.init)).join(dir.strip_prefix("/").unwrap_or(dir))
    }

    fn ask(&self, request: &str) -> Result<String, ClusterError> {
        control::ask(&self.state(), request).map_err(ClusterError::io("ask the cluster"))
    }

    fn wait_for_answer(&mut self) -> Result<(), ClusterError> {
        let limit = Duration::from_secs(10);
        let end = Instant::now() + limit;
        loop {
            let Err(error) = self.ask("hello") else { return Ok(()) };
            let ended = matches!(self.supervisor.try_wait(), Ok(Some(_)));
            if ended || Instant::now() >= end {
                let last = format!("{error}; {}", self.console());
                return Err(ClusterError::Timeout {
                    what: "answer of the new cluster".to_owned(),
                    after: limit,
                    last,
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the cluster's own processes complained about.
    fn console(&self) -> String {
        let mut text = fs::read_to_string(self.dir.path().join("console.log")).unwrap_or_default();
        for node in self.nodes() {
            text.push_str(
                &fs::read_to_string(self.state().join(node_name(node)).join("console.log"))
                    .unwrap_or_default(),
            );
        }
        text.trim().to_owned()
    }

    /// Waits until every node is online, the address and every fence device run, and the address answers a ping.
    pub fn wait_until_started(&self, limit: Duration) -> Result<Status, ClusterError> {
        let begin = Instant::now();
        let status = self.wait_for("fully started cluster", limit, |status| {
            status.quorum
                && status.dc.is_some()
                && self.nodes().all(|node| {
                    let name = node_name(node);
                    status.is_online(&name) && status.is_started(&format!("fence-{name}"))
                })
                && status.is_started(SERVICE_RESOURCE)
        })?;
        loop {
            if self.events().iter().any(|event| matches!(event.kind, timeline::Kind::PingAnswered)) {
                return Ok(status);
            }
            if begin.elapsed() >= limit {
                let last = format!("{SERVICE_RESOURCE} on {:?}", status.running_on(SERVICE_RESOURCE));
                return Err(ClusterError::Timeout {
                    what: format!("ping answer of {SERVICE_ADDRESS}"),
                    after: limit,
                    last,
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the nodes that have power for Pacemaker's status, until one gives an answer that satisfies.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        satisfied: impl Fn(&Status) -> bool,
    ) -> Result<Status, ClusterError> {
        let end = Instant::now() + limit;
        let mut last = "no node has answered".to_owned();
        loop {
            for node in self.nodes() {
                match self.status(node) {
                    Ok(status) if satisfied(&status) => return Ok(status),
                    Ok(status) => last = format!("{status:?}"),
                    Err(_) => {}
                }
            }
            if Instant::now() >= end {
                return Err(ClusterError::Timeout {
                    what: what.to_owned(),
                    after: limit,
                    last: format!("{last}; {}", self.console()),
                });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Pacemaker's status as one node sees it.
    pub fn status(&self, node: u8) -> Result<Status, ClusterError> {
        let output = self.exec(node, &["crm_mon", "-1", "--output-as=xml"])?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(ClusterError::Io(
                format!("ask {} for the status", node_name(node)),
                io::Error::other(words),
            ));
        }
        Status::parse(&String::from_utf8_lossy(&output.stdout)).map_err(|error| {
            ClusterError::Io(format!("read the status of {}", node_name(node)), io::Error::other(error))
        })
    }

    /// Runs a command inside a node, with the environment of its daemons; it is killed after 30 s.
    pub fn exec(&self, node: u8, argv: &[&str]) -> Result<Output, ClusterError> {
        let pid = self.node_pid(node)?;
        Command::new("timeout")
            .args([
                "-k",
                "1",
                COMMAND_SECONDS,
                "nsenter",
                "-t",
                &pid.to_string(),
                "-n",
                "-m",
                "-p",
                "-u",
                "-i",
                "--",
            ])
            .args(argv)
            .current_dir("/")
            .env_clear()
            .envs(CLEAN_ENVIRONMENT)
            .stdin(Stdio::null())
            .output()
            .map_err(ClusterError::io(format!("run {argv:?} in {}", node_name(node))))
    }

    /// The host's pid of a node's pid 1; an error when the node has no power.
    pub fn node_pid(&self, node: u8) -> Result<i32, ClusterError> {
        let dead =
            || ClusterError::Io(format!("enter {}", node_name(node)), io::Error::other("it has no power"));
        let pids = self.ask("pids")?;
        let inner = pids
            .split_whitespace()
            .filter_map(|pair| pair.split_once(':'))
            .find(|(number, _)| number.parse() == Ok(node))
            .and_then(|(_, pid)| pid.parse().ok())
            .ok_or_else(dead)?;
        namespace::child_by_inner_pid(self.init, inner).ok_or_else(dead)
    }

    /// Whether a node has power.
    pub fn has_power(&self, node: u8) -> Result<bool, ClusterError> {
        Ok(self.ask("pids")?.split_whitespace().any(|pair| pair.starts_with(&format!("{node}:"))))
    }

    /// The nodes whose kernel has the service address now, asked of each kernel (`ip -j`), not of Pacemaker.
    pub fn who_has_ip(&self) -> Result<Vec<u8>, ClusterError> {
        let mut holders = Vec::new();
        for node in self.nodes() {
            if !self.has_power(node)? {
                continue;
            }
            let output = self.exec(node, &["ip", "-j", "addr", "show"])?;
            let links: serde_json::Value = serde_json::from_slice(&output.stdout)
                .map_err(|error| ClusterError::Io("read ip's JSON".to_owned(), io::Error::other(error)))?;
            let wanted = SERVICE_ADDRESS.to_string();
            let has = links.as_array().into_iter().flatten().any(|link| {
                let addresses = link.get("addr_info").and_then(serde_json::Value::as_array);
                addresses
                    .into_iter()
                    .flatten()
                    .any(|address| address.get("local").and_then(|text| text.as_str()) == Some(&wanted))
            });
            if has {
                holders.push(node);
            }
        }
        Ok(holders)
    }

    /// Breaks something and returns when.
    pub fn inject(&self, fault: Fault, node: u8) -> Result<Micros, ClusterError> {
        match fault {
            Fault::KillCorosync => self.kill_corosync(node),
            Fault::CutLink => self.cut_link(node),
            Fault::PowerCut => self.power_off(node),
        }
    }

    /// Kills corosync on a node and returns when.
    pub fn kill_corosync(&self, node: u8) -> Result<Micros, ClusterError> {
        let what = format!("kill corosync on {}", node_name(node));
        let init = self.node_pid(node)?;
        let pid = namespace::processes_of(init)
            .into_iter()
            .find(|(_, name)| name == "corosync")
            .map(|(pid, _)| nix::unistd::Pid::from_raw(pid))
            .ok_or_else(|| ClusterError::Io(what.clone(), io::Error::other("it does not run")))?;
        let at = stamp::now();
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
            .map_err(|errno| ClusterError::Io(what, errno.into()))?;
        Ok(at)
    }

    /// Pulls the cable of the service network and returns when.
    pub fn cut_link(&self, node: u8) -> Result<Micros, ClusterError> {
        let at = stamp::now();
        self.ask(&format!("link {node} down"))?;
        Ok(at)
    }

    /// Puts the cable of the service network back.
    pub fn mend_link(&self, node: u8) -> Result<Micros, ClusterError> {
        let at = stamp::now();
        self.ask(&format!("link {node} up"))?;
        Ok(at)
    }

    /// Pulls a node's plug, without its BMC, and returns when.
    pub fn power_off(&self, node: u8) -> Result<Micros, ClusterError> {
        let at = stamp::now();
        self.ask(&format!("power {node} off"))?;
        Ok(at)
    }

    /// Gives a node power again, without its BMC.
    pub fn power_on(&self, node: u8) -> Result<Micros, ClusterError> {
        let at = stamp::now();
        self.ask(&format!("power {node} on"))?;
        Ok(at)
    }

    /// A file of a node's `/var/log`, such as `pacemaker/pacemaker.log` or `corosync/corosync.log`; empty when there is none.
    #[must_use]
    pub fn log(&self, node: u8, name: &str) -> String {
        self.state_file(&format!("{}/log/{name}", node_name(node)))
    }

    fn state_file(&self, name: &str) -> String {
        fs::read(self.state().join(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// All that the observers and the logs tell of, in the order of time.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut sources = Sources::new(self.born);
        sources.switch(&self.state_file("events.log"));
        sources.observer(&self.state_file("observer.log"));
        for node in self.nodes() {
            sources.node(node, &self.state_file(&format!("{}/node.log", node_name(node))));
            sources.corosync(node, &self.log(node, "corosync/corosync.log"));
            sources.pacemaker(node, &self.log(node, "pacemaker/pacemaker.log"));
        }
        sources.into_events()
    }

    /// Waits until a fault has led to an answer of the address from another node, and tells the story.
    pub fn wait_for_failover(
        &self,
        victim: u8,
        fault: Micros,
        limit: Duration,
    ) -> Result<Failover, ClusterError> {
        let end = Instant::now() + limit;
        loop {
            let story = Failover::of(&self.events(), victim, fault);
            if story.is_complete() {
                return Ok(story);
            }
            if Instant::now() >= end {
                let what = format!("failover from {}", node_name(victim));
                return Err(ClusterError::Timeout { what, after: limit, last: story.last_seen() });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Copies every log into a folder, for a person to read after the cluster is gone.
    pub fn save_logs(&self, to: &Path) -> Result<(), ClusterError> {
        let save = || -> io::Result<()> {
            fs::create_dir_all(to)?;
            for name in ["events.log", "observer.log"] {
                fs::write(to.join(name), self.state_file(name))?;
            }
            for node in self.nodes() {
                let name = node_name(node);
                fs::write(to.join(format!("{name}-node.log")), self.state_file(&format!("{name}/node.log")))?;
                fs::write(to.join(format!("{name}-corosync.log")), self.log(node, "corosync/corosync.log"))?;
                fs::write(
                    to.join(format!("{name}-pacemaker.log")),
                    self.log(node, "pacemaker/pacemaker.log"),
                )?;
            }
            Ok(())
        };
        save().map_err(ClusterError::io(format!("save the logs in {}", to.display())))
    }

    /// Lets the cluster live on without us and says how to reach it.
    pub fn keep(mut self) -> Result<Kept, ClusterError> {
        self.ask("detach")?;
        let mut nodes = Vec::new();
        for node in self.nodes() {
            if self.has_power(node)? {
                nodes.push((node_name(node), self.node_pid(node)?));
            }
        }
        let started = start_time(self.init)
            .ok_or_else(|| ClusterError::Io("find the cluster".to_owned(), io::Error::other("it is gone")))?;
        let kept = Kept { init: self.init, started, dir: self.dir.path().to_owned(), nodes };
        let text = serde_json::to_string(&kept)
            .map_err(io::Error::other)
            .map_err(ClusterError::io("describe the cluster"))?;
        fs::write(kept.dir.join(Kept::FILE), text)
            .map_err(ClusterError::io("leave a note of the cluster"))?;
        self.dir.disable_cleanup(true);
        self.lifeline = None;
        self.init = 0;
        Ok(kept)
    }

    /// The helper that the cluster's processes run.
    #[must_use]
    pub fn helper(&self) -> &Helper {
        &self.helper
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.lifeline.is_none() {
            return;
        }
        if std::thread::panicking() {
            let to = std::env::temp_dir().join(format!("ringfence-logs-{}", self.init));
            if self.save_logs(&to).is_ok() {
                let _ = writeln!(io::stderr(), "the cluster's logs are in {}", to.display());
            }
        }
        self.lifeline = None;
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            match self.supervisor.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                _ => return,
            }
        }
        // It dies, and the cluster with it.
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

impl Kept {
    /// How the names of state directories begin.
    const PREFIX: &'static str = "ringfence-cluster-";
    const FILE: &'static str = "kept.json";

    /// The clusters on this host that outlived their drivers, which were of the same user.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let own = nix::unistd::geteuid().as_raw();
        let folders = fs::read_dir(std::env::temp_dir()).into_iter().flatten().filter_map(Result::ok);
        folders
            .filter(|folder| folder.file_name().to_string_lossy().starts_with(Self::PREFIX))
            // Others may write in the same place, and what the note says is going to be killed and removed.
            .filter(|folder| folder.metadata().is_ok_and(|found| found.is_dir() && found.uid() == own))
            .filter_map(|folder| {
                let text = fs::read_to_string(folder.path().join(Self::FILE)).ok()?;
                Some(Self { dir: folder.path(), ..serde_json::from_str(&text).ok()? })
            })
            .collect()
    }

    /// Ends the cluster; its supervisor removes what is left. A cluster that is gone already is no error.
    pub fn down(&self) -> Result<(), ClusterError> {
        if start_time(self.init) == Some(self.started) {
            let pid = nix::unistd::Pid::from_raw(self.init);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
                .map_err(|errno| ClusterError::Io(format!("end the cluster of pid {pid}"), errno.into()))?;
            let limit = Duration::from_secs(5);
            let end = Instant::now() + limit;
            while start_time(self.init) == Some(self.started) {
                if Instant::now() >= end {
                    let last = format!("pid {pid} is still there");
                    return Err(ClusterError::Timeout {
                        what: "end of the cluster".to_owned(),
                        after: limit,
                        last,
                    });
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ClusterError::Io(format!("remove {}", self.dir.display()), error))
            }
            _ => Ok(()),
        }
    }
}

/// Field 22 of `/proc/PID/stat`: when the process started; `None` when there is no such process.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name (field 2) may hold anything, but it ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}
