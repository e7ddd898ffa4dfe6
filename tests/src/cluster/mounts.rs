//! What a cluster and its nodes see of the file system: private mounts over the host's own tree, which stays as it is.

use super::spec::Agents;
use nix::mount::{MsFlags, mount};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Resource agents, one folder per provider.
const PROVIDERS: &str = "/usr/lib/ocf/resource.d";

fn context(error: impl std::fmt::Display, what: &str, path: &Path) -> io::Error {
    io::Error::other(format!("cannot {what} {}: {error}", path.display()))
}

/// Cuts the mount tree off the host's: nothing mounted from here on is seen outside.
pub(crate) fn make_private() -> io::Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|error| context(error, "make mounts private below", Path::new("/")))
}

/// A fresh tmpfs.
pub(crate) fn tmpfs(at: &Path, mode: &str) -> io::Result<()> {
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(format!("mode={mode}").as_str()))
        .map_err(|error| context(error, "mount a tmpfs on", at))
}

/// `from` is seen at `to`.
pub(crate) fn bind(from: &Path, to: &Path) -> io::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|error| context(error, &format!("bind {} to", from.display()), to))
}

/// /proc and /sys of the namespaces we are in. Pacemaker's panic path writes to sysrq-trigger: it must not reach the real kernel.
pub(crate) fn proc_and_sys() -> io::Result<()> {
    for (kind, at) in [("proc", "/proc"), ("sysfs", "/sys")] {
        mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>)
            .map_err(|error| context(error, &format!("mount {kind} on"), Path::new(at)))?;
    }
    for file in ["/proc/sysrq-trigger", "/proc/sys/kernel/sysrq"] {
        if Path::new(file).exists() {
            bind(Path::new("/dev/null"), Path::new(file))?;
        }
    }
    Ok(())
}

/// Nothing in a cluster may talk to the host's syslog.
pub(crate) fn hide_syslog() -> io::Result<()> {
    let socket = Path::new("/dev/log");
    // Where it is a link into /run, the tmpfs there has hidden it already and there is nothing to cover.
    if socket.exists() { bind(Path::new("/dev/null"), socket) } else { Ok(()) }
}

/// Lays our agents over the system's, from a copy, so that a rebuild does not reach into a running cluster.
pub(crate) fn install_agents(agents: &Agents, state: &Path) -> io::Result<()> {
    let Agents::Ours { dir } = agents else { return Ok(()) };
    let copies = state.join("agents");
    let provider = copies.join("ringfence");
    copy_files(&dir.join("usr/lib/ocf/resource.d/ringfence"), &provider)?;
    farm(Path::new(PROVIDERS), &state.join("orig-ocf"), &["ringfence"])?;
    let target = Path::new(PROVIDERS).join("ringfence");
    fs::create_dir(&target).map_err(|error| context(error, "make", &target))?;
    bind(&provider, &target)?;

    let fence = copies.join("sbin");
    copy_files(&dir.join("usr/sbin"), &fence)?;
    let names: Vec<String> = fs::read_dir(&fence)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("fence_"))
        .collect();
    let sbin = Path::new("/usr/sbin");
    // A mount on a link lands on what it points to, which may be another agent.
    let plain = |name: &String| fs::symlink_metadata(sbin.join(name)).is_ok_and(|found| found.is_file());
    if names.iter().all(plain) {
        for name in &names {
            bind(&fence.join(name), &sbin.join(name))?;
        }
        return Ok(());
    }
    let leave_out: Vec<&str> = names.iter().map(String::as_str).collect();
    farm(sbin, &state.join("orig-sbin"), &leave_out)?;
    for name in &names {
        fs::copy(fence.join(name), sbin.join(name))
            .map_err(|error| context(error, "copy to", &sbin.join(name)))?;
    }
    Ok(())
}

/// Replaces a folder's view by a tmpfs of links to its own entries, less some names: a place where new entries can be made
/// without touching the folder (and without overlayfs, which not every kernel has).
pub(crate) fn farm(folder: &Path, original: &Path, leave_out: &[&str]) -> io::Result<()> {
    fs::create_dir_all(original).map_err(|error| context(error, "make", original))?;
    bind(folder, original)?;
    tmpfs(folder, "755")?;
    for entry in fs::read_dir(original)? {
        let name = entry?.file_name();
        if leave_out.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let link = folder.join(&name);
        symlink(original.join(&name), &link).map_err(|error| context(error, "link", &link))?;
    }
    Ok(())
}

/// Copies the regular files (links followed, modes kept) of a folder.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to).map_err(|error| context(error, "make", to))?;
    let entries = fs::read_dir(from).map_err(|error| context(error, "read our agents in", from))?;
    for entry in entries {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, to.join(name)).map_err(|error| context(error, "copy", &path))?;
        }
    }
    Ok(())
}
