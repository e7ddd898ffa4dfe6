//! A pool of XenServer hosts.

use super::ipmi::object;
use super::quirk::{self, Quirk, account, count, flag, millis, word};
use super::{Common, Ready, all, number};
use clap::ArgMatches;
use ringfence_tests::sim::control::Device;
use ringfence_tests::sim::xenapi::{Faults, Life, Pool, Quirks, Settings, User, Vm};
use serde_json::{Map, Value, json};

const QUIRKS: &[Quirk<Quirks>] = &[
    Quirk {
        name: "lies",
        help: "power operations succeed and change nothing",
        set: |q, v| flag(v).map(|v| q.lies = v),
    },
    Quirk { name: "stuck", help: "power operations never end", set: |q, v| flag(v).map(|v| q.stuck = v) },
    Quirk {
        name: "takes",
        help: "power operations take so many milliseconds",
        set: |q, v| millis(v).map(|v| q.takes = v),
    },
    Quirk {
        name: "answers-after",
        help: "each answer is so many milliseconds late",
        set: |q, v| millis(v).map(|v| q.answers_after = v),
    },
    Quirk {
        name: "busy",
        help: "the first n power operations meet OTHER_OPERATION_IN_PROGRESS",
        set: |q, v| count(v).map(|v| q.busy = v),
    },
    Quirk {
        name: "waits-for-dead-host",
        help: "an operation on a machine of a dead host waits instead of failing",
        set: |q, v| flag(v).map(|v| q.waits_for_dead_host = v),
    },
    Quirk {
        name: "no-json",
        help: "older than 7.3: no JSON-RPC",
        set: |q, v| flag(v).map(|v| q.no_json = v),
    },
    Quirk {
        name: "old-login",
        help: "older than 6.2: login takes two or three parameters",
        set: |q, v| flag(v).map(|v| q.old_login = v),
    },
    Quirk { name: "chunked", help: "answers come in chunks", set: |q, v| flag(v).map(|v| q.chunked = v) },
    Quirk {
        name: "closes",
        help: "every answer ends its connection",
        set: |q, v| flag(v).map(|v| q.closes = v),
    },
    Quirk { name: "no-length", help: "answers have no length", set: |q, v| flag(v).map(|v| q.no_length = v) },
    Quirk {
        name: "power-word",
        help: "this word stands for every power state",
        set: |q, v| word(v).map(|v| q.power_word = Some(v)),
    },
    Quirk {
        name: "missing-field",
        help: "this field is not in the records of machines",
        set: |q, v| word(v).map(|v| q.missing_field = Some(v)),
    },
    Quirk {
        name: "session-calls",
        help: "sessions are forgotten after so many calls",
        set: |q, v| count(v).map(|v| q.session_calls = Some(v)),
    },
    Quirk {
        name: "slave-says",
        help: "what HOST_IS_SLAVE names instead of the master",
        set: |q, v| word(v).map(|v| q.slave_says = Some(v)),
    },
];

pub fn quirks() -> String {
    quirk::help(QUIRKS)
}

struct Simulated {
    pool: Pool,
    names: Vec<String>,
    hosts: usize,
    quirks: Quirks,
}

pub fn start(common: &Common, matches: &ArgMatches) -> Result<Ready, String> {
    if common.listen.port() != 0 || common.listen.ip() != std::net::Ipv4Addr::LOCALHOST {
        return Err("a pool has addresses of its own: --listen cannot be chosen".to_owned());
    }
    if !common.on {
        return Err("say --vm NAME=Halted instead of --off".to_owned());
    }
    let quirks = quirk::from_words(QUIRKS, &common.quirks)?;
    let mut settings = Settings {
        folder: Some(common.folder.clone()),
        hosts: number(matches, "hosts")?.unwrap_or(1),
        tls: matches.get_flag("tls"),
        quirks: quirks.clone(),
        ..Settings::default()
    };
    if let Some(seed) = common.seed {
        settings.seed = seed;
        settings.faults = Faults::draw(seed);
    }
    let vms = all(matches, "vm");
    if !vms.is_empty() {
        settings.vms = vms.iter().map(|text| vm(text)).collect::<Result<_, _>>()?;
    }
    if !common.users.is_empty() {
        settings.users = common.users.iter().map(|text| user(text)).collect::<Result<_, _>>()?;
    }
    let names = settings.vms.iter().map(|vm| vm.name.clone()).collect();
    let (hosts, tls) = (settings.hosts, settings.tls);
    let pool = Pool::start(settings).map_err(|why| format!("cannot start: {why}"))?;
    let urls: Vec<String> = (0..hosts).map(|host| pool.url(host)).collect();
    let mut more = object(json!({"urls": urls}));
    if tls {
        let file = common.folder.join("authority.pem");
        std::fs::write(&file, pool.authority()).map_err(|why| format!("{}: {why}", file.display()))?;
        more.insert("authority".to_owned(), json!(file));
        more.insert("fingerprint".to_owned(), json!(pool.fingerprint()));
    }
    Ok(Ready {
        address: pool.address(0).to_string(),
        more,
        device: Box::new(Simulated { pool, names, hosts, quirks }),
    })
}

