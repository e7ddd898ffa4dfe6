//! The place where a case plays: the peer at the other end of the cable, and what is given.

use super::language::Given;
use super::parse::{PEER, other_end};
use super::target;
use crate::call::{Call, pause};
use crate::tool;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Puts `judge1` to the peer (192.0.2.254/24, `2001:db8::fe/64`) and waits until the cable is up. No link-local addresses: what
/// the kernel does about them by itself is no part of a case.
pub fn network() -> Result<(), String> {
    fs::create_dir_all("/run/netns").map_err(|why| format!("/run/netns: {why}"))?;
    for call in [
        "netns add peer",
        "link set judge0 down",
        "link set judge0 addrgenmode none",
        "link set judge1 netns peer",
        "-n peer link set judge1 addrgenmode none",
        "-n peer link set judge1 up",
        "link set judge0 up",
        "address flush dev judge0",
        "address add 192.0.2.1/24 broadcast + dev judge0",
        "address add 2001:db8::1/64 dev judge0 nodad",
        "-n peer address add 192.0.2.254/24 dev judge1",
        "-n peer address add 2001:db8::fe/64 dev judge1 nodad",
    ] {
        ip(&call.split(' ').collect::<Vec<_>>())?;
    }
    settle("judge0", true)?;
    routes_are_made();
    Ok(())
}

/// The kernel makes an IPv6 address' local route a moment after the address, in a worker of its own: a case that looks at all
/// routes before and after a call would find it among what the call has left.
pub fn routes_are_made() {
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let Ok(links) = ip_json(&["-6", "address", "show", "up"]) else { return };
        let Ok(routes) = ip(&["-6", "route", "show", "table", "local"]) else { return };
        let entries = links.as_array().into_iter().flatten();
        let mut addresses = entries
            .filter(|link| link.get("operstate").is_some_and(|state| state == "UP"))
            .flat_map(|link| link.get("addr_info").and_then(Value::as_array).into_iter().flatten())
            .filter(|entry| entry.get("tentative").is_none())
            .filter_map(|entry| entry.get("local").and_then(Value::as_str));
        if addresses.all(|address| address == "::1" || routes.contains(&format!("local {address} "))) {
            return;
        }
        pause(Duration::from_millis(5));
    }
}

pub fn ip(words: &[&str]) -> Result<String, String> {
    tool::output("ip", words)
}

/// What `ip -j` answers; nothing at all is an empty list.
pub fn ip_json(words: &[&str]) -> Result<Value, String> {
    let text = ip(&[&["-j"], words].concat())?;
    if text.trim().is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_str(&text).map_err(|why| format!("ip -j {}: {why}", words.join(" ")))
}

/// Whether the link carries, as the kernel says (RFC 2863).
pub fn is_up(name: &str) -> Result<bool, String> {
    Ok(ip_json(&["link", "show", "dev", name])?.pointer("/0/operstate").is_some_and(|state| state == "UP"))
}

/// The kernel tells a change of the carrier a moment later.
fn settle(name: &str, up: bool) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(5);
    while is_up(name)? != up {
        if Instant::now() > until {
            return Err(format!("the link of {name} did not come {}", if up { "up" } else { "down" }));
        }
        pause(Duration::from_millis(10));
    }
    Ok(())
}

