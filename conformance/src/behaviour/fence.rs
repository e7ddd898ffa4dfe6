//! The words of cases about fence agents: the BMC that is given and observed, and the ways to tell the agent.

use super::language::{By, Run};
use super::parse::{number, pairs, span};
use crate::bmc::{Bmc, Options, Order, Reaction};
use crate::call::Call;
use crate::case::{Parameters, Trial};
use std::time::Duration;

/// Something that is so, or happens, at the BMC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// It runs and the node has this power. The first time it starts, with what stands behind.
    Power(bool, Parameters),
    React(Order, Reaction),
    /// It takes datagrams and answers none, or answers again.
    Answering(bool),
    /// Its port is closed, or it is back.
    There(bool),
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtBmc {
    /// The node's power.
    Power(bool),
    /// What the last call has changed, in order; nothing: it has changed nothing.
    Deeds(Vec<Order>),
    Asked(Order, usize),
    NoSession,
    /// No datagram has left anybody since the last call began.
    NothingSent,
}

/// Behind `given bmc`.
pub fn given(words: &[&str]) -> Result<Device, String> {
    let order = |word: &str| {
        Order::named(word).ok_or_else(|| format!("'{word}': an order is on, off, reset, status"))
    };
    Ok(match words {
        ["on", more @ ..] => Device::Power(true, options(more)?),
        ["off", more @ ..] => Device::Power(false, options(more)?),
        ["obeys", word] => Device::React(order(word)?, Reaction::Obey),
        ["ignores", word] => Device::React(order(word)?, Reaction::Ignore),
        ["fails", word] => Device::React(order(word)?, Reaction::Fail),
        ["delays", word, "by", seconds, "seconds"] => {
            Device::React(order(word)?, Reaction::Delay(span(seconds)?))
        }
        ["is", "silent"] => Device::Answering(false),
        ["answers", "again"] => Device::Answering(true),
        ["is", "gone"] => Device::There(false),
        ["is", "back"] => Device::There(true),
        _ => {
            return Err("'given bmc' takes: on [NAME=VALUE ...], off [NAME=VALUE ...] (names: address, user, password, \
                privilege, kg, auths), obeys ORDER, ignores ORDER, fails ORDER, delays ORDER by N seconds, is silent, \
                answers again, is gone, is back"
                .to_owned());
        }
    })
}

fn options(words: &[&str]) -> Result<Parameters, String> {
    let pairs = pairs(words)?;
    filled(&pairs).map(|_| pairs)
}

/// What the BMC is started with.
fn filled(pairs: &Parameters) -> Result<Options, String> {
    let mut options = Options::default();
    for (name, value) in pairs {
        let place = match name.as_str() {
            "address" => {
                options.address = value.parse().map_err(|_| format!("'{value}' is not ADDRESS:PORT"))?;
                continue;
            }
            "kg" => options.kg.get_or_insert_default(),
            "user" => &mut options.user,
            "password" => &mut options.password,
            "privilege" => &mut options.privilege,
            "auths" => &mut options.auths,
            _ => return Err(format!("'{name}': a bmc has address, user, password, privilege, kg, auths")),
        };
        value.clone_into(place);
    }
    Ok(options)
}

/// Whether an `observe` speaks of the BMC.
pub fn is_about_it(words: &[&str]) -> bool {
    matches!(words, ["power" | "asked", ..] | ["no", "session", ..] | ["nothing", "sent"])
}

/// Behind `observe`.
pub fn observe(words: &[&str]) -> Result<AtBmc, String> {
    let order = |word: &str| Order::named(word).ok_or_else(|| format!("'{word}' is no order"));
    Ok(match words {
        ["power", "on"] => AtBmc::Power(true),
        ["power", "off"] => AtBmc::Power(false),
        ["asked", "nothing"] => AtBmc::Deeds(Vec::new()),
        ["asked", word, "times", times] => AtBmc::Asked(order(word)?, number(times)?),
        ["asked", all @ ..] if !all.is_empty() => AtBmc::Deeds(
            all.split(|word| *word == "then").map(|word| order(&word.concat())).collect::<Result<_, _>>()?,
        ),
        ["no", "session", "open"] => AtBmc::NoSession,
        ["nothing", "sent"] => AtBmc::NothingSent,
        _ => {
            return Err(
                "of a bmc is observed: power on, power off, asked nothing, asked off [then on ...], \
                asked status times N, no session open, nothing sent"
                    .to_owned(),
            );
        }
    })
}

/// The BMC of a case, if it has one.
#[derive(Default)]
pub struct Bench {
    bmc: Option<Bmc>,
    sent: u64,
}

impl Bench {
    pub fn make(&mut self, device: &Device) -> Result<(), String> {
        if let Device::Power(on, pairs) = device
            && self.bmc.is_none()
        {
            self.bmc = Some(Bmc::start(&Options { on: *on, ..filled(pairs)? })?);
            return Ok(());
        }
        let bmc = self.bmc.as_mut().ok_or("there is no bmc yet: 'given bmc on' is missing")?;
        match device {
            Device::Power(on, pairs) if pairs.is_empty() => bmc.set_power(*on),
            Device::Power(..) => Err("the bmc runs already, with other words".to_owned()),
            Device::React(order, reaction) => bmc.react(*order, reaction),
            Device::Answering(yes) => bmc.answering(*yes),
            Device::There(true) => bmc.come_back(),
            Device::There(false) => {
                bmc.go();
                Ok(())
            }
        }
    }

