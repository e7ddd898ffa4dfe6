//! `divergences.toml`: the intended differences between two agents of the same name.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// One intended difference.
#[derive(Clone, Debug, Deserialize)]
pub struct Divergence {
    /// The agent's name, or a family such as `fence/*`.
    pub agent: String,
    pub id: String,
    pub kind: String,
    pub what: String,
    pub why: String,
    /// The behaviour cases that show it.
    #[serde(default)]
    pub cases: Vec<String>,
    /// The file of the test that shows it where no behaviour case can, from the root of the list's repository.
    #[serde(default)]
    pub shown: Option<String>,
    /// Whether that file is not there.
    #[serde(skip)]
    pub shown_by_nothing: bool,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    divergence: Vec<Divergence>,
}

/// Reads the list. `Err`: the file cannot be read, or is not what it should be, with the line.
pub fn read(path: &Path) -> Result<Vec<Divergence>, String> {
    let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let mut entries = parse(&text).map_err(|why| format!("{}: {why}", path.display()))?;
    let root = root(path);
    for entry in &mut entries {
        entry.shown_by_nothing = entry.shown.as_ref().is_some_and(|shown| !root.join(shown).is_file());
    }
    Ok(entries)
}

/// The repository that the list is in; of a list that is in none, its own folder.
fn root(list: &Path) -> PathBuf {
    let list = list.canonicalize().unwrap_or_else(|_| list.to_owned());
    let own = list.parent().unwrap_or(Path::new("/"));
    own.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(own).to_owned()
}

fn parse(text: &str) -> Result<Vec<Divergence>, String> {
    let document: Document = toml::from_str(text).map_err(|why| why.to_string())?;
    for entry in &document.divergence {
        for (key, value) in [("what", &entry.what), ("why", &entry.why), ("kind", &entry.kind)] {
            if value.trim().is_empty() {
                return Err(format!("{}: {key} is empty", entry.id));
            }
        }
    }
    Ok(document.divergence)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn entries_with_and_without_cases() {
        let text = "[[divergence]]\nagent='A'\nid='x'\nkind='stricter'\nwhat='w'\nwhy='y'\n";
        assert!(parse(text).unwrap()[0].cases.is_empty());
        assert_eq!(parse(&format!("{text}cases = ['A/b', 'A/c']\n")).unwrap()[0].cases, ["A/b", "A/c"]);
        assert!(parse(&text.replace("why='y'", "why=''")).unwrap_err().contains("why is empty"));
        assert!(parse(&text.replace("id='x'", "")).is_err());
    }
}
