//! The check that `watchdog(8)` runs from `/etc/watchdog.d`: a host whose key is gone from every one of its disks was
//! fenced, and is to be rebooted. It keeps silent and passes whenever it cannot be sure.
//!
//! Installed as `fence_scsi_check`, `fence_mpath_check` and, for hosts whose daemon cannot reboot them any more, as
//! `..._check_hardreboot`, which resets the machine itself.

use super::device::Places;
use super::key::Key;
use super::lun::Lun;
use super::port::Port;
use super::store::{self, Store};
use ocf_lib::deadline::Deadline;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// For one command to a disk. Upstream's check waits as long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which agent's files are looked at, and what happens in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    pub mpath: bool,
    pub hard: bool,
}

impl Check {
    /// The check that a program of that name is; `None` for the agents themselves.
    pub fn called(program: &Path) -> Option<Self> {
        let name = program.file_name()?.to_str()?;
        match name {
            "fence_scsi_check" => Some(Self { mpath: false, hard: false }),
            "fence_scsi_check_hardreboot" => Some(Self { mpath: false, hard: true }),
            "fence_mpath_check" => Some(Self { mpath: true, hard: false }),
            "fence_mpath_check_hardreboot" => Some(Self { mpath: true, hard: true }),
            _ => None,
        }
    }
}

/// The names of the checks that the agent `name` is, for whoever installs it: it calls the program as one in
/// `/usr/share/cluster` with the word `getinfo-name`. `None` for every other call.
pub fn names(args: &[OsString], name: &str) -> Option<ExitCode> {
    let [program, word] = args else { return None };
    if word != "getinfo-name" || Path::new(program).parent() != Some(Path::new("/usr/share/cluster")) {
        return None;
    }
    let written = writeln!(std::io::stdout(), "{name}_check {name}_check_hardreboot");
    Some(if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `/etc/sysconfig/stonith`, else `/etc/default/stonith`: `retry`, `retry-sleep`, `verbose`, `suppress-errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub retry: u32,
    /// Seconds.
    pub sleep: u64,
    pub verbose: bool,
    pub silent: bool,
}

impl Settings {
    /// Lines `name=value`; what is not understood keeps its default.
    pub fn parse(text: &str) -> Self {
        let mut settings = Self { retry: 0, sleep: 1, verbose: false, silent: false };
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.split_once('=') else { continue };
            let value = value.trim().trim_matches(['"', '\'']);
            let yes = matches!(value.to_ascii_lowercase().as_str(), "1" | "y" | "yes" | "on" | "true");
            match name.trim() {
                "retry" => settings.retry = value.parse().unwrap_or(settings.retry).min(100),
                "retry-sleep" => settings.sleep = value.parse().unwrap_or(settings.sleep).min(3600),
                "verbose" => settings.verbose = yes,
                "suppress-errors" => settings.silent = yes,
                _ => {}
            }
        }
        settings
    }
}

/// What a look at the disks says about this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// At least one disk still lists our key.
    In,
    /// Every disk answered, and none lists it.
    Out,
    /// It cannot be said: nothing was joined, or a disk does not answer.
    Unsure(String),
}

/// Looks at every disk; stops at the first that lists the key.
pub fn look<P: Port>(luns: &mut [Lun<P>], own: impl Fn(&str) -> Option<Key>) -> Finding {
    let mut unsure = None;
    let mut asked = 0;
    for lun in luns {
        let Some(key) = own(&lun.name) else { continue };
        match lun.look() {
            Ok(seen) if seen.has(key) => return Finding::In,
            Ok(_) => asked += 1,
            Err(fault) => unsure = Some(fault.about(&lun.name).to_string()),
        }
    }
    match unsure {
        Some(why) => Finding::Unsure(why),
        None if asked == 0 => Finding::Unsure("this host has joined no device".into()),
        None => Finding::Out,
    }
}

/// The whole program.
pub fn run(check: Check, args: &[OsString], store: &Store, mpath_file: &Path) -> ExitCode {
    let word = |at: usize| args.get(at).and_then(|word| word.to_str());
    if word(1) == Some("repair") {
        // The daemon asks whether the fault can be mended. Its own code back means: it cannot.
        let code = word(2).and_then(|code| code.parse::<u8>().ok()).unwrap_or(1);
        return ExitCode::from(code);
    }
    let config = ["/etc/sysconfig/stonith", "/etc/default/stonith"]
        .iter()
        .find_map(|file| fs::read_to_string(file).ok())
        .unwrap_or_default();
    let settings = Settings::parse(&config);
    let say = |text: &str| {
        let _ = writeln!(std::io::stderr(), "{text}");
    };
    let mut attempt = 0;
    loop {
        let found = once(check, store, mpath_file);
        match &found {
            Finding::Unsure(why) if settings.verbose && !settings.silent => {
                say(&format!("cannot tell: {why}"));
            }
            Finding::In if settings.verbose => say("our key is registered"),
            Finding::In | Finding::Unsure(_) | Finding::Out => {}
        }
        if found != Finding::Out {
            return ExitCode::SUCCESS;
        }
        if attempt >= settings.retry {
            break;
        }
        attempt += 1;
        Deadline::never().sleep(Duration::from_secs(settings.sleep));
    }
    if !settings.silent {
        say("our key is registered on none of our devices: this host was fenced");
    }
    if check.hard {
        reset();
    }
    ExitCode::from(2)
}

fn once(check: Check, store: &Store, mpath_file: &Path) -> Finding {
    let ours: Vec<(String, Key)> = if check.mpath {
        store::mpath_keys(mpath_file).unwrap_or_default()
    } else {
        match (store.key(), store.devices()) {
            (Ok(key), Ok(devices)) => devices.into_iter().map(|device| (device, key)).collect(),
            (Err(why), _) | (_, Err(why)) => return Finding::Unsure(why),
        }
    };
    let devices: Vec<String> = ours.iter().map(|(device, _)| device.clone()).collect();
    match Places::default().luns(&devices, PATIENCE) {
        // Two names of one disk carry the same key.
        Ok(mut luns) => {
            look(&mut luns, |name| ours.iter().find(|(device, _)| device == name).map(|(_, key)| *key))
        }
        Err(why) => Finding::Unsure(why),
    }
}

/// Resets the machine at once, without writing anything to any disk. Should the kernel refuse, the daemon reboots.
fn reset() {
    // SAFETY: reboot(2) with RB_AUTOBOOT takes no pointer. It returns only when it fails.
    let _ = unsafe { libc::reboot(libc::RB_AUTOBOOT) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_which_check_it_is() {
        let called = |name: &str| Check::called(Path::new(name));
        assert_eq!(called("/etc/watchdog.d/fence_scsi_check"), Some(Check { mpath: false, hard: false }));
        assert_eq!(called("fence_mpath_check_hardreboot"), Some(Check { mpath: true, hard: true }));
        assert_eq!(called("/usr/sbin/fence_scsi"), None);
    }

    #[test]
    fn settings_are_forgiving() {
        let text = "# retry=9\nretry=1\nretry-sleep=\"2\"\nverbose=yes\nnonsense\nsuppress-errors=maybe\n";
        assert_eq!(Settings::parse(text), Settings { retry: 1, sleep: 2, verbose: true, silent: false });
        assert_eq!(Settings::parse("retry=-1").retry, 0);
    }
}
