//! What the guests are made of: the files of `tests/lab`, and the name under which the result is kept.

use super::debian;
use super::failure::LabError;
use sha2::{Digest as _, Sha256};

pub(crate) const INITRAMFS_INIT: &str = include_str!("../../lab/initramfs-init");
pub(crate) const GUEST_INIT: &str = include_str!("../../lab/guest-init");
/// Handed in at every restore: no part of the image.
pub(crate) const GUEST_WAKE: &str = include_str!("../../lab/guest-wake");
/// Run before the snapshot.
pub(crate) const GUEST_WARM: &str = include_str!("../../lab/guest-warm");
/// Run in both guests of a cluster, and before its snapshots.
pub(crate) const CLUSTER_START: &str = include_str!("../../lab/cluster-start");
pub(crate) const CLUSTER_REST: &str = include_str!("../../lab/cluster-rest");
/// Run before the snapshot of guests with OpenZFS.
pub(crate) const ZFS_START: &str = include_str!("../../lab/zfs-start");
/// Run before the snapshot of Xen hosts.
pub(crate) const XEN_START: &str = include_str!("../../lab/xen/host-start");
pub(crate) const UDEV_RULES: &str = include_str!("../../lab/udev.rules");
/// In the place of sg3-utils' rules.
pub(crate) const NO_SG3_RULES: &str =
    "# Nine programs for each event of each disk, for names that scsi_id makes as well.\n";
const PACKAGES: &str = include_str!("../../lab/packages.txt");
const MODULES: &str = include_str!("../../lab/modules.txt");
const INITRAMFS_MODULES: &str = include_str!("../../lab/initramfs-modules.txt");
/// Raised when what is made of the same files changes.
const EDITION: &str = "1";

/// The packages of the guests.
pub(crate) fn packages() -> Vec<&'static str> {
    words(PACKAGES)
}

/// The modules that are loaded before the snapshot.
pub(crate) fn modules() -> Vec<&'static str> {
    words(MODULES)
}

/// The modules of the initramfs.
pub(crate) fn initramfs_modules() -> Vec<&'static str> {
    words(INITRAMFS_MODULES)
}

/// The content's name: of the packages' versions and of every file that goes in.
pub(crate) fn key(kernel: &str) -> Result<String, LabError> {
    let mut packages = packages();
    packages.push(kernel);
    let versions = debian::candidates(&packages)?.join("\n");
    let files = [INITRAMFS_INIT, GUEST_INIT, UDEV_RULES, NO_SG3_RULES, MODULES, INITRAMFS_MODULES];
    Ok(digest(&[&[EDITION, &versions], files.as_slice()].concat()))
}

/// Twelve characters for these texts, each with its length so that nothing moves from one to the next.
pub(crate) fn digest(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hex(hash.finalize().get(..6).unwrap_or_default())
}

/// Two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

pub(crate) fn words(text: &'static str) -> Vec<&'static str> {
    text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_packages() {
        assert_eq!(words("# none of these\na b\n# c\n d\n"), ["a", "b", "d"]);
        assert!(packages().contains(&"drbd-utils") && modules().contains(&"drbd"));
    }

    #[test]
    fn a_digest_tells_where_a_text_ends() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&["ab"]).len(), 12);
    }
}
