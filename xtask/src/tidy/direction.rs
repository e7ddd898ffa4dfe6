//! Direction of dependency: `agents -> ocf-lib <- fence`; the judge depends on none of ours; the
//! framework knows no agent.

use super::{Finding, Source, code_lines};

/// One of our crates: where it lies, its name, what of ours it may be built on, and its tests besides.
struct Ours {
    folder: &'static str,
    name: &'static str,
    may_use: &'static [&'static str],
    tests_may_use: &'static [&'static str],
}

const OURS: [Ours; 7] = [
    Ours { folder: "ocf-lib", name: "ocf-lib", may_use: &["ocf-lib-macros"], tests_may_use: &[] },
    Ours { folder: "ocf-lib/macros", name: "ocf-lib-macros", may_use: &[], tests_may_use: &[] },
    Ours {
        folder: "agents",
        name: "ringfence-agents",
        may_use: &["ocf-lib"],
        tests_may_use: &["ringfence-tests"],
    },
    // The device simulators live in tests, which is built on none of the agents.
    Ours {
        folder: "fence",
        name: "ringfence-fence",
        may_use: &["ocf-lib"],
        tests_may_use: &["ringfence-tests", "ringfence-conformance"],
    },
    // A judge that shares code with the accused is no judge.
    Ours { folder: "conformance", name: "ringfence-conformance", may_use: &[], tests_may_use: &[] },
    // The judge's faulty network serves the test beds, too.
    Ours {
        folder: "tests",
        name: "ringfence-tests",
        may_use: &["ringfence-conformance"],
        tests_may_use: &["ocf-lib"],
    },
    Ours { folder: "xtask", name: "xtask", may_use: &["ringfence-tests"], tests_may_use: &[] },
];

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = dependencies(sources);
    findings.extend(names_in_framework(sources));
    findings
}

fn dependencies(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with("/Cargo.toml")) {
        let folder = source.path.trim_end_matches("/Cargo.toml");
        let Some(ours) = OURS.iter().find(|ours| ours.folder == folder) else {
            let what = "a crate that the house rules do not know: add it, with what it may use, to tidy";
            findings.push(Finding::new(&source.path, what));
            continue;
        };
        for (line, for_tests, name) in used(&source.text) {
            let is_ours = OURS.iter().any(|ours| ours.name == name);
            let may = ours.may_use.contains(&name.as_str())
                || (for_tests && ours.tests_may_use.contains(&name.as_str()));
            if is_ours && !may {
                findings.push(Finding::new(
                    format!("{}:{line}", source.path),
                    format!("must not depend on {name}"),
                ));
            }
        }
    }
    findings
}

/// Line, whether for tests alone, and name of every dependency, however the row is written.
fn used(toml: &str) -> Vec<(usize, bool, String)> {
    let mut inside = None;
    let mut names = Vec::new();
    for (at, line) in toml.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            let for_tests = section.contains("dev-dependencies");
            inside = section.ends_with("dependencies").then_some(for_tests);
            // [dependencies.name]
            if let Some((_, name)) = section.split_once("dependencies.") {
                names.push((at + 1, for_tests, name.to_owned()));
            }
        } else if let (Some(for_tests), Some((key, _))) = (inside, line.split_once('=')) {
            let name = key.trim().split('.').next().unwrap_or_default().trim_matches('"');
            names.push((at + 1, for_tests, name.to_owned()));
        }
    }
    names
}

/// Words that are an agent's name and an ordinary word too.
const ORDINARY: [&str; 3] = ["dummy", "stateful", "delay"];

fn names_in_framework(sources: &[Source]) -> Vec<Finding> {
    let agents: Vec<String> = sources.iter().filter_map(|source| agent_name(&source.path)).collect();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust() && source.path.starts_with("ocf-lib/src/"))
    {
        for (line, code) in code_lines(&source.text) {
            let code = code.split("//").next().unwrap_or_default();
            let named = code
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .find(|word| agents.contains(&word.to_lowercase()));
            if let Some(word) = named {
                let place = format!("{}:{line}", source.path);
                findings.push(Finding::new(place, format!("the framework names an agent: {word}")));
            }
        }
    }
    findings
}

/// `agents/src/bin/NAME.rs` or `agents/src/bin/NAME/main.rs`, and the same of fence.
fn agent_name(path: &str) -> Option<String> {
    let rest = path.strip_prefix("agents/src/bin/").or_else(|| path.strip_prefix("fence/src/bin/"))?;
    let name = rest.strip_suffix("/main.rs").or_else(|| rest.strip_suffix(".rs"))?;
    (!name.contains('/') && !ORDINARY.contains(&name)).then(|| name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::source;

    #[test]
    fn forbidden_directions() {
        for (file, row) in [
            ("ocf-lib", "[dev-dependencies]\nringfence-agents.workspace = true"),
            ("agents", "[dependencies]\nringfence-fence = { path = \"../fence\" }"),
            ("conformance", "[dependencies]\nocf-lib.workspace = true"),
            ("conformance", "[dependencies.ocf-lib]\nworkspace = true"),
            ("fence", "[target.'cfg(unix)'.dependencies]\nringfence-tests.workspace = true"),
            // The simulators are for its tests alone.
            ("fence", "[dependencies]\nringfence-tests.workspace = true"),
            ("unknown", ""),
        ] {
            assert_eq!(dependencies(&[source(&format!("{file}/Cargo.toml"), row)]).len(), 1, "{file}: {row}");
        }
    }

    #[test]
    fn allowed_directions() {
        let toml =
            "[package]\nname = \"x\"\n[dependencies]\nlibc.workspace = true\nocf-lib.workspace = true\n";
        assert_eq!(dependencies(&[source("agents/Cargo.toml", toml), source("fence/Cargo.toml", toml)]), []);
    }

    #[test]
    fn the_framework_names_no_agent_outside_of_comments_and_tests() {
        let check = |text: &str| {
            names_in_framework(&[
                source("agents/src/bin/ipaddr2.rs", ""),
                source("fence/src/bin/fence_x/main.rs", ""),
                source("ocf-lib/src/a.rs", text),
            ])
            .len()
        };
        assert_eq!(check("if name == \"IPaddr2\" {}"), 1);
        assert_eq!(check("let a = \"fence_x\";"), 1);
        assert_eq!(
            check(
                "// as IPaddr2 does\nlet a = 1; // IPaddr2\n#[cfg(test)]\nmod tests { const A: &str = \"IPaddr2\"; }"
            ),
            0
        );
    }
}
