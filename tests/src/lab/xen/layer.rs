//! What a Xen host has beyond an ordinary guest: Debian's tools for the hypervisor, and a tiny guest to run on it.

use super::super::failure::LabError;
use super::super::image::Image;
use super::super::{cache, debian, image, recipe, tool};
use std::fs;
use std::path::{Path, PathBuf};

/// Beside the closure of the tools: their version is not in these names.
const TOOLS: [&str; 4] =
    ["libvirt-clients", "libvirt-daemon-driver-xen", "xen-utils-common", "xenstore-utils"];
/// Of all that the tools and libvirt need this is not in the root already.
const FAMILIES: [&str; 10] = [
    "libcurl3",
    "libncurses6",
    "libpcap",
    "libpciaccess",
    "libssh-4",
    "libvirt",
    "libxen",
    "libyajl",
    "xen-utils",
    "xenstore-utils",
];
/// libvirt's daemon depends on it, and runs without.
const OTHER_DRIVER: &str = "libvirt-daemon-driver-qemu";

/// Where they come to lie in the root, mode and text.
const FILES: [(&str, u32, &str); 5] = [
    ("usr/bin/ssh", 0o755, include_str!("../../../lab/xen/ssh")),
    ("usr/sbin/lab-sshd", 0o755, include_str!("../../../lab/xen/sshd")),
    ("usr/lib/lab/xen/init", 0o755, include_str!("../../../lab/xen/guest-init")),
    ("usr/lib/lab/xen/power", 0o755, include_str!("../../../lab/xen/guest-power")),
    ("usr/sbin/lab-xen-guest", 0o755, include_str!("../../../lab/xen/guest-make")),
];

/// The image of the layer for the hypervisor of this package; made if it is not kept.
pub(super) fn ready(image: &Image, hypervisor: &str, say: &dyn Fn(&str)) -> Result<PathBuf, LabError> {
    let of_version = hypervisor.replace("xen-hypervisor-", "xen-utils-");
    let tools = [&[of_version.trim_end_matches("-amd64")], TOOLS.as_slice()].concat();
    let mut packages = debian::closure(&tools)?;
    packages.retain(|name| name != OTHER_DRIVER && FAMILIES.iter().any(|family| name.starts_with(family)));
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let release = image.release()?;
    let mut parts = vec![debian::candidates(&packages)?.join("\n"), release];
    parts
        .extend(FILES.iter().flat_map(|(name, mode, text)| [format!("{name} {mode:o}"), (*text).to_owned()]));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let folder = cache::kept(&cache::folder()?, &format!("xen-{}", recipe::digest(&parts)), |folder| {
        say(&format!("Xen: {} packages of tools", packages.len()));
        make(folder, image, &packages)
    })?;
    Ok(folder.join("xen.erofs"))
}

fn make(folder: &Path, image: &Image, packages: &[&str]) -> Result<(), LabError> {
    let (unpacked, layer) = (folder.join("unpacked"), folder.join("layer"));
    for file in debian::download(packages, &folder.join("debs"))? {
        tool::run("dpkg-deb", &["-x".as_ref(), file.as_os_str(), unpacked.as_os_str()])?;
    }
    for part in fs::read_dir(&unpacked).map_err(LabError::io("read the tools"))?.flatten() {
        // /lib and its like are links, which a folder in a layer would hide.
        let name = part.file_name();
        let of_usr = ["bin", "sbin", "lib", "lib64"].iter().any(|folder| name == *folder);
        let to = if of_usr { layer.join("usr").join(&name) } else { layer.join(&name) };
        fs::create_dir_all(&to).map_err(LabError::io(format!("make {}", to.display())))?;
        let from = part.path().join(".");
        tool::run("cp", &["-a".as_ref(), from.as_os_str(), to.as_os_str()])?;
    }
    for (name, mode, text) in FILES {
        let path = layer.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(LabError::io(format!("make {}", parent.display())))?;
        }
        image::write(&path, text, mode)?;
    }
    fs::copy(image.kernel(), layer.join("usr/lib/lab/xen/kernel"))
        .map_err(LabError::io("copy the kernel"))?;
    let file = folder.join("xen.erofs");
    tool::run("mkfs.erofs", &["--quiet".as_ref(), file.as_os_str(), layer.as_os_str()])?;
    for part in [&unpacked, &layer, &folder.join("debs")] {
        fs::remove_dir_all(part).map_err(LabError::io(format!("remove {}", part.display())))?;
    }
    Ok(())
}
