//! Metadata, manual page source and usage, all from the option table.

use super::action::Action;
use super::common_options::Takes;
use super::option::{Kind, OptionDef};
use super::spec::Table;
use crate::xml::Element;

/// The XML of `metadata`, or of `manpage`: the same with the troff marks of the prose and the
/// canonical name.
pub fn xml(table: &Table, action: Action) -> String {
    let spec = &table.spec;
    let manpage = action == Action::Manpage;
    let (name, longdesc) = if manpage {
        (spec.name, spec.longdesc.to_owned())
    } else {
        (table.called.as_str(), without_troff(spec.longdesc))
    };
    let symlinks = spec
        .symlinks
        .iter()
        .map(|link| Element::new("symlink").attr("name", link.name).attr("shortdesc", link.shortdesc));
    Element::new("resource-agent")
        .attr("name", name)
        .attr("shortdesc", spec.shortdesc)
        .children(symlinks)
        .child(Element::new("longdesc").text(longdesc))
        .child(Element::new("vendor-url").text(spec.vendor_url))
        .child(Element::new("parameters").children(parameters(table)))
        .child(Element::new("actions").children(actions(table)))
        .to_document(None)
}

fn parameters(table: &Table) -> Vec<Element> {
    let mut all: Vec<(u16, String, Element)> = Vec::new();
    for def in table.defs.iter().filter(|def| !def.hidden) {
        let name = def.name();
        if def.has_old_name() {
            let old = parameter(def, def.key).attr("deprecated", "1");
            all.push((def.order, def.key.to_owned(), content(old, def)));
            let new = parameter(def, &name).attr("obsoletes", def.key);
            all.push((def.order, name, content(new, def)));
        } else {
            all.push((def.order, name.clone(), content(parameter(def, &name), def)));
        }
    }
    all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    all.into_iter().map(|(_, _, element)| element).collect()
}

fn parameter(def: &OptionDef, name: &str) -> Element {
    Element::new("parameter")
        .attr("name", name)
        .attr("unique", "0")
        .attr("required", if def.required { "1" } else { "0" })
}

fn content(parameter: Element, def: &OptionDef) -> Element {
    let (kind, words): (_, &[&str]) = match def.kind {
        _ if def.shown_as_text => ("string", &[]),
        Kind::Flag => ("boolean", &[]),
        Kind::Text => ("string", &[]),
        Kind::Integer => ("integer", &[]),
        Kind::Second => ("second", &[]),
        Kind::Choice(words) => ("select", words),
    };
    let content = Element::new("content")
        .attr("type", kind)
        .maybe_attr("default", def.default)
        .children(words.iter().map(|word| Element::new("option").attr("value", *word)));
    parameter
        .child(Element::new("getopt").attr("mixed", def.syntax()))
        .child(content)
        .child(Element::new("shortdesc").attr("lang", "en").text(def.help))
}

fn actions(table: &Table) -> Vec<Element> {
    Action::promised(table)
        .map(|action| {
            let mut element = Element::new("action").attr("name", action.name());
            if action == Action::On {
                if table.has(Takes::OnTarget) {
                    element = element.attr("on_target", "1");
                }
                let automatic = table.has(Takes::Automatic);
                element = element.attr("automatic", if automatic { "1" } else { "0" });
            }
            element
        })
        .collect()
}

/// The prose without font changes and paragraph requests.
fn without_troff(text: &str) -> String {
    let mut text = text.to_owned();
    for mark in ["\\fB", "\\fI", "\\fR", "\\fP"] {
        text = text.replace(mark, "");
    }
    text.lines().filter(|line| !matches!(line.trim(), ".P" | ".PP" | ".br")).collect::<Vec<_>>().join("\n")
}

/// Column at which the explanations of usage begin, and the width of the text after it.
const COLUMN: usize = 36;
const WIDTH: usize = 62;

/// What `--help` prints.
pub fn usage(table: &Table) -> String {
    let mut out = format!("Usage:\n\t{} [options]\nOptions:\n", table.called);
    for def in table.defs.iter().filter(|def| !def.hidden) {
        let mut text = def.help.to_owned();
        if def.key == "action" {
            let names: Vec<_> = Action::promised(table).map(Action::name).collect();
            text = format!("{text}: {}", names.join(", "));
        }
        if let Kind::Choice(words) = def.kind {
            text = format!("{text} ({})", words.join("|"));
        }
        if let Some(default) = def.default {
            text = format!("{text} (default: {default})");
        }
        let syntax = format!("   {}", def.syntax());
        let mut line = syntax;
        for chunk in wrapped(&text) {
            while line.chars().count() + 1 < COLUMN {
                line.push(' ');
            }
            line.push(' ');
            out.push_str(&line);
            out.push_str(&chunk);
            out.push('\n');
            line = String::new();
        }
    }
    out
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        if let Some(line) = lines.last_mut() {
            if line.is_empty() {
                line.push_str(word);
            } else if line.len() + 1 + word.len() <= WIDTH {
                line.push(' ');
                line.push_str(word);
            } else {
                lines.push(word.to_owned());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troff_is_for_the_manual_page_only() {
        assert_eq!(without_troff("a \\fBb\\fP\n.P\nc"), "a b\nc");
    }

    #[test]
    fn long_explanations_are_wrapped() {
        assert!(wrapped(&"word ".repeat(40)).iter().all(|line| line.len() <= WIDTH));
        assert_eq!(wrapped(""), [""]);
    }
}
