//! A BMC.

use super::quirk::{self, Quirk, account, count, flag, millis};
use super::{Common, Ready, all, number};
use clap::ArgMatches;
use ringfence_conformance::relay::udp::{FaultyPath, Schedule};
use ringfence_tests::sim::bmc::{Bmc, Config, Quirks, User};
use ringfence_tests::sim::control::{Device, wanted_power};
use serde_json::{Map, Value, json};

const QUIRKS: &[Quirk<Quirks>] = &[
    Quirk {
        name: "lies",
        help: "takes power commands and does nothing",
        set: |q, v| flag(v).map(|v| q.lies = v),
    },
    Quirk {
        name: "slow-power",
        help: "power commands take effect so many milliseconds later",
        set: |q, v| millis(v).map(|v| q.slow_power = v),
    },
    Quirk {
        name: "answers-after",
        help: "each answer is so many milliseconds late",
        set: |q, v| millis(v).map(|v| q.answers_after = v),
    },
    Quirk {
        name: "busy",
        help: "the first n chassis commands are answered with C0h",
        set: |q, v| count(v).map(|v| q.busy = v),
    },
    Quirk {
        name: "no-control",
        help: "chassis control is not implemented (C1h)",
        set: |q, v| flag(v).map(|v| q.no_control = v),
    },
    Quirk {
        name: "only-v15",
        help: "says of itself that it speaks v1.5 only",
        set: |q, v| flag(v).map(|v| q.only_v15 = v),
    },
    Quirk {
        name: "drops-unknown-suites",
        help: "silence instead of a refusal of a cipher suite",
        set: |q, v| flag(v).map(|v| q.drops_unknown_suites = v),
    },
    Quirk {
        name: "mute-cipher-suites",
        help: "silence to Get Channel Cipher Suites (older Supermicro)",
        set: |q, v| flag(v).map(|v| q.mute_cipher_suites = v),
    },
    Quirk {
        name: "refuses-v20-bit",
        help: "CCh to the v2.0 bit of the capabilities",
        set: |q, v| flag(v).map(|v| q.refuses_v20_bit = v),
    },
    Quirk {
        name: "mute-v20-bit",
        help: "silence to the same",
        set: |q, v| flag(v).map(|v| q.mute_v20_bit = v),
    },
    Quirk {
        name: "mute-second-rakp3",
        help: "silence to a repeated RAKP 3",
        set: |q, v| flag(v).map(|v| q.mute_second_rakp3 = v),
    },
    Quirk {
        name: "mute-unknown-user",
        help: "silence to an unknown user",
        set: |q, v| flag(v).map(|v| q.mute_unknown_user = v),
    },
    Quirk {
        name: "forgets-on-power",
        help: "all sessions are gone when the power changes",
        set: |q, v| flag(v).map(|v| q.forgets_on_power = v),
    },
    Quirk {
        name: "bridges-inline",
        help: "answers of bridged controllers come inside the answer to Send Message",
        set: |q, v| flag(v).map(|v| q.bridges_inline = v),
    },
];

pub fn quirks() -> String {
    quirk::help(QUIRKS)
}

struct Simulated {
    bmc: Bmc,
    /// In front of it, with a seed.
    path: Option<FaultyPath>,
    quirks: Quirks,
}

pub fn start(common: &Common, matches: &ArgMatches) -> Result<Ready, String> {
    let usual = Config::default();
    let suites = all(matches, "suite");
    let auths = all(matches, "auth");
    let quirks = quirk::from_words(QUIRKS, &common.quirks)?;
    let config = Config {
        listen: common.listen,
        suites: if suites.is_empty() {
            usual.suites
        } else {
            suites
                .iter()
                .map(|text| text.parse().map_err(|_| format!("--suite: '{text}' is no number")))
                .collect::<Result<_, _>>()?
        },
        auths: if auths.is_empty() {
            usual.auths
        } else {
            auths.iter().map(|word| auth(word)).collect::<Result<_, _>>()?
        },
        kg: matches.get_one::<String>("kg").map(|text| text.clone().into_bytes()),
        users: if common.users.is_empty() {
            usual.users
        } else {
            common.users.iter().map(|text| user(text)).collect::<Result<_, _>>()?
        },
        slots: number(matches, "slots")?.unwrap_or(usual.slots),
        on: common.on,
        folder: Some(common.folder.clone()),
        bridged: all(matches, "behind")
            .iter()
            .map(|text| slave(text).map(|address| (address, true)))
            .collect::<Result<_, _>>()?,
        quirks: quirks.clone(),
    };
    let bmc = Bmc::start(config).map_err(|why| format!("cannot start: {why}"))?;
    let path = match common.seed {
        Some(_) if common.listen.port() != 0 => {
            return Err("--seed takes a free port: say no port with --listen".to_owned());
        }
        Some(seed) => {
            let amnesia = bmc.amnesia();
            let path = FaultyPath::start(bmc.address(), Schedule::draw(seed), move || amnesia.strike());
            Some(path.map_err(|why| format!("cannot start: {why}"))?)
        }
        None => None,
    };
    let address = path.as_ref().map_or_else(|| bmc.address(), FaultyPath::address).to_string();
    Ok(Ready { address, more: Map::new(), device: Box::new(Simulated { bmc, path, quirks }) })
}

fn auth(word: &str) -> Result<u8, String> {
    match word {
        "none" => Ok(0),
        "md5" => Ok(2),
        "password" => Ok(4),
        _ => Err(format!("--auth: '{word}' is none of md5, password, none")),
    }
}

fn user(text: &str) -> Result<User, String> {
    let (name, password, level) = account(text)?;
    let limit = match level.unwrap_or("administrator") {
        "callback" => 1,
        "user" => 2,
        "operator" => 3,
        "administrator" => 4,
        other => {
            return Err(format!(
                "--user: level '{other}' is none of callback, user, operator, administrator"
            ));
        }
    };
    Ok(User { name: name.into(), password: password.into(), limit })
}

fn slave(text: &str) -> Result<u8, String> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|_| format!("--behind: '{text}' is not a slave address"))
}

impl Device for Simulated {
    fn state(&self) -> Map<String, Value> {
        let behind: Map<String, Value> = (0..=u8::MAX)
            .filter_map(|address| {
                Some((format!("0x{address:02x}"), json!(power(self.bmc.bridged_is_on(address)?))))
            })
            .collect();
        let changes: Vec<_> = self.bmc.power_log().iter().map(|(_, on)| power(*on)).collect();
        object(json!({
            "power": power(self.bmc.is_on()),
            "power_log": changes,
            "behind": behind,
            "controls": self.bmc.controls(),
            "requests": self.bmc.requests(),
        }))
    }

    fn set(&mut self, wanted: &Map<String, Value>) -> Result<(), String> {
        self.bmc.set_power(wanted_power(wanted)?);
        Ok(())
    }

    fn fault(&mut self, faults: &Map<String, Value>) -> Result<(), String> {
        // Of the path in front nothing can be chosen, only that it ends.
        let quirks = quirk::from_request(QUIRKS, &self.quirks, faults)?;
        if faults.get("clear") == Some(&Value::Bool(true))
            && let Some(path) = &self.path
        {
            path.heal();
        }
        self.bmc.set_quirks(quirks.clone());
        self.quirks = quirks;
        Ok(())
    }

    fn sessions(&self) -> Map<String, Value> {
        object(json!({
            "open": self.bmc.open_sessions(),
            "half_open": self.bmc.half_open_sessions(),
            "opened": self.bmc.sessions_opened(),
        }))
    }
}

/// `on` or `off`.
pub fn power(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// The object that `json!` has made.
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}
