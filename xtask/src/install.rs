//! `install`: release binaries and manuals, laid out as a package would have them.

use crate::built::{self, Built, Kind};
use crate::{generate, option, path, workspace};
use clap::{ArgMatches, Command};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

pub use crate::built::Profile;

const RESOURCE_AGENTS: &str = "usr/lib/ocf/resource.d/ringfence";
const FENCE_AGENTS: &str = "usr/sbin";
/// The program that judges agents, ours and anybody's.
const JUDGE: &str = "usr/bin/ringfence-conformance";
const JUDGES_MANUAL: &str = "usr/share/man/man1/ringfence-conformance.1";
const EXTERNAL_PLUGINS: &str = "usr/lib/stonith/plugins/external";
const WATCHDOG_CHECKS: &str = "usr/share/cluster";

pub fn command() -> Command {
    Command::new("install")
        .about("Build the agents and their judge, and lay them out below a folder, with links and manuals")
        .arg(option("destdir", "DIR", "the folder to install below; / is this machine").required(true))
        .arg(option("profile", "PROFILE", "release or dev").default_value("release"))
}

pub fn run(args: &clap::ArgMatches) -> Result<bool, String> {
    let destdir = path(args, "destdir").ok_or("--destdir is needed")?;
    let profile = profile(args)?;
    for file in install(&destdir, profile)? {
        println!("{}", file.display());
    }
    Ok(true)
}

fn profile(args: &ArgMatches) -> Result<Profile, String> {
    Profile::parse(crate::text(args, "profile").unwrap_or("release"))
}

/// Builds and installs everything below `destdir`; answers what is there now. Each file and link is
/// replaced in one step: a cluster that runs an agent meanwhile gets the old one or the new one.
pub fn install(destdir: &Path, profile: Profile) -> Result<Vec<PathBuf>, String> {
    let agents = built::agents(profile)?;
    let destdir = std::path::absolute(destdir).map_err(|why| format!("{}: {why}", destdir.display()))?;
    let mut done = Vec::new();
    for agent in &agents {
        lay_out(agent, &destdir, &mut done)?;
    }
    let judge = built::judge(profile)?;
    let program = fs::read(&judge).map_err(|why| format!("{}: {why}", judge.display()))?;
    let manual = generate::judges_manual(&judge)?;
    for (file, content, mode) in [(JUDGE, program, 0o755), (JUDGES_MANUAL, manual.into_bytes(), 0o644)] {
        let path = destdir.join(file);
        workspace::replace(&path, &content, mode)?;
        done.push(path);
    }
    Ok(done)
}

fn lay_out(agent: &Built, destdir: &Path, done: &mut Vec<PathBuf>) -> Result<(), String> {
    let binary = fs::read(&agent.file).map_err(|why| format!("{}: {why}", agent.file.display()))?;
    let mut file = |relative: String, content: &[u8], mode: u32| {
        let path = destdir.join(relative);
        // 755 and no more: stonith ignores a plugin that its group may write.
        workspace::replace(&path, content, mode).map(|()| done.push(path))
    };
    let manual = generate::manual(agent);
    match agent.kind {
        Kind::Resource => {
            file(format!("{RESOURCE_AGENTS}/{}", agent.name), &binary, 0o755)?;
            file(format!("usr/share/man/man7/ocf_ringfence_{}.7", agent.name), manual.as_bytes(), 0o644)?;
        }
        Kind::Fence => {
            file(format!("{FENCE_AGENTS}/{}", agent.name), &binary, 0o755)?;
            file(format!("usr/share/man/man8/{}.8", agent.name), manual.as_bytes(), 0o644)?;
            let completion = generate::completion(agent);
            file(
                format!("usr/share/bash-completion/completions/{}", agent.name),
                completion.as_bytes(),
                0o644,
            )?;
            for alias in agent.metadata.symlinks.iter().map(|(alias, _)| alias).chain(&agent.programs) {
                let text = format!(".so man8/{}.8\n", agent.name);
                file(format!("usr/share/man/man8/{alias}.8"), text.as_bytes(), 0o644)?;
            }
            for (alias, _) in &agent.metadata.symlinks {
                link(&destdir.join(FENCE_AGENTS).join(alias), &agent.name, done)?;
                link(&destdir.join("usr/share/bash-completion/completions").join(alias), &agent.name, done)?;
            }
            for program in &agent.programs {
                link(&destdir.join(FENCE_AGENTS).join(program), &agent.name, done)?;
            }
            for check in &agent.checks {
                // No link: administrators make a hard link to it in /etc/watchdog.d.
                workspace::replace(&destdir.join(WATCHDOG_CHECKS).join(check), &binary, 0o755)?;
                done.push(destdir.join(WATCHDOG_CHECKS).join(check));
            }
            for plugin in &agent.external {
                // Relative, so that the tree works wherever it is moved to.
                let target = format!("../../../../sbin/{}", agent.name);
                link(&destdir.join(EXTERNAL_PLUGINS).join(plugin), &target, done)?;
            }
        }
    }
    Ok(())
}

