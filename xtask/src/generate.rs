//! `gen`: what is written from the agents' own words: README table, man pages, shell completions.
#![allow(clippy::format_push_string, reason = "write! into a String brings a Result that cannot be an error")]

use crate::built::{self, Built, Kind, Profile};
use crate::{manpage, switch, workspace};
use clap::{ArgMatches, Command};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- agents:begin -->";
const END: &str = "<!-- agents:end -->";

pub fn command() -> Command {
    Command::new("gen")
        .about("Write README table, man pages and completions from what the built agents say of themselves")
        .arg(switch("check", "write nothing; fail when a file is not what would be written"))
}

pub fn run(args: &ArgMatches) -> Result<bool, String> {
    if args.get_flag("check") { check(true) } else { write() }
}

fn write() -> Result<bool, String> {
    let agents = built::agents(Profile::Dev)?;
    for (path, content) in wanted(&agents)? {
        if fs::read_to_string(&path).ok().as_deref() != Some(content.as_str()) {
            workspace::replace(&path, content.as_bytes(), 0o644)?;
            println!("wrote {}", path.display());
        }
    }
    for path in stale(&agents) {
        fs::remove_file(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        println!("removed {}", path.display());
    }
    Ok(true)
}

/// True when every generated file is what would be written now.
pub fn check(say_so: bool) -> Result<bool, String> {
    let agents = built::agents(Profile::Dev)?;
    let mut drifted: Vec<PathBuf> = wanted(&agents)?
        .into_iter()
        .filter(|(path, content)| fs::read_to_string(path).ok().as_deref() != Some(content.as_str()))
        .map(|(path, _)| path)
        .collect();
    drifted.extend(stale(&agents));
    for path in &drifted {
        println!("{} is not what the agents say: run `cargo xtask gen`", path.display());
    }
    if say_so && drifted.is_empty() {
        println!("all generated files are current");
    }
    Ok(drifted.is_empty())
}

/// The man page of an agent; its prose, if there is one, is `man/src/NAME.md`.
pub fn manual(agent: &Built) -> String {
    let prose = fs::read_to_string(workspace::root().join(format!("man/src/{}.md", agent.name)));
    manpage::render(agent.kind, &agent.metadata, prose.ok().as_deref())
}

/// A bash completion of a fence agent's options and actions.
pub fn completion(agent: &Built) -> String {
    let mut options: Vec<String> = agent
        .metadata
        .parameters
        .iter()
        .filter_map(|parameter| parameter.getopt.as_deref())
        .flat_map(|forms| forms.split(", "))
        .filter_map(|form| form.split(['=', ' ', '[']).next())
        .filter(|form| form.starts_with("--"))
        .map(str::to_owned)
        .collect();
    // Deprecated names of a parameter have rows of their own.
    options.sort();
    options.dedup();
    let actions: Vec<&str> = agent.metadata.actions.iter().map(|action| action.name.as_str()).collect();
    let names: Vec<&str> = std::iter::once(agent.name.as_str())
        .chain(agent.metadata.symlinks.iter().map(|(name, _)| name.as_str()))
        .collect();
    let function = format!("_{}", agent.name.replace(['-', '.'], "_"));
    format!(
        "# Written by `cargo xtask gen` from the agent's metadata.\n\
         {function}() {{\n    \
             local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}\n    \
             if [ \"$before\" = -o ] || [ \"$before\" = --action ]; then\n        \
                 COMPREPLY=($(compgen -W '{}' -- \"$word\"))\n    \
             else\n        \
                 COMPREPLY=($(compgen -W '{}' -- \"$word\"))\n    \
             fi\n\
         }}\n\
         complete -F {function} {}\n",
        actions.join(" "),
        options.join(" "),
        names.join(" ")
    )
}

fn wanted(agents: &[Built]) -> Result<BTreeMap<PathBuf, String>, String> {
    let root = workspace::root();
    let mut files = BTreeMap::new();
    let readme = root.join("README.md");
    let now = fs::read_to_string(&readme).unwrap_or_else(|_| format!("# Ringfence\n\n{BEGIN}\n{END}\n"));
    files.insert(readme, with_table(&now, &table(agents))?);
    let judge = built::judge(Profile::Dev)?;
    files.insert(root.join("man/ringfence-conformance.1"), judges_manual(&judge)?);
    for agent in agents {
        files.insert(root.join("man").join(page_name(agent)), manual(agent));
        if agent.kind == Kind::Fence {
            files.insert(root.join("man/completions").join(&agent.name), completion(agent));
        }
    }
    Ok(files)
}

/// The manual page of the judge, in its own words.
pub fn judges_manual(judge: &Path) -> Result<String, String> {
    crate::process::output_of(crate::process::command(judge).arg("__manual"))
}

fn page_name(agent: &Built) -> String {
    match agent.kind {
        Kind::Resource => format!("ocf_ringfence_{}.7", agent.name),
        Kind::Fence => format!("{}.8", agent.name),
    }
}

/// Pages of agents that are no more.
fn stale(agents: &[Built]) -> Vec<PathBuf> {
    let pages: Vec<String> = agents.iter().map(page_name).collect();
    let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    workspace::files(&workspace::root().join("man"))
        .into_iter()
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let page = (name.starts_with("ocf_ringfence_") && name.ends_with(".7"))
                || (name.starts_with("fence_") && name.ends_with(".8"));
            let completion = path.parent().is_some_and(|dir| dir.ends_with("completions"));
            (page && !pages.contains(&name)) || (completion && !names.contains(&name.as_str()))
        })
        .collect()
}

