//! What rgmanager's resource loader demands of metadata: without it the manager crashes, loops or ignores the agent.

use super::call::Call;
use super::document::{Node, parse};
use super::installed;
use super::managers::rgmanager_link;

#[test]
fn rgmanager_can_load_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut types = Vec::new();
    for agent in &installed().resource {
        let link = rgmanager_link(agent, dir.path());
        // Inherits the manager's whole environment; descriptors 0 and 2 are closed.
        let call = Call::new(&link).arg("meta-data").closing("0<&- 2>&-");
        let xml = call.clone().run().is(0).out;
        let elsewhere = call.env("PATH", "/bin").env("OCF_RA_VERSION_MINOR", "1").env("LANG", "de_DE.UTF-8");
        assert_eq!(elsewhere.run().is(0).out, xml, "the folder decides, not the environment");

        assert!(xml.starts_with("<?xml "), "nothing before the declaration: {xml}");
        assert!(xml.trim_end().ends_with("</resource-agent>"), "nothing after the root");
        let document = parse(&xml);
        assert_eq!(document.attribute("xmlns"), None);
        assert_eq!(document.attribute("version"), Some("rgmanager 2.0"));
        let kind = document.attribute("name").expect("a type").to_lowercase();
        assert_ne!(kind, "action", "a reserved name");
        types.push(kind);
        parameters(&agent.name, &document);
        actions(&agent.name, &document);
        for special in document.all("special") {
            assert_eq!(special.attribute("tag"), Some("rgmanager"));
        }
    }
    let count = types.len();
    types.sort();
    types.dedup();
    assert_eq!(types.len(), count, "two agents of one type: the manager takes either");
}

fn parameters(agent: &str, document: &Node) {
    let flag = |parameter: &Node, name: &str| parameter.attribute(name).is_some();
    let parameters = document.parameters();
    let primary: Vec<_> = parameters.iter().filter(|parameter| flag(parameter, "primary")).collect();
    assert_eq!(primary.len(), 1, "{agent}: one primary parameter");
    // Anything but a number or y... is false there.
    assert_eq!(primary[0].attribute("primary"), Some("1"));
    for parameter in &parameters {
        let name = parameter.attribute("name").unwrap();
        for kind in ["primary", "unique", "required", "reconfig"] {
            assert!(matches!(parameter.attribute(kind), None | Some("0" | "1")), "{agent}, {name}: {kind}");
        }
        let key = ["primary", "unique", "required"].iter().any(|kind| flag(parameter, kind));
        assert!(!(flag(parameter, "inherit") && key), "{agent}, {name}: an inherited key is rejected");
        // The manager exports a default as it stands: one that depends on the resource must not be there.
        let default = parameter.one("content").attribute("default").unwrap_or("");
        assert!(!default.contains("RESOURCE_ID"), "{agent}, {name}: every resource would get {default}");
        let content = parameter.one("content").attribute("type");
        assert!(matches!(content, Some("string" | "integer" | "boolean")), "{agent}, {name}: {content:?}");
    }
    let mut names = Node::names(&parameters);
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "{agent}: a parameter twice");
}

fn actions(agent: &str, document: &Node) {
    let actions = document.actions();
    let mut rows: Vec<(String, String)> = Vec::new();
    for action in actions {
        let name = action.attribute("name").unwrap();
        assert!(
            [
                "start",
                "stop",
                "recover",
                "status",
                "monitor",
                "reconfig",
                "reload",
                "restart",
                "meta-data",
                "validate-all",
                "verify-all",
                "migrate",
                "methods"
            ]
            .contains(&name),
            "{agent}: {name}"
        );
        for time in [action.attribute("timeout"), action.attribute("interval")].into_iter().flatten() {
            let digits = time.trim_end_matches(|c: char| "smhdwy".contains(c));
            assert!(
                digits.len() + 1 == time.len(),
                "{agent}, {name}: {time} needs one unit, or the parser overruns"
            );
            assert!(digits.parse::<u32>().is_ok_and(|n| n > 0), "{agent}, {name}: {time}");
        }
        let depth = action.attribute("depth").unwrap_or("0");
        assert!(depth.parse::<u32>().is_ok(), "{agent}, {name}: depth {depth}");
        rows.push((name.to_owned(), depth.to_owned()));
    }
    for needed in ["start", "stop", "status", "meta-data"] {
        assert!(rows.iter().any(|(name, _)| name == needed), "{agent}: no {needed}");
    }
    // The later of two with one name and depth would silently replace the earlier.
    let count = rows.len();
    rows.sort();
    rows.dedup();
    assert_eq!(rows.len(), count, "{agent}: an action twice at one depth");
}
