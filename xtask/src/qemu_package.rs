//! QEMU's package, which some machines cannot install the plain way.

use crate::packages;
use crate::process::{self, command};
use ringfence_tests::lab;
use std::fs;
use std::path::Path;

/// Debian's name of it.
pub const NAME: &str = "qemu-system-x86";
const PROGRAM: &str = "/usr/bin/qemu-system-x86_64";

/// Makes sure that QEMU is there; asks first unless `yes` or `CI` is set.
///
/// Where another package of QEMU's comes from the backports, and apt does not know these (any more), the release's own QEMU
/// conflicts with it. Then it comes from the backports, too, by a list of archives that is for this one call.
pub fn ensure(purpose: &str, yes: bool) -> Result<(), String> {
    if Path::new(PROGRAM).exists() {
        return Ok(());
    }
    let plain = packages::ensure(&[NAME], purpose, yes);
    let Err(why) = plain else { return Ok(()) };
    // Nobody agreed, or nobody may.
    if !(yes || process::env_flag("CI")) || !nix::unistd::geteuid().is_root() {
        return Err(why);
    }
    eprintln!("{why}\ntrying the backports");
    from_backports().map_err(|second| format!("{why}; {second}"))
}

fn from_backports() -> Result<(), String> {
    let told = |why: std::io::Error| format!("cannot make a list of archives: {why}");
    let archives = lab::backports().map_err(|why| why.to_string())?;
    let folder = tempfile::tempdir().map_err(told)?;
    for part in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(folder.path().join(part)).map_err(told)?;
    }
    let list = folder.path().join("sources.list");
    fs::write(&list, archives.lines.join("\n") + "\n").map_err(told)?;
    let mut settings = vec!["-q".to_owned()];
    for (name, value) in [
        ("Dir::Etc::sourcelist", list.display().to_string()),
        ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
        ("Dir::State::lists", folder.path().join("lists").display().to_string()),
        ("Dir::Cache", folder.path().join("cache").display().to_string()),
        ("APT::Sandbox::User", "root".to_owned()),
        ("DPkg::Lock::Timeout", "400".to_owned()),
        ("Acquire::Retries", "3".to_owned()),
    ] {
        settings.extend(["-o".to_owned(), format!("{name}={value}")]);
    }
    let apt = |words: &[&str]| {
        let mut apt = command("apt-get");
        process::succeeds(apt.env("DEBIAN_FRONTEND", "noninteractive").args(&settings).args(words))
    };
    let install = ["install", "-y", "--no-install-recommends", "-t", archives.suite.as_str(), NAME];
    if apt(&["update"])? && apt(&install)? && Path::new(PROGRAM).exists() {
        return Ok(());
    }
    Err(format!("apt-get could not install {NAME} from {} (its words are above)", archives.suite))
}
