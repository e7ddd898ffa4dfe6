//! Every agent of ours that upstream has too, by name: what a configuration can say to theirs it can say to ours, with
//! the same meaning. No agent is named here; what differs on purpose stands in `differences.txt`, with its reason.

#[path = "../contract/document.rs"]
mod document;

use super::agents_for;
use document::{Node, parse};
use ringfence_tests::subjects::Subject;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `AGENT | WHAT | REASON`, WHAT as a finding says it.
const DIFFERENCES: &str = include_str!("differences.txt");

/// The document as Pacemaker asks for it: by argument of a resource agent, by standard input of a fence agent, for
/// which an argument would mean its default action.
fn metadata(program: &Path, fence: bool) -> Node {
    let mut command = Command::new("timeout");
    command.arg("20").arg(program).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("OCF_ROOT", "/usr/lib/ocf").env("OCF_RESOURCE_INSTANCE", "RESOURCE_ID").env("LC_ALL", "C");
    if !fence {
        command.arg("meta-data");
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let input: &[u8] = if fence { b"action=metadata\n" } else { b"" };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&done.stderr));
    parse(&String::from_utf8_lossy(&done.stdout))
}

/// What a tool goes by, for each parameter.
fn parameters(document: &Node) -> BTreeMap<String, [String; 3]> {
    let describe = |parameter: &&Node| {
        let content = parameter.one("content");
        let text = |value: Option<&str>| value.unwrap_or("none").to_owned();
        // OCF 1.0 has no `select`; a default that is empty is none.
        let kind = text(content.attribute("type"));
        let default = text(content.attribute("default").filter(|text| !text.is_empty()));
        let required = parameter.attribute("required").unwrap_or("0").to_owned();
        (parameter.attribute("name").unwrap().to_owned(), [kind, default, required])
    };
    document.parameters().iter().map(describe).collect()
}

/// What upstream has and ours has not, or has otherwise.
fn differences(name: &str, theirs: &Node, ours: &Node) -> Vec<String> {
    let mut found = Vec::new();
    let own = parameters(ours);
    for (parameter, [kind, default, required]) in parameters(theirs) {
        let Some([own_kind, own_default, own_required]) = own.get(&parameter) else {
            found.push(format!("{name} | no parameter {parameter}"));
            continue;
        };
        for (what, theirs, ours) in [
            ("type", &kind, own_kind),
            ("default", &default, own_default),
            ("required", &required, own_required),
        ] {
            if theirs != ours {
                found.push(format!("{name} | {what} of {parameter}: {theirs} there, {ours} here"));
            }
        }
    }
    let actions = Node::names(&ours.actions());
    for action in Node::names(&theirs.actions()) {
        if !actions.contains(&action) {
            found.push(format!("{name} | no action {action}"));
        }
    }
    found
}

#[test]
fn what_upstream_takes_ours_takes() {
    let needs = [
        ("/usr/lib/ocf/resource.d/heartbeat/Dummy", "resource-agents"),
        ("/usr/sbin/fence_ipmilan", "fence-agents"),
    ];
    let Some(subjects) = agents_for("what_upstream_takes_ours_takes", &needs) else { return };
    let there = |folder: &str, agent: &Subject| -> Option<PathBuf> {
        Some(Path::new(folder).join(&agent.name)).filter(|path| path.exists())
    };
    let mut found = Vec::new();
    let mut compared = 0;
    for (family, folder, fence) in [
        (&subjects.resource, "/usr/lib/ocf/resource.d/heartbeat", false),
        (&subjects.fence, "/usr/sbin", true),
    ] {
        for agent in family {
            let Some(upstream) = there(folder, agent) else { continue };
            compared += 1;
            found.extend(differences(
                &agent.name,
                &metadata(&upstream, fence),
                &metadata(&agent.file, fence),
            ));
        }
    }
    assert!(compared >= 5, "only {compared} agents have a counterpart");
    let mut intended = Vec::new();
    for line in DIFFERENCES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (what, reason) = line.rsplit_once(" | ").expect("AGENT | WHAT | REASON");
        assert!(reason.len() > 20, "it does not say why: {line}");
        intended.push(what.to_owned());
    }
    let new: Vec<_> = found.iter().filter(|what| !intended.contains(what)).collect();
    let stale: Vec<_> = intended.iter().filter(|what| !found.contains(what)).collect();
    assert!(new.is_empty() && stale.is_empty(), "new: {new:#?}\nno longer so: {stale:#?}");
}
