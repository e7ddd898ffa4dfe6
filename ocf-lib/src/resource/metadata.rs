//! The metadata document, in the form that the caller understands.
//!
//! OCF 1.1 for a caller that announces it; else 1.0 with DOCTYPE, valid against `ra-api-1.dtd`, which
//! `ocf-tester` demands: no `unique-group`, `reloadable`, `select` or `reload-agent` there.

use crate::env::Env;
use crate::resource::agent::Verb;
use crate::resource::dialect::{self, Dialect};
use crate::resource::param::{Content, Param, param};
use crate::resource::spec::{Action, Role, Spec};
use crate::xml::Element;

impl Content {
    /// The word of OCF 1.0; `select` exists in 1.1 only.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::String | Self::Select(_) => "string",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
        }
    }
}

/// Parameters that every agent has because the framework reads them.
pub(crate) const FRAMEWORK: [Param; 2] = [
    param("trace_ra")
        .short("Trace this resource's actions")
        .long(
            "Write a trace file for each action: its environment with secrets masked, its messages, and \
             every child process with result and duration. A change of this takes effect without a restart.",
        )
        .default("false")
        .reloadable()
        .typed::<bool>(),
    param("trace_dir")
        .short("Directory of trace files")
        .long("Where the trace files are written, in a folder named after the agent.")
        .default("/var/lib/heartbeat/trace_ra")
        .reloadable()
        .typed::<String>(),
];

/// The document for `dialect`.
pub fn document(spec: &Spec, params: &[Param], dialect: Dialect, env: &Env) -> String {
    // The default of a state file is shown for no instance, whatever the caller's environment says.
    let mut shown = env.clone();
    shown.set("OCF_RESOURCE_INSTANCE", "RESOURCE_ID");
    let all: Vec<Param> = params.iter().chain(&FRAMEWORK).copied().collect();
    match dialect {
        Dialect::Ocf11 => ocf(spec, &all, &shown, true).to_document(None),
        Dialect::Ocf10 | Dialect::Lsb | Dialect::Heartbeat => {
            ocf(spec, &all, &shown, false).to_document(Some("resource-agent SYSTEM \"ra-api-1.dtd\""))
        }
        Dialect::Rgmanager => dialect::rgmanager_metadata(spec, &all, &shown),
    }
}

fn ocf(spec: &Spec, params: &[Param], env: &Env, v11: bool) -> Element {
    let root = Element::new("resource-agent")
        .attr("name", spec.name)
        .attr("version", spec.version)
        .child(Element::new("version").text(if v11 { "1.1" } else { "1.0" }));
    described(root, spec.short, spec.long)
        .child(Element::new("parameters").children(params.iter().map(|param| parameter(param, env, v11))))
        .child(Element::new("actions").children(spec.rows().filter_map(|row| action(row, v11))))
}

fn parameter(param: &Param, env: &Env, v11: bool) -> Element {
    let flag = |value: bool| if value { "1" } else { "0" };
    let mut element = Element::new("parameter")
        .attr("name", param.name)
        .attr("unique", flag(param.unique_group.is_some()))
        .attr("required", flag(param.required));
    if v11 {
        element =
            element.maybe_attr("unique-group", param.unique_group).attr("reloadable", flag(param.reloadable));
        if param.deprecated {
            element = element.child(Element::new("deprecated"));
        }
    }
    described(element, param.short, param.long).child(match param.content {
        Content::Select(values) if v11 => content(param, env)
            .children(values.iter().map(|value| Element::new("option").attr("value", *value))),
        Content::Select(_) | Content::String | Content::Integer | Content::Boolean => {
            content_as(param, env, param.content.word())
        }
    })
}

/// `<content>` in the form of the newest API.
fn content(param: &Param, env: &Env) -> Element {
    let word = match param.content {
        Content::Select(_) => "select",
        Content::String | Content::Integer | Content::Boolean => param.content.word(),
    };
    content_as(param, env, word)
}

/// `<content>` of type `word`.
pub(crate) fn content_as(param: &Param, env: &Env, word: &'static str) -> Element {
    Element::new("content")
        .attr("type", word)
        .maybe_attr("default", param.default.map(|default| default.text(env)))
}

/// Long description first, then the short one: the order is part of the schema.
pub(crate) fn described(element: Element, short: &str, long: &str) -> Element {
    let long = if long.is_empty() { short } else { long };
    element
        .child(Element::new("longdesc").attr("lang", "en").text(long))
        .child(Element::new("shortdesc").attr("lang", "en").text(short))
}

pub(crate) fn seconds(n: u32) -> String {
    format!("{n}s")
}

fn action(row: &Action, v11: bool) -> Option<Element> {
    // Not in the DTD of 1.0, whose Pacemaker meaning of `reload` we do not want either.
    if !v11 && row.verb == Verb::ReloadAgent {
        return None;
    }
    // These words in 1.0 too: the schema of resource-agents takes no others, the DTD takes any.
    let role = row.role.map(|role| match role {
        Role::Promoted => "Promoted",
        Role::Unpromoted => "Unpromoted",
    });
    Some(
        Element::new("action")
            .attr("name", row.verb.word())
            .attr("timeout", seconds(row.timeout))
            .maybe_attr("interval", row.interval.map(seconds))
            .maybe_attr("depth", row.depth.map(|depth| depth.to_string()))
            .maybe_attr("role", role),
    )
}
