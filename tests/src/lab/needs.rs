//! What the lab needs of the host, and what of it is missing.

use super::machine::QEMU;
use crate::cluster::needs::missing_of;
use std::path::Path;

/// A program, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 14] = [
    (QEMU, "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("mkfs.erofs", "erofs-utils"),
    ("cpio", "cpio"),
    ("xz", "xz-utils"),
    ("find", "findutils"),
    ("depmod", "kmod"),
    ("modprobe", "kmod"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("ip", "iproute2"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("timeout", "coreutils"),
];

/// The Debian packages that the host needs besides the essential ones.
pub const PACKAGES: [&str; 9] = [
    "cpio",
    "erofs-utils",
    "fence-agents",
    "iproute2",
    "kmod",
    "mmdebstrap",
    "qemu-system-x86",
    "util-linux",
    "xz-utils",
];

/// What is missing, one line each; empty when a lab can be opened.
#[must_use]
pub fn missing() -> Vec<String> {
    let mut lines = Vec::new();
    if !cfg!(target_arch = "x86_64") {
        lines.push("an x86-64 machine (the guests are)".to_owned());
    }
    if !nix::unistd::geteuid().is_root() {
        lines.push("root (namespaces, taps)".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        lines.push("/dev/net/tun (modprobe tun; a container without it?)".to_owned());
    }
    lines.extend(missing_of(&PROGRAMS));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_that_debian_does_not_always_have_is_in_a_package_that_is_installed() {
        let always = ["findutils", "apt", "dpkg", "coreutils"];
        for (program, package) in PROGRAMS {
            assert!(always.contains(&package) || PACKAGES.contains(&package), "{program} of {package}");
        }
    }
}
