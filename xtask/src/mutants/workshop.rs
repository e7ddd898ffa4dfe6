//! A copy of the source in which one defect at a time is built. Ours is never touched.

use super::bounded;
use super::list::Mutation;
use crate::{process, workspace};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A build of everything from nothing on a slow machine.
const LONGEST_BUILD: Duration = Duration::from_secs(600);

/// `target/mutants`: always the same paths, so that cargo builds again only what has changed. The copy goes when this
/// is dropped; cargo's own folder stays, as everything below `target` does.
pub struct Workshop {
    folder: PathBuf,
    _only_one: nix::fcntl::Flock<File>,
}

/// What cargo made of a mutation.
pub enum Made {
    Program(PathBuf),
    /// The compiler's first complaint.
    Refused(String),
}

impl Workshop {
    /// Copies the source. Fails when somebody else is at it.
    pub fn open() -> Result<Self, String> {
        let folder = workspace::target_dir().join("mutants");
        let place = folder.display().to_string();
        let told = |why: std::io::Error| format!("{place}: {why}");
        fs::create_dir_all(&folder).map_err(told)?;
        let lock = File::create(folder.join("lock")).map_err(told)?;
        let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusiveNonblock)
            .map_err(|_| format!("another run is at work in {}", folder.display()))?;
        let workshop = Self { folder, _only_one: lock };
        workshop.clear();
        let root = workspace::root();
        for file in workspace::files(&root) {
            let Ok(relative) = file.strip_prefix(&root) else { continue };
            let to = workshop.tree().join(relative);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(told)?;
            }
            fs::copy(&file, &to).map_err(|why| format!("{}: {why}", file.display()))?;
        }
        Ok(workshop)
    }

    fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    fn programs(&self) -> PathBuf {
        self.folder.join("programs")
    }

    /// Where the judge writes its report on a program.
    pub fn report(&self, name: &str) -> PathBuf {
        self.folder.join("programs").join(format!("{name}.json"))
    }

    fn clear(&self) {
        for folder in [self.tree(), self.programs()] {
            let _ = fs::remove_dir_all(folder);
        }
    }

    /// Builds an agent as the source stands, and keeps the program in a folder `label`, under its installed name.
    pub fn build(&self, agent: &str, label: &str) -> Result<Made, String> {
        let package = if agent.starts_with("fence_") { "ringfence-fence" } else { "ringfence-agents" };
        let binary = agent.to_lowercase();
        let target = self.folder.join("target");
        let mut cargo = process::cargo();
        cargo
            .current_dir(self.tree())
            .args(["build", "--quiet", "--color", "never", "--package", package, "--bin", &binary])
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        let ended = bounded::run(&mut cargo, LONGEST_BUILD)?;
        if ended.code != Some(0) {
            return Ok(Made::Refused(first_error(&ended.stderr)));
        }
        let folder = self.programs().join(label);
        let program = folder.join(agent);
        fs::create_dir_all(&folder)
            .and_then(|()| fs::copy(target.join("debug").join(&binary), &program))
            .map_err(|why| format!("{}: {why}", program.display()))?;
        Ok(Made::Program(program))
    }

    /// The same with one defect, which is taken out again.
    pub fn build_with(&self, mutation: &Mutation) -> Result<Made, String> {
        let path = self.tree().join(&mutation.file);
        let told = |why: std::io::Error| format!("{}: {why}", path.display());
        let text = fs::read_to_string(&path).map_err(told)?;
        fs::write(&path, mutation.apply(&text)?).map_err(told)?;
        let made = self.build(&mutation.agent, &mutation.id);
        fs::write(&path, text).map_err(told)?;
        made
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        self.clear();
    }
}

fn first_error(stderr: &str) -> String {
    let line = stderr.lines().find(|line| line.starts_with("error"));
    line.unwrap_or("cargo gave no reason").to_owned()
}

/// The judge, built from the source as it is.
pub fn judge() -> Result<PathBuf, String> {
    let package = ["build", "--quiet", "--package", "ringfence-conformance"];
    let ended = bounded::run(process::cargo().args(package), LONGEST_BUILD)?;
    if ended.code != Some(0) {
        return Err(format!("the judge does not compile: {}", first_error(&ended.stderr)));
    }
    Ok(workspace::target_dir().join("debug/ringfence-conformance"))
}

/// A call of the judge.
pub fn judge_command(judge: &Path) -> Command {
    process::command(judge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_told() {
        let text = "warning: unused\nerror[E0308]: mismatched types\nerror: aborting\n";
        assert_eq!(first_error(text), "error[E0308]: mismatched types");
        assert_eq!(first_error(""), "cargo gave no reason");
    }
}
