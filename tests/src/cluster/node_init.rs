//! Pid 1 of a node: its mounts, its network, corosync and Pacemaker, and from then on the reaper of orphans and the witness of its addresses.

use super::address_plan::{node_address, node_management_address, node_name};
use super::address_watch::AddressWatch;
use super::event_log::EventLog;
use super::namespace::CLEAN_ENVIRONMENT;
use super::{ip_command, mounts};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `node-init N`, started in the state directory.
pub(crate) fn main(node: u8) -> io::Result<()> {
    let state = std::env::current_dir()?;
    let disk = state.join(node_name(node));
    let mut log = EventLog::open(&disk.join("node.log"))?;
    nix::unistd::sethostname(node_name(node))?;
    mount_all(&state, &disk)?;
    std::env::set_current_dir("/")?;

    // Until the switch has plugged in our cables.
    io::stdin().read_to_end(&mut Vec::new())?;
    let nothing = File::open("/dev/null")?;
    nix::unistd::dup2_stdin(&nothing)?;
    let mut watch = AddressWatch::open()?;
    for scope in ["all", "default"] {
        // No kernel without IPv6 is refused.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad"), "0");
    }
    ip_command::batch(&format!(
        "link set lo up\naddr add {}/24 dev eth0\naddr add {}/24 dev eth1\nlink set eth0 up\nlink set eth1 up\n",
        node_address(node),
        node_management_address(node),
    ))?;
    log.write("boot");

    daemon("corosync", &["-f"], &[], &disk.join("corosync.out"))?;
    let end = Instant::now() + Duration::from_secs(20);
    while !succeeds("corosync-cfgtool", &["-s"]) {
        for change in watch.read()? {
            log.write(&change);
        }
        if Instant::now() >= end {
            return Err(io::Error::other("corosync does not answer after 20 s"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    log.write("corosync ready");
    daemon(
        "pacemakerd",
        &["-f"],
        &[("PCMK_logfile", "/var/log/pacemaker/pacemaker.log"), ("PCMK_logpriority", "info")],
        &disk.join("pacemakerd.out"),
    )?;
    loop {
        let mut watched = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        // The time limit is for the dead children, which no descriptor announces.
        if poll(&mut watched, PollTimeout::from(50_u8)).unwrap_or(0) > 0 {
            for change in watch.read()? {
                log.write(&change);
            }
        }
        while let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) =
            waitpid(None, Some(WaitPidFlag::WNOHANG))
        {}
    }
}

fn mount_all(state: &Path, disk: &Path) -> io::Result<()> {
    mounts::make_private()?;
    mounts::proc_and_sys()?;
    mounts::tmpfs(Path::new("/run"), "755")?;
    for folder in ["/run/lock", "/run/crm", "/run/resource-agents"] {
        fs::create_dir(folder)?;
    }
    mounts::tmpfs(Path::new("/dev/shm"), "1777")?;
    for (from, to) in [
        (disk.join("pacemaker"), "/var/lib/pacemaker"),
        (disk.join("corosync"), "/var/lib/corosync"),
        (disk.join("log"), "/var/log"),
        (state.join("corosync"), "/etc/corosync"),
        (state.join("hosts"), "/etc/hosts"),
    ] {
        mounts::bind(&from, Path::new(to))?;
    }
    Ok(())
}

fn daemon(program: &str, args: &[&str], environment: &[(&str, &str)], log: &Path) -> io::Result<()> {
    let output = OpenOptions::new().create(true).append(true).open(log)?;
    Command::new(program)
        .args(args)
        .env_clear()
        .envs(CLEAN_ENVIRONMENT)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .map(drop)
        .map_err(|error| io::Error::other(format!("cannot run {program}: {error}")))
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .env_clear()
        .envs(CLEAN_ENVIRONMENT)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
