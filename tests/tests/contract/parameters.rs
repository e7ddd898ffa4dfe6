//! Test parameters, and values that are none.

const TABLE: &str = include_str!("parameters.txt");

/// Parameters of one way to use a subject.
pub type Parameters = Vec<(String, String)>;

/// The ways to use a subject of this name; at least one.
pub fn ways(name: &str) -> Vec<Parameters> {
    let mut ways: Vec<Parameters> = TABLE
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .map(|rest| {
            let pairs = rest.split_whitespace().filter_map(|pair| pair.split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        })
        .collect();
    if ways.is_empty() {
        ways.push(Vec::new());
    }
    ways
}

/// Whether an agent needs what only the lab has to be started (a line `lab:NAME`).
pub fn only_in_the_lab(name: &str) -> bool {
    TABLE.lines().any(|line| line.strip_prefix("lab:") == Some(name))
}

/// Whether an agent takes any text for its numbers, as the original does (a line `any-number:NAME`).
pub fn takes_any_number(name: &str) -> bool {
    TABLE.lines().any(|line| line.strip_prefix("any-number:") == Some(name))
}

/// Whether a plugin waits for a person (a line `person:NAME`).
pub fn waits_for_a_person(name: &str) -> bool {
    TABLE.lines().any(|line| line.strip_prefix("person:") == Some(name))
}

/// Names in the table that no subject has: left-overs.
pub fn unknown(known: &[&str]) -> Vec<String> {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let names = names.map(|name| name.rsplit(':').next().unwrap_or(name).to_owned());
    names.filter(|name| !known.contains(&name.as_str())).collect()
}

/// Values that cannot be of the declared type; none where any text is one.
pub fn malformed(content: &str) -> &'static [&'static str] {
    match content {
        "integer" => &["many", "1x", "0x10", " "],
        "select" => &["none-of-these"],
        _ => &[],
    }
}
