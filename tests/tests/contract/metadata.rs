//! Metadata of resource agents: valid by every schema there is, and what the schemas cannot say.

use super::call::{Answer, Call};
use super::document::{Node, parse};
use super::schemas::{
    PCS_OCF_10, PCS_OCF_11, RESOURCE_AGENTS_DTD, RESOURCE_AGENTS_RNG, XMLLINT, valid_by_dtd, valid_by_schema,
};
use super::{can, installed};
use ringfence_tests::subjects::Subject;
use std::path::Path;
use std::time::{Duration, Instant};

/// For a caller that announces `minor`; nothing else is set.
fn document(agent: &Subject, minor: &str) -> String {
    let answer = Call::new(&agent.file).arg("meta-data").env("OCF_RA_VERSION_MINOR", minor).run().is(0);
    assert_eq!(answer.err, "", "{}", answer.told());
    answer.out
}

#[test]
fn is_valid_by_every_schema() {
    let needs = [
        XMLLINT,
        (RESOURCE_AGENTS_DTD, "resource-agents"),
        (RESOURCE_AGENTS_RNG, "resource-agents"),
        (PCS_OCF_10, "pcs"),
        (PCS_OCF_11, "pcs"),
    ];
    if !can("is_valid_by_every_schema", &needs) {
        return;
    }
    for agent in &installed().resource {
        let (old, new) = (document(agent, "0"), document(agent, "1"));
        valid_by_dtd(&agent.name, &old);
        valid_by_schema(&agent.name, &old, RESOURCE_AGENTS_RNG);
        valid_by_schema(&agent.name, &old, PCS_OCF_10);
        valid_by_schema(&agent.name, &new, PCS_OCF_11);
        assert!(old.contains("<!DOCTYPE resource-agent SYSTEM \"ra-api-1.dtd\">"), "ocf-tester asks for it");
        assert!(!new.contains("<!DOCTYPE"), "1.1 has none");
    }
}

#[test]
fn says_what_no_schema_asks_for() {
    for agent in &installed().resource {
        for (minor, version) in [("0", "1.0"), ("1", "1.1")] {
            let document = parse(&document(agent, minor));
            assert_eq!(document.attribute("name"), Some(agent.name.as_str()), "installed under its own name");
            assert!(document.attribute("version").is_some_and(|own| !own.is_empty()), "its own version");
            assert_eq!(document.one("version").text, version);
            described(&agent.name, &document);
            let order: Vec<_> = document.children.iter().map(|child| child.name.as_str()).collect();
            assert_eq!(
                order,
                ["version", "longdesc", "shortdesc", "parameters", "actions"],
                "{}",
                agent.name
            );
            for parameter in document.parameters() {
                well_formed_parameter(&agent.name, parameter);
            }
            unique(&agent.name, &Node::names(&document.parameters()));
            well_formed_actions(&agent.name, &document);
        }
    }
}

/// Both descriptions, with text, the long one first (pacemaker cares).
fn described(who: &str, node: &Node) {
    for kind in ["longdesc", "shortdesc"] {
        let text = node.one(kind);
        assert!(text.attribute("lang").is_some() && !text.text.trim().is_empty(), "{kind} of {who}");
    }
    let place = |kind| node.children.iter().position(|child| child.name == kind);
    assert!(place("longdesc") < place("shortdesc"), "{who}");
    let short = node.one("shortdesc").text.clone();
    assert!(
        !short.contains('\n') && short.len() <= 80 && !short.ends_with('.'),
        "shortdesc of {who}: {short}"
    );
}

fn well_formed_parameter(agent: &str, parameter: &Node) {
    let name = parameter.attribute("name").unwrap();
    let who = format!("{agent}, parameter {name}");
    assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{who}");
    described(&who, parameter);
    for flag in ["unique", "required", "reloadable"] {
        assert!(matches!(parameter.attribute(flag), None | Some("0" | "1")), "{who}: {flag}");
    }
    if let Some(group) = parameter.attribute("unique-group") {
        assert!(!group.is_empty() && parameter.attribute("unique") == Some("1"), "{who}: both or neither");
    }
    let content = parameter.one("content");
    let default = content.attribute("default");
    if parameter.attribute("required") == Some("1") {
        assert_eq!(default, None, "{who}: what must be given has no default");
    }
    let of_its_type = match (content.attribute("type"), default) {
        (Some("string"), _) | (Some("integer" | "boolean"), None | Some("")) => true,
        (Some("integer"), Some(text)) => text.parse::<i64>().is_ok(),
        (Some("boolean"), Some(text)) => matches!(text, "true" | "false" | "0" | "1" | "yes" | "no"),
        (Some("select"), default) => {
            let values: Vec<_> =
                content.all("option").filter_map(|option| option.attribute("value")).collect();
            !values.is_empty() && default.is_none_or(|default| values.contains(&default))
        }
        _ => false,
    };
    assert!(of_its_type, "{who}: {content:?}");
}

