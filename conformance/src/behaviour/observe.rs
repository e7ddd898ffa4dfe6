//! What somebody other than the agent sees: `ip -j`, nft, `/proc`, the files, the ear at the peer.

use super::language::{Address, Kind, Observe, Thing};
use super::parse::PEER;
use super::place::{calls_of, ip, ip_json, is_up};
use super::target;
use super::wire::Ear;
use crate::call::pause;
use crate::tool;
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

/// For how long silence is waited for when a case does not say.
const SILENCE: Duration = Duration::from_millis(500);

/// The eyes of one case.
pub struct Observer {
    pub ear: Option<Ear>,
    /// How it was before the first call.
    pub before: Option<String>,
    pub device: super::fence::Bench,
}

impl Observer {
    /// `Ok(None)`: as it should be. `Ok(Some(what is seen))`: it is not.
    pub fn look(&mut self, observe: &Observe) -> Result<Option<String>, String> {
        let until = Instant::now() + observe.within;
        if observe.not && matches!(observe.thing, Thing::Packet { .. }) {
            pause(observe.within.max(SILENCE));
        }
        loop {
            let (there, seen) = self.see(&observe.thing)?;
            if there != observe.not {
                return Ok(None);
            }
            if Instant::now() >= until {
                return Ok(Some(seen));
            }
            pause(Duration::from_millis(20));
        }
    }

    /// Whether the thing is there, and what is there.
    fn see(&mut self, thing: &Thing) -> Result<(bool, String), String> {
        match thing {
            Thing::Address(wanted) => addresses(wanted),
            Thing::Route { destination, dev, metric } => route(destination, dev.as_deref(), *metric),
            Thing::Link { name, up } => {
                is_up(name).map(|is| (is == *up, if is { "up" } else { "down" }.to_owned()))
            }
            Thing::Rule(text) => {
                let rules = tool::output("nft", &["list", "ruleset"])?;
                Ok((rules.contains(text.as_str()), rules))
            }
            Thing::AddressLabel { prefix, label } => {
                let labels = ip(&["addrlabel", "list"])?;
                let there = labels.lines().any(|line| {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    let whole = format!("{prefix}/128");
                    words.get(1).is_some_and(|own| own == prefix || **own == whole)
                        && words.last() == Some(&label.as_str())
                });
                Ok((there, labels))
            }
            Thing::File { path, holds } => Ok(match (fs::read_to_string(path), holds) {
                (Ok(text), Some(wanted)) => (text.trim_end() == wanted, format!("{text:?}")),
                (Ok(text), None) => (true, format!("{text:?}")),
                (Err(why), _) => (false, why.to_string()),
            }),
            Thing::Mentions { path, text } => Ok(match fs::read_to_string(path) {
                Ok(all) => (all.contains(text.as_str()), format!("{all:?}")),
                Err(why) => (false, why.to_string()),
            }),
            Thing::Mode { path, mode } => {
                let meta = fs::metadata(path).map_err(|why| format!("{path}: {why}"))?;
                let is = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o7777;
                Ok((is == *mode, format!("{is:o}")))
            }
            Thing::Bmc(wanted) => self.device.see(wanted),
            Thing::Tgt(line) => target::shows(line),
            Thing::Unit(unit) => target::reach(unit),
            Thing::Says { line, text } => {
                // What it says counts, not how it ends: many a tool tells a state by its status.
                let said = tool::output("/bin/sh", &["-c", &format!("{{ {line}\n}} 2>&1 || :")])?;
                Ok((said.contains(text.as_str()), said.trim().replace('\n', "; ")))
            }
            Thing::Process(text) => {
                let all = processes();
                Ok((all.iter().any(|line| line.contains(text.as_str())), all.join("; ")))
            }
            Thing::Called { program, words } => {
                let calls = fs::read_to_string(calls_of(program)).unwrap_or_default();
                let there = calls.lines().any(|call| format!(" {call} ").contains(&format!(" {words} ")));
                Ok((there, calls.trim().replace('\n', "; ")))
            }
            Thing::Neighbour { address, dev } => neighbour(address, dev),
            Thing::Packet { kind, address, times } => {
                let ear = self.ear.as_mut().ok_or("nobody listens at the peer")?;
                let heard = ear.count(*kind, address);
                let kind = if *kind == Kind::Arp { "ARP" } else { "neighbour advertisement" };
                Ok((heard >= *times, format!("{heard} packets of {kind} about {address}")))
            }
            Thing::NothingLeft => {
                let now = snapshot()?;
                let before = self.before.clone().unwrap_or_default();
                Ok((now == before, difference(&before, &now)))
            }
        }
    }
}