fn table(agents: &[Built]) -> String {
    let mut rows = "| Agent | What it is for | Other names | Manual |\n|---|---|---|---|\n".to_owned();
    for agent in agents {
        let (called, aliases) = match agent.kind {
            Kind::Resource => (format!("ocf:ringfence:{}", agent.name), String::new()),
            Kind::Fence => {
                let mut names: Vec<String> =
                    agent.metadata.symlinks.iter().map(|(name, _)| format!("`{name}`")).collect();
                names.extend(agent.external.iter().map(|name| format!("`external/{name}`")));
                (agent.name.clone(), names.join(" "))
            }
        };
        let page = page_name(agent);
        let short = agent.metadata.short.replace('|', "\\|");
        rows.push_str(&format!("| `{called}` | {short} | {aliases} | [{page}](man/{page}) |\n"));
    }
    rows
}

/// The text with what stands between the markers replaced.
fn with_table(readme: &str, table: &str) -> Result<String, String> {
    let parts = readme.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        return Err(format!("README.md has no lines '{BEGIN}' and '{END}' for the table of agents"));
    };
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Action, Metadata, Parameter};

    fn fence() -> Built {
        Built {
            kind: Kind::Fence,
            file: PathBuf::new(),
            name: "fence_x".to_owned(),
            metadata: Metadata {
                name: "fence_x".to_owned(),
                short: "Fence | X".to_owned(),
                symlinks: vec![("fence_y".to_owned(), String::new())],
                parameters: vec![Parameter {
                    name: "ip".to_owned(),
                    getopt: Some("-a, --ip=[ip]".to_owned()),
                    ..Parameter::default()
                }],
                actions: vec![Action { name: "off".to_owned(), ..Action::default() }],
                ..Metadata::default()
            },
            external: vec!["x".to_owned()],
            checks: Vec::new(),
            programs: Vec::new(),
        }
    }

    #[test]
    fn only_the_block_is_replaced_and_twice_is_once() {
        let readme = format!("# T\n\nprose\n{BEGIN}\nold\n{END}\nmore\n");
        let once = with_table(&readme, "new\n").unwrap();
        assert_eq!(once, format!("# T\n\nprose\n{BEGIN}\nnew\n{END}\nmore\n"));
        assert_eq!(with_table(&once, "new\n").unwrap(), once);
        assert!(with_table("# T\n", "new\n").is_err());
    }

    #[test]
    fn a_row_says_every_name() {
        let rows = table(&[fence()]);
        assert!(
            rows.contains(
                "| `fence_x` | Fence \\| X | `fence_y` `external/x` | [fence_x.8](man/fence_x.8) |"
            )
        );
    }

    #[test]
    fn completions_know_options_actions_and_aliases() {
        let text = completion(&fence());
        assert!(text.contains("-W 'off'") && text.contains("-W '--ip'"), "{text}");
        assert!(text.ends_with("complete -F _fence_x fence_x fence_y\n"), "{text}");
    }
}
