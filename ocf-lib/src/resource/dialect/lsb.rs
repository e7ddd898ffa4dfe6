//! LSB init script: parameters from `/etc/default/NAME` or `/etc/sysconfig/NAME`, LSB actions and codes
//! (LSB 5.0 core, "Init Script Actions").

use crate::env::Env;
use crate::resource::agent::Verb;
use crate::resource::code::Code;
use std::path::{Path, PathBuf};

/// Reads the first configuration file that exists. A variable may be written as the parameter's name
/// or with `OCF_RESKEY_` before it.
pub(super) fn translate(files: &[PathBuf], mut env: Env) -> Env {
    let text = files.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
    for line in String::from_utf8_lossy(&text).lines() {
        if let Some((name, value)) = assignment(line) {
            let name = if name.starts_with("OCF_") { name.to_owned() } else { format!("OCF_RESKEY_{name}") };
            env.set(name, value);
        }
    }
    if !env.is_set("OCF_RESOURCE_INSTANCE") {
        let name = files.first().and_then(|path| Path::new(path).file_name()).unwrap_or_default();
        env.set("OCF_RESOURCE_INSTANCE", name);
    }
    env
}

/// `name=value` with optional `export` and one pair of quotes; nothing is expanded or executed.
fn assignment(line: &str) -> Option<(&str, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=')?;
    if name.is_empty()
        || name.starts_with('#')
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    {
        return None;
    }
    let quoted = |quote: char| {
        value.trim().strip_prefix(quote).and_then(|rest| rest.split_once(quote)).map(|(v, _)| v)
    };
    let value = quoted('"')
        .or_else(|| quoted('\''))
        .unwrap_or_else(|| value.split(" #").next().unwrap_or(value).trim());
    Some((name, value.to_owned()))
}

pub(super) fn verb(word: &str) -> Option<Verb> {
    match word {
        "start" => Some(Verb::Start),
        "stop" => Some(Verb::Stop),
        "status" => Some(Verb::Status),
        "restart" | "force-reload" | "try-restart" => Some(Verb::Restart),
        other => Verb::parse(other),
    }
}

pub(super) fn exit_code(verb: Verb, code: Code) -> u8 {
    if verb != Verb::Status {
        // The codes 0 to 7 have the same meaning; a promoted or degraded resource is started.
        return match code {
            Code::RunningPromoted | Code::Degraded | Code::DegradedPromoted => 0,
            Code::FailedPromoted => 1,
            Code::Success
            | Code::Generic
            | Code::Args
            | Code::Unimplemented
            | Code::Perm
            | Code::Installed
            | Code::Configured
            | Code::NotRunning => code.number(),
        };
    }
    match code {
        Code::Success | Code::RunningPromoted | Code::Degraded | Code::DegradedPromoted => 0,
        Code::NotRunning => 3,
        Code::Generic
        | Code::Args
        | Code::Unimplemented
        | Code::Perm
        | Code::Installed
        | Code::Configured
        | Code::FailedPromoted => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_assignments_without_running_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vip");
        std::fs::write(&path, "# c\nip=10.0.0.1 # the one\nexport nic=\"eth0\"\nbad name=1\nOCF_CHECK_LEVEL=10\niflabel='a b'\nx=$(id)\n").unwrap();
        let env = translate(&[path], Env::default());
        assert_eq!(env.get("OCF_RESKEY_ip"), Some("10.0.0.1"));
        assert_eq!(env.get("OCF_RESKEY_nic"), Some("eth0"));
        assert_eq!(env.get("OCF_RESKEY_iflabel"), Some("a b"));
        assert_eq!(env.get("OCF_RESKEY_x"), Some("$(id)"));
        assert_eq!(env.get("OCF_CHECK_LEVEL"), Some("10"));
        assert_eq!(env.get("OCF_RESOURCE_INSTANCE"), Some("vip"));
    }

    #[test]
    fn status_speaks_lsb() {
        let codes = [Code::Success, Code::NotRunning, Code::Generic, Code::RunningPromoted];
        assert_eq!(codes.map(|code| exit_code(Verb::Status, code)), [0, 3, 4, 0]);
        assert_eq!(exit_code(Verb::Start, Code::Configured), 6);
    }
}
