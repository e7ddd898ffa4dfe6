//! rgmanager: attributes of `cluster.conf` in a clean environment, `rgmanager 2.0` metadata.
//!
//! Facts from rgmanager's own resource loader (cluster 3): metadata without `<actions>` crashes it, and
//! without a required or primary parameter it never returns; only `status` is ever called.
//!
//! How clurgmgrd takes the end of a `migrate` (`rg_state.c`, `svc_migrate`): 0 gives the service to the target, whose checks
//! may then fail without end; 6 and 7 leave it started on the source, whose next check finds what is the matter; anything
//! else makes it `failed`, which waits for a person. So a migration that failed while the resource runs on is 7, and 1 would
//! take a healthy service out of the cluster's hands.

use super::hand_over;
use crate::env::Env;
use crate::resource::agent::Verb;
use crate::resource::code::Code;
use crate::resource::metadata::{content_as, described, seconds};
use crate::resource::param::{Content, DefaultValue, Param};
use crate::resource::spec::{Action, Spec};
use crate::xml::Element;
use std::ffi::OsString;

/// How the stock agents of rgmanager say that they cannot tell what became of the resource.
const INDETERMINATE: u8 = 150;

/// See the module: after a migration only "it is over", "it cannot be" and "it was not done" are known states.
pub(super) fn exit_code(verb: Verb, code: Code) -> u8 {
    match (verb, code) {
        (Verb::MigrateTo, Code::Success | Code::Configured | Code::NotRunning) => code.number(),
        (Verb::MigrateTo, _) => INDETERMINATE,
        _ => code.number(),
    }
}

/// Its words beside those of OCF.
pub(super) fn verb(word: &str) -> Option<Verb> {
    match word {
        // What the source of a migration does; the target is called with nothing.
        "migrate" => Some(Verb::MigrateTo),
        // Attributes that may change without a restart have changed.
        "reconfig" => Some(Verb::ReloadAgent),
        _ => Verb::parse(word),
    }
}

pub(super) fn translate(spec: &Spec, args: &[OsString], mut env: Env) -> Env {
    if let Some(known_as) = &spec.rgmanager {
        for foreign in known_as.names {
            let value = env.get_os(&format!("OCF_RESKEY_{}", foreign.name)).map(ToOwned::to_owned);
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                hand_over(&mut env, foreign, &value);
            }
        }
    }
    // Its timeout is in seconds, and 0 when it enforces none.
    let timeout: u64 = env.get("OCF_RESKEY_RGMANAGER_meta_timeout").and_then(|t| t.parse().ok()).unwrap_or(0);
    if timeout > 0 {
        env.set("OCF_RESKEY_CRM_meta_timeout", (timeout.saturating_mul(1000)).to_string());
    }
    if let Some(target) = args.get(1) {
        env.set("OCF_RESKEY_CRM_meta_migrate_target", target.clone());
    }
    env
}

/// True when other services of this node still use the resource: `stop` then leaves it alone.
pub(crate) fn still_referenced(env: &Env) -> bool {
    env.get("OCF_RESKEY_RGMANAGER_meta_refcnt")
        .and_then(|n| n.trim().parse::<i64>().ok())
        .is_some_and(|n| n > 0)
}

/// The metadata document in rgmanager's form.
pub(crate) fn metadata(spec: &Spec, params: &[Param], env: &Env) -> String {
    let type_name =
        spec.rgmanager.map_or_else(|| spec.name.to_lowercase(), |known_as| known_as.type_name.to_owned());
    let mut root = described(
        Element::new("resource-agent")
            .attr("name", type_name)
            .attr("version", "rgmanager 2.0")
            .child(Element::new("version").text("1.0")),
        spec.short,
        spec.long,
    );
    root = root.child(Element::new("parameters").children(parameters(spec, params, env)));
    root = root.child(Element::new("actions").children(actions(spec)));
    if let Some(known_as) = spec.rgmanager.filter(|known_as| !known_as.special.is_empty()) {
        let attributes = known_as
            .special
            .iter()
            .fold(Element::new("attributes"), |element, (name, value)| element.attr(name, *value));
        root = root.child(Element::new("special").attr("tag", "rgmanager").child(attributes));
    }
    root.to_document(Some("resource-agent SYSTEM \"ra-api-1-modified.dtd\""))
}

