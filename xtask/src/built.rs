//! The agents that cargo built, asked who they are. There is no table of agents anywhere: a new file in
//! `agents/src/bin` or `fence/src/bin` is found here by itself.

use crate::metadata::{self, Metadata};
use crate::process::{self, cargo};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Which family an agent belongs to: decides how it is asked and where it is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Resource,
    Fence,
}

/// How it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Release,
    Dev,
}

impl Profile {
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "release" => Ok(Self::Release),
            "dev" | "debug" => Ok(Self::Dev),
            other => Err(format!("no such profile: {other} (release or dev)")),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }
}

/// One built agent.
#[derive(Clone, Debug)]
pub struct Built {
    pub kind: Kind,
    pub file: PathBuf,
    /// Under which the agent is installed.
    pub name: String,
    pub metadata: Metadata,
    /// Names under which it is a plugin of Heartbeat's `stonith`.
    pub external: Vec<String>,
    /// Names in `/usr/share/cluster` under which it is a check of the watchdog.
    pub checks: Vec<String>,
    /// Names in `/usr/sbin` under which it is a program for an operator.
    pub programs: Vec<String>,
}

/// Builds all agents and asks each of them.
pub fn agents(profile: Profile) -> Result<Vec<Built>, String> {
    let mut agents = executables(profile)?
        .into_iter()
        .map(|(kind, file)| ask(kind, &file))
        .collect::<Result<Vec<_>, _>>()?;
    if agents.is_empty() {
        return Err("no agent was built: are there files in agents/src/bin and fence/src/bin?".to_owned());
    }
    agents.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    for pair in agents.windows(2) {
        if let [a, b] = pair
            && a.name == b.name
        {
            return Err(format!(
                "{} and {} both say they are {}",
                a.file.display(),
                b.file.display(),
                a.name
            ));
        }
    }
    Ok(agents)
}

/// How released resource agents are linked. A monitor runs every few seconds for ever: without the dynamic
/// loader that of `IPaddr2` takes 0.58 ms instead of 0.81. It costs the names of users and hosts (NSS loads modules at
/// run time), which no resource agent asks for; fence agents take host names and are linked dynamically.
pub const STATIC: &str = "-Ctarget-feature=+crt-static";

fn executables(profile: Profile) -> Result<Vec<(Kind, PathBuf)>, String> {
    match profile {
        Profile::Dev => build(profile, &["--package", "ringfence-agents", "--package", "ringfence-fence"]),
        Profile::Release => {
            let host = host()?;
            let flags = format!("target.{host}.rustflags=[\"{STATIC}\"]");
            // A named target: procedural macros, which are loaded by the compiler, cannot be static.
            let mut found =
                build(profile, &["--package", "ringfence-agents", "--target", &host, "--config", &flags])?;
            found.extend(build(profile, &["--package", "ringfence-fence"])?);
            Ok(found)
        }
    }
}

/// Builds the judge of agents, and answers its program.
pub fn judge(profile: Profile) -> Result<PathBuf, String> {
    let messages = messages(profile, &["--package", "ringfence-conformance", "--bins"])?;
    let found = artifacts(&messages).find_map(|(_, executable)| executable);
    found.ok_or_else(|| "cargo built no ringfence-conformance".to_owned())
}

fn build(profile: Profile, what: &[&str]) -> Result<Vec<(Kind, PathBuf)>, String> {
    messages(profile, what).map(|messages| parse_messages(&messages))
}

fn messages(profile: Profile, what: &[&str]) -> Result<String, String> {
    let mut build = cargo();
    build
        .args(["build", "--profile", profile.word(), "--message-format", "json-render-diagnostics"])
        .args(what);
    let child = build.stderr(Stdio::inherit()).output().map_err(|why| format!("cannot run cargo: {why}"))?;
    if !child.status.success() {
        return Err("it does not compile".to_owned());
    }
    Ok(String::from_utf8_lossy(&child.stdout).into_owned())
}