fn state_word(text: &str) -> Result<&'static str, String> {
    ["Halted", "Running", "Paused", "Suspended"]
        .into_iter()
        .find(|word| *word == text)
        .ok_or_else(|| format!("'{text}' is none of Halted, Running, Paused, Suspended"))
}

fn vm(text: &str) -> Result<Vm, String> {
    let (name, state) = text.split_once('=').unwrap_or((text, "Running"));
    let power = state_word(state).map_err(|why| format!("--vm: {why}"))?;
    Ok(Vm { power, ..Vm::running(name) })
}

fn user(text: &str) -> Result<User, String> {
    let (name, password, level) = account(text)?;
    let read_only = match level {
        None | Some("admin") => false,
        Some("look") => true,
        Some(other) => return Err(format!("--user: level '{other}' is none of admin, look")),
    };
    Ok(User { name: name.into(), password: password.into(), read_only })
}

impl Device for Simulated {
    fn state(&self) -> Map<String, Value> {
        let of = |name: &String| {
            (name.clone(), json!({"power": self.pool.power(name), "runs": self.pool.is_running(name)}))
        };
        let vms: Map<String, Value> = self.names.iter().map(of).collect();
        object(
            json!({"vms": vms, "orders": self.pool.orders(), "requests": self.pool.requests(), "tasks": self.pool.tasks()}),
        )
    }

    /// `vm` and `power`; `master` (a number); `host` (a number) and `life` (up, down, silent).
    fn set(&mut self, wanted: &Map<String, Value>) -> Result<(), String> {
        let text = |name: &str| wanted.get(name).and_then(Value::as_str);
        let host = |name: &str| {
            wanted
                .get(name)
                .and_then(Value::as_u64)
                .and_then(|n| usize::try_from(n).ok())
                .filter(|n| *n < self.hosts)
                .ok_or_else(|| format!("{name} is a host's number, from 0 to {}", self.hosts - 1))
        };
        let mut keys: Vec<&str> = wanted.keys().map(String::as_str).collect();
        keys.sort_unstable();
        match keys.as_slice() {
            ["power", "vm"] => {
                let name = text("vm").unwrap_or_default();
                if !self.names.iter().any(|known| known == name) {
                    return Err(format!("no machine '{name}'"));
                }
                let power = state_word(text("power").unwrap_or_default())?;
                self.pool.set_power(name, power).map_err(|why| why.to_string())
            }
            ["master"] => {
                self.pool.set_master(host("master")?);
                Ok(())
            }
            ["host", "life"] => {
                let life = match text("life") {
                    Some("up") => Life::Up,
                    Some("down") => Life::Down,
                    Some("silent") => Life::Silent,
                    _ => return Err("life is up, down or silent".to_owned()),
                };
                self.pool.set_life(host("host")?, life);
                Ok(())
            }
            _ => Err("say vm and power, or master, or host and life".to_owned()),
        }
    }

    fn fault(&mut self, faults: &Map<String, Value>) -> Result<(), String> {
        let quirks = quirk::from_request(QUIRKS, &self.quirks, faults)?;
        self.pool.set_quirks(quirks.clone());
        self.quirks = quirks;
        Ok(())
    }

    fn sessions(&self) -> Map<String, Value> {
        object(json!({
            "open": self.pool.open_sessions(),
            "leaked": self.pool.leaked_sessions(),
            "opened": self.pool.sessions_opened(),
        }))
    }
}
