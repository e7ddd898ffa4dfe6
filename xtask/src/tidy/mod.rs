//! `tidy`: the house rules, as a test. Each rule is a pure function and has a test that fails without it.

mod direction;
mod divergences;
mod licences;
mod text_rules;
mod unsafe_code;

use crate::workspace;
use clap::Command;
use std::fmt;
use std::fs;
use std::path::Path;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Relative to the root, with a line when there is one.
    pub place: String,
    pub what: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// A text file of the repository.
pub struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|end| end == "rs")
    }
}

pub fn command() -> Command {
    Command::new("tidy")
        .about("Check the house rules: names, lengths, unsafe, direction of dependency, licences")
}

pub fn run() -> Result<bool, String> {
    let sources = sources();
    let mut findings = Vec::new();
    for source in &sources {
        findings.extend(text_rules::check(source));
        findings.extend(unsafe_code::check(source));
    }
    findings.extend(direction::check(&sources));
    findings.extend(divergences::check(&sources));
    findings.extend(licences::check(&sources)?);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("{} files, nothing to complain about", sources.len());
    }
    Ok(findings.is_empty())
}

/// Everything that is text, hidden folders of ours included.
fn sources() -> Vec<Source> {
    let root = workspace::root();
    let mut paths = workspace::files(&root);
    for hidden in [".ci", ".cargo", ".config"] {
        paths.extend(workspace::files(&root.join(hidden)));
    }
    paths
        .into_iter()
        .filter_map(|path| {
            let text = fs::read_to_string(&path).ok()?;
            let path = path.strip_prefix(&root).ok()?.to_string_lossy().into_owned();
            Some(Source { path, text })
        })
        .collect()
}

/// The lines of a Rust file that are not comments, with their numbers, up to the unit tests at its end.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn this_repositorys_text_is_found() {
        let sources = sources();
        for path in ["Cargo.toml", ".ci/run", "xtask/src/tidy/mod.rs"] {
            assert!(sources.iter().any(|source| source.path == path), "{path}");
        }
        assert!(!sources.iter().any(|source| source.path.starts_with("target/")));
    }
}
