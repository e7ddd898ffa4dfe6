//! The agents under test, as `cargo xtask install` lays them out. There is no table of names: what is in the tree
//! was found by asking the built binaries who they are, so a new agent is under test by being there.
#![allow(
    clippy::disallowed_methods,
    reason = "runs cargo and reads what the tests' caller has set; this is no agent"
)]

use crate::cluster::{Agents, mounts};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where resource agents are in the tree, with the manager's provider.
pub const RESOURCE_AGENTS: &str = "usr/lib/ocf/resource.d/ringfence";
/// Where fence agents are, with links for their other names.
pub const FENCE_AGENTS: &str = "usr/sbin";
/// Where the links are by which Heartbeat's `stonith` knows some of them.
pub const EXTERNAL_PLUGINS: &str = "usr/lib/stonith/plugins/external";

/// One installed file or link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The file's name: of a resource agent its OCF type.
    pub name: String,
    pub file: PathBuf,
    /// What a link points to (a fence agent's own name); `None` for the agent itself.
    pub alias_of: Option<String>,
}

/// Everything that is installed.
#[derive(Clone, Debug)]
pub struct Subjects {
    /// The tree itself.
    pub tree: PathBuf,
    pub resource: Vec<Subject>,
    /// Under every name by which it is an agent.
    pub fence: Vec<Subject>,
    pub external: Vec<Subject>,
}

/// The agents in the tree that `RINGFENCE_INSTALLED` names; without it, built now (once in a run of the tests) and
/// installed below `scratch`.
///
/// # Errors
/// When they cannot be built, or one of the families has no member: no test may pass because there was nothing to test.
pub fn subjects(scratch: &Path) -> io::Result<Subjects> {
    let tree = match std::env::var_os("RINGFENCE_INSTALLED").filter(|tree| !tree.is_empty()) {
        Some(tree) => PathBuf::from(tree),
        None => install(scratch)?,
    };
    read(&tree)
}

/// The agents in one tree.
///
/// # Errors
/// As of [`subjects`].
pub fn read(tree: &Path) -> io::Result<Subjects> {
    let family = |folder: &str| -> io::Result<Vec<Subject>> {
        let folder = tree.join(folder);
        let found = entries(&folder)?;
        if found.is_empty() {
            return Err(io::Error::other(format!("no agent in {}", folder.display())));
        }
        Ok(found)
    };
    let resource = family(RESOURCE_AGENTS)?;
    let mut fence = family(FENCE_AGENTS)?;
    let programs = programs(&fence)?;
    fence.retain(|subject| subject.alias_of.is_none() || !programs.contains(&subject.name));
    Ok(Subjects { tree: tree.to_owned(), resource, fence, external: family(EXTERNAL_PLUGINS)? })
}

/// The names under which the agents say that they are programs for an operator, and no agents.
fn programs(fence: &[Subject]) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for agent in fence.iter().filter(|subject| subject.alias_of.is_none()) {
        let mut asked = Command::new(&agent.file);
        asked.arg0("/usr/sbin/ask").arg("getinfo-name").env_clear().stdin(Stdio::null());
        let told = asked.output()?;
        if told.status.success() {
            names.extend(String::from_utf8_lossy(&told.stdout).split_whitespace().map(str::to_owned));
        }
    }
    Ok(names)
}

fn entries(folder: &Path) -> io::Result<Vec<Subject>> {
    let read = fs::read_dir(folder)
        .map_err(|why| io::Error::other(format!("cannot read {}: {why}", folder.display())))?;
    let mut found = Vec::new();
    for entry in read {
        let file = entry?.path();
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let alias_of = fs::read_link(&file).ok().as_deref().and_then(name);
        let name = name(&file).unwrap_or_default();
        // A hidden one is about to be renamed: another process is installing.
        if !name.starts_with('.') {
            found.push(Subject { name, file, alias_of });
        }
    }
    found.sort();
    Ok(found)
}

