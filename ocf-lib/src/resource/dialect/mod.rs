//! Which cluster manager is calling, and in which words.
//!
//! The same binary serves all of them; it tells them apart by the folder in `argv[0]`, then by the
//! environment. Each dialect turns its call into the one form the framework works on: a verb and an
//! environment of `OCF_*` variables.

mod heartbeat;
mod lsb;
mod rgmanager;

pub(crate) use rgmanager::{metadata as rgmanager_metadata, still_referenced};

use crate::env::Env;
use crate::resource::agent::Verb;
use crate::resource::code::Code;
use crate::resource::spec::{Foreign, Spec};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// A way of being called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OCF 1.0: the caller does not announce 1.1 (ocf-tester, old managers, HALO, a person).
    Ocf10,
    /// OCF 1.1: the caller announces it, as Pacemaker does.
    Ocf11,
    /// `/usr/share/cluster/NAME.sh`.
    Rgmanager,
    /// `/etc/init.d/NAME`.
    Lsb,
    /// `/etc/ha.d/resource.d/NAME`, arguments first, action last.
    Heartbeat,
}

impl Dialect {
    /// By the folder of `argv0` (relative to `cwd`), then by `OCF_ROOT` and `OCF_RA_VERSION_MINOR`.
    pub fn detect(argv0: &OsStr, cwd: &Path, env: &Env) -> Self {
        let path = cwd.join(argv0);
        let folder: Vec<&str> = path
            .parent()
            .into_iter()
            .flat_map(Path::components)
            .filter_map(|c| c.as_os_str().to_str())
            .collect();
        match folder.as_slice() {
            [.., "share", "cluster"] => return Self::Rgmanager,
            [.., "ha.d", "resource.d"] => return Self::Heartbeat,
            [.., "init.d"] => return Self::Lsb,
            _ => {}
        }
        if env.get("OCF_ROOT").is_some_and(|root| Path::new(root).ends_with("share/cluster")) {
            return Self::Rgmanager;
        }
        let minor: u32 = env.get("OCF_RA_VERSION_MINOR").and_then(|minor| minor.parse().ok()).unwrap_or(0);
        if minor >= 1 { Self::Ocf11 } else { Self::Ocf10 }
    }
}

/// A call in the framework's own form.
pub(crate) struct Call {
    /// `None`: no action was given.
    pub word: Option<String>,
    pub env: Env,
}

/// Translates argv (without argv[0]) and environment of `dialect`.
pub(crate) fn translate(spec: &Spec, dialect: Dialect, argv0: &OsStr, args: &[OsString], env: Env) -> Call {
    let lossy = |arg: &OsString| arg.to_string_lossy().into_owned();
    match dialect {
        Dialect::Ocf10 | Dialect::Ocf11 => Call { word: args.first().map(lossy), env },
        Dialect::Rgmanager => {
            Call { word: args.first().map(lossy), env: rgmanager::translate(spec, args, env) }
        }
        Dialect::Lsb => {
            let name = Path::new(argv0).file_name().unwrap_or_default();
            let files = ["/etc/default", "/etc/sysconfig"].map(|dir| PathBuf::from(dir).join(name));
            Call { word: args.first().map(lossy), env: lsb::translate(&files, env) }
        }
        Dialect::Heartbeat => {
            let (word, arguments) = match args.split_last() {
                Some((last, rest)) => (Some(lossy(last)), rest),
                None => (None, args),
            };
            Call { word, env: heartbeat::translate(spec, arguments, env) }
        }
    }
}

/// The action that a word of `dialect` means.
pub(crate) fn verb(dialect: Dialect, word: &str) -> Option<Verb> {
    match dialect {
        Dialect::Lsb => lsb::verb(word),
        Dialect::Rgmanager => rgmanager::verb(word),
        Dialect::Ocf10 | Dialect::Ocf11 | Dialect::Heartbeat => Verb::parse(word),
    }
}

/// The exit code by which `dialect` says what `code` says in OCF.
pub(crate) fn exit_code(dialect: Dialect, verb: Verb, code: Code) -> u8 {
    match dialect {
        Dialect::Lsb => lsb::exit_code(verb, code),
        Dialect::Rgmanager => rgmanager::exit_code(verb, code),
        Dialect::Ocf10 | Dialect::Ocf11 | Dialect::Heartbeat => code.number(),
    }
}

/// Gives the value of a foreign name to the parameters it stands for. A value that is there already stays.
fn hand_over(env: &mut Env, foreign: &Foreign, value: &OsStr) {
    let parts: Vec<OsString> = match (foreign.separator, value.to_str()) {
        (Some(separator), Some(text)) => {
            text.splitn(foreign.targets.len().max(1), separator).map(OsString::from).collect()
        }
        _ => vec![value.to_owned()],
    };
    for (target, part) in foreign.targets.iter().zip(parts) {
        let name = format!("OCF_RESKEY_{target}");
        if !env.is_set(&name) {
            env.set(name, part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(argv0: &str, pairs: &[(&str, &str)]) -> Dialect {
        Dialect::detect(
            OsStr::new(argv0),
            Path::new("/"),
            &Env::from_pairs(pairs.iter().map(|(k, v)| (*k, *v))),
        )
    }

    #[test]
    fn rgmanager_has_words_of_its_own() {
        for (word, meant) in [("migrate", Verb::MigrateTo), ("reconfig", Verb::ReloadAgent)] {
            assert_eq!(verb(Dialect::Rgmanager, word), Some(meant));
            assert_eq!(verb(Dialect::Ocf11, word), None);
        }
    }

    #[test]
    fn the_folder_tells_then_the_environment() {
        assert_eq!(detect("/usr/lib/ocf/resource.d/ringfence/Dummy", &[]), Dialect::Ocf10);
        assert_eq!(
            detect("/usr/lib/ocf/resource.d/ringfence/Dummy", &[("OCF_RA_VERSION_MINOR", "1")]),
            Dialect::Ocf11
        );
        assert_eq!(detect("/usr/share/cluster/ip.sh", &[]), Dialect::Rgmanager);
        assert_eq!(detect("/opt/agents/ip.sh", &[("OCF_ROOT", "/usr/share/cluster")]), Dialect::Rgmanager);
        assert_eq!(detect("/etc/init.d/vip", &[]), Dialect::Lsb);
        assert_eq!(detect("etc/init.d/vip", &[]), Dialect::Lsb);
        assert_eq!(detect("/etc/ha.d/resource.d/IPaddr2", &[]), Dialect::Heartbeat);
        assert_eq!(detect("IPaddr2", &[]), Dialect::Ocf10);
    }
}
