//! Metadata of fence agents, under every name that one has.

use super::call::Call;
use super::document::{Node, parse};
use super::schemas::{FENCE_AGENTS_RNG, XMLLINT, valid_by_schema};
use super::{can, installed};
use ringfence_tests::subjects::Subject;

/// As Pacemaker asks for it.
fn text_of(agent: &Subject, action: &str) -> String {
    let answer = Call::new(&agent.file).stdin(format!("action={action}\n")).run().is(0);
    assert_eq!(answer.err, "", "{}", answer.told());
    answer.out
}

pub fn document_of(agent: &Subject) -> Node {
    parse(&text_of(agent, "metadata"))
}

#[test]
fn fence_metadata_is_valid() {
    if !can("fence_metadata_is_valid", &[XMLLINT, (FENCE_AGENTS_RNG, "fence-agents")]) {
        return;
    }
    for agent in &installed().fence {
        for action in ["metadata", "manpage"] {
            valid_by_schema(&agent.name, &text_of(agent, action), FENCE_AGENTS_RNG);
        }
    }
}

#[test]
fn every_way_to_ask_gives_the_same_document() {
    for agent in &installed().fence {
        let plain = text_of(agent, "metadata");
        for action in ["meta-data", "METADATA", "Meta-Data"] {
            assert_eq!(text_of(agent, action), plain);
        }
        for args in
            [&["-o", "metadata"][..], &["--action=metadata"], &["--action", "meta-data"], &["--act=metadata"]]
        {
            assert_eq!(Call::new(&agent.file).args(args.iter().copied()).run().is(0).out, plain);
        }
        let manpage = Call::new(&agent.file).args(["-o", "manpage"]).run().is(0).out;
        assert_eq!(text_of(agent, "manpage"), manpage);
        for bad in ["\\fB", "\\fI", "\\fR", "\n.P"] {
            assert!(!plain.contains(bad), "troff in the metadata of {}", agent.name);
        }
        // The link's own name; the manual page is the agent's.
        assert_eq!(parse(&plain).attribute("name"), Some(agent.name.as_str()));
        let own = agent.alias_of.as_deref().unwrap_or(&agent.name);
        assert_eq!(parse(&manpage).attribute("name"), Some(own));
    }
}

#[test]
fn every_link_is_announced_and_every_announced_name_is_a_link() {
    let subjects = installed();
    for agent in subjects.fence.iter().filter(|agent| agent.alias_of.is_none()) {
        let mut announced: Vec<_> = Node::names(&document_of(agent).all("symlink").collect::<Vec<_>>());
        let links = subjects.fence.iter().filter(|other| other.alias_of.as_deref() == Some(&agent.name));
        let mut links: Vec<_> = links.map(|link| link.name.clone()).collect();
        announced.sort();
        links.sort();
        assert_eq!(links, announced, "{}", agent.name);
    }
}

#[test]
fn fence_metadata_says_what_no_schema_asks_for() {
    for agent in &installed().fence {
        let document = document_of(agent);
        let who = &agent.name;
        assert!(document.attribute("shortdesc").is_some_and(|text| !text.is_empty()), "{who}");
        assert!(!document.one("longdesc").text.trim().is_empty(), "{who}");
        let parameters = document.parameters();
        let names = Node::names(&parameters);
        let mut once = names.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), names.len(), "{who}: a parameter twice");
        for parameter in &parameters {
            well_formed(who, parameter, &parameters);
        }
        let actions = Node::names(&document.actions());
        for needed in ["on", "off", "status", "monitor", "metadata", "manpage", "validate-all"] {
            assert!(actions.iter().any(|name| name == needed), "{who}: {needed} in {actions:?}");
        }
        let on =
            document.actions().into_iter().find(|action| action.attribute("name") == Some("on")).unwrap();
        assert!(matches!(on.attribute("automatic"), Some("0" | "1")), "{who}");
        let order = [
            "on",
            "off",
            "reboot",
            "status",
            "list",
            "list-status",
            "monitor",
            "metadata",
            "manpage",
            "validate-all",
            "diag",
        ];
        let places: Vec<_> =
            actions.iter().map(|name| order.iter().position(|other| other == name)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{who}: {actions:?}");
        let action = parameters.iter().find(|p| p.attribute("name") == Some("action")).expect("action");
        assert_eq!(action.attribute("required"), Some("1"), "{who}");
        let default = action.one("content").attribute("default").unwrap_or("");
        assert!(
            actions.iter().any(|name| name == default),
            "{who}: the default action {default} is declared"
        );
    }
}

fn well_formed(agent: &str, parameter: &Node, all: &[&Node]) {
    let name = parameter.attribute("name").unwrap();
    let who = format!("{agent}, {name}");
    assert_eq!(parameter.attribute("unique"), Some("0"), "{who}");
    assert!(matches!(parameter.attribute("required"), Some("0" | "1")), "{who}");
    let order: Vec<_> = parameter.children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(order, ["getopt", "content", "shortdesc"], "{who}");
    assert!(
        parameter.one("getopt").attribute("mixed").is_some_and(|syntax| syntax.starts_with('-')),
        "{who}"
    );
    assert!(!parameter.one("shortdesc").text.trim().is_empty(), "{who}");
    let content = parameter.one("content");
    let options: Vec<_> = content.all("option").filter_map(|option| option.attribute("value")).collect();
    let of_its_type = match (content.attribute("type"), content.attribute("default")) {
        (Some("string" | "boolean" | "integer" | "second"), None) | (Some("string"), Some(_)) => {
            options.is_empty()
        }
        (Some("boolean"), Some(text)) => matches!(text, "0" | "1"),
        (Some("integer" | "second"), Some(text)) => text.parse::<u64>().is_ok(),
        (Some("select"), default) => {
            !options.is_empty() && default.is_none_or(|text| options.contains(&text))
        }
        _ => false,
    };
    assert!(of_its_type, "{who}: {content:?}");
    if let Some(old) = parameter.attribute("obsoletes") {
        let old = all.iter().find(|other| other.attribute("name") == Some(old));
        let old = old.unwrap_or_else(|| panic!("{who}: the old name is there too"));
        assert_eq!(old.attribute("deprecated"), Some("1"), "{who}");
        assert_eq!(old.attribute("required"), parameter.attribute("required"), "{who}");
    }
}
