//! What the caller gave, and the values that follow from it and the defaults.

use super::option::{Field, OptionDef, boolean, whole_number};
use super::spec::Table;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// One option as the caller gave it.
pub struct Assignment {
    /// The option's key.
    pub key: &'static str,
    /// The name that the caller used.
    pub spelled: String,
    pub value: Zeroizing<Vec<u8>>,
}

/// The input of one call, in the order in which it came.
#[derive(Default)]
pub struct Given {
    pub assignments: Vec<Assignment>,
    /// What to tell the administrator, without any value of an unknown option.
    pub warnings: Vec<String>,
    /// The node that Pacemaker or fenced wants fenced, when the agent has no such option itself.
    pub nodename: Option<Vec<u8>>,
    /// How often `-v` was given; 0 on standard input.
    pub verbosity: u64,
}

impl Given {
    pub fn push(&mut self, key: &'static str, spelled: &str, value: Vec<u8>) {
        self.assignments.push(Assignment { key, spelled: spelled.to_owned(), value: Zeroizing::new(value) });
    }

    /// The last value of the option `key`.
    pub fn last(&self, key: &str) -> Option<&[u8]> {
        self.assignments.iter().rev().find(|a| a.key == key).map(|a| a.value.as_slice())
    }

    /// Decides between a configured plug and the one that Pacemaker adds.
    ///
    /// Pacemaker sends `plug=<node or its alias>` next to a configured `port=1`, in no particular
    /// order, so that "the last line wins" would be left to chance. It adds only the name that is not
    /// configured, and it always sends `nodename`: then the value that is not the node's name is the
    /// configured one, and if neither is, the old name is (Pacemaker itself prefers `plug`).
    pub fn settle_plug(&mut self) {
        let of = |old: bool| {
            self.assignments.iter().rposition(|a| a.key == "port" && (a.spelled == "port") == old)
        };
        let (Some(node), Some(old), Some(new)) = (&self.nodename, of(true), of(false)) else {
            return;
        };
        let value = |at: usize| self.assignments.get(at).map(|a| a.value.as_slice());
        if value(old) == value(new) {
            return;
        }
        let old_is_injected = value(old) == Some(node.as_slice()) && value(new) != Some(node.as_slice());
        let (keep, drop) = if old_is_injected { ("plug", "port") } else { ("port", "plug") };
        self.warnings.push(format!(
            "both port and plug are set and differ: using {keep}, which is the configured one; remove it \
             or set pcmk_host_argument=none to get rid of this warning"
        ));
        self.assignments.retain(|a| a.key != "port" || (a.spelled == "port") == (drop == "plug"));
    }
}

/// The value of every option that has one, by key.
#[derive(Default)]
pub struct Values {
    map: BTreeMap<&'static str, Zeroizing<Vec<u8>>>,
}

impl Values {
    /// The last value given for each option, else its default.
    pub fn new(table: &Table, given: &Given) -> Self {
        let mut map = BTreeMap::new();
        for def in &table.defs {
            let value =
                given.last(def.key).or(def.default.map(str::as_bytes)).map(|v| Zeroizing::new(v.to_vec()));
            if let Some(value) = value {
                map.insert(def.key, value);
            }
        }
        Self { map }
    }

    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.map.get(key).map(|v| v.as_slice())
    }

    pub fn set(&mut self, key: &'static str, value: Vec<u8>) {
        self.map.insert(key, Zeroizing::new(value));
    }

    /// The value as text; bytes that are not UTF-8 become U+FFFD.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(|v| String::from_utf8_lossy(v).into_owned())
    }

    /// The value as text unless it is unset or empty.
    pub fn nonempty(&self, key: &str) -> Option<String> {
        self.text(key).filter(|v| !v.is_empty())
    }

    /// A flag; unset is false.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(boolean).unwrap_or(false)
    }

    /// A number; unset is 0.
    pub fn number(&self, key: &str) -> u64 {
        self.get(key).and_then(whole_number).unwrap_or(0)
    }

    /// For [`fence_options!`](crate::fence_options): the typed value, or a complaint.
    pub fn field<T: Field>(&self, def: &OptionDef, complaints: &mut Vec<String>) -> Option<T> {
        match T::from_value(self.get(def.key)) {
            Ok(value) => Some(value),
            Err(why) => {
                complaints.push(match self.get(def.key) {
                    None => format!("Failed: You have to set --{}", def.long),
                    Some(_) => {
                        format!("Failed: The value you have entered for --{} is not valid: {why}", def.long)
                    }
                });
                None
            }
        }
    }
}
