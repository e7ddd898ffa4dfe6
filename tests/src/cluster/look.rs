//! Looking at a running cluster: Pacemaker's word, the kernels', the observers', the logs.

use super::address_plan::{SERVICE_ADDRESS, SERVICE_RESOURCE, node_name};
use super::driver::Cluster;
use super::failover::Failover;
use super::failure::ClusterError;
use super::stamp::Micros;
use super::status::Status;
use super::timeline::{self, Event, Sources};
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

impl Cluster {
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
            // A cluster that is gone has no logs; empty files would say that nothing happened.
            fs::metadata(self.state())?;
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
}
