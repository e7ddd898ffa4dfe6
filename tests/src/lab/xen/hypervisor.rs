//! Debian's hypervisor, built from its source package with shadow paging, which live migration of paravirtual guests needs.

use super::super::failure::LabError;
use super::super::{cache, debian, image, recipe, tool};
use std::fs;
use std::path::{Path, PathBuf};

/// Run where the compiler is.
const BUILD: &str = include_str!("../../../lab/xen/hypervisor-build");
/// What it needs besides Debian's essential packages.
const COMPILER: [&str; 8] =
    ["bison", "dpkg-dev", "flex", "gcc", "libc6-dev", "make", "python3-minimal", "xz-utils"];

/// The multiboot file; built, in some three minutes of two idle processors, if it is not kept.
///
/// Its name tells the version of Debian's binary package, which its configuration is of; the source is the release's own.
pub(super) fn ready(package: &str, say: &dyn Fn(&str)) -> Result<PathBuf, LabError> {
    let versions = debian::candidates(&[package])?.concat();
    let name = format!("xenhyper-{}", recipe::digest(&[BUILD, &versions]));
    let folder = cache::kept(&cache::folder()?, &name, |folder| {
        say("Xen: building the hypervisor with shadow paging (minutes)");
        make(folder, package)
    })?;
    Ok(folder.join("xen"))
}

fn make(folder: &Path, package: &str) -> Result<(), LabError> {
    let unpacked = folder.join("package");
    for file in debian::download(&[package], &folder.join("debs"))? {
        tool::run("dpkg-deb", &["-x".as_ref(), file.as_os_str(), unpacked.as_os_str()])?;
    }
    let version = package.trim_start_matches("xen-hypervisor-").trim_end_matches("-amd64");
    let configuration = unpacked.join(format!("boot/xen-{version}-amd64.config"));
    let script = folder.join("build");
    fs::write(&script, BUILD).map_err(LabError::io("write the build script"))?;
    let root = folder.join("root");
    // Hooks are words of sh, with the root as $1.
    let hooks = [
        "mkdir \"$1/src\"".to_owned(),
        format!("cp '{}' \"$1/src/config\"", configuration.display()),
        format!("cp '{}' \"$1/src/build\"", script.display()),
        "cd \"$1/src\" && APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" \
         apt-get -q -o APT::Sandbox::User=root --download-only source xen >/dev/null"
            .to_owned(),
        "chroot \"$1\" sh /src/build".to_owned(),
    ]
    .map(|hook| format!("--customize-hook={hook}"));
    let mut more = vec!["--variant=apt"];
    more.extend(hooks.iter().map(String::as_str));
    image::bootstrap(&root, &debian::with_sources(debian::sources()?), &COMPILER, &more)?;
    fs::copy(root.join("src/hypervisor"), folder.join("xen")).map_err(LabError::io("keep the hypervisor"))?;
    fs::remove_file(&script).map_err(LabError::io("remove the build script"))?;
    for part in ["root", "package", "debs"] {
        fs::remove_dir_all(folder.join(part)).map_err(LabError::io(format!("remove {part}")))?;
    }
    Ok(())
}
