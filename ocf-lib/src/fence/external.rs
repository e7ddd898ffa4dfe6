//! The dialect of Heartbeat's `external` STONITH plugins: operation and host in argv, parameters in the
//! environment, information on standard output. `stonith(8)` and Pacemaker's `fence_legacy` speak it.

use super::spec::Table;
use super::stdin_input::assign;
use super::values::Given;
use crate::env::Env;
use crate::xml::Element;
use std::os::unix::ffi::OsStrExt;

/// How an agent appears as `external/<name>`.
#[derive(Clone, Copy, Debug)]
pub struct External {
    /// The plugin's name: `ipmi`.
    pub name: &'static str,
    /// One line: becomes the short description.
    pub devid: &'static str,
    pub devdescr: &'static str,
    pub devurl: &'static str,
    /// In the order of `getconfignames`.
    pub params: &'static [ExternalParam],
}

/// One parameter of the plugin.
#[derive(Clone, Copy, Debug)]
pub struct ExternalParam {
    pub name: &'static str,
    pub meaning: Meaning,
    pub required: bool,
    pub unique: bool,
    /// In `getconfignames`; the original leaves some out.
    pub listed: bool,
    pub default: Option<&'static str>,
    pub shortdesc: &'static str,
    pub longdesc: &'static str,
}

/// What the value of a plugin's parameter becomes.
#[derive(Clone, Copy, Debug)]
pub enum Meaning {
    /// The node or nodes that the device controls, separated by blanks or commas.
    Hosts,
    /// The nodes that the device controls, each of which is a plug: the list becomes the value of this option, and the
    /// host of an operation, as the list spells it, the plug.
    Plugs(&'static str),
    /// The value of this option.
    Option(&'static str),
    /// The password itself, or what `passwd_method` says it is: `param`, `env` or a `file`'s name.
    Password(&'static str),
    /// `param`, `env` or `file`.
    PasswordMethod,
    /// One of these words; the option gets the value next to it.
    Words(&'static str, &'static [(&'static str, &'static str)]),
    /// Accepted and not used.
    Ignored,
}

/// A listed parameter that sets an option. Build others with a struct expression.
pub const fn external_param(
    name: &'static str,
    meaning: Meaning,
    required: bool,
    shortdesc: &'static str,
) -> ExternalParam {
    ExternalParam {
        name,
        meaning,
        required,
        unique: false,
        listed: true,
        default: None,
        shortdesc,
        longdesc: shortdesc,
    }
}

/// True when the program lies where external plugins lie, or is called by the plugin's name.
pub fn is_called_so(external: &External, program: &std::path::Path) -> bool {
    program.parent().is_some_and(|dir| dir.ends_with("stonith/plugins/external"))
        || program.file_name().is_some_and(|name| name == external.name)
}

/// What an operation asks for.
pub enum Operation {
    /// Print this and succeed.
    Print(String),
    /// Carry out the action that these options say.
    Run(Given),
}

/// Understands `args` (operation, host) and the parameters in `env`; or says what is wrong.
pub fn operation(
    table: &Table,
    external: &External,
    args: &[String],
    env: &Env,
) -> Result<Operation, String> {
    let op = args.first().map(String::as_str).unwrap_or_default();
    let listed = || external.params.iter().filter(|p| p.listed);
    let line = |text: &str| Ok(Operation::Print(format!("{text}\n")));
    let action = match op {
        "getconfignames" => {
            return Ok(Operation::Print(lines(listed().map(|p| p.name))));
        }
        // Not of the protocol: an installer asks under which name to link the agent.
        "getinfo-name" => return line(external.name),
        "getinfo-devid" => return line(external.devid),
        "getinfo-devname" => {
            let hosts = hosts(external, env);
            return line(
                if hosts.is_empty() {
                    external.devid.to_owned()
                } else {
                    format!("{} {}", external.devid, hosts.join(" "))
                }
                .as_str(),
            );
        }
        "getinfo-devdescr" => return line(external.devdescr),
        "getinfo-devurl" => return line(external.devurl),
        "getinfo-xml" => return Ok(Operation::Print(xml(external))),
        "gethosts" => {
            let hosts = hosts(external, env);
            return if hosts.is_empty() {
                Err("no host is configured".into())
            } else {
                Ok(Operation::Print(lines(hosts.iter().map(String::as_str))))
            };
        }
        "on" => "on",
        "off" => "off",
        "reset" => "reboot",
        "status" => "monitor",
        other => return Err(format!("unknown operation '{other}'")),
    };
    let mut plug = None;
    if op != "status" {
        let hosts = hosts(external, env);
        let host = args.get(1).map(String::as_str).unwrap_or_default();
        if host.is_empty() {
            return Err(format!("{op} needs a host"));
        }
        // stonith(8) gives the host in lower case. Without a list any host is ours, as for the original.
        let ours = hosts.into_iter().find(|h| h.eq_ignore_ascii_case(host));
        let by_plug = external.params.iter().any(|p| matches!(p.meaning, Meaning::Plugs(_)));
        if ours.is_none() && (by_plug || !self::hosts(external, env).is_empty()) {
            return Err(format!("this device does not control host '{host}'"));
        }
        plug = ours.filter(|_| by_plug);
    }
    let mut given = options(table, external, env)?;
    if let Some(plug) = plug {
        given.push("port", "plug", plug.into_bytes());
    }
    given.push("action", "action", action.as_bytes().to_vec());
    Ok(Operation::Run(given))
}

/// Each on a line of its own.
fn lines<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let mut out = String::new();
    for word in words {
        out.push_str(word);
        out.push('\n');
    }
    out
}

fn value<'e>(param: &ExternalParam, env: &'e Env) -> Option<&'e [u8]> {
    env.get_os(param.name).map(OsStrExt::as_bytes).filter(|v| !v.is_empty())
}

