//! Debian's packages, from where this machine's apt has them: nothing here names a host.

use super::failure::LabError;
use super::tool;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One archive that apt knows: a suite of Debian's and its components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The release that the machine follows: `bookworm`.
    pub suite: String,
    /// One line each, as in `sources.list`.
    pub lines: Vec<String>,
}

/// Debian's own archives among those that apt is set up with; private and vendors' archives are left out.
pub(crate) fn sources() -> Result<Sources, LabError> {
    let format = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)";
    let text = tool::run("apt-get", &["indextargets", "--format", format, "Created-By: Packages"])?;
    parse_sources(&text).ok_or_else(|| {
        LabError::Refused(
            "apt knows no archive of Debian: the guests are made of its packages (apt-get update?)"
                .to_owned(),
        )
    })
}

fn parse_sources(text: &str) -> Option<Sources> {
    let mut archives: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let [uri, release, component, "Debian"] = fields.as_slice() else { continue };
        let components = archives.entry(((*release).to_owned(), (*uri).to_owned())).or_default();
        if !components.iter().any(|known| known == component) {
            components.push((*component).to_owned());
        }
    }
    // bookworm, bookworm-updates, bookworm-security: the shortest is the release itself.
    let suite = archives.keys().map(|(release, _)| release.clone()).min_by_key(String::len)?;
    let lines =
        archives.iter().map(|((release, uri), parts)| format!("deb {uri} {release} {}", parts.join(" ")));
    Some(Sources { suite, lines: lines.collect() })
}

/// [`sources`] with the backports of the release, which `suite` then names.
///
/// # Errors
/// When apt knows no archive of Debian.
pub fn backports() -> Result<Sources, LabError> {
    Ok(with_backports(sources()?))
}

/// The same archives with the component `contrib` as well.
pub(crate) fn with_contrib(mut sources: Sources) -> Sources {
    for line in &mut sources.lines {
        if !line.split_whitespace().any(|word| word == "contrib") {
            line.push_str(" contrib");
        }
    }
    sources
}

/// The same archives with the sources of the release itself: not every mirror has those of its updates.
pub(crate) fn with_sources(mut sources: Sources) -> Sources {
    let of_release = format!(" {} ", sources.suite);
    let lines = sources.lines.iter().filter(|line| line.contains(&of_release));
    let more: Vec<String> =
        lines.filter_map(|line| Some(format!("deb-src {}", line.strip_prefix("deb ")?))).collect();
    sources.lines.extend(more);
    sources
}

fn with_backports(mut sources: Sources) -> Sources {
    let of_release = format!(" {} ", sources.suite);
    let suite = format!("{}-backports", sources.suite);
    let line = sources.lines.iter().find(|line| line.contains(&of_release));
    if let Some(line) = line.map(|line| line.replace(&of_release, &format!(" {suite} ")))
        && !sources.lines.contains(&line)
    {
        sources.lines.push(line);
    }
    Sources { suite, lines: sources.lines }
}

/// The version that would be installed of each package, `name version`, sorted; an unknown one is an error.
pub(crate) fn candidates(packages: &[&str]) -> Result<Vec<String>, LabError> {
    let text = tool::run("apt-cache", &[&["policy"], packages].concat())?;
    let found = parse_candidates(&text);
    let unknown: Vec<&str> =
        packages.iter().copied().filter(|name| !found.iter().any(|(known, _)| known == name)).collect();
    if unknown.is_empty() {
        return Ok(found.into_iter().map(|(name, version)| format!("{name} {version}")).collect());
    }
    Err(LabError::Refused(format!("apt knows no package {} (apt-get update?)", unknown.join(" "))))
}

fn parse_candidates(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(package) = line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
            name = package;
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ")
            && version != "(none)"
        {
            found.insert(name.to_owned(), version.to_owned());
        }
    }
    found
}

/// The package of the kernel that `linux-image-amd64` stands for.
pub(crate) fn kernel_package() -> Result<String, LabError> {
    stands_for("linux-image-amd64", "linux-image-")
}

/// The package that a metapackage stands for whose name begins so: `linux-image-6...`, `xen-hypervisor-4...`.
pub(crate) fn stands_for(package: &str, prefix: &str) -> Result<String, LabError> {
    let text = tool::run("apt-cache", &["depends", "--important", package])?;
    let mut names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let digit = |name: &&str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    names.find(digit).map(str::to_owned).ok_or_else(|| {
        LabError::Refused(format!("apt does not know which {prefix}... {package} is (apt-get update?)"))
    })
}

/// These packages and all that they need, by name.
pub(crate) fn closure(packages: &[&str]) -> Result<Vec<String>, LabError> {
    let text = tool::run("apt-cache", &[&["depends", "--recurse", "--important"], packages].concat())?;
    // Who depends is at the margin, on what below it; `<x>` is no package but a name that several provide.
    let mut names: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with([' ', '|', '<']) && !line.contains(':'))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Fetches packages into `folder` and answers the files.
pub(crate) fn download(packages: &[&str], folder: &Path) -> Result<Vec<PathBuf>, LabError> {
    std::fs::create_dir_all(folder).map_err(LabError::io(format!("make {}", folder.display())))?;
    let mut apt = Command::new("apt-get");
    // As root apt would fetch as a user that cannot write here, and warn about it.
    apt.args(["-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "download"]);
    tool::output(apt.args(packages).current_dir(folder))?;
    let files = std::fs::read_dir(folder).map_err(LabError::io("read what was downloaded"))?;
    let files = files.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(files.filter(|file| file.extension().is_some_and(|end| end == "deb")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debians_archives_are_taken_and_the_suite_is_the_shortest() {
        let text = "http://a/debian-security/|stable-security|main|Debian\nhttp://a/debian/|stable|main|Debian\n\
                    http://a/debian/|stable|contrib|Debian\nhttp://b/node/|nodistro|main|Somebody\n";
        let found = parse_sources(text).unwrap();
        assert_eq!(found.suite, "stable");
        assert_eq!(
            found.lines,
            [
                "deb http://a/debian/ stable main contrib",
                "deb http://a/debian-security/ stable-security main"
            ]
        );
        let more = with_backports(found);
        assert_eq!(more.suite, "stable-backports");
        assert_eq!(more.lines.last().unwrap(), "deb http://a/debian/ stable-backports main contrib");
        assert_eq!(
            with_backports(Sources { suite: "stable".to_owned(), ..more.clone() }),
            more,
            "once is enough"
        );
        assert_eq!(
            with_sources(Sources { suite: "stable".to_owned(), ..more.clone() }).lines.last().unwrap(),
            "deb-src http://a/debian/ stable main contrib"
        );
        assert_eq!(parse_sources("http://b/node/|nodistro|main|Somebody\n"), None);
    }

    #[test]
    fn a_package_without_a_candidate_is_unknown() {
        let text = "lvm2:\n  Installed: (none)\n  Candidate: 2.03\n  Version table:\n     2.03 500\nnone:\n  Candidate: (none)\n";
        let found = parse_candidates(text);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("lvm2".to_owned(), "2.03".to_owned())]);
    }
}