fn parameters(spec: &Spec, params: &[Param], env: &Env) -> Vec<Element> {
    let names = spec.rgmanager.map_or(&[][..], |known_as| known_as.names);
    let renamed = |param: &Param| names.iter().any(|foreign| foreign.targets.contains(&param.name));
    let mut rows: Vec<Element> = Vec::new();
    let unique = params.iter().find(|param| param.required && param.unique_group.is_some());
    match (names.first(), unique) {
        (Some(first), _) => rows.push(primary(first.name, first.short, text())),
        (None, Some(param)) => rows.push(primary(param.name, param.short, exported(param, env))),
        (None, None) => rows.push(primary("name", "Name of this resource", text())),
    }
    // It calls `reconfig` when nothing else has changed, and otherwise restarts the resource.
    let reconfigured = spec.supports(Verb::ReloadAgent);
    let row = |name: &str, param: &Param, short: &str, long: &str| {
        let reconfig = (reconfigured && param.reloadable).then_some("1");
        let element = Element::new("parameter").attr("name", name).maybe_attr("reconfig", reconfig);
        described(element, short, long).child(exported(param, env))
    };
    for foreign in names.iter().skip(1) {
        let target = params.iter().find(|param| foreign.targets.first() == Some(&param.name));
        rows.push(match target {
            Some(param) => row(foreign.name, param, foreign.short, foreign.short),
            None => plain(foreign.name, foreign.short),
        });
    }
    for param in params {
        if renamed(param) || (names.is_empty() && unique.is_some_and(|first| first.name == param.name)) {
            continue;
        }
        rows.push(row(param.name, param, param.short, param.short));
    }
    if let Some(known_as) = &spec.rgmanager {
        let own = known_as.attributes.iter().chain(known_as.manager);
        rows.extend(own.map(|param| row(param.name, param, param.short, param.long)));
        rows.extend(known_as.ignored.iter().map(|name| plain(name, "Accepted, without effect")));
    }
    rows
}

/// The content of a parameter; without a default that depends on the resource: rgmanager hands on what stands here
/// as the value, to every resource alike. Without it the agent finds the default itself.
fn exported(param: &Param, env: &Env) -> Element {
    let default = param.default.filter(|default| matches!(default, DefaultValue::Text(_)));
    content_as(&Param { default, ..*param }, env, param.content.word())
}

fn text() -> Element {
    Element::new("content").attr("type", Content::String.word())
}

fn primary(name: &str, short: &str, content: Element) -> Element {
    let element = Element::new("parameter").attr("name", name);
    let element = element.attr("unique", "1").attr("primary", "1").attr("required", "1");
    described(element, short, short).child(content)
}

fn plain(name: &str, short: &str) -> Element {
    described(Element::new("parameter").attr("name", name), short, short).child(text())
}

