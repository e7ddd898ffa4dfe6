//! OpenZFS, which Debian has as source only: its module built once for the guests' kernel, with its programs, as a second image that
//! lies over the root of the guests that ask for it.

use super::failure::LabError;
use super::image::Image;
use super::machine::Over;
use super::{cache, debian, image, recipe, tool};
use std::fs;
use std::path::Path;

/// Raised when the same versions give another layer.
const EDITION: &str = "1";

/// The layer for this image's kernel; made, in about five minutes of two idle processors, if it is not kept.
///
/// Its name does not tell the version of OpenZFS, which only a look into the archives would: the layer follows the kernel.
pub(crate) fn ready(image: &Image, say: &dyn Fn(&str)) -> Result<Over, LabError> {
    let release = image.release()?;
    let name =
        format!("zfs-{}", recipe::digest(&[EDITION, &debian::candidates(&[&kernel_of(&release)])?.concat()]));
    let folder = cache::kept(&cache::folder()?, &name, |folder| {
        say(&format!("OpenZFS: building the module for {release} (minutes)"));
        make(folder, &release)
    })?;
    Ok(Over { name: "zfs", layer: folder.join("zfs.erofs"), hypervisor: None, start: recipe::ZFS_START })
}

fn kernel_of(release: &str) -> String {
    format!("linux-image-{release}")
}

fn make(folder: &Path, release: &str) -> Result<(), LabError> {
    let root = folder.join("root");
    let archives = debian::with_contrib(debian::backports()?);
    let suite = archives.suite.trim_end_matches("-backports").to_owned();
    let headers = format!("linux-headers-{release}");
    let backports = format!("--aptopt=APT::Default-Release \"{}\"", archives.suite);
    let build = format!("--customize-hook=chroot \"$1\" dkms autoinstall -k {release}");
    image::bootstrap(
        &root,
        &debian::Sources { suite, lines: archives.lines },
        &[&headers, "zfs-dkms", "zfsutils-linux"],
        &["--variant=apt", &backports, &build],
    )?;
    let layer = folder.join("layer");
    let modules = format!("usr/lib/modules/{release}/updates/dkms");
    for module in ["spl.ko", "zfs.ko"] {
        let file = format!("{modules}/{module}");
        tool::run("chroot", &[root.as_os_str(), "strip".as_ref(), "-g".as_ref(), file.as_ref()])?;
        copy(&root, &file, &layer)?;
    }
    for file in files(&root)? {
        copy(&root, &file, &layer)?;
    }
    let image = folder.join("zfs.erofs");
    tool::run("mkfs.erofs", &["--quiet".as_ref(), image.as_os_str(), layer.as_os_str()])?;
    for part in [root, layer] {
        fs::remove_dir_all(&part).map_err(LabError::io(format!("remove {}", part.display())))?;
    }
    Ok(())
}

/// What the packages of OpenZFS's programs and libraries have brought, relative to the root.
fn files(root: &Path) -> Result<Vec<String>, LabError> {
    let database = root.join("var/lib/dpkg");
    let listing = tool::run(
        "dpkg-query",
        &[
            "--admindir".as_ref(),
            database.as_os_str(),
            "-W".as_ref(),
            "-f".as_ref(),
            "${source:Package} ${binary:Package}\n".as_ref(),
        ],
    )?;
    let mut files = Vec::new();
    for package in of_zfs(&listing) {
        let list = tool::run(
            "dpkg-query",
            &["--admindir".as_ref(), database.as_os_str(), "-L".as_ref(), package.as_ref()],
        )?;
        files.extend(
            list.lines()
                .filter_map(merged)
                .filter(|file| root.join(file).symlink_metadata().is_ok_and(|about| !about.is_dir())),
        );
    }
    Ok(files)
}

fn of_zfs(listing: &str) -> Vec<&str> {
    let packages = listing.lines().filter_map(|line| line.strip_prefix("zfs-linux "));
    packages.filter(|package| !package.starts_with("zfs-dkms")).collect()
}

/// The path below the root with its real folder: `/lib` and its like are links, which a folder in a layer would hide.
fn merged(path: &str) -> Option<String> {
    let path = path.strip_prefix('/')?;
    let of_usr = ["bin/", "sbin/", "lib/", "lib64/"].iter().any(|folder| path.starts_with(folder));
    Some(if of_usr { format!("usr/{path}") } else { path.to_owned() })
}

fn copy(root: &Path, file: &str, layer: &Path) -> Result<(), LabError> {
    let to = layer.join(file);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(LabError::io(format!("make {}", parent.display())))?;
    }
    tool::run("cp", &["-a".as_ref(), root.join(file).as_os_str(), to.as_os_str()]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_by_their_real_folders() {
        assert_eq!(merged("/lib/udev/rules.d/x").unwrap(), "usr/lib/udev/rules.d/x");
        assert_eq!(merged("/etc/zfs/y").unwrap(), "etc/zfs/y");
        assert_eq!(merged("diverted by z"), None);
    }

    #[test]
    fn programs_and_libraries_are_taken_and_the_source_is_not() {
        let listing =
            "zfs-linux libzfs6linux:amd64\nzfs-linux zfs-dkms\nglibc libc6:amd64\nzfs-linux zfsutils-linux\n";
        assert_eq!(of_zfs(listing), ["libzfs6linux:amd64", "zfsutils-linux"]);
    }
}