fn link(path: &Path, target: &str, done: &mut Vec<PathBuf>) -> Result<(), String> {
    let told = |why: std::io::Error| format!("cannot make the link {}: {why}", path.display());
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).map_err(told)?;
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let fresh = dir.join(name);
    let _ = fs::remove_file(&fresh);
    std::os::unix::fs::symlink(target, &fresh).map_err(told)?;
    fs::rename(&fresh, path).map_err(|why| {
        let _ = fs::remove_file(&fresh);
        told(why)
    })?;
    done.push(path.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Metadata;
    use std::os::unix::fs::PermissionsExt;

    fn agent(kind: Kind, name: &str, dir: &Path) -> Built {
        let file = dir.join(format!("built-{name}"));
        fs::write(&file, "#!/bin/sh\n").unwrap();
        Built {
            kind,
            file,
            name: name.to_owned(),
            metadata: Metadata {
                name: name.to_owned(),
                symlinks: vec![("fence_other".to_owned(), String::new())],
                ..Metadata::default()
            },
            external: vec!["plug".to_owned()],
            checks: vec!["fence_x_check".to_owned()],
            programs: vec!["x_client".to_owned()],
        }
    }

    #[test]
    fn a_fence_agent_with_its_links_and_again_over_itself() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("dest");
        let agent = agent(Kind::Fence, "fence_x", dir.path());
        for _ in 0..2 {
            let mut done = Vec::new();
            lay_out(&agent, &dest, &mut done).unwrap();
            assert_eq!(done.len(), workspace_entries(&dest), "{done:?}");
        }
        let binary = dest.join("usr/sbin/fence_x");
        assert_eq!(fs::metadata(&binary).unwrap().permissions().mode() & 0o7777, 0o755);
        for alias in ["usr/sbin/fence_other", "usr/sbin/x_client", "usr/lib/stonith/plugins/external/plug"] {
            assert_eq!(fs::canonicalize(dest.join(alias)).unwrap(), fs::canonicalize(&binary).unwrap());
            // What `stonith` asks of a plugin: regular behind the link, executable, nobody else may write.
            assert!(fs::metadata(dest.join(alias)).unwrap().is_file());
        }
        assert!(fs::symlink_metadata(dest.join("usr/share/cluster/fence_x_check")).unwrap().is_file());
        for alias in ["fence_other", "x_client"] {
            let page = fs::read_to_string(dest.join(format!("usr/share/man/man8/{alias}.8"))).unwrap();
            assert_eq!(page, ".so man8/fence_x.8\n");
        }
    }

    fn workspace_entries(dir: &Path) -> usize {
        let mut count = 0;
        let mut folders = vec![dir.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() { folders.push(entry.path()) } else { count += 1 }
            }
        }
        count
    }

    #[test]
    fn a_resource_agent() {
        let dir = tempfile::tempdir().unwrap();
        let mut done = Vec::new();
        lay_out(&agent(Kind::Resource, "Thing", dir.path()), dir.path(), &mut done).unwrap();
        let installed = dir.path().join("usr/lib/ocf/resource.d/ringfence/Thing");
        assert_eq!(fs::metadata(installed).unwrap().permissions().mode() & 0o7777, 0o755);
        assert!(dir.path().join("usr/share/man/man7/ocf_ringfence_Thing.7").is_file());
    }
}