/// `status` is what rgmanager calls; each depth is a row, and `recover` heals a failed one.
fn actions(spec: &Spec) -> Vec<Element> {
    let row = |name: &'static str, like: Option<&Action>, depth: Option<u32>| {
        Element::new("action")
            .attr("name", name)
            .attr("timeout", seconds(like.map_or(20, |row| row.timeout)))
            .maybe_attr("interval", like.and_then(|row| row.interval).map(seconds))
            .maybe_attr("depth", depth.map(|depth| depth.to_string()))
    };
    let first = |verb| spec.rgmanager_rows(verb).first().copied();
    let mut rows = vec![row("start", first(Verb::Start), None), row("stop", first(Verb::Stop), None)];
    rows.push(row("recover", first(Verb::Start), None));
    let mut depths = Vec::new();
    for monitor in spec.rgmanager_rows(Verb::Monitor) {
        let depth = Some(monitor.depth.unwrap_or(0));
        // One row for both roles: rgmanager knows none, and of two rows at one depth it keeps the later.
        if depths.contains(&depth) {
            continue;
        }
        depths.push(depth);
        rows.push(row("status", Some(monitor), depth));
        rows.push(row("monitor", Some(monitor), depth));
    }
    if spec.supports(Verb::ReloadAgent) {
        rows.push(row("reconfig", first(Verb::ReloadAgent), None));
    }
    if spec.supports(Verb::MigrateTo) {
        rows.push(row("migrate", first(Verb::MigrateTo), None));
    }
    rows.push(row("meta-data", first(Verb::MetaData), None));
    rows.push(row("validate-all", first(Verb::ValidateAll), None));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::param::param;
    use crate::resource::spec::{Foreign, Rgmanager, action, foreign};

    const NAMES: &[Foreign] = &[foreign("address", &["ip", "cidr_netmask"]).split('/').short("Address")];
    const SPEC: Spec = Spec::new("IPaddr2", "1").short("s").long("l").actions(&[
        action(Verb::Start, 20),
        action(Verb::Stop, 20),
        action(Verb::Monitor, 20).every(10).depth(0),
    ]);

    fn spec() -> Spec {
        SPEC.rgmanager(
            Rgmanager::new("ip").names(NAMES).ignored(&["sleeptime"]).special(&[("maxinstances", "1")]),
        )
    }

    #[test]
    fn attributes_become_parameters() {
        let env = Env::from_pairs([
            ("OCF_RESKEY_address", "10.0.0.1/24"),
            ("OCF_RESKEY_RGMANAGER_meta_timeout", "20"),
            ("OCF_RESKEY_RGMANAGER_meta_refcnt", "1"),
        ]);
        let env = translate(&spec(), &["migrate".into(), "n2".into()], env);
        assert_eq!(env.get("OCF_RESKEY_ip"), Some("10.0.0.1"));
        assert_eq!(env.get("OCF_RESKEY_cidr_netmask"), Some("24"));
        assert_eq!(env.get("OCF_RESKEY_CRM_meta_timeout"), Some("20000"));
        assert_eq!(env.get("OCF_RESKEY_CRM_meta_migrate_target"), Some("n2"));
        assert!(still_referenced(&env));
    }

    const BOTH_ROLES: Spec = SPEC.actions(&[
        action(Verb::Monitor, 20).every(10).depth(0),
        action(Verb::Monitor, 20).every(9).depth(0),
        action(Verb::Monitor, 20).every(60).depth(10),
    ]);

    #[test]
    fn metadata_has_one_primary_and_actions_whatever_the_agent_declares() {
        const IP: Param = param("ip").required().unique("a").typed::<String>();
        const STATE: Param = param("state").default("/x").typed::<String>();
        for (spec, params) in [(spec(), &[IP, STATE][..]), (SPEC, &[IP, STATE][..]), (SPEC, &[STATE][..])] {
            let xml = metadata(&spec, params, &Env::default());
            assert_eq!(xml.matches("primary=\"1\"").count(), 1, "{xml}");
            assert!(
                xml.contains("<action name=\"status\" timeout=\"20s\" interval=\"10s\" depth=\"0\"/>"),
                "{xml}"
            );
        }
        let xml = metadata(&BOTH_ROLES, &[STATE], &Env::default());
        assert_eq!(xml.matches("name=\"status\"").count(), 2, "one row for each depth: {xml}");
        let xml = metadata(&spec(), &[IP, STATE], &Env::default());
        assert!(
            xml.contains("name=\"ip\" version=\"rgmanager 2.0\"") && xml.contains("name=\"address\""),
            "{xml}"
        );
        assert!(!xml.contains("parameter name=\"ip\""), "{xml}");
    }

    const OWN: Param =
        param("no_kill").short("Do not kill").long("At length").reloadable().default("0").typed::<bool>();
    const MANAGERS: Param = param("recovery").short("Policy").reloadable().typed::<String>();

    #[test]
    fn what_only_this_dialect_has_is_in_its_metadata_alone() {
        const ROWS: &[Action] =
            &[action(Verb::Start, 300), action(Verb::Monitor, 10), action(Verb::Monitor, 30).depth(10)];
        const COMMON: &[Action] = &[action(Verb::Start, 20), action(Verb::ReloadAgent, 5)];
        let spec = SPEC.actions(COMMON).rgmanager(
            Rgmanager::new("vm").attributes(&[OWN]).manager(&[MANAGERS]).ignored(&["old"]).actions(ROWS),
        );
        let xml = metadata(&spec, &[], &Env::default());
        for expected in [
            "<parameter name=\"no_kill\" reconfig=\"1\">",
            "<longdesc lang=\"en\">At length</longdesc>",
            "<content type=\"boolean\" default=\"0\"/>",
            "<parameter name=\"recovery\" reconfig=\"1\">",
            "<parameter name=\"old\">",
            "<action name=\"start\" timeout=\"300s\"/>",
            "<action name=\"status\" timeout=\"10s\" depth=\"0\"/>",
            "<action name=\"status\" timeout=\"30s\" depth=\"10\"/>",
            "<action name=\"reconfig\" timeout=\"5s\"/>",
        ] {
            assert!(xml.contains(expected), "{expected}: {xml}");
        }
        let ocf = crate::resource::metadata::document(
            &spec,
            &[],
            crate::resource::dialect::Dialect::Ocf11,
            &Env::default(),
        );
        assert!(!ocf.contains("no_kill") && !ocf.contains("recovery") && !ocf.contains("300s"), "{ocf}");
    }

    #[test]
    fn what_cannot_be_reconfigured_is_not_said_to_be() {
        let spec = SPEC.rgmanager(Rgmanager::new("vm").attributes(&[OWN]));
        let xml = metadata(&spec, &[], &Env::default());
        assert!(xml.contains("no_kill") && !xml.contains("reconfig"), "{xml}");
    }

    #[test]
    fn a_migration_ends_with_what_rgmanager_understands() {
        for (code, number) in
            [(Code::Success, 0), (Code::Configured, 6), (Code::NotRunning, 7), (Code::Generic, 150)]
        {
            assert_eq!(exit_code(Verb::MigrateTo, code), number);
        }
        assert_eq!(exit_code(Verb::Start, Code::Generic), 1);
    }
}
