//! Rules on one file's name and text.

use super::{Finding, Source};

/// Comfortable is 250; beyond this a file holds more than one thing.
const LONGEST: usize = 600;

/// Files that may be longer, with the reason.
const MAY_BE_LONGER: [(&str, &str); 0] = [];

/// A file of this name is a missing name.
const NO_NAMES: [&str; 7] = ["util", "utils", "helper", "helpers", "common", "misc", "shared"];

pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    machine_paths(source, &mut findings);
    registry_hosts(source, &mut findings);
    if source.is_rust() {
        name(source, &mut findings);
        length(source, &mut findings);
        unfinished(source, &mut findings);
        header(source, &mut findings);
    }
    findings
}

fn name(source: &Source, findings: &mut Vec<Finding>) {
    let parts = source.path.trim_end_matches(".rs").split('/');
    if let Some(part) = parts.into_iter().find(|part| NO_NAMES.contains(part)) {
        findings.push(Finding::new(
            &source.path,
            format!("'{part}' says nothing: name the thing that lives there"),
        ));
    }
}

fn length(source: &Source, findings: &mut Vec<Finding>) {
    let lines = source.text.lines().count();
    let allowed = MAY_BE_LONGER.iter().any(|(path, _)| *path == source.path);
    if lines > LONGEST && !allowed {
        findings.push(Finding::new(
            &source.path,
            format!("{lines} lines; more than {LONGEST} is more than one thing"),
        ));
    }
}

fn unfinished(source: &Source, findings: &mut Vec<Finding>) {
    let marks = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];
    for (at, line) in source.text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if let Some(mark) = marks.iter().find(|mark| code.contains(**mark)) {
            findings
                .push(Finding::new(format!("{}:{}", source.path, at + 1), format!("{mark}...) is left in")));
        }
    }
}

/// Every program says what it is; an agent also which agent it replaces and its invariants.
fn header(source: &Source, findings: &mut Vec<Finding>) {
    let is_bin = source.path.contains("/src/bin/")
        && (source.path.ends_with("/main.rs")
            || source.path.split("/src/bin/").nth(1).is_some_and(|f| !f.contains('/')));
    if is_bin && !source.text.starts_with("//!") {
        findings.push(Finding::new(&source.path, "starts without a //! that says what it is"));
    }
}

/// Paths that exist on a developer's machine only.
fn machine_paths(source: &Source, findings: &mut Vec<Finding>) {
    // A recording or a man page may show anything.
    let written_by_hand = source.is_rust()
        || [".toml", ".md", ".sh", ".yml"].iter().any(|end| source.path.ends_with(end))
        || source.path.starts_with(".ci/");
    if !written_by_hand {
        return;
    }
    let roots = [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/.")];
    for (at, line) in source.text.lines().enumerate() {
        for root in roots {
            let starts_a_path = line.match_indices(root).any(|(position, _)| {
                let before = line.get(..position).and_then(|before| before.chars().next_back());
                !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}' | '>' | '~'))
            });
            if starts_a_path {
                let place = format!("{}:{}", source.path, at + 1);
                findings.push(Finding::new(place, format!("'{root}...' is a path of somebody's machine")));
            }
        }
    }
}

/// Where packages come from is the business of the machine's own settings.
fn registry_hosts(source: &Source, findings: &mut Vec<Finding>) {
    let usual = concat!("registry+https://github.com/rust-lang/", "crates.io-index");
    if source.path.ends_with("Cargo.lock") {
        for (at, line) in source.text.lines().enumerate() {
            if line.starts_with("source = ") && !line.contains(usual) {
                let place = format!("{}:{}", source.path, at + 1);
                findings.push(Finding::new(place, format!("another source than crates.io: {line}")));
            }
        }
        return;
    }
    let hosts = [
        concat!("index.", "crates.io"),
        concat!("static.", "crates.io"),
        concat!("deb.", "debian.org"),
        concat!("snapshot.", "debian.org"),
        concat!("pypi.", "org"),
        concat!("registry.", "npmjs.org"),
    ];
    for (at, line) in source.text.lines().enumerate() {
        if let Some(host) = hosts.iter().find(|host| line.contains(**host)) {
            findings.push(Finding::new(
                format!("{}:{}", source.path, at + 1),
                format!("names the package host {host}"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::source;

    fn whats(path: &str, text: &str) -> Vec<String> {
        check(&source(path, text)).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn names_that_say_nothing() {
        for path in ["a/src/util.rs", "a/src/helpers.rs", "a/src/common/mod.rs", "a/src/misc.rs"] {
            assert_eq!(whats(path, "").len(), 1, "{path}");
        }
        assert!(whats("a/src/common_options.rs", "").is_empty());
    }

    #[test]
    fn long_files() {
        assert!(whats("a/src/x.rs", &"//\n".repeat(600)).is_empty());
        assert_eq!(
            whats("a/src/x.rs", &"//\n".repeat(601)),
            ["a/src/x.rs: 601 lines; more than 600 is more than one thing"]
        );
        assert!(whats("a/fixture.txt", &"x\n".repeat(2000)).is_empty());
        for (path, reason) in MAY_BE_LONGER {
            assert!(!path.is_empty() && !reason.is_empty());
        }
    }

    #[test]
    fn what_is_unfinished() {
        for word in ["todo", "unimplemented", "dbg"] {
            assert_eq!(whats("a/src/x.rs", &format!("fn a() {{ {word}!(1) }}")).len(), 1, "{word}");
            assert!(whats("a/src/x.rs", &format!("// a reply can reach a {word}!()")).is_empty());
        }
    }

    #[test]
    fn a_program_says_what_it_is() {
        assert_eq!(whats("agents/src/bin/x.rs", "fn main() {}").len(), 1);
        assert_eq!(whats("agents/src/bin/x/main.rs", "fn main() {}").len(), 1);
        assert!(whats("agents/src/bin/x/part.rs", "fn a() {}").is_empty());
        assert!(whats("agents/src/bin/x.rs", "//! X.\nfn main() {}").is_empty());
    }

    #[test]
    fn paths_of_a_machine() {
        let path = concat!("/wo", "rk/main");
        assert_eq!(whats("README.md", &format!("see {path}")).len(), 1);
        assert_eq!(whats("a/src/x.rs", &format!("\"{path}\"")).len(), 1);
        assert!(whats("README.md", &format!("/proc/1{path} and $(x){path}").replace("$(x)", "a")).is_empty());
        assert!(whats("tests/fixtures/recording.txt", path).is_empty());
    }

    #[test]
    fn package_hosts() {
        let host = concat!("index.", "crates.io");
        assert_eq!(whats("xtask/src/x.rs", &format!("\"https://{host}/\"")).len(), 1);
        assert!(
            whats(
                "Cargo.lock",
                concat!("source = \"registry+https://github.com/rust-lang/", "crates.io-index\"")
            )
            .is_empty()
        );
        assert_eq!(whats("Cargo.lock", "source = \"sparse+https://mirror.example/\"").len(), 1);
    }
}
