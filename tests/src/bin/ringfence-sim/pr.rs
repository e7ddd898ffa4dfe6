//! A disk with persistent reservations: for the level at which no kernel is between an agent and a disk.

use super::ipmi::object;
use super::{Common, Ready, number};
use clap::ArgMatches;
use ringfence_tests::sim::control::Device;
use ringfence_tests::sim::persistent_reservation::{LogicalUnit, Nexus, Settings};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// In the place of the list of quirks.
pub fn help() -> String {
    "  (none; see the options above)\n\n\
     A command: {\"do\":\"scsi\",\"initiator\":\"iqn.2026-01.org.lab:n1\",\"port\":1,\"cdb\":\"5e00...\",\"out\":\"00...\"}, all in \
     hexadecimal;\nthe answer has status, sense and data. {\"do\":\"lose\",\"initiator\":..,\"port\":..}: that nexus is lost. \
     {\"do\":\"restart\"}: loss of power.\n"
        .to_owned()
}

struct Simulated(LogicalUnit);

pub fn start(common: &Common, matches: &ArgMatches) -> Result<Ready, String> {
    if !common.quirks.is_empty() || !common.users.is_empty() || !common.on {
        return Err("a disk has neither quirks nor users nor a power of its own".to_owned());
    }
    let settings = Settings {
        full_status: !matches.get_flag("no-full-status"),
        abort: !matches.get_flag("no-abort"),
        room: number(matches, "room")?.unwrap_or(128),
        faults: number(matches, "faults")?.unwrap_or(0),
        seed: common.seed.unwrap_or(0),
        ..Settings::new(&common.folder)
    };
    let unit = LogicalUnit::start(settings).map_err(|why| format!("cannot start: {why}"))?;
    let address = common.folder.join("control").display().to_string();
    Ok(Ready { address, more: Map::new(), device: Box::new(Simulated(unit)) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(asked: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{name} is bytes in hexadecimal");
    let text = asked.get(name).map_or(Some(""), Value::as_str).ok_or_else(wrong)?;
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digits || text.len() % 2 != 0 {
        return Err(wrong());
    }
    let pair = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(|at| pair(at).ok_or_else(wrong)).collect()
}

fn nexus(asked: &Map<String, Value>) -> Result<Nexus, String> {
    let initiator =
        asked.get("initiator").and_then(Value::as_str).filter(|name| !name.is_empty() && !name.contains(' '));
    let port = asked.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    match (initiator, port) {
        (Some(initiator), Some(port)) => Ok(Nexus::new(initiator, port)),
        _ => Err("say initiator, a name without blanks, and port, a number".to_owned()),
    }
}

impl Device for Simulated {
    fn state(&self) -> Map<String, Value> {
        let state = match self.0.state() {
            Ok(state) => state,
            Err(why) => return object(json!({"unreadable": why.to_string()})),
        };
        let registered: Vec<_> = state
            .registered
            .iter()
            .map(|r| json!({"initiator": r.nexus.initiator, "port": r.nexus.port, "key": format!("{:#x}", r.key)}))
            .collect();
        let held = state.held.as_ref().map(|held| {
            json!({"type": held.kind, "holder": held.holder.as_ref().map(|n| json!({"initiator": n.initiator, "port": n.port}))})
        });
        object(json!({"generation": state.generation, "registered": registered, "held": held}))
    }

    fn set(&mut self, _: &Map<String, Value>) -> Result<(), String> {
        Err("a disk has no button: say restart or lose".to_owned())
    }

    fn fault(&mut self, _: &Map<String, Value>) -> Result<(), String> {
        Err("faults are chosen at the start: --faults and --seed".to_owned())
    }

    fn sessions(&self) -> Map<String, Value> {
        Map::new()
    }

    fn other(
        &mut self,
        what: &str,
        asked: &Map<String, Value>,
    ) -> Option<Result<Map<String, Value>, String>> {
        let told = |done: std::io::Result<()>| done.map(|()| Map::new()).map_err(|why| why.to_string());
        match what {
            "scsi" => Some(self.scsi(asked)),
            "lose" => Some(nexus(asked).and_then(|nexus| told(self.0.lose(&nexus)))),
            "restart" => Some(told(self.0.restart())),
            _ => None,
        }
    }
}

impl Simulated {
    fn scsi(&self, asked: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        let (nexus, cdb, out) = (nexus(asked)?, bytes(asked, "cdb")?, bytes(asked, "out")?);
        let answer = self.0.execute(&nexus, &cdb, &out).map_err(|why| why.to_string())?;
        Ok(object(json!({"status": answer.status, "sense": hex(&answer.sense), "data": hex(&answer.data)})))
    }
}