/// Builds and installs, each file replaced in one step, unless this run of the tests has done so: nextest starts a
/// process for each test.
fn install(scratch: &Path) -> io::Result<PathBuf> {
    let tree = scratch.join("subjects");
    fs::create_dir_all(scratch)?;
    let lock = File::create(scratch.join("subjects.lock"))?;
    let _held = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, why)| io::Error::from(why))?;
    let stamp = scratch.join("subjects.run");
    let run = std::env::var_os("NEXTEST_RUN_ID").map(|id| id.to_string_lossy().into_owned());
    if run.is_some() && fs::read_to_string(&stamp).ok() == run {
        return Ok(tree);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["run", "--quiet", "--package", "xtask", "--", "install", "--profile", "dev", "--destdir"])
        .arg(&tree)
        .stdin(Stdio::null())
        .output()?;
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr).into_owned();
        return Err(io::Error::other(format!("cargo xtask install failed: {said}")));
    }
    // Not the whole tree before: another process may be using it.
    remove_strangers(&tree, &String::from_utf8_lossy(&built.stdout))?;
    if let Some(run) = run {
        fs::write(stamp, run)?;
    }
    Ok(tree)
}

/// Removes what an agent that is no more has left: it would be tested too.
fn remove_strangers(tree: &Path, installed: &str) -> io::Result<()> {
    for folder in [RESOURCE_AGENTS, FENCE_AGENTS, EXTERNAL_PLUGINS] {
        for subject in entries(&tree.join(folder))? {
            if !installed.lines().any(|line| Path::new(line) == subject.file) {
                fs::remove_file(&subject.file)?;
            }
        }
    }
    Ok(())
}

/// Lays the agents over the system's own, in a mount namespace that is private already; `state` is a folder of that
/// namespace for what must be kept meanwhile. Programs then find them where an administrator would have them.
///
/// # Errors
/// When something cannot be mounted or copied; the namespace is then of no use.
pub fn lay_over_the_system(subjects: &Subjects, state: &Path) -> io::Result<()> {
    mounts::install_agents(&Agents::Ours { dir: subjects.tree.clone() }, state)?;
    let folder = Path::new("/").join(EXTERNAL_PLUGINS);
    let names: Vec<&str> = subjects.external.iter().map(|plugin| plugin.name.as_str()).collect();
    mounts::farm(&folder, &state.join("orig-external"), &names)?;
    for plugin in &subjects.external {
        fs::copy(&plugin.file, folder.join(&plugin.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_without_agents_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).is_err());
        fs::create_dir_all(dir.path().join(RESOURCE_AGENTS)).unwrap();
        let why = read(dir.path()).unwrap_err().to_string();
        assert!(why.starts_with("no agent in "), "{why}");
    }

    #[test]
    fn what_was_not_installed_now_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        for folder in [RESOURCE_AGENTS, FENCE_AGENTS, EXTERNAL_PLUGINS] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let folder = dir.path().join(RESOURCE_AGENTS);
        for name in ["Old", "New"] {
            fs::write(folder.join(name), "").unwrap();
        }
        remove_strangers(dir.path(), &format!("{}\n", folder.join("New").display())).unwrap();
        assert!(folder.join("New").exists() && !folder.join("Old").exists());
    }

    #[test]
    fn links_are_other_names() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("fence_a"), "").unwrap();
        fs::write(dir.path().join(".fence_a.17"), "").unwrap();
        std::os::unix::fs::symlink("fence_a", dir.path().join("fence_b")).unwrap();
        let found = entries(dir.path()).unwrap();
        let names: Vec<_> = found.iter().map(|s| (s.name.as_str(), s.alias_of.as_deref())).collect();
        assert_eq!(names, [("fence_a", None), ("fence_b", Some("fence_a"))]);
    }

    #[test]
    fn an_operators_program_is_no_agent() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        for folder in [RESOURCE_AGENTS, FENCE_AGENTS, EXTERNAL_PLUGINS] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("fence_a"), "#!/bin/sh\necho fence_client").unwrap();
        }
        let folder = dir.path().join(FENCE_AGENTS);
        fs::set_permissions(folder.join("fence_a"), fs::Permissions::from_mode(0o755)).unwrap();
        for link in ["fence_client", "fence_b"] {
            std::os::unix::fs::symlink("fence_a", folder.join(link)).unwrap();
        }
        let names: Vec<_> = read(dir.path()).unwrap().fence.into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["fence_a", "fence_b"]);
    }
}
