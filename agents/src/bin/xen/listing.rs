//! What `xl list` and `xm list` print, typed.
//!
//! The table is read, not the JSON of `xl list -l`: that has the configuration of each domain and not its state (Xen 4.17).
//! The six letters of the state are those of xl(1), section "list": the fifth says why a domain has shut down.

/// Why a domain has stopped executing (`SHUTDOWN_*` of Xen's public/sched.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    PowerOff,
    Reboot,
    /// For a migration, or to be saved.
    Suspend,
    Crash,
    Watchdog,
    SoftReset,
    /// A letter that this agent does not know.
    Other(char),
}

/// What a domain is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// On a processor, or waiting for one.
    Running,
    /// Waits for an event, as an idle guest does.
    Blocked,
    Paused,
    /// Has no virtual processor yet: it is being made, restored or received.
    Building,
    ShutDown(Reason),
    /// Being taken apart.
    Dying,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    pub name: String,
    pub id: u32,
    /// MiB.
    pub memory: u64,
    /// Virtual processors that are up.
    pub processors: u32,
    pub condition: Condition,
    /// Whether it was ever on a processor; `None`: nothing tells.
    pub has_run: Option<bool>,
    /// Only with `xl list -v`.
    pub uuid: Option<String>,
}

/// Reads the table. `Err`: a sentence about what is not understood.
///
/// A row that cannot be read is an error only if its name begins with `wanted`, which is the guest asked about: xend also
/// lists guests that it knows and that do not run, without an id.
pub fn parse(text: &str, wanted: &str) -> Result<Vec<Domain>, String> {
    let mut lines = text.lines();
    let header = lines.by_ref().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if header.split_whitespace().take(2).collect::<Vec<_>>() != ["Name", "ID"] {
        return Err(format!("no list of domains, but {header:?}"));
    }
    let mut domains = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        match row(line) {
            Some(domain) => domains.push(domain),
            None if line.starts_with(wanted) && !is_inactive(line) => {
                return Err(format!("a row that makes no sense: {:?}", line.trim()));
            }
            None => {}
        }
    }
    Ok(domains)
}

/// Name, id, memory, processors, state, seconds; with `-v` also UUID, reason and label. A name may have blanks.
fn row(line: &str) -> Option<Domain> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().rposition(|word| is_state(word))?;
    let [.., id, memory, processors] = words.get(..at)? else { return None };
    let name = words.get(..at.checked_sub(3)?)?.join(" ");
    let processors: u32 = processors.parse().ok()?;
    let seconds: f64 = words.get(at + 1)?.parse().ok()?;
    Some(Domain {
        name,
        id: id.parse().ok()?,
        memory: memory.parse().ok()?,
        processors,
        condition: condition(words.get(at)?, processors)?,
        has_run: Some(seconds > 0.0),
        uuid: words.get(at + 2).filter(|word| word.len() == 36).map(|word| (*word).to_owned()),
    })
}

/// A guest that xend manages and that does not run has neither id nor state: `name 512 1 0.0`.
fn is_inactive(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    !words.iter().any(|word| is_state(word)) && words.len() == 4
}

fn is_state(word: &str) -> bool {
    let letters: Vec<char> = word.chars().collect();
    let [running, blocked, paused, shut, _, dying] = letters.as_slice() else { return false };
    [(running, 'r'), (blocked, 'b'), (paused, 'p'), (shut, 's'), (dying, 'd')]
        .iter()
        .all(|(is, letter)| **is == '-' || **is == *letter)
}

