//! The list of mutations, `conformance/mutations/*.toml`: small defects, each put into our own source on purpose.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where the list lies, from the root.
pub const FOLDER: &str = "conformance/mutations";

/// In `caught_by`: the types allow no such defect, so that the mutation does not compile.
pub const COMPILER: &str = "compiler";

/// One small defect.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    pub id: String,
    /// The agent that is built and judged, by its installed name.
    pub agent: String,
    /// The source file, from the root.
    pub file: String,
    /// Text that stands in the file exactly once.
    pub find: String,
    /// What stands there instead.
    pub put: String,
    /// What is wrong then, in a sentence.
    pub breaks: String,
    /// Ids of the judge's cases, one of which must catch it; or [`COMPILER`].
    pub caught_by: Vec<String>,
}

/// Everything that the files say.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Parameters with which the judge can use an agent, as `NAME=VALUE`.
    #[serde(default)]
    pub parameters: BTreeMap<String, Vec<String>>,
    #[serde(default, rename = "mutation")]
    pub mutations: Vec<Mutation>,
}

impl Mutation {
    /// Whether it is the compiler that must refuse it.
    pub fn is_for_the_compiler(&self) -> bool {
        self.caught_by.iter().any(|by| by == COMPILER)
    }

    /// The file's text with the defect in it. `Err`: the entry is stale, and why.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.put, 1)),
            0 => Err(format!("{} has no such text any more", self.file)),
            n => Err(format!("the text stands {n} times in {}", self.file)),
        }
    }
}

/// Reads all files of the list below `root`.
pub fn read(root: &Path) -> Result<List, String> {
    let folder = root.join(FOLDER);
    let told = |path: &Path, why: String| format!("{}: {why}", path.display());
    let entries = fs::read_dir(&folder).map_err(|why| told(&folder, why.to_string()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    paths.sort();
    let mut all = List::default();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|why| told(&path, why.to_string()))?;
        let list = parse(&text).map_err(|why| told(&path, why))?;
        all.parameters.extend(list.parameters);
        all.mutations.extend(list.mutations);
    }
    Ok(all)
}

fn parse(text: &str) -> Result<List, String> {
    toml::from_str(text).map_err(|why| why.to_string())
}

/// What is wrong with the list itself: one line for each stale or false entry, with its id. `cases` are the judge's.
pub fn wrong(list: &List, root: &Path, cases: &[String]) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    for (at, mutation) in list.mutations.iter().enumerate() {
        let mut note = |what: String| wrong.push((mutation.id.clone(), what));
        if list.mutations.iter().take(at).any(|other| other.id == mutation.id) {
            note("another entry has this id".to_owned());
        }
        if mutation.find == mutation.put {
            note("it changes nothing".to_owned());
        }
        if mutation.breaks.len() < 10 || mutation.caught_by.is_empty() {
            note("it does not say what it breaks and what catches it".to_owned());
        }
        match fs::read_to_string(root.join(&mutation.file)) {
            Err(why) => note(format!("{}: {why}", mutation.file)),
            Ok(text) => {
                if let Err(why) = mutation.apply(&text) {
                    note(why);
                }
            }
        }
        for by in &mutation.caught_by {
            if by != COMPILER && !cases.is_empty() && !cases.contains(by) {
                note(format!("the judge has no case {by}"));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "[[mutation]]\nid = \"a\"\nagent = \"Dummy\"\nfile = \"f.rs\"\nfind = \"one\"\nput = \"two\"\nbreaks = \"it is two instead of one\"\ncaught_by = [\"Dummy/life\"]\n";

    fn wrong_in(text: &str, file: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f.rs"), file).unwrap();
        let wrong = wrong(&parse(text).unwrap(), dir.path(), &["Dummy/life".to_owned()]);
        wrong.into_iter().map(|(id, what)| format!("{id}: {what}")).collect()
    }

    #[test]
    fn a_good_entry_changes_its_file() {
        assert_eq!(wrong_in(ENTRY, "let one = 1;"), Vec::<String>::new());
        let list = parse(ENTRY).unwrap();
        assert_eq!(list.mutations[0].apply("let one = 1;"), Ok("let two = 1;".to_owned()));
    }

    #[test]
    fn an_entry_that_fits_its_file_no_more_is_stale() {
        assert_eq!(wrong_in(ENTRY, "let none = 1; let one = 1;"), ["a: the text stands 2 times in f.rs"]);
        assert_eq!(wrong_in(ENTRY, "let three = 1;"), ["a: f.rs has no such text any more"]);
        assert_eq!(wrong_in(&ENTRY.replace("f.rs", "g.rs"), "one").len(), 1);
    }

    #[test]
    fn an_entry_must_mean_something() {
        assert_eq!(wrong_in(&ENTRY.repeat(2), "one"), ["a: another entry has this id"]);
        assert_eq!(wrong_in(&ENTRY.replace("two\"", "one\""), "one").len(), 1);
        assert_eq!(
            wrong_in(&ENTRY.replace("Dummy/life", "Dummy/death"), "one"),
            ["a: the judge has no case Dummy/death"]
        );
        assert_eq!(wrong_in(&ENTRY.replace("[\"Dummy/life\"]", "[]"), "one").len(), 1);
        assert!(parse(&ENTRY.replace("breaks", "brakes")).is_err());
    }

    /// A change of a source file that makes an entry stale is told at once, without a build.
    #[test]
    fn every_entry_of_this_tree_fits_its_file() {
        let root = crate::workspace::root();
        let list = read(&root).unwrap();
        assert!(list.mutations.len() >= 36, "{}", list.mutations.len());
        assert_eq!(wrong(&list, &root, &[]), []);
    }
}
