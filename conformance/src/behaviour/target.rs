//! The words of cases about iSCSI targets: a real tgtd in the trial's host, tgtadm as its administrator and observer,
//! libiscsi as an initiator.

use crate::call::pause;
use crate::tool;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A unit as an initiator tries to reach it, on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// `iqn.../1`.
    name: String,
    /// The initiator's own name.
    initiator: Option<String>,
    /// `USER%PASSWORD`.
    account: Option<String>,
}

/// Behind `observe unit`: IQN/LUN, then `as NAME`, `with USER%PASSWORD`.
pub fn unit(words: &[&str]) -> Result<Unit, String> {
    let mut unit = Unit::default();
    let mut words = match words {
        [name, rest @ ..] if name.contains('/') => {
            (*name).clone_into(&mut unit.name);
            rest
        }
        _ => return Err("'observe unit' takes: IQN/LUN [as INITIATOR] [with USER%PASSWORD]".to_owned()),
    };
    loop {
        words = match words {
            [] => return Ok(unit),
            ["as", name, rest @ ..] => {
                unit.initiator = Some((*name).to_owned());
                rest
            }
            ["with", account, rest @ ..] => {
                unit.account = Some((*account).to_owned());
                rest
            }
            [other, ..] => {
                return Err(format!("'{other}': a unit is observed as INITIATOR, with USER%PASSWORD"));
            }
        };
    }
}

/// Starts tgtd and waits until it answers. It ends with the trial's host.
pub fn start() -> Result<(), String> {
    if !tool::is_there("tgtd") {
        return Err("needs tgtd (package tgt), which is not installed".to_owned());
    }
    tool::output("ip", &["link", "set", "lo", "up"])?;
    std::fs::create_dir_all("/run/tgtd").map_err(|why| format!("/run/tgtd: {why}"))?;
    #[allow(
        clippy::disallowed_methods,
        clippy::zombie_processes,
        reason = "the judge is its own program; the host's first process is its parent"
    )]
    Command::new("/usr/sbin/tgtd")
        .arg("-f")
        .env_remove("TGT_IPC_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|why| format!("start tgtd: {why}"))?;
    let until = Instant::now() + Duration::from_secs(10);
    while let Err(why) = administer(&["--mode", "sys", "--op", "show"]) {
        if Instant::now() > until {
            return Err(format!("tgtd does not answer: {why}"));
        }
        pause(Duration::from_millis(10));
    }
    Ok(())
}

/// A call of tgtadm.
pub fn administer(words: &[&str]) -> Result<String, String> {
    tool::output("tgtadm", &[&["--lld", "iscsi"], words].concat())
}

/// Whether tgtd shows this line; and all that it shows.
pub fn shows(line: &str) -> Result<(bool, String), String> {
    let shown = administer(&["--mode", "target", "--op", "show"])?;
    Ok((shown.lines().any(|own| own.trim() == line), shown.replace('\n', "; ")))
}

/// Whether an initiator reaches the unit; and what it says.
pub fn reach(unit: &Unit) -> Result<(bool, String), String> {
    if !tool::is_there("iscsi-inq") {
        return Err("needs iscsi-inq (package libiscsi-bin), which is not installed".to_owned());
    }
    let account = unit.account.as_deref().map_or_else(String::new, |account| format!("{account}@"));
    let url = format!("iscsi://{account}127.0.0.1:3260/{}", unit.name);
    let name = unit.initiator.as_deref().map(|name| vec!["-i", name]).unwrap_or_default();
    // Its own wait for a target that refuses it has no end.
    let words = [&["5", "iscsi-inq"], name.as_slice(), &[url.as_str()]].concat();
    Ok(match tool::output("timeout", &words) {
        Ok(said) => (said.contains("Peripheral Device Type:DIRECT_ACCESS"), said.replace('\n', "; ")),
        Err(why) => (false, why.replace('\n', "; ")),
    })
}

#[cfg(test)]
mod tests {
    use super::unit;

    #[test]
    fn a_unit_in_words() {
        let whole = unit(&["iqn.x/1", "as", "iqn.me", "with", "u%p"]).unwrap();
        assert_eq!(
            (whole.name.as_str(), whole.initiator.as_deref(), whole.account.as_deref()),
            ("iqn.x/1", Some("iqn.me"), Some("u%p"))
        );
        assert!(unit(&["iqn.x"]).is_err() && unit(&["iqn.x/1", "like", "me"]).is_err());
    }
}
