//! The cluster in the hands of a test or of the demonstration: bring it up, enter its nodes, keep it, take it down.

use super::address_plan::node_name;
use super::failure::ClusterError;
use super::kept::{self, Kept};
use super::namespace::CLEAN_ENVIRONMENT;
use super::node_program::NodeProgram;
use super::spec::{Agents, Spec};
use super::stamp::{self, Micros};
use super::{control, namespace, needs};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest one command in a node may take.
const COMMAND_SECONDS: &str = "30";

/// How a cluster is to be made.
#[derive(Debug, Clone)]
pub struct Builder {
    helper: NodeProgram,
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
    pub(super) init: i32,
    nodes: u8,
    /// When the nodes were powered on.
    pub(super) born: Micros,
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
        let mut cluster =
            Cluster { dir, supervisor, lifeline, init: 0, nodes: self.nodes, born: stamp::now() };
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
    pub fn builder(helper: NodeProgram) -> Builder {
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
    pub(super) fn state(&self) -> PathBuf {
        let dir = self.dir.path();
        PathBuf::from(format!("/proc/{}/root", self.init)).join(dir.strip_prefix("/").unwrap_or(dir))
    }

    pub(super) fn ask(&self, request: &str) -> Result<String, ClusterError> {
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
    pub(super) fn console(&self) -> String {
        let mut text = fs::read_to_string(self.dir.path().join("console.log")).unwrap_or_default();
        for node in self.nodes() {
            text.push_str(
                &fs::read_to_string(self.state().join(node_name(node)).join("console.log"))
                    .unwrap_or_default(),
            );
        }
        text.trim().to_owned()
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

    /// Lets the cluster live on without us and says how to reach it.
    pub fn keep(mut self) -> Result<Kept, ClusterError> {
        self.ask("detach")?;
        let mut nodes = Vec::new();
        for node in self.nodes() {
            if self.has_power(node)? {
                nodes.push((node_name(node), self.node_pid(node)?));
            }
        }
        let started = kept::start_time(self.init)
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