fn hosts(external: &External, env: &Env) -> Vec<String> {
    external
        .params
        .iter()
        .filter(|p| matches!(p.meaning, Meaning::Hosts | Meaning::Plugs(_)))
        .filter_map(|p| value(p, env))
        .flat_map(|v| {
            String::from_utf8_lossy(v)
                .split([' ', ',', '\t', '\n'])
                .filter(|h| !h.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

fn options(table: &Table, external: &External, env: &Env) -> Result<Given, String> {
    let mut given = Given::default();
    let method = external
        .params
        .iter()
        .find(|p| matches!(p.meaning, Meaning::PasswordMethod))
        .and_then(|p| value(p, env))
        .unwrap_or(b"param");
    for param in external.params {
        let Some(value) = value(param, env).or(param.default.map(str::as_bytes)) else {
            if param.required {
                return Err(format!("parameter {} is not set", param.name));
            }
            continue;
        };
        match param.meaning {
            Meaning::Option(option) | Meaning::Plugs(option) => assign(table, option, value, &mut given),
            Meaning::Password(option) => match method {
                b"param" | b"env" => assign(table, option, value, &mut given),
                b"file" => assign(table, option, &password_file(value)?, &mut given),
                other => {
                    return Err(format!("{} is none of param, env and file", String::from_utf8_lossy(other)));
                }
            },
            Meaning::Words(option, words) => {
                let word = String::from_utf8_lossy(value);
                let Some((_, ours)) = words.iter().find(|(theirs, _)| *theirs == word) else {
                    let known: Vec<_> = words.iter().map(|(theirs, _)| *theirs).collect();
                    return Err(format!("parameter {} is '{word}': say {}", param.name, known.join(" or ")));
                };
                assign(table, option, ours.as_bytes(), &mut given);
            }
            Meaning::Hosts | Meaning::PasswordMethod | Meaning::Ignored => {}
        }
    }
    Ok(given)
}

/// The first line of the file, which is how ipmitool's `-f` reads it.
fn password_file(name: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name));
    let mut bytes = zeroize::Zeroizing::new(
        std::fs::read(path).map_err(|e| format!("password file {}: {e}", path.display()))?,
    );
    if let Some(end) = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) {
        bytes.truncate(end);
    }
    Ok(bytes)
}

fn xml(external: &External) -> String {
    let flag = |on| if on { "1" } else { "0" };
    Element::new("parameters")
        .children(external.params.iter().filter(|p| p.listed).map(|param| {
            Element::new("parameter")
                .attr("name", param.name)
                .attr("unique", flag(param.unique))
                .attr("required", flag(param.required))
                .child(Element::new("content").attr("type", "string").maybe_attr("default", param.default))
                .child(Element::new("shortdesc").attr("lang", "en").text(param.shortdesc))
                .child(Element::new("longdesc").attr("lang", "en").text(param.longdesc))
        }))
        .to_fragment()
}