/// The target triple of this machine.
fn host() -> Result<String, String> {
    let rustc = process::env_value("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = process::output_of(process::command(rustc).arg("-vV"))?;
    host_of(&version).ok_or_else(|| "rustc -vV names no host".to_owned())
}

fn host_of(version: &str) -> Option<String> {
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(|host| host.trim().to_owned())
}

/// The agents in cargo's JSON messages.
fn parse_messages(lines: &str) -> Vec<(Kind, PathBuf)> {
    artifacts(lines)
        .filter_map(|(package, executable)| {
            let kind = if package.contains("ringfence-agents") {
                Kind::Resource
            } else if package.contains("ringfence-fence") {
                Kind::Fence
            } else {
                return None;
            };
            Some((kind, executable?))
        })
        .collect()
}

/// Package and executable of everything that cargo says it built.
fn artifacts(lines: &str) -> impl Iterator<Item = (String, Option<PathBuf>)> {
    lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message.get("reason").and_then(Value::as_str) == Some("compiler-artifact"))
        .filter_map(|message| {
            let executable = message.get("executable").and_then(Value::as_str).map(PathBuf::from);
            Some((message.get("package_id")?.as_str()?.to_owned(), executable))
        })
}

/// A call of an agent with an environment that says nothing: what it tells is the same on every machine.
pub fn bare(file: &Path) -> Command {
    let mut command = process::command(file);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("OCF_ROOT", "/usr/lib/ocf");
    command
}

fn ask(kind: Kind, file: &Path) -> Result<Built, String> {
    let mut call = bare(file);
    match kind {
        Kind::Resource => {
            call.env("OCF_RA_VERSION_MAJOR", "1").env("OCF_RA_VERSION_MINOR", "1").arg("meta-data")
        }
        Kind::Fence => call.args(["-o", "metadata"]),
    };
    let text = process::output_of(&mut call)?;
    let metadata = metadata::parse(&text).map_err(|why| format!("{}: {why}", file.display()))?;
    let names = |folder: &str| if kind == Kind::Fence { names_in(file, folder) } else { Vec::new() };
    let external = names("/usr/lib/stonith/plugins/external");
    let checks = names("/usr/share/cluster");
    let programs = names("/usr/sbin");
    for name in std::iter::once(&metadata.name)
        .chain(metadata.symlinks.iter().map(|(name, _)| name))
        .chain(&external)
        .chain(&checks)
        .chain(&programs)
    {
        if !is_file_name(name) {
            return Err(format!("{} says it is '{name}', which cannot be a file's name", file.display()));
        }
    }
    let name = metadata.name.clone();
    Ok(Built { kind, file: file.to_owned(), name, metadata, external, checks, programs })
}

/// Asked as a plugin is: by the folder it is called from. An agent that does not answer is none.
fn names_in(file: &Path, folder: &str) -> Vec<String> {
    process::output_of(bare(file).arg0(format!("{folder}/ask")).arg("getinfo-name"))
        .map(|names| names.split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default()
}

fn is_file_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_in_cargos_messages() {
        let lines = concat!(
            r#"{"reason":"compiler-artifact","package_id":"path+file:///x/agents#ringfence-agents@0.1.0","executable":"/t/dummy"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","package_id":"path+file:///x/agents#ringfence-agents@0.1.0","executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","package_id":"path+file:///x/fence#ringfence-fence@0.1.0","executable":"/t/fence_x"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","package_id":"registry#other@1","executable":"/t/other"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(
            parse_messages(lines),
            [(Kind::Resource, PathBuf::from("/t/dummy")), (Kind::Fence, PathBuf::from("/t/fence_x"))]
        );
    }

    #[test]
    fn the_host_is_rustcs() {
        assert_eq!(
            host_of("rustc 1\nhost: x86_64-unknown-linux-gnu\nrelease: 1\n").unwrap(),
            "x86_64-unknown-linux-gnu"
        );
        assert_eq!(host_of("rustc 1\n"), None);
    }

    #[test]
    fn a_name_cannot_lead_out_of_its_folder() {
        assert!(is_file_name("IPaddr2") && is_file_name("fence_ipmilan"));
        for bad in ["", "../x", "a/b", ".hidden", "a b"] {
            assert!(!is_file_name(bad), "{bad}");
        }
    }
}
