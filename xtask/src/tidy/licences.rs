//! Every crate that is linked has a licence that `deny.toml` allows, and ours have both of their texts.

use super::{Finding, Source};
use crate::process::{self, cargo};
use serde_json::Value;

const OURS: &str = "MIT OR Apache-2.0";

pub fn check(sources: &[Source]) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for text in ["LICENSE-MIT", "LICENSE-APACHE"] {
        if !sources.iter().any(|source| source.path == text) {
            findings.push(Finding::new(text, "is missing"));
        }
    }
    let deny = sources.iter().find(|source| source.path == "deny.toml").ok_or("deny.toml is missing")?;
    let allowed = allowed(&deny.text);
    // Of this platform only: the crates of others were not downloaded.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let described = process::output_of(cargo().args([
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        &platform,
    ]))?;
    let described: Value =
        serde_json::from_str(&described).map_err(|why| format!("cargo metadata: {why}"))?;
    for package in described.get("packages").and_then(Value::as_array).into_iter().flatten() {
        let field = |name: &str| package.get(name).and_then(Value::as_str);
        let name = field("name").unwrap_or("?");
        let licence = field("license").unwrap_or_default();
        if field("source").is_none() {
            if licence != OURS {
                findings.push(Finding::new(name, format!("is ours and not under {OURS}, but '{licence}'")));
            }
        } else if !permitted(licence, &allowed) {
            findings.push(Finding::new(name, format!("its licence '{licence}' is not allowed by deny.toml")));
        }
    }
    Ok(findings)
}

/// The strings of `allow = [...]` in `[licenses]`.
fn allowed(deny: &str) -> Vec<String> {
    let list = deny
        .split_once("[licenses]")
        .and_then(|(_, rest)| rest.split_once("allow = ["))
        .map(|(_, rest)| rest);
    let list = list.and_then(|rest| rest.split_once(']')).map_or("", |(list, _)| list);
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// An SPDX expression: one side of an OR is enough, both sides of an AND are needed.
fn permitted(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = expression.split_whitespace().collect();
    let mut at = 0;
    !words.is_empty() && either(&words, &mut at, allowed) && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut result = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        result |= both(words, at, allowed);
    }
    result
}

fn both(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut result = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        result &= one(words, at, allowed);
    }
    result
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let result = either(words, at, allowed);
        *at += 1;
        return result;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).unwrap_or(&"?"));
        *at += 2;
    }
    allowed.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allowed = allowed(
            "[licenses]\nallow = [\n  \"MIT\",\n  \"Apache-2.0\",\n  \"Apache-2.0 WITH LLVM-exception\"]\n",
        );
        assert_eq!(allowed.len(), 3);
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/Apache-2.0",
            "(MIT OR GPL-3.0) AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(permitted(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0) AND GPL-2.0", "MIT WITH x", "MIT MIT"]
        {
            assert!(!permitted(bad, &allowed), "{bad}");
        }
    }
}
