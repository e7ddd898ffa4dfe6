//! Each intended difference from upstream says what it is and why (`conformance/divergences.toml`).

use super::{Finding, Source};

const FILE: &str = "conformance/divergences.toml";
const KEYS: [&str; 5] = ["agent", "id", "kind", "what", "why"];

pub fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().find(|source| source.path == FILE).map(|source| entries(&source.text)).unwrap_or_default()
}

/// An entry begins with a `[[...]]` line; a key counts when something stands behind its equals sign.
fn entries(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    let mut entry: Option<(usize, Vec<(&str, String)>)> = None;
    let mut finish = |entry: Option<(usize, Vec<(&str, String)>)>, findings: &mut Vec<Finding>| {
        let Some((line, pairs)) = entry else { return };
        let value = |key: &str| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
        let place = format!("{FILE}:{line}");
        let missing: Vec<&str> =
            KEYS.into_iter().filter(|key| value(key).is_none_or(|value| value.is_empty())).collect();
        if !missing.is_empty() {
            findings.push(Finding::new(&place, format!("the entry does not say its {}", missing.join(", "))));
        }
        let name = format!("{} {}", value("agent").unwrap_or_default(), value("id").unwrap_or_default());
        if seen.contains(&name) {
            findings.push(Finding::new(&place, format!("'{name}' stands here twice")));
        }
        seen.push(name);
    };
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("[[") {
            finish(entry.take(), &mut findings);
            entry = Some((at + 1, Vec::new()));
        } else if let Some((key, value)) = line.split_once('=')
            && let Some((_, pairs)) = &mut entry
        {
            let value = value.trim();
            // An opening """ continues on the next lines.
            let value = if value == "\"\"\"" { value } else { value.trim_matches('"') };
            pairs.push((key.trim(), value.to_owned()));
        }
    }
    finish(entry, &mut findings);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "[[divergence]]\nagent = \"X\"\nid = \"a\"\nkind = \"fix\"\nwhat = \"\"\"\nlong\n\"\"\"\nwhy = \"y\"\n";

    #[test]
    fn a_whole_entry() {
        assert_eq!(entries(WHOLE), []);
    }

    #[test]
    fn each_key_is_needed() {
        for key in KEYS {
            let mine = format!("{key} ");
            let without: Vec<&str> = WHOLE.lines().filter(|line| !line.starts_with(&mine)).collect();
            let findings = entries(&without.join("\n"));
            assert!(findings.iter().any(|finding| finding.what.contains(key)), "{key}: {findings:?}");
        }
        assert_eq!(entries(&WHOLE.replace("\"y\"", "\"\"")).len(), 1);
    }

    #[test]
    fn an_id_stands_once() {
        assert_eq!(entries(&WHOLE.repeat(2)).len(), 1);
    }
}
