//! Where the guests of one test live: a network and a process namespace of their own, which end with their driver.
//!
//! Pid 1 in there reads from a pipe whose other end the driver holds. When that closes, for whatever reason, or when the time is up,
//! pid 1 ends and the kernel kills every process of the namespace (`pid_namespaces(7)`). Its parent, `unshare`, has it killed
//! should it be killed itself. Nothing on the host changes: bridge and taps are inside and end with it.

use super::failure::LabError;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// The bridge and the driver's own address on it; then it waits for the driver's end.
const INIT: &str = "ip link set lo up && ip link add lab type bridge forward_delay 0 && \
                    ip address add 10.55.0.1/24 dev lab && ip link set lab up && \
                    for tap in 1 2 3; do ip tuntap add g$tap mode tap && ip link set g$tap master lab up || exit 1; done && \
                    echo ready && exec timeout --foreground --signal=KILL $0 cat";

#[derive(Debug)]
pub(crate) struct Place {
    holder: Child,
    lifeline: Option<ChildStdin>,
    network: File,
    processes: File,
}

impl Place {
    /// Makes the namespaces; they end with us, and after `lifetime` in any case. The label is for who looks at a list of processes.
    pub(crate) fn new(lifetime: Duration, label: &Path) -> Result<Self, LabError> {
        let mut holder = Command::new("unshare")
            .args(["--net", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", INIT])
            .arg(lifetime.as_secs().to_string())
            .arg(label)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(LabError::io("run unshare"))?;
        let lifeline = holder.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(LabError::io("hear from the namespaces"))?;
        }
        let of = |kind: &str| {
            File::open(format!("/proc/{}/ns/{kind}", holder.id()))
                .map_err(LabError::io(format!("open the {kind} namespace")))
        };
        let namespaces = of("net").and_then(|network| Ok((network, of("pid_for_children")?)));
        match namespaces {
            Ok((network, processes)) if line.trim() == "ready" => {
                Ok(Self { holder, lifeline, network, processes })
            }
            other => {
                drop(lifeline);
                let _ = holder.wait();
                let why = other.err().map(|why| why.to_string()).unwrap_or_default();
                Err(LabError::Refused(format!(
                    "cannot make namespaces with a bridge and taps (root? bridge, tun in the kernel?) {why}"
                )))
            }
        }
    }

    /// Starts a program inside. It has the driver for a parent, and ends with the namespace all the same.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child, LabError> {
        // setns(2) is for one thread: a thread that ends again, so that no other program is started in there.
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.network, CloneFlags::CLONE_NEWNET)?;
                setns(&self.processes, CloneFlags::CLONE_NEWPID)?;
                command.spawn()
            });
            inside.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread ended")))
        })
        .map_err(LabError::io(format!("run {}", command.get_program().display())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lifeline = None;
        let _ = self.holder.wait();
    }
}
