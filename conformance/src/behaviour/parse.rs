//! `.case` files: one statement a line, `case NAME` begins one, `#` begins a remark. Every mistake is told with file and line.

use super::events::{Event, event};
use super::fence;
use super::language::{Address, By, Expect, Given, Kind, Observe, Run, Script, Step, Stream, Thing};
use super::target;
use super::words;
use crate::case::{Level, Parameters};
use crate::subject::Family;
use std::time::Duration;

/// What a file holds.
#[derive(Debug, Default)]
pub struct Parsed {
    pub scripts: Vec<Script>,
    /// Parameters with which the agent runs on a trial's host, one list for each `way` line.
    pub ways: Vec<Way>,
    pub events: Vec<Event>,
    /// What is so on every host on which this agent is judged.
    pub stage: Vec<Given>,
}

/// A way to run an agent on a trial's host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The BMC of `bmc.rs` must run, on.
    pub bmc: bool,
    pub parameters: Parameters,
}

/// Reads one file. `Err`: each mistake, as `file:line: what`.
pub fn file(agent: &str, name: &str, text: &str) -> Result<Parsed, Vec<String>> {
    let file = format!("{agent}/{name}");
    let mut parsed = Parsed::default();
    let mut mistakes = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Err(why) = one_line(&mut parsed, agent, &file, number, line) {
            mistakes.push(format!("{file}:{number}: {why}"));
        }
    }
    let others: Vec<Script> = parsed.scripts.iter().flat_map(Script::under_other_names).collect();
    for script in &parsed.scripts {
        mistakes.extend(whole(script).into_iter().map(|(line, why)| format!("{file}:{line}: {why}")));
    }
    parsed.scripts.extend(others);
    if mistakes.is_empty() { Ok(parsed) } else { Err(mistakes) }
}