fn unique(who: &str, names: &[String]) {
    let mut sorted: Vec<_> = names.iter().map(|name| name.to_lowercase()).collect();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), names.len(), "{who}: a name twice in {names:?}");
}

fn well_formed_actions(agent: &str, document: &Node) {
    let actions = document.actions();
    let names = Node::names(&actions);
    for needed in ["start", "stop", "monitor", "meta-data", "validate-all"] {
        assert!(names.iter().any(|name| name == needed), "{agent} declares {needed}");
    }
    let mut rows = Vec::new();
    for action in actions {
        let name = action.attribute("name").unwrap();
        let seconds = |attribute| {
            action.attribute(attribute).map(|text: &str| {
                let digits =
                    text.strip_suffix('s').unwrap_or_else(|| panic!("{agent}, {name}: {text} has no unit"));
                digits.parse::<u32>().unwrap()
            })
        };
        assert!(seconds("timeout").is_some_and(|timeout| timeout > 0), "{agent}, {name}: a timeout");
        if name == "monitor" {
            assert!(seconds("interval").is_some_and(|every| every > 0), "{agent}: a monitor has an interval");
        }
        rows.push((name.to_owned(), seconds("interval")));
        assert!(
            matches!(action.attribute("role"), None | Some("Promoted" | "Unpromoted")),
            "{agent}, {name}"
        );
    }
    // Pacemaker tells the operations of a resource apart by name and interval.
    let count = rows.len();
    rows.sort();
    rows.dedup();
    assert_eq!(rows.len(), count, "{agent}: two actions with the same name and interval");
    let pairs = [("promote", "demote"), ("migrate_to", "migrate_from")];
    for (one, other) in pairs {
        assert_eq!(
            names.iter().any(|n| n == one),
            names.iter().any(|n| n == other),
            "{agent}: {one} and {other}"
        );
    }
}

#[test]
fn asks_for_nothing() {
    if !can("asks_for_nothing", &[super::HOST]) {
        return;
    }
    super::host::isolated(super::host::Disk::ReadOnly, || {
        for agent in &installed().resource {
            // Where nobody can read it, whatever the modes above the tree are.
            let copy = Path::new(super::host::OWN).join(&agent.name);
            std::fs::copy(&agent.file, &copy).unwrap();
            let plain = document(agent, "0");
            let same = |call: Call| {
                let answer: Answer = call.arg("meta-data").run().is(0);
                assert_eq!(answer.out, plain, "{}", answer.told());
            };
            let call = || Call::new(&copy);
            same(call());
            same(call().by_nobody());
            same(call().env("PATH", ""));
            same(call().closing("0<&- 2>&-"));
            same(call().env("OCF_TESTER_FAIL_HAVE_BINARY", "1").env("LANG", "de_DE.UTF-8"));
            same(call().env("OCF_RESOURCE_INSTANCE", agent.name.as_str()).env("OCF_RESKEY_trace_ra", "1"));
            same(call().env("HA_RSCTMP", "/run/resource-agents").env("OCF_ROOT", "/nonexistent"));
        }
        assert_eq!(std::fs::read_dir("/run/resource-agents").unwrap().count(), 0, "nothing was written");
    });
}

/// A caller waits for it, Pacemaker's controller among them. The bound is far away even for a build without optimisation.
#[test]
fn comes_at_once() {
    let quickest = |program: &Path, args: &[&str]| {
        (0..20)
            .map(|_| {
                let started = Instant::now();
                let done = std::process::Command::new(program).args(args).env_clear().output().unwrap();
                assert!(done.status.success());
                started.elapsed()
            })
            .min()
            .unwrap()
    };
    let nothing = quickest(Path::new("/bin/true"), &[]);
    let subjects = installed();
    let resource = subjects.resource.iter().map(|agent| (agent, &["meta-data"][..]));
    let fence = subjects.fence.iter().map(|agent| (agent, &["-o", "metadata"][..]));
    for (agent, args) in resource.chain(fence) {
        let took = quickest(&agent.file, args);
        let ratio = took.as_secs_f64() / nothing.as_secs_f64();
        println!("{}: metadata in {took:?}, {ratio:.1} times /bin/true", agent.name);
        assert!(took < Duration::from_millis(100), "{} took {took:?}", agent.name);
    }
}
