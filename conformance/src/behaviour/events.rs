//! What happens to a resource without its agent's doing, for random sequences: `event NAME gone GIVEN`, and `kept`
//! where the resource must not mind.

use super::parse;
use super::place::{self, Callable};
use crate::case::Parameters;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub name: String,
    /// What ran does not run any more, or not as it should.
    pub gone: bool,
    /// The way to use the agent in which this can happen; `None`: in every way.
    pub way: Option<Parameters>,
    /// Words of a `given`.
    pub given: Vec<String>,
}

impl Event {
    /// Whether it needs the peer and its cable.
    pub fn is_on_the_network(&self) -> bool {
        !matches!(self.given.first().map(String::as_str), Some("file" | "folder" | "program"))
    }

    /// Makes it happen. `Err`: it cannot, as when what somebody is to remove is not there.
    pub fn happen(&self) -> Result<(), String> {
        let words: Vec<&str> = self.given.iter().map(String::as_str).collect();
        place::make(&parse::given(&words)?, &mut Callable::default())
    }
}

/// Behind `event`. It belongs to the `way` that stands before it in its file, and without one to every way.
pub fn event(words: &[&str], way: Option<&Parameters>) -> Result<Event, String> {
    match words {
        [name, what @ ("gone" | "kept"), given @ ..] => {
            parse::given(given)?;
            Ok(Event {
                name: (*name).to_owned(),
                gone: *what == "gone",
                way: way.cloned(),
                given: given.iter().map(|word| (*word).to_owned()).collect(),
            })
        }
        _ => Err("the form is: event NAME gone GIVEN, or event NAME kept GIVEN".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::file;

    #[test]
    fn an_event_belongs_to_the_way_before_it() {
        let text = "event a gone file /run/a is removed\nway x=1\nevent b kept folder /run/b\n";
        let events = file("A", "a.case", text).unwrap().events;
        assert!(events[0].gone && events[0].way.is_none() && !events[0].is_on_the_network());
        assert!(!events[1].gone && events[1].way == Some(vec![("x".into(), "1".into())]));
        for bad in ["event a folder /run/a", "event a lost folder /run/a", "event a gone folder /etc/a"] {
            assert!(file("A", "a.case", bad).is_err(), "{bad}");
        }
    }
}