fn condition(state: &str, processors: u32) -> Option<Condition> {
    let letters: Vec<char> = state.chars().collect();
    let [_, blocked, paused, shut, why, dying] = letters.as_slice() else { return None };
    let reason = match why {
        '-' => Reason::PowerOff,
        'r' => Reason::Reboot,
        's' => Reason::Suspend,
        'c' => Reason::Crash,
        'w' => Reason::Watchdog,
        'S' => Reason::SoftReset,
        other => Reason::Other(*other),
    };
    // xm says `----c-` of a crashed one; of others there is no reason before they have shut down.
    if *shut == '-' && !matches!(why, '-' | 'c') {
        return None;
    }
    Some(match (dying, shut, why, paused, blocked) {
        ('d', ..) => Condition::Dying,
        (_, 's', ..) | (_, _, 'c', ..) => Condition::ShutDown(reason),
        _ if processors == 0 => Condition::Building,
        (_, _, _, 'p', _) => Condition::Paused,
        (_, _, _, _, 'b') => Condition::Blocked,
        _ => Condition::Running,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const HEADER: &str = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n";

    fn fixture(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/xen").join(name);
        std::fs::read_to_string(path).unwrap()
    }

    fn of(row: &str) -> Condition {
        let domains = parse(&format!("{HEADER}{row}\n"), "d1").unwrap();
        domains.into_iter().next().unwrap().condition
    }

    #[test]
    fn every_recorded_state_is_told_apart() {
        let shut = |reason| Condition::ShutDown(reason);
        for (state, processors, condition) in [
            ("r-----", 1, Condition::Running),
            ("------", 1, Condition::Running),
            ("-b----", 1, Condition::Blocked),
            ("--p---", 1, Condition::Paused),
            ("--p---", 0, Condition::Building),
            ("---s--", 1, shut(Reason::PowerOff)),
            ("---sr-", 1, shut(Reason::Reboot)),
            ("---ss-", 1, shut(Reason::Suspend)),
            ("--pss-", 1, shut(Reason::Suspend)),
            ("---sc-", 1, shut(Reason::Crash)),
            ("----c-", 1, shut(Reason::Crash)),
            ("---sw-", 1, shut(Reason::Watchdog)),
            ("---sS-", 1, shut(Reason::SoftReset)),
            ("---s?-", 1, shut(Reason::Other('?'))),
            ("--ps-d", 1, Condition::Dying),
            ("-----d", 0, Condition::Dying),
        ] {
            assert_eq!(
                of(&format!("d1     12   128     {processors}     {state}       0.0")),
                condition,
                "{state}"
            );
        }
    }

    #[test]
    fn a_recorded_table_is_read_whole() {
        let names = |file: &str| -> Vec<(String, u32)> {
            parse(&fixture(file), "d1").unwrap().into_iter().map(|domain| (domain.name, domain.id)).collect()
        };
        assert_eq!(names("list.txt"), [("Domain-0".to_owned(), 0), ("d1".to_owned(), 1)]);
        assert_eq!(
            names("list-migrating-source.txt"),
            [("Domain-0".to_owned(), 0), ("d2--migratedaway".to_owned(), 1)]
        );
        assert_eq!(
            names("list-migrating-target.txt"),
            [("Domain-0".to_owned(), 0), ("m96--incoming".to_owned(), 1)]
        );
        let with_uuid = parse(&fixture("list-v.txt"), "d1").unwrap();
        assert_eq!(with_uuid[1].uuid.as_deref(), Some("31ac04b3-6b47-4eb2-9efa-76d5991026f5"));
        assert_eq!((with_uuid[1].memory, with_uuid[1].condition), (128, Condition::Blocked));
    }

    #[test]
    fn one_that_was_never_on_a_processor_is_told_apart() {
        let has_run = |seconds: &str| {
            let text = format!("{HEADER}d1  3  112  1  --p---  {seconds}\n");
            parse(&text, "d1").unwrap()[0].has_run
        };
        assert_eq!((has_run("0.0"), has_run("0.1")), (Some(false), Some(true)));
    }

    #[test]
    fn a_name_may_have_blanks_and_one_without_a_name_is_nobodys() {
        let text = format!("{HEADER}my vm 1   4  64 1 -b----  1.0\n(null)   5  0 1 --ps-d 1.0\n");
        let domains = parse(&text, "d1").unwrap();
        assert_eq!(domains[0].name, "my vm 1");
        assert_eq!(domains[1].condition, Condition::Dying);
    }

    #[test]
    fn what_is_no_table_is_an_error_and_never_an_empty_list() {
        for text in ["", "\n", "xencall: error: Could not obtain handle\n", "Name\n"] {
            assert!(parse(text, "d1").is_err(), "{text:?}");
        }
        assert_eq!(parse(HEADER, "d1"), Ok(Vec::new()));
    }

    #[test]
    fn a_row_of_the_guest_that_cannot_be_read_is_an_error() {
        assert!(parse(&format!("{HEADER}d1   7 128\n"), "d1").is_err());
        assert!(parse(&format!("{HEADER}d1   7 128 1 -b--x- 1\n"), "d1").is_err());
        assert_eq!(parse(&format!("{HEADER}other   7 128\n"), "d1"), Ok(Vec::new()));
        assert_eq!(
            parse(&format!("{HEADER}d1     512     1                 0.0\n"), "d1"),
            Ok(Vec::new()),
            "xend knows it"
        );
    }
}
