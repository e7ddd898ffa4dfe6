//! The tools of Pacemaker, pcs, crmsh and Heartbeat take every agent without a word of complaint.

use super::host::{Disk, OWN, isolated};
use super::parameters::{malformed, takes_any_number, waits_for_a_person, ways};
use super::{HOST, PATH, can, document_of, installed};
use ringfence_tests::subjects::{Subjects, lay_over_the_system};
use std::path::Path;
use std::process::Command;

/// Runs `test` where the agents are installed as an administrator would have them.
fn with_agents(test: &str, needs: &[(&str, &str)], judge: impl FnOnce(&Subjects) + Send) {
    let needs: Vec<_> = needs.iter().copied().chain([HOST]).collect();
    if can(test, &needs) {
        isolated(Disk::ForTools, || {
            let subjects = installed();
            lay_over_the_system(subjects, Path::new(OWN)).unwrap();
            judge(subjects);
        });
    }
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
    line: String,
}

fn tool(words: &[&str]) -> Said {
    tool_with(words, &[])
}

fn tool_with(words: &[&str], env: &[(&str, &str)]) -> Said {
    let done = Command::new("timeout")
        .arg("60")
        .args(words)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/run/home")
        .env("TMPDIR", "/run/tmp")
        .env("LC_ALL", "C")
        .envs(env.iter().copied())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    Said {
        code: done.status.code(),
        out: String::from_utf8_lossy(&done.stdout).into_owned(),
        err: String::from_utf8_lossy(&done.stderr).into_owned(),
        line: words.join(" "),
    }
}

impl Said {
    fn told(&self) -> String {
        format!("\n  {}\n  code {:?}\n  stdout: {}\n  stderr: {}", self.line, self.code, self.out, self.err)
    }

    /// Exit code 0, nothing on stderr, no word of a problem in what it prints.
    #[track_caller]
    fn without_complaint(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.told());
        assert_eq!(self.err, "", "{}", self.told());
        for line in self.out.lines() {
            let line = line.trim_start().to_lowercase();
            assert!(!line.starts_with("warning") && !line.starts_with("error"), "{}", self.told());
        }
        self
    }

    #[track_caller]
    fn shows<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Self {
        for word in words {
            assert!(self.out.contains(word), "does not show {word}:{}", self.told());
        }
        self
    }
}

#[test]
fn resource_agents_are_described() {
    let needs = [("pcs", "pcs"), ("crm", "crmsh"), ("crm_resource", "pacemaker-cli-utils")];
    with_agents("resource_agents_are_described", &needs, |subjects| {
        let listed = tool(&["crm_resource", "--list-agents", "ocf:ringfence"]).without_complaint();
        for agent in &subjects.resource {
            let name = format!("ocf:ringfence:{}", agent.name);
            let document = document_of(agent);
            let parameters = crate::document::Node::names(&document.parameters());
            // pcs hides what is deprecated unless asked.
            let words = || parameters.iter().map(String::as_str);
            assert!(listed.out.lines().any(|line| line == agent.name), "{}", listed.told());
            tool(&["pcs", "resource", "describe", &name, "--full"]).without_complaint().shows(words());
            tool(&["crm", "ra", "info", &name]).without_complaint().shows(words());
            let shown = tool(&["crm_resource", "--show-metadata", &name]).without_complaint().shows(words());
            crate::document::parse(&shown.out);
        }
    });
}

#[test]
fn resource_agents_are_validated() {
    let needs = [("crm", "crmsh"), ("crm_resource", "pacemaker-cli-utils")];
    with_agents("resource_agents_are_validated", &needs, |subjects| {
        for agent in &subjects.resource {
            let pairs = |way: &[(String, String)]| {
                way.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
            };
            let pacemaker = |pairs: &[String]| {
                let mut words = vec![
                    "crm_resource",
                    "--validate",
                    "--class",
                    "ocf",
                    "--provider",
                    "ringfence",
                    "--agent",
                    &agent.name,
                ];
                for pair in pairs {
                    words.extend(["--option", pair]);
                }
                tool(&words)
            };
            let name = format!("ocf:ringfence:{}", agent.name);
            let crmsh = |pairs: &[String]| {
                let mut words = vec!["crm", "ra", "validate", &name];
                words.extend(pairs.iter().map(String::as_str));
                tool(&words)
            };
            for way in ways(&agent.name) {
                pacemaker(&pairs(&way)).without_complaint();
                crmsh(&pairs(&way)).without_complaint();
                for parameter in document_of(agent).parameters() {
                    let Some(wrong) = malformed(parameter.one("content").attribute("type").unwrap()).first()
                    else {
                        continue;
                    };
                    let mut way = way.clone();
                    way.push((parameter.attribute("name").unwrap().to_owned(), (*wrong).to_owned()));
                    let said = pacemaker(&pairs(&way));
                    let taken = takes_any_number(&agent.name);
                    assert_eq!(said.code, Some(if taken { 0 } else { 6 }), "{}", said.told());
                    break;
                }
            }
            for parameter in document_of(agent).parameters() {
                if parameter.attribute("required") == Some("1") {
                    for said in [pacemaker(&[]), crmsh(&[])] {
                        assert_ne!(said.code, Some(0), "{}", said.told());
                    }
                }
            }
        }
    });
}