/// Makes it so. What concerns calls (environment, user) is put into `call`.
pub fn make(given: &Given, call: &mut Callable) -> Result<(), String> {
    match given {
        Given::Ip(calls) => {
            for words in calls {
                ip(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
            }
        }
        Given::Link { name, up, peer } => {
            let state = if *up { "up" } else { "down" };
            if *peer {
                ip(&["-n", PEER, "link", "set", &other_end(name), state])?;
            } else {
                ip(&["link", "set", name, state])?;
            }
            settle(name, *up)?;
        }
        Given::NoAddress(address) => remove(address)?,
        Given::File { path, text } => {
            let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(path, format!("{text}\n")))
                .map_err(|why| format!("{path}: {why}"))?;
        }
        Given::NoFile(path) => fs::remove_file(path).map_err(|why| format!("{path}: {why}"))?,
        Given::Folder(path) => fs::create_dir_all(path).map_err(|why| format!("{path}: {why}"))?,
        Given::Environment(name, value) => call.environment.push((name.clone(), value.clone())),
        Given::Setting(name, value) => {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            fs::write(&path, value).map_err(|why| format!("{path}: {why}"))?;
        }
        Given::NoProgram(path) => hide(path)?,
        Given::StandIn { name, text } => stand_in(name, text)?,
        Given::Recorder { path, status } => record(path, *status)?,
        Given::Tgtd => target::start()?,
        Given::Tgtadm(words) => {
            target::administer(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Given::Done(line) => {
            tool::output("/bin/sh", &["-c", line])?;
        }
        Given::Nobody => call.nobody = true,
        Given::Pass(span) => pause(*span),
        // It is the case's own: the player has it.
        Given::Device(_) => {}
    }
    Ok(())
}

/// What is given about the calls themselves.
#[derive(Default)]
pub struct Callable {
    environment: Vec<(String, Option<String>)>,
    nobody: bool,
}

impl Callable {
    pub fn applied(&self, call: Call) -> Call {
        let call = self.environment.iter().fold(call, |call, (name, value)| match value {
            Some(value) => call.env(name, value),
            None => call.without(name),
        });
        if self.nobody { call.by_nobody() } else { call }
    }
}

/// By hand, wherever it is.
fn remove(address: &str) -> Result<(), String> {
    let (local, prefix) = address.split_once('/').unwrap_or((address, ""));
    let links = ip_json(&["address", "show"])?;
    for link in links.as_array().into_iter().flatten() {
        for entry in link.get("addr_info").and_then(Value::as_array).into_iter().flatten() {
            let length = entry.get("prefixlen").map(ToString::to_string).unwrap_or_default();
            if entry.get("local").is_some_and(|own| own == local) && (prefix.is_empty() || prefix == length) {
                let dev = link.get("ifname").and_then(Value::as_str).unwrap_or_default();
                ip(&["address", "delete", &format!("{local}/{length}"), "dev", dev])?;
                return Ok(());
            }
        }
    }
    Err(format!("{address} is not there, so nobody can remove it"))
}

/// Where a recorder writes, a line for each call.
pub fn calls_of(program: &str) -> String {
    format!("/run/judge/calls-of-{program}")
}

/// A program above the installed one that notes its arguments, by the shell alone: it changes nothing else.
fn record(path: &str, status: u8) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let name = path.rsplit('/').next().unwrap_or(path);
    let stub = format!("/run/judge/recorder-of-{name}");
    let script = format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >>{}\nexit {status}\n", calls_of(name));
    fs::write(&stub, script)
        .and_then(|()| fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)))
        .map_err(|why| format!("{stub}: {why}"))?;
    let none = None::<&str>;
    nix::mount::mount(Some(stub.as_str()), path, none, nix::mount::MsFlags::MS_BIND, none)
        .map_err(|errno| format!("put a recorder at {path}: {}", errno.desc()))
}

/// Where programs are that no package brings: first in every PATH.
const LOCAL: &str = "/usr/local/sbin";

/// A script above each place where the program is installed; where it is not, in a folder that every PATH has.
fn stand_in(name: &str, text: &str) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let told = |path: &str, why: &dyn std::fmt::Display| format!("put a stand-in at {path}: {why}");
    let script = format!("/run/judge/stand-in-of-{name}");
    fs::write(&script, text)
        .and_then(|()| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)))
        .map_err(|why| told(&script, &why))?;
    let none = None::<&str>;
    let mut found = false;
    for folder in ["/usr/local/bin", "/usr/sbin", "/usr/bin"] {
        let path = format!("{folder}/{name}");
        if Path::new(&path).exists() {
            nix::mount::mount(Some(script.as_str()), path.as_str(), none, nix::mount::MsFlags::MS_BIND, none)
                .map_err(|errno| told(&path, &errno.desc()))?;
            found = true;
        }
    }
    if found {
        return Ok(());
    }
    if fs::write(format!("{LOCAL}/.judge"), "").is_err() {
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), LOCAL, Some("tmpfs"), flags, Some("mode=755"))
            .map_err(|errno| told(LOCAL, &errno.desc()))?;
    }
    let path = format!("{LOCAL}/{name}");
    fs::copy(&script, &path).map(drop).map_err(|why| told(&path, &why))
}

/// Forgets what recorders have noted: a case looks at what the last call has done.
pub fn forget_calls() {
    for entry in fs::read_dir("/run/judge").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("calls-of-") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A file that cannot be executed above the program; one that is not installed is missing already.
fn hide(path: &str) -> Result<(), String> {
    if !Path::new(path).exists() {
        return Ok(());
    }
    fs::write("/run/judge/hidden", "").map_err(|why| format!("/run/judge/hidden: {why}"))?;
    let none = None::<&str>;
    nix::mount::mount(Some("/run/judge/hidden"), path, none, nix::mount::MsFlags::MS_BIND, none)
        .map_err(|errno| format!("hide {path}: {}", errno.desc()))
}
