//! Test parameters, and values that are none.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

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

/// Names in the table that no subject has: left-overs.
pub fn unknown(known: &[&str]) -> Vec<String> {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let names = names.map(|name| name.rsplit(':').next().unwrap_or(name).to_owned());
    names.filter(|name| !known.contains(&name.as_str())).collect()
}

/// Values that no parameter of any type wants to see. Each that is a path is one below the test's own folder.
pub fn hostile() -> Vec<(&'static str, OsString)> {
    vec![
        ("empty", OsString::new()),
        ("blank", " ".into()),
        ("option", "-h".into()),
        ("quotes", "a'b\"c`d".into()),
        ("command", "$(touch /run/injected)".into()),
        ("separators", "x; touch /run/injected & touch /run/injected | touch /run/injected".into()),
        ("quoted command", "'; touch /run/injected; '\"; touch /run/injected; \"".into()),
        ("lines", "a\nforged line\ntouch /run/injected\r\n".into()),
        ("escape sequence", "\u{1b}[2J\u{7}\u{85}\u{202e}x".into()),
        ("64 KiB", "A".repeat(65536).into()),
        ("path of 64 KiB", format!("/run/rf/{}", "a".repeat(65536)).into()),
        ("hostile path", "/run/rf/'\"\n$(touch /run/injected) %s%n".into()),
        ("path upwards", "../../run/rf/x".into()),
        ("format", "%s%n%1$s{}\\0\\".into()),
        ("not UTF-8", OsString::from_vec(vec![0xff, 0xfe, b'/', 0x80])),
        ("huge number", "99999999999999999999999999".into()),
        ("negative", "-1".into()),
    ]
}

/// Values that cannot be of the declared type; none where any text is one.
pub fn malformed(content: &str) -> &'static [&'static str] {
    match content {
        "integer" => &["many", "1x", "1.5", "0x10", " "],
        "select" => &["none-of-these"],
        _ => &[],
    }
}

/// Parameters as lines of a fence agent's standard input.
pub fn lines(parameters: &Parameters) -> String {
    parameters.iter().fold(String::new(), |text, (name, value)| text + name + "=" + value + "\n")
}
