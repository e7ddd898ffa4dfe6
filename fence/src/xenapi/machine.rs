//! What a pool says about one virtual machine, and what of that a fence agent may believe.

use super::error::Error;
use super::wire::Keep;
use serde_json::Value;
use std::fmt;

/// A reference to nothing.
const NULL: &str = "OpaqueRef:NULL";

/// The members of a record that are read.
pub const MEMBERS: &[&str] = &[
    "uuid",
    "name_label",
    "power_state",
    "is_a_template",
    "is_a_snapshot",
    "is_control_domain",
    "resident_on",
    "current_operations",
];

/// `VM.power_state`, a closed set: every other word is not a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PowerState {
    /// No domain, no memory kept: the only state that is off.
    Halted,
    Running,
    /// The domain exists and keeps its devices; it goes on as soon as somebody says `unpause`.
    Paused,
    /// The memory is on disk; it goes on where it was, with the writes that it had under way.
    Suspended,
    /// A word that this program does not know.
    Other(String),
}

impl PowerState {
    fn read(word: &str) -> Self {
        match word {
            "Halted" => Self::Halted,
            "Running" => Self::Running,
            "Paused" => Self::Paused,
            "Suspended" => Self::Suspended,
            other => Self::Other(other.chars().filter(|c| !c.is_control()).take(40).collect()),
        }
    }
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Halted => "halted",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
            Self::Other(word) => word,
        })
    }
}

/// What stands in the pool's list of machines and is none that can be fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Machine,
    Snapshot,
    Template,
    /// The host's own domain.
    ControlDomain,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub uuid: String,
    pub name: String,
    pub state: PowerState,
    pub kind: Kind,
    /// The host that has its domain.
    pub resident_on: Option<String>,
    /// `start`, `hard_shutdown` and the like, which are under way.
    pub operations: Vec<String>,
}

impl Machine {
    /// What is to be kept of one record.
    pub const KEEP: Keep = Keep::of_record(MEMBERS);
    /// What is to be kept of a map of records.
    pub const KEEP_ALL: Keep = Keep::of_records(MEMBERS);

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error::Protocol`] when a member is missing: nothing is assumed about what the pool does not say.
    pub fn read(record: &Value) -> Result<Self, Error> {
        let missing = |name: &str| Error::protocol(format!("the record of a machine has no usable '{name}'"));
        let text = |name: &str| record.get(name).and_then(Value::as_str).ok_or_else(|| missing(name));
        let flag = |name: &str| record.get(name).and_then(Value::as_bool).ok_or_else(|| missing(name));
        let (snapshot, template, control) =
            (flag("is_a_snapshot")?, flag("is_a_template")?, flag("is_control_domain")?);
        // A snapshot is a template, too.
        let kind = if control {
            Kind::ControlDomain
        } else if snapshot {
            Kind::Snapshot
        } else if template {
            Kind::Template
        } else {
            Kind::Machine
        };
        let operations = record.get("current_operations").and_then(Value::as_object);
        let operations = operations.ok_or_else(|| missing("current_operations"))?;
        Ok(Self {
            uuid: text("uuid")?.to_owned(),
            name: text("name_label")?.to_owned(),
            state: PowerState::read(text("power_state")?),
            kind,
            resident_on: Some(text("resident_on")?)
                .filter(|host| *host != NULL && !host.is_empty())
                .map(str::to_owned),
            operations: operations.values().filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }

    /// An operation under way that will end with a domain, though there is none at this moment.
    pub fn is_coming_up(&self) -> bool {
        self.operations.iter().any(|operation| {
            matches!(
                operation.as_str(),
                "start" | "start_on" | "resume" | "resume_on" | "hard_reboot" | "clean_reboot"
            )
        })
    }

    /// Halted, by everything that the record says: a pool's database that still names a host for it contradicts itself.
    pub fn is_certainly_off(&self) -> bool {
        self.state == PowerState::Halted && self.resident_on.is_none() && !self.is_coming_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record() -> Value {
        json!({
            "uuid": "u", "name_label": "n", "power_state": "Halted", "is_a_template": false, "is_a_snapshot": false,
            "is_control_domain": false, "resident_on": NULL, "current_operations": {},
        })
    }

    fn with(name: &str, value: Value) -> Machine {
        let mut record = record();
        record[name] = value;
        Machine::read(&record).unwrap()
    }

    #[test]
    fn only_halted_is_off() {
        assert!(Machine::read(&record()).unwrap().is_certainly_off());
        for state in ["Running", "Paused", "Suspended", "halted", "Halted ", "", "Crashed"] {
            assert!(!with("power_state", json!(state)).is_certainly_off(), "{state}");
        }
        assert!(!with("resident_on", json!("OpaqueRef:1")).is_certainly_off());
        assert!(!with("current_operations", json!({"t": "start_on"})).is_certainly_off());
        assert!(with("current_operations", json!({"t": "hard_shutdown"})).is_certainly_off());
    }

    #[test]
    fn nothing_is_assumed_about_what_is_missing_or_of_another_type() {
        for name in MEMBERS {
            let mut less = record();
            less.as_object_mut().unwrap().remove(*name);
            assert!(Machine::read(&less).is_err(), "{name}");
            let mut other = record();
            other[*name] = json!([1]);
            assert!(Machine::read(&other).is_err(), "{name}");
        }
        assert!(Machine::read(&json!("x")).is_err());
    }

    #[test]
    fn what_is_no_machine_is_known_by_its_flags() {
        for (name, kind) in [
            ("is_a_snapshot", Kind::Snapshot),
            ("is_a_template", Kind::Template),
            ("is_control_domain", Kind::ControlDomain),
        ] {
            assert_eq!(with(name, json!(true)).kind, kind);
        }
    }
}
