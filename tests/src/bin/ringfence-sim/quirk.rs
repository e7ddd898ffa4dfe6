//! Ways to misbehave, by name: the same on the command line and in a fault request.

use serde_json::{Map, Value};
use std::time::Duration;

/// One of a device whose quirks are kept in a `Q`.
pub struct Quirk<Q> {
    pub name: &'static str,
    pub help: &'static str,
    pub set: fn(&mut Q, &Value) -> Result<(), String>,
}

/// The lines of the help.
pub fn help<Q>(table: &[Quirk<Q>]) -> String {
    let lines: Vec<String> =
        table.iter().map(|quirk| format!("  {:<24} {}", quirk.name, quirk.help)).collect();
    lines.join("\n") + "\n"
}

fn apply<Q>(table: &[Quirk<Q>], quirks: &mut Q, name: &str, value: &Value) -> Result<(), String> {
    let Some(quirk) = table.iter().find(|quirk| quirk.name == name) else {
        let names: Vec<_> = table.iter().map(|quirk| quirk.name).collect();
        return Err(format!("no quirk '{name}': there are {}", names.join(" ")));
    };
    (quirk.set)(quirks, value).map_err(|why| format!("quirk {name}: {why}"))
}

/// From `NAME` and `NAME=VALUE`.
pub fn from_words<Q: Default>(table: &[Quirk<Q>], words: &[String]) -> Result<Q, String> {
    let mut quirks = Q::default();
    for word in words {
        let (name, value) =
            word.split_once('=').map_or((word.as_str(), Value::Bool(true)), |(name, text)| {
                let number = text.parse::<u64>().map(Value::from);
                (name, number.unwrap_or_else(|_| Value::from(text)))
            });
        apply(table, &mut quirks, name, &value)?;
    }
    Ok(quirks)
}

/// What a fault request makes of `now`. `clear` begins anew.
pub fn from_request<Q: Default + Clone>(
    table: &[Quirk<Q>],
    now: &Q,
    request: &Map<String, Value>,
) -> Result<Q, String> {
    let clear = request.get("clear") == Some(&Value::Bool(true));
    let mut quirks = if clear { Q::default() } else { now.clone() };
    if request.is_empty() {
        return Err("which fault?".to_owned());
    }
    for (name, value) in request.iter().filter(|(name, _)| *name != "clear") {
        apply(table, &mut quirks, name, value)?;
    }
    Ok(quirks)
}

/// `true`, `false`, 1, 0.
pub fn flag(value: &Value) -> Result<bool, String> {
    match (value.as_bool(), value.as_u64()) {
        (Some(on), _) => Ok(on),
        (None, Some(0)) => Ok(false),
        (None, Some(1)) => Ok(true),
        _ => Err("say true or false".to_owned()),
    }
}

/// A number that fits.
pub fn count<T: TryFrom<u64>>(value: &Value) -> Result<T, String> {
    value.as_u64().and_then(|n| T::try_from(n).ok()).ok_or_else(|| "say a number".to_owned())
}

/// Milliseconds.
pub fn millis(value: &Value) -> Result<Duration, String> {
    count(value).map(Duration::from_millis)
}

/// A word.
pub fn word(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| "say a word".to_owned())
}

/// `NAME:PASSWORD` or `NAME:PASSWORD:LEVEL`. The password may hold colons if the level is given.
pub fn account(text: &str) -> Result<(&str, &str, Option<&str>), String> {
    let wrong = || "--user: say NAME:PASSWORD or NAME:PASSWORD:LEVEL".to_owned();
    let (name, rest) = text.split_once(':').ok_or_else(wrong)?;
    Ok(match rest.rsplit_once(':') {
        Some((password, level)) => (name, password, Some(level)),
        None => (name, rest, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Clone, Default, Debug, PartialEq)]
    struct Odd {
        lies: bool,
        busy: u32,
    }

    const TABLE: &[Quirk<Odd>] = &[
        Quirk { name: "lies", help: "", set: |q, v| flag(v).map(|v| q.lies = v) },
        Quirk { name: "busy", help: "", set: |q, v| count(v).map(|v| q.busy = v) },
    ];

    #[test]
    fn the_same_names_in_both_places() {
        let words =
            |words: &[&str]| from_words(TABLE, &words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["lies", "busy=3"]), Ok(Odd { lies: true, busy: 3 }));
        for wrong in ["lie", "busy", "busy=-1", "busy=99999999999", "lies=perhaps"] {
            assert!(words(&[wrong]).is_err(), "{wrong}");
        }
        let now = Odd { lies: true, busy: 3 };
        let request = |value: Value| from_request(TABLE, &now, value.as_object().unwrap());
        assert_eq!(request(json!({"busy": 1})), Ok(Odd { lies: true, busy: 1 }));
        assert_eq!(request(json!({"clear": true, "busy": 1})), Ok(Odd { lies: false, busy: 1 }));
        assert!(request(json!({})).is_err() && request(json!({"busy": "x"})).is_err());
    }

    #[test]
    fn accounts() {
        assert_eq!(account("a:b"), Ok(("a", "b", None)));
        assert_eq!(account("a:b:c:user"), Ok(("a", "b:c", Some("user"))));
        assert!(account("a").is_err());
    }
}