/// A line that begins a case, or is about the agent and no single case. False: it is a statement of a case.
fn heading(parsed: &mut Parsed, agent: &str, file: &str, verb: &str, words: &[&str]) -> Result<bool, String> {
    match verb {
        "case" => {
            let name = single(words, "case NAME")?;
            if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
                return Err(format!("'{name}': a case's name has small letters, digits and '-'"));
            }
            parsed.scripts.push(Script {
                agent: agent.to_owned(),
                name: name.to_owned(),
                file: file.to_owned(),
                about: String::new(),
                level: Level::Ns,
                needs: Vec::new(),
                also: Vec::new(),
                steps: Vec::new(),
                lines: Vec::new(),
            });
        }
        "way" => {
            parsed.ways.push(match words {
                ["bmc", rest @ ..] => Way { bmc: true, parameters: pairs(rest)? },
                all => Way { bmc: false, parameters: pairs(all)? },
            });
        }
        "stage" => {
            parsed.stage.push(match words {
                ["stand-in", name] => Given::StandIn { name: (*name).to_owned(), text: String::new() },
                all => given(all)?,
            });
        }
        "event" => {
            let way = parsed.ways.last().map(|way| &way.parameters);
            parsed.events.push(event(words, way)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn one_line(parsed: &mut Parsed, agent: &str, file: &str, number: usize, line: &str) -> Result<(), String> {
    if let Some(more) = line.strip_prefix('|') {
        let Some(Given::StandIn { text, .. }) = parsed.stage.last_mut() else {
            return Err("'|' stands below 'stage stand-in NAME'".to_owned());
        };
        text.push_str(more.strip_prefix(' ').unwrap_or(more));
        text.push('\n');
        return Ok(());
    }
    let (verb, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    if verb == "about" {
        let script = parsed.scripts.last_mut().ok_or("'about' before the first 'case'")?;
        if !script.about.is_empty() {
            script.about.push(' ');
        }
        script.about.push_str(rest);
        return Ok(());
    }
    let owned = words::split(rest)?;
    let words: Vec<&str> = owned.iter().map(String::as_str).collect();
    if heading(parsed, agent, file, verb, &words)? {
        return Ok(());
    }
    let script = parsed.scripts.last_mut().ok_or_else(|| format!("'{verb}' before the first 'case'"))?;
    let is_fence = script.family() == Family::Fence;
    let step = match verb {
        "level" => {
            script.level = match single(&words, "level stub, ns, root or lab")? {
                "stub" => Level::Stub,
                "ns" => Level::Ns,
                "root" => Level::Root,
                "lab" => Level::Lab,
                other => return Err(format!("'{other}': a level is stub, ns, root or lab")),
            };
            return Ok(());
        }
        "needs" => {
            script.needs.extend(owned);
            return Ok(());
        }
        "also" if owned.iter().all(|name| name.starts_with("fence_")) => {
            script.also.extend(owned);
            return Ok(());
        }
        "given" => match rest.strip_prefix("done ").filter(|_| script.level == Level::Lab) {
            Some(line) => Step::Given(Given::Done(line.trim().to_owned())),
            None => Step::Given(given(&words)?),
        },
        "finally" if script.level == Level::Lab && !rest.is_empty() => Step::Finally(rest.to_owned()),
        "with" => Step::With(pairs(&words)?),
        "without" if !words.is_empty() => Step::Without(owned),
        "stdin" if is_fence => Step::Stdin(owned),
        "arguments" if is_fence => Step::Arguments(owned),
        "meta" => {
            let prefixed = |(name, value)| (format!("CRM_meta_{name}"), value);
            Step::With(pairs(&words)?.into_iter().map(prefixed).collect())
        }
        "run" => Step::Run(run(&words)?),
        "expect" => Step::Expect(expect(&words, rest)?),
        "observe" => match said(rest).filter(|_| script.level == Level::Lab) {
            Some(seen) => Step::Observe(seen?),
            None => Step::Observe(observe(&words)?),
        },
        other => {
            return Err(format!(
                "'{other}' is no verb: case, about, level, needs, way, stage, event, given, with, without, meta, run, expect, observe; \
                of fence agents too: also, stdin, arguments; behind 'level lab' too: given done LINE, \
                observe [not] said LINE ~ TEXT [within N seconds], finally LINE"
            ));
        }
    };
    script.steps.push((number, step));
    script.lines.push((number, line.to_owned()));
    Ok(())
}

/// What a case as a whole must have: a sentence, and a look at the end of every call.
fn whole(script: &Script) -> Vec<(usize, String)> {
    let first = script.steps.first().map_or(0, |(line, _)| *line);
    let mut mistakes = Vec::new();
    if script.about.len() < 20 {
        mistakes.push((first, format!("case {} does not say what it is about", script.name)));
    }
    let mut called: Option<(usize, &str)> = None;
    let mut looked = true;
    let unseen = |called: Option<(usize, &str)>| {
        let (line, action) = called.unwrap_or_default();
        (line, format!("nobody looks how 'run {action}' ends: 'expect CODE' is missing"))
    };
    for (line, step) in &script.steps {
        match step {
            Step::Run(run) => {
                if !looked {
                    mistakes.push(unseen(called));
                }
                called = Some((*line, &run.action));
                looked = false;
            }
            Step::Expect(expect) => {
                if called.is_none() {
                    mistakes.push((*line, "'expect' before the first 'run'".to_owned()));
                }
                looked |= matches!(expect, Expect::Code(_));
            }
            Step::Given(_)
            | Step::With(_)
            | Step::Without(_)
            | Step::Stdin(_)
            | Step::Arguments(_)
            | Step::Observe(_)
            | Step::Finally(_) => {}
        }
    }
    if called.is_none() {
        mistakes.push((first, format!("case {} runs nothing", script.name)));
    } else if !looked {
        mistakes.push(unseen(called));
    }
    mistakes
}

fn single<'a>(words: &[&'a str], form: &str) -> Result<&'a str, String> {
    match words {
        [word] => Ok(word),
        _ => Err(format!("the form is: {form}")),
    }
}

pub fn pair(word: &str) -> Result<(String, String), String> {
    let (name, value) = word.split_once('=').ok_or_else(|| format!("'{word}' is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

pub fn pairs(words: &[&str]) -> Result<Parameters, String> {
    words.iter().map(|word| pair(word)).collect()
}

pub fn span(word: &str) -> Result<Duration, String> {
    word.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|span| *span <= Duration::from_secs(60))
        .ok_or_else(|| format!("'{word}': not a number of seconds up to 60"))
}

pub fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("'{word}' is not a number"))
}

fn run(words: &[&str]) -> Result<Run, String> {
    let (action, more) = match words {
        ["no", "action", more @ ..] => ("", more),
        [action, more @ ..] => (*action, more),
        [] => return Err("the form is: run ACTION".to_owned()),
    };
    let mut run = Run { action: action.to_owned(), recurring: false, level: None, by: By::Manager };
    let mut rest = more;
    loop {
        rest = match rest {
            [] => return Ok(run),
            ["recurring", rest @ ..] => {
                run.recurring = true;
                rest
            }
            ["level", level, rest @ ..] => {
                run.level = Some((*level).to_owned());
                rest
            }
            ["by", "options", rest @ ..] => {
                run.by = By::Options;
                rest
            }
            ["by", "short", "options", rest @ ..] => {
                run.by = By::ShortOptions;
                rest
            }
            [other, ..] => {
                return Err(format!(
                    "'{other}': behind the action stands 'recurring' or 'level N', of fence agents 'by options' or \
                    'by short options'"
                ));
            }
        }
    }
}

/// Behind `~` stands the text as it is, quotes and all.
fn expect(words: &[&str], line: &str) -> Result<Expect, String> {
    let behind = |sign| line.split_once(sign).map(|(_, text): (&str, &str)| text.trim().to_owned());
    let text = behind("~ ").unwrap_or_default();
    let is = |stream| Expect::Is { stream, text: behind("= ").unwrap_or_default() };
    let said = |stream, not| Expect::Says { stream, not, text: text.clone() };
    Ok(match words {
        ["no", "reason"] => Expect::NoReason,
        ["reason", "~", _, ..] => Expect::Reason(text),
        ["no", "stdout"] => Expect::Is { stream: Stream::Out, text: String::new() },
        ["no", "stderr"] => Expect::Is { stream: Stream::Err, text: String::new() },
        ["stdout", "=", _, ..] => is(Stream::Out),
        ["stderr", "=", _, ..] => is(Stream::Err),
        ["stdout", "~", _, ..] => said(Stream::Out, false),
        ["stdout", "!~", _, ..] => said(Stream::Out, true),
        ["stderr", "~", _, ..] => said(Stream::Err, false),
        ["stderr", "!~", _, ..] => said(Stream::Err, true),
        ["under", seconds, "seconds"] => Expect::Under(span(seconds)?),
        [first, ..] if first.parse::<i32>().is_ok() => Expect::Code(
            words.split(|word| *word == "or").map(|code| number(&code.concat())).collect::<Result<_, _>>()?,
        ),
        _ => {
            return Err(
                "'expect' takes: CODE [or CODE], reason ~ TEXT, no reason, stdout ~ TEXT, stdout !~ TEXT, \
                stdout = TEXT, no stdout, stderr likewise, under N seconds"
                    .to_owned(),
            );
        }
    })
}

/// `[not] said LINE ~ TEXT [within N seconds]`, the line and the text as they are.
fn said(rest: &str) -> Option<Result<Observe, String>> {
    let (not, rest) = match rest.strip_prefix("not ") {
        Some(rest) => (true, rest.trim()),
        None => (false, rest),
    };
    let rest = rest.strip_prefix("said ")?;
    let Some((line, text)) = rest.rsplit_once(" ~ ") else {
        return Some(Err("the form is: observe [not] said LINE ~ TEXT [within N seconds]".to_owned()));
    };
    let timed = text.strip_suffix(" seconds").and_then(|text| text.rsplit_once(" within "));
    let (text, within) = match timed.map(|(text, seconds)| (text, span(seconds))) {
        Some((text, Ok(within))) => (text, within),
        Some((_, Err(why))) => return Some(Err(why)),
        None => (text, Duration::ZERO),
    };
    let thing = Thing::Says { line: line.trim().to_owned(), text: text.trim().to_owned() };
    Some(Ok(Observe { not, thing, within }))
}

fn observe(words: &[&str]) -> Result<Observe, String> {
    let (not, words) = match words {
        ["not", rest @ ..] => (true, rest),
        all => (false, all),
    };
    let (words, within) = match words {
        [rest @ .., "within", seconds, "seconds"] => (rest, span(seconds)?),
        all => (all, Duration::ZERO),
    };
    let text = |word: &str| word.to_owned();
    let thing = match words {
        ["nothing", "left"] => Thing::NothingLeft,
        ["address", address, rest @ ..] => Thing::Address(self::address(address, rest)?),
        ["route", destination, rest @ ..] => {
            let (mut dev, mut metric) = (None, None);
            for two in rest.chunks(2) {
                match two {
                    ["on", name] => dev = Some(text(name)),
                    ["metric", value] => metric = Some(number(value)?),
                    _ => return Err("the form is: observe route NET [on IF] [metric N]".to_owned()),
                }
            }
            Thing::Route { destination: text(destination), dev, metric }
        }
        ["link", name, state @ ("up" | "down")] => Thing::Link { name: text(name), up: *state == "up" },
        ["rule", words @ ..] if !words.is_empty() => Thing::Rule(words.join(" ")),
        ["addrlabel", prefix, label] => Thing::AddressLabel { prefix: text(prefix), label: text(label) },
        ["file", path] => Thing::File { path: text(path), holds: None },
        ["file", path, "holds", words @ ..] => Thing::File { path: text(path), holds: Some(words.join(" ")) },
        ["file", path, "mentions", words @ ..] if !words.is_empty() => {
            Thing::Mentions { path: text(path), text: words.join(" ") }
        }
        ["file", path, "has", "mode", mode] => Thing::Mode {
            path: text(path),
            mode: u32::from_str_radix(mode, 8).map_err(|_| format!("'{mode}' is no octal mode"))?,
        },
        _ if fence::is_about_it(words) => Thing::Bmc(fence::observe(words)?),
        ["tgt", words @ ..] if !words.is_empty() => Thing::Tgt(words.join(" ")),
        ["unit", words @ ..] => Thing::Unit(target::unit(words)?),
        ["process", words @ ..] if !words.is_empty() => Thing::Process(words.join(" ")),
        ["call", "of", program, "with", words @ ..] if !words.is_empty() => {
            Thing::Called { program: text(program), words: words.join(" ") }
        }
        ["peer", "finds", address, "at", dev] => Thing::Neighbour { address: text(address), dev: text(dev) },
        ["packet", kind @ ("arp" | "advertisement"), "of", address, rest @ ..] => Thing::Packet {
            kind: if *kind == "arp" { Kind::Arp } else { Kind::Advertisement },
            address: text(address),
            times: match rest {
                [] => 1,
                ["times", times] => number(times)?,
                _ => return Err("the form is: observe packet arp of ADDRESS [times N]".to_owned()),
            },
        },
        _ => {
            return Err("'observe [not]' takes: address A[/P] [on IF] [label L] ..., route NET, link IF up, link IF down, \
                rule TEXT, addrlabel PREFIX LABEL, file PATH [holds TEXT], file PATH mentions TEXT, file PATH has mode MODE, tgt LINE, unit IQN/LUN [as NAME] [with USER%PASSWORD], process TEXT, call of PROGRAM with WORDS, peer finds A at IF, packet arp of A, \
                packet advertisement of A, nothing left; power, asked, no session open, nothing sent; and at the end 'within N seconds'"
                .to_owned());
        }
    };
    Ok(Observe { not, thing, within })
}

fn address(address: &str, mut rest: &[&str]) -> Result<Address, String> {
    let mut wanted = Address::default();
    match address.split_once('/') {
        Some((local, prefix)) => {
            local.clone_into(&mut wanted.local);
            wanted.prefix = Some(number(prefix)?);
        }
        None => address.clone_into(&mut wanted.local),
    }
    loop {
        rest = match rest {
            [] => return Ok(wanted),
            ["on", dev, rest @ ..] => {
                wanted.dev = Some((*dev).to_owned());
                rest
            }
            ["label", label, rest @ ..] => {
                wanted.label = Some((*label).to_owned());
                rest
            }
            ["broadcast", broadcast, rest @ ..] => {
                wanted.broadcast = Some((*broadcast).to_owned());
                rest
            }
            ["flag", flag, rest @ ..] => {
                wanted.flags.push(((*flag).to_owned(), true));
                rest
            }
            ["no", "flag", flag, rest @ ..] => {
                wanted.flags.push(((*flag).to_owned(), false));
                rest
            }
            ["metric", metric, rest @ ..] => {
                wanted.metric = Some(number(metric)?);
                rest
            }
            ["times", times, rest @ ..] => {
                wanted.times = Some(number(times)?);
                rest
            }
            ["in", "namespace", name, rest @ ..] => {
                wanted.namespace = Some((*name).to_owned());
                rest
            }
            [other, ..] => {
                return Err(format!(
                    "'{other}': an address has: on IF, label L, broadcast B, flag F, no flag F, metric N, times N, \
                    in namespace NS"
                ));
            }
        }
    }
}

pub fn given(words: &[&str]) -> Result<Given, String> {
    let text = |word: &str| word.to_owned();
    Ok(match words {
        ["interface", name, "is", "removed"] => ip(&[&format!("link delete {name}")]),
        ["interface", name, addresses @ ..] => Given::Ip(interface(name, None, addresses)),
        ["namespace", name, "is", "removed"] => ip(&[&format!("netns delete {name}")]),
        ["namespace", name, "with", "interface", dev, addresses @ ..] => {
            let mut calls = vec![split(&format!("netns add {name}"))];
            calls.extend(interface(dev, Some(name), addresses));
            Given::Ip(calls)
        }
        ["address", address, "is", "removed"] => Given::NoAddress(text(address)),
        ["address", address, "on", dev, more @ ..] => {
            let dad = if address.contains(':') { " nodad" } else { "" };
            ip(&[&format!("address add {address} dev {dev}{dad} {}", more.join(" "))])
        }
        ["route", route, "is", "removed"] => ip(&[&format!("route delete {route}")]),
        ["route", route, "on", dev, more @ ..] => {
            ip(&[&format!("route add {route} dev {dev} {}", more.join(" "))])
        }
        ["link", name, state @ ("up" | "down")] => {
            Given::Link { name: text(name), up: *state == "up", peer: false }
        }
        ["link", "of", "the", "peer", "of", name, state @ ("up" | "down")] => {
            Given::Link { name: text(name), up: *state == "up", peer: true }
        }
        ["altname", other, "of", dev] => ip(&[&format!("link property add dev {dev} altname {other}")]),
        ["peer", "has", address] => {
            let dad = if address.contains(':') { " nodad" } else { "" };
            ip(&[&format!("-n {PEER} address add {address} dev judge1{dad}")])
        }
        ["file", path, "is", "removed"] => Given::NoFile(private(path)?),
        ["file", path, "holds", words @ ..] => Given::File { path: private(path)?, text: words.join(" ") },
        ["folder", path] => Given::Folder(private(path)?),
        ["environment", "without", name] => Given::Environment(text(name), None),
        ["environment", word] => {
            let (name, value) = pair(word)?;
            Given::Environment(name, Some(value))
        }
        ["setting", word] => {
            let (name, value) = pair(word)?;
            Given::Setting(name, value)
        }
        ["peer", "knows", address, "elsewhere"] => {
            ip(&[&format!("-n {PEER} neighbour replace {address} lladdr {ELSEWHERE} nud stale dev judge1")])
        }
        ["program", path, "answers", status] if path.starts_with('/') => {
            Given::Recorder { path: text(path), status: number(status)? }
        }
        ["program", path, "is", "missing"] if path.starts_with('/') => Given::NoProgram(text(path)),
        ["bmc", rest @ ..] => Given::Device(fence::given(rest)?),
        ["tgtd"] => Given::Tgtd,
        ["tgtadm", words @ ..] if !words.is_empty() => {
            Given::Tgtadm(words.iter().map(|word| text(word)).collect())
        }
        ["user", "nobody"] => Given::Nobody,
        [seconds, "seconds", "pass"] => Given::Pass(span(seconds)?),
        _ => {
            return Err("'given' takes: interface IF [A/P ...], interface IF is removed, namespace NS with interface IF A/P, \
                namespace NS is removed, address A/P on IF, address A/P is removed, route NET on IF, route NET is removed, \
                link IF up, link IF down, link of the peer of IF down, altname NAME of IF, peer has A/P, peer knows A elsewhere, \
                file PATH holds TEXT, file PATH is removed, folder PATH, environment NAME=VALUE, environment without NAME, \
                setting NAME=VALUE, program /PATH is missing, program /PATH answers STATUS, user nobody, tgtd, tgtadm WORDS, bmc ..., N seconds pass"
                .to_owned());
        }
    })
}

/// The namespace at the other end of every cable.
pub const PEER: &str = "peer";

/// A hardware address that nobody has.
const ELSEWHERE: &str = "02:00:00:00:00:99";

/// The other end of an interface's cable.
pub fn other_end(interface: &str) -> String {
    if interface == "judge0" { "judge1".to_owned() } else { format!("p-{interface}") }
}

/// A cable whose other end is with the peer.
fn interface(name: &str, namespace: Option<&str>, addresses: &[&str]) -> Vec<Vec<String>> {
    let other = other_end(name);
    let place = namespace.map(|name| format!("-n {name} ")).unwrap_or_default();
    let netns = namespace.map(|name| format!(" netns {name}")).unwrap_or_default();
    let mut calls = vec![
        split(&format!("link add {name}{netns} type veth peer name {other} netns {PEER}")),
        split(&format!("{place}link set {name} addrgenmode none")),
        split(&format!("-n {PEER} link set {other} addrgenmode none up")),
        split(&format!("{place}link set {name} up")),
    ];
    for address in addresses {
        let more = if address.contains(':') { "nodad" } else { "broadcast +" };
        calls.push(split(&format!("{place}address add {address} dev {name} {more}")));
    }
    calls
}

fn ip(calls: &[&str]) -> Given {
    Given::Ip(calls.iter().map(|call| split(call)).collect())
}

fn split(call: &str) -> Vec<String> {
    call.split_whitespace().map(str::to_owned).collect()
}

/// Only folders that a trial has for itself.
fn private(path: &str) -> Result<String, String> {
    if ["/run/", "/tmp/", "/var/tmp/", "/var/lib/"].iter().any(|own| path.starts_with(own))
        && !path.contains("..")
    {
        Ok(path.to_owned())
    } else {
        Err(format!("'{path}' is not below /run, /tmp, /var/tmp or /var/lib"))
    }
}