#[test]
fn fence_agents_are_described() {
    let needs = [("pcs", "pcs"), ("crm", "crmsh"), ("stonith_admin", "pacemaker-cli-utils")];
    with_agents("fence_agents_are_described", &needs, |subjects| {
        for agent in &subjects.fence {
            let metadata = super::fence_document_of(agent);
            let parameters =
                metadata.parameters().into_iter().filter(|p| p.attribute("deprecated").is_none());
            let names: Vec<_> = parameters.map(|p| p.attribute("name").unwrap().to_owned()).collect();
            // The tools set these themselves.
            let words = || {
                names
                    .iter()
                    .map(String::as_str)
                    .filter(|name| !matches!(*name, "action" | "help" | "version"))
            };
            tool(&["pcs", "stonith", "describe", &agent.name, "--full"]).without_complaint().shows(words());
            tool(&["crm", "ra", "info", &format!("stonith:{}", agent.name)]).without_complaint();
            let shown = tool(&["stonith_admin", "--metadata", "--agent", &agent.name])
                .without_complaint()
                .shows(words());
            crate::document::parse(&shown.out);
        }
    });
}

#[test]
fn fence_agents_are_validated() {
    with_agents("fence_agents_are_validated", &[("stonith_admin", "pacemaker-cli-utils")], |subjects| {
        for agent in &subjects.fence {
            let own = agent.alias_of.as_deref().unwrap_or(&agent.name);
            let validate = |pairs: &[String]| {
                let mut words = vec!["stonith_admin", "--validate", "--agent", &agent.name];
                for pair in pairs {
                    words.extend(["--option", pair]);
                }
                tool(&words)
            };
            let way = ways(&format!("fence:{own}")).remove(0);
            let pairs: Vec<_> = way.iter().map(|(name, value)| format!("{name}={value}")).collect();
            validate(&pairs).without_complaint();
            let mut wrong = pairs;
            wrong.push("power_timeout=soon".to_owned());
            let said = validate(&wrong);
            assert_ne!(said.code, Some(0), "{}", said.told());
        }
    });
}

#[test]
fn heartbeats_stonith_lists_and_describes_the_plugins() {
    with_agents("heartbeats_stonith", &[("stonith", "cluster-glue")], |subjects| {
        let listed = tool(&["stonith", "-L"]);
        for plugin in &subjects.external {
            let name = format!("external/{}", plugin.name);
            assert!(listed.out.lines().any(|line| line == name), "{}", listed.told());
            let metadata = tool(&["stonith", "-t", &name, "-m"]);
            assert_eq!(metadata.code, Some(0), "{}", metadata.told());
            let from = metadata.out.find("<?xml").unwrap_or_else(|| panic!("{}", metadata.told()));
            let document = crate::document::parse(&metadata.out[from..]);
            let config = tool(&["stonith", "-t", &name, "-n"]);
            let parameters = crate::document::Node::names(&document.parameters());
            assert!(!parameters.is_empty());
            let named: Vec<_> = config.out.split_whitespace().collect();
            assert_eq!(named, parameters, "{}", config.told());
            for said in [&metadata, &config, &listed] {
                assert!(!said.err.to_lowercase().contains("error"), "{}", said.told());
            }
        }
    });
}

#[test]
fn heartbeats_stonith_uses_the_plugins() {
    with_agents("heartbeats_stonith_uses_the_plugins", &[("stonith", "cluster-glue")], |subjects| {
        for plugin in &subjects.external {
            let name = format!("external/{}", plugin.name);
            let way = ways(&format!("external:{}", plugin.name)).remove(0);
            assert!(!way.is_empty(), "parameters.txt says how to use {name}");
            let pairs: Vec<_> = way.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let stonith = |words: &[&str]| {
                let all = ["stonith", "-t", &name].into_iter().chain(pairs.iter().map(String::as_str));
                tool(&all.chain(words.iter().copied()).collect::<Vec<_>>())
            };
            let hosts = stonith(&["-l"]);
            assert_eq!((hosts.code, hosts.out.trim()), (Some(0), "n1"), "{}", hosts.told());
            let other = stonith(&["-T", "reset", "somebody-else"]);
            assert_ne!(other.code, Some(0), "{}", other.told());
            if waits_for_a_person(&plugin.name) {
                continue;
            }
            // The device does not answer: that is told, and nothing is called done.
            for words in [&["-S"][..], &["-T", "reset", "n1"], &["-T", "off", "n1"], &["-T", "on", "n1"]] {
                let said = stonith(words);
                assert!(said.code.is_some_and(|code| code != 0 && code != 124), "{}", said.told());
            }
        }
    });
}
