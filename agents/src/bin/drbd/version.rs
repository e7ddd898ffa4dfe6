//! Version of DRBD's kernel module.

use ocf_lib::resource::param::{Content, FromParam};

/// `x.y.z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromParam for Version {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        Self::of(text).ok_or_else(|| format!("'{text}' is not a version, as 9.0.16"))
    }
}

impl Version {
    /// Three numbers exactly; `modinfo` may add `-1` or `~rc.1` to the last.
    fn of(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        let version = Self(parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(version)
    }

    /// Of the loaded module, in what `drbdadm --version` prints: `DRBD_KERNEL_VERSION_CODE=0x08040b`; `None` if none is loaded.
    pub fn of_drbdadm(text: &str) -> Option<Self> {
        let code = text.lines().find_map(|line| line.trim().strip_prefix("DRBD_KERNEL_VERSION_CODE=0x"))?;
        match u32::from_str_radix(code.trim(), 16).ok()? {
            0 => None,
            code => Some(Self(code >> 16, (code >> 8) & 0xff, code & 0xff)),
        }
    }

    /// Of the module that would be loaded, in what `modinfo -F version drbd` prints.
    pub fn of_modinfo(text: &str) -> Option<Self> {
        Self::of(text.trim().split(['-', '~', '+']).next()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaded_module_is_told_by_its_code() {
        // Recorded: drbd-utils 9.22 with the module of Linux 6.1.
        let recorded =
            "DRBDADM_API_VERSION=1\nDRBD_KERNEL_VERSION_CODE=0x08040b\nDRBDADM_VERSION_CODE=0x091600\n";
        assert_eq!(Version::of_drbdadm(recorded), Some(Version(8, 4, 11)));
        assert_eq!(Version::of_drbdadm("DRBD_KERNEL_VERSION_CODE=0x000000\n"), None);
        assert_eq!(Version::of_drbdadm("DRBD_KERNEL_VERSION_CODE=0x090110\n"), Some(Version(9, 1, 16)));
        assert_eq!(Version::of_drbdadm("garbage"), None);
    }

    #[test]
    fn the_module_on_disk_is_told_by_modinfo() {
        assert_eq!(Version::of_modinfo("8.4.11\n"), Some(Version(8, 4, 11)));
        assert_eq!(Version::of_modinfo("9.2.0-rc.4\n"), Some(Version(9, 2, 0)));
        assert_eq!(Version::of_modinfo("\n"), None);
    }

    #[test]
    fn a_parameter_has_three_numbers() {
        assert_eq!(Version::from_param("9.0.16"), Ok(Version(9, 0, 16)));
        for wrong in ["9", "9.0", "9.0.1.2", "nine", "9.0.x"] {
            assert!(Version::from_param(wrong).is_err(), "{wrong}");
        }
        assert!(Version(8, 4, 11) < Version(9, 0, 0));
    }
}