    /// What comes from now on is what the next call does.
    pub fn forget(&mut self) -> Result<(), String> {
        self.sent = datagrams()?;
        self.bmc.as_ref().map_or(Ok(()), Bmc::forget)
    }

    /// Whether it is so, and what is.
    pub fn see(&self, wanted: &AtBmc) -> Result<(bool, String), String> {
        if *wanted == AtBmc::NothingSent {
            let sent = datagrams()?.saturating_sub(self.sent);
            return Ok((sent == 0, format!("{sent} datagrams")));
        }
        let bmc = self.bmc.as_ref().ok_or("there is no bmc: 'given bmc on' is missing")?;
        let told = |orders: &[Order]| orders.iter().map(|order| order.word()).collect::<Vec<_>>().join(", ");
        Ok(match wanted {
            AtBmc::Power(on) => {
                let is = bmc.power();
                (is == *on, if is { "on" } else { "off" }.to_owned())
            }
            AtBmc::Deeds(wanted) => {
                let deeds = bmc.deeds();
                (deeds == *wanted, format!("asked '{}'", told(&deeds)))
            }
            AtBmc::Asked(order, times) => {
                let requests = bmc.requests();
                let count = requests.iter().filter(|other| *other == order).count();
                (count == *times, format!("asked '{}'", told(&requests)))
            }
            AtBmc::NoSession => {
                let open = bmc.sessions()?;
                (open == 0, format!("{open} open"))
            }
            AtBmc::NothingSent => (false, String::new()),
        })
    }
}

/// UDP datagrams sent in this network namespace so far, IPv4 and IPv6.
fn datagrams() -> Result<u64, String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|why| format!("{path}: {why}"));
    let snmp = read("/proc/net/snmp")?;
    let mut lines = snmp.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let at = names.split_whitespace().position(|name| name == "OutDatagrams");
    let four = at.and_then(|at| values.split_whitespace().nth(at)?.parse::<u64>().ok());
    let snmp6 = read("/proc/net/snmp6").unwrap_or_default();
    let six =
        snmp6.lines().find_map(|line| line.strip_prefix("Udp6OutDatagrams")?.trim().parse::<u64>().ok());
    Ok(four.ok_or("/proc/net/snmp does not count datagrams")? + six.unwrap_or(0))
}

/// What comes behind the parameters, as it is.
#[derive(Default)]
pub struct More {
    pub lines: Vec<String>,
    pub words: Vec<String>,
}

/// Upstream's agent waits up to 20 s for a power state, and `ipmitool` for each of its packets.
const PATIENCE: Duration = Duration::from_secs(45);

/// The call of a fence agent.
pub fn call(run: &Run, trial: &Trial<'_>, parameters: &Parameters, more: &More) -> Result<Call, String> {
    let mut all = parameters.clone();
    if !run.action.is_empty() {
        all.push(("action".to_owned(), run.action.clone()));
    }
    if run.by == By::Manager {
        let told = all.iter().map(|(name, value)| format!("{name}={value}\n"));
        let raw = more.lines.iter().map(|line| format!("{line}\n"));
        let text: String = told.chain(raw).collect();
        return Ok(trial.subject.fencer(&text).patience(PATIENCE));
    }
    let mut call = trial.subject.fencer("").patience(PATIENCE);
    for (name, value) in &all {
        let mut words = option(trial, name)?;
        words.sort_by_key(|word| word.starts_with("--") != (run.by == By::Options));
        let word = words.first().cloned().unwrap_or_default();
        let flag = trial
            .subject
            .metadata
            .parameters()
            .iter()
            .any(|p| p.attribute("name") == Some(name) && p.content_type() == Some("boolean"));
        call = match (flag, word.starts_with("--")) {
            (true, _) if value == "1" => call.arg(word),
            (true, _) => return Err(format!("'{name}={value}' has no form on the command line")),
            (false, true) => call.arg(format!("{word}={value}")),
            (false, false) => call.arg(word).arg(value.as_str()),
        };
    }
    Ok(call.args(more.words.iter().map(String::as_str)))
}

/// The words of a parameter's option, by the metadata.
fn option(trial: &Trial<'_>, name: &str) -> Result<Vec<String>, String> {
    let parameters = trial.subject.metadata.parameters();
    let mixed = parameters
        .iter()
        .find(|parameter| parameter.attribute("name") == Some(name))
        .and_then(|parameter| parameter.first("getopt")?.attribute("mixed"))
        .ok_or_else(|| format!("the metadata has no option for '{name}'"))?;
    let word = |part: &str| part.trim().split(['=', ' ', '[', '<']).next().unwrap_or_default().to_owned();
    Ok(mixed.split(',').map(word).collect())
}
