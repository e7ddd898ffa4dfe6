//! `new-agent`: one file that compiles and passes its tests, to be filled.

use crate::{text, workspace};
use clap::{Arg, ArgMatches, Command};
use std::path::{Path, PathBuf};

const RESOURCE: &str = include_str!("../templates/resource.rs.in");
const FENCE: &str = include_str!("../templates/fence.rs.in");

pub fn command() -> Command {
    Command::new("new-agent")
        .about("Write the one file of a new agent, with its tests, and say what to do next")
        .arg(
            Arg::new("kind")
                .long("kind")
                .value_name("KIND")
                .value_parser(["resource", "fence"])
                .required(true),
        )
        .arg(
            Arg::new("NAME")
                .required(true)
                .help("OCF type name (IPaddr2), or name of a fence agent (fence_device)"),
        )
}

pub fn run(args: &ArgMatches) -> Result<bool, String> {
    let kind = text(args, "kind").unwrap_or("resource");
    let name = text(args, "NAME").unwrap_or_default();
    let file = create(&workspace::root(), kind, name)?;
    let package = if kind == "fence" { "ringfence-fence" } else { "ringfence-agents" };
    let bin = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    println!("wrote {}", file.display());
    println!("next:");
    println!("  1. fill its //!, parameters, probe, start and stop; each behaviour with a test");
    println!("  2. cargo nextest run -p {package} --bin {bin}");
    println!("  3. prose for its man page, if it needs any: man/src/{name}.md; then cargo xtask gen");
    println!("  4. cargo xtask test");
    Ok(true)
}

/// Writes the file below `root`; an existing one is left alone.
fn create(root: &Path, kind: &str, name: &str) -> Result<PathBuf, String> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !plain || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(format!("'{name}' is no name for an agent: letters, digits, - and _, a letter first"));
    }
    if kind == "fence" && !name.starts_with("fence_") {
        return Err(format!("a fence agent's name begins with fence_: fence_{name}"));
    }
    let (template, folder) =
        if kind == "fence" { (FENCE, "fence/src/bin") } else { (RESOURCE, "agents/src/bin") };
    let stem = name.to_lowercase().replace('-', "_");
    let file = root.join(folder).join(format!("{stem}.rs"));
    if file.exists() || root.join(folder).join(&stem).exists() {
        return Err(format!("{} is there already", file.display()));
    }
    let content = template.replace("@NAME@", name).replace("@TYPE@", &type_name(name));
    workspace::replace(&file, content.as_bytes(), 0o644)?;
    Ok(file)
}

/// `fence_my-device` -> `FenceMyDevice`.
fn type_name(name: &str) -> String {
    name.split(['_', '-'])
        .flat_map(|part| {
            let mut chars = part.chars();
            chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{capture, cargo};
    use std::fs;

    #[test]
    fn names() {
        assert_eq!(type_name("fence_my-device"), "FenceMyDevice");
        assert_eq!(type_name("IPaddr2"), "IPaddr2");
        let dir = tempfile::tempdir().unwrap();
        for (kind, bad) in [("resource", "../x"), ("resource", ""), ("resource", "1a"), ("fence", "ilo")] {
            assert!(create(dir.path(), kind, bad).is_err(), "{kind} {bad}");
        }
    }

    #[test]
    fn an_agent_that_is_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = create(dir.path(), "resource", "Thing").unwrap();
        fs::write(&file, "mine").unwrap();
        assert!(create(dir.path(), "resource", "Thing").unwrap_err().contains("is there already"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }

    /// In a workspace of its own beside the real ocf-lib, with the same lock file and target folder: what
    /// is built already is not built again.
    #[test]
    fn cargo_builds_and_tests_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let real = workspace::root();
        let manifest = fs::read_to_string(real.join("Cargo.toml")).unwrap();
        let members = manifest.lines().find(|line| line.starts_with("members")).unwrap();
        let manifest = manifest
            .replace(members, "members = [\"agents\", \"fence\"]")
            .replace("path = \"", &format!("path = \"{}/", real.display()));
        fs::write(root.join("Cargo.toml"), manifest).unwrap();
        fs::copy(real.join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
        for (kind, folder, name) in
            [("resource", "agents", "NewThing"), ("fence", "fence", "fence_new-thing")]
        {
            let toml = fs::read_to_string(real.join(folder).join("Cargo.toml")).unwrap();
            // The simulators are for the agents that are there.
            let kept: Vec<&str> = toml.lines().filter(|line| !line.contains("ringfence-tests")).collect();
            let toml = kept.join("\n");
            fs::create_dir_all(root.join(folder).join("src")).unwrap();
            fs::write(root.join(folder).join("Cargo.toml"), toml).unwrap();
            fs::write(root.join(folder).join("src/lib.rs"), "").unwrap();
            create(root, kind, name).unwrap();
        }
        let mut test = cargo();
        test.current_dir(root).args(["test", "--offline", "--bins", "--quiet"]);
        test.env("CARGO_TARGET_DIR", workspace::target_dir());
        let said = capture(&mut test).unwrap();
        assert_eq!(said.stdout.matches("test result: ok").count(), 2, "{}{}", said.stdout, said.stderr);
    }
}