/// Command lines of the processes of the trial's host, without the judge itself.
fn processes() -> Vec<String> {
    let own = std::process::id().to_string();
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| *name != own && name.parse::<u32>().is_ok())
        .filter_map(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn addresses(wanted: &Address) -> Result<(bool, String), String> {
    let place = wanted.namespace.as_deref().map(|name| vec!["-n", name]).unwrap_or_default();
    let links = ip_json(&[place.as_slice(), &["address", "show"]].concat())?;
    let mut seen = Vec::new();
    let mut count = 0;
    for link in links.as_array().into_iter().flatten() {
        for entry in link.get("addr_info").and_then(Value::as_array).into_iter().flatten() {
            let dev = text(link, "ifname");
            count += usize::from(is_wanted(wanted, dev, entry));
            let shown: Vec<String> = entry
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(key, _)| !matches!(key.as_str(), "family" | "valid_life_time" | "scope"))
                .map(|(key, value)| format!("{key} {}", value.to_string().trim_matches('"')))
                .collect();
            seen.push(format!("{dev} {}", shown.join(" ")));
        }
    }
    let there = wanted.times.map_or(count > 0, |times| times == count);
    Ok((there, seen.join("; ")))
}

fn is_wanted(wanted: &Address, dev: &str, entry: &Value) -> bool {
    let number = |key: &str| entry.get(key).and_then(Value::as_u64);
    let broadcast = text(entry, "broadcast");
    text(entry, "local") == wanted.local
        && wanted.prefix.is_none_or(|prefix| number("prefixlen") == Some(prefix))
        && wanted.dev.as_deref().is_none_or(|name| name == dev)
        && wanted.label.as_deref().is_none_or(|label| text(entry, "label") == label)
        && wanted
            .broadcast
            .as_deref()
            .is_none_or(|own| own == broadcast || own == "none" && broadcast.is_empty())
        && wanted.metric.is_none_or(|metric| number("metric") == Some(metric))
        && wanted.flags.iter().all(|(flag, set)| entry.get(flag).is_some_and(|value| *value == true) == *set)
}

fn route(destination: &str, dev: Option<&str>, metric: Option<u64>) -> Result<(bool, String), String> {
    let family = if destination.contains(':') { "-6" } else { "-4" };
    let routes = ip_json(&[family, "route", "show", "table", "all"])?;
    let there = routes.as_array().into_iter().flatten().any(|route| {
        text(route, "dst") == destination
            && text(route, "type") != "local"
            && dev.is_none_or(|name| text(route, "dev") == name)
            && metric.is_none_or(|metric| route.get("metric").and_then(Value::as_u64) == Some(metric))
    });
    Ok((there, ip(&[family, "route", "show"])?.trim().replace('\n', "; ")))
}

/// Where the peer's kernel sends packets for the address: the witness that the announcement was one to learn from.
fn neighbour(address: &str, dev: &str) -> Result<(bool, String), String> {
    let own = ip_json(&["link", "show", "dev", dev])?;
    let own = own.pointer("/0/address").and_then(Value::as_str).unwrap_or("none").to_owned();
    let known = ip_json(&["-n", PEER, "neighbour", "show", address])?;
    let known = known.pointer("/0/lladdr").and_then(Value::as_str).unwrap_or("nowhere");
    Ok((known == own, format!("the peer finds {address} at {known}, and {dev} is {own}")))
}

/// Everything an action could leave behind, a line each.
pub fn snapshot() -> Result<String, String> {
    let mut lines = String::new();
    for call in ["-o address show", "-4 route show table all", "-6 route show table all", "addrlabel list"] {
        // Seconds of the moment are no difference.
        let text = ip(&call.split(' ').collect::<Vec<_>>())?;
        for line in text.lines() {
            lines.push_str(line.split("expires").next().unwrap_or_default().trim());
            lines.push('\n');
        }
    }
    if tool::is_there("nft") {
        lines.push_str(&tool::output("nft", &["list", "ruleset"])?);
    }
    let mut files: Vec<String> = fs::read_dir("/run/resource-agents")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| format!("file /run/resource-agents/{}\n", entry.file_name().to_string_lossy()))
        .collect();
    files.sort();
    lines.push_str(&files.concat());
    Ok(lines)
}

fn difference(before: &str, now: &str) -> String {
    let only = |of: &str, other: &str, sign: char| -> Vec<String> {
        of.lines()
            .filter(|line| !other.lines().any(|o| o == *line))
            .map(|line| format!("{sign} {line}"))
            .collect()
    };
    [only(before, now, '-'), only(now, before, '+')].concat().join("; ")
}
