//! An agent's man page, in the macros of man(7), from its metadata and an optional prose source.
#![allow(clippy::format_push_string, reason = "write! into a String brings a Result that cannot be an error")]

use crate::built::Kind;
use crate::metadata::{Action, Metadata, Parameter};

/// The page. `prose` is Markdown of the plainest kind: headings, paragraphs, lists, code, emphasis.
pub fn render(kind: Kind, metadata: &Metadata, prose: Option<&str>) -> String {
    let (page, section) = match kind {
        Kind::Resource => (format!("ocf_ringfence_{}", metadata.name), 7),
        Kind::Fence => (metadata.name.clone(), 8),
    };
    let mut out = String::from(".\\\" Written by `cargo xtask gen` from the agent's metadata.\n");
    out.push_str(&format!(
        ".TH {} {section} \"\" \"Ringfence {}\" \"Cluster agents\"\n",
        quoted(&page.to_uppercase()),
        env!("CARGO_PKG_VERSION")
    ));
    out.push_str(".SH NAME\n");
    out.push_str(&format!("{} \\- {}\n", escaped(&page), escaped(&metadata.short)));
    out.push_str(".SH SYNOPSIS\n");
    out.push_str(&synopsis(kind, metadata));
    out.push_str(".SH DESCRIPTION\n");
    out.push_str(&paragraphs(&metadata.long));
    if let Some(prose) = prose {
        out.push_str(&markdown(prose));
    }
    out.push_str(match kind {
        Kind::Resource => ".SH PARAMETERS\n",
        Kind::Fence => ".SH OPTIONS\nThe name in brackets is the one on standard input and in the cluster's configuration.\n",
    });
    for parameter in &metadata.parameters {
        out.push_str(&one_parameter(kind, parameter));
    }
    out.push_str(".SH ACTIONS\n");
    for action in &metadata.actions {
        out.push_str(&one_action(action));
    }
    if !metadata.symlinks.is_empty() {
        out.push_str(".SH OTHER NAMES\n");
        for (name, short) in &metadata.symlinks {
            out.push_str(&format!(".TP\n.B {}\n{}\n", quoted(name), text_line(short)));
        }
    }
    out.push_str(".SH EXIT STATUS\n");
    out.push_str(exit_status(kind));
    out.push_str(".SH SEE ALSO\n");
    out.push_str(match kind {
        Kind::Resource => ".BR crm_resource (8),\n.BR pcs (8),\n.BR crm (8)\n",
        Kind::Fence => ".BR stonith_admin (8),\n.BR pacemaker\\-fenced (7),\n.BR pcs (8)\n",
    });
    out
}

fn synopsis(kind: Kind, metadata: &Metadata) -> String {
    let name = escaped(&metadata.name);
    match kind {
        Kind::Resource => {
            let required: Vec<String> = metadata
                .parameters
                .iter()
                .filter(|parameter| parameter.required)
                .map(|parameter| format!(" {}=\\fI...\\fR", escaped(&parameter.name)))
                .collect();
            format!(
                ".nf\n\\fBpcs resource create\\fR \\fIid\\fR ocf:ringfence:{name}{required}\n\
                 \\fBcrm configure primitive\\fR \\fIid\\fR ocf:ringfence:{name}{params}\n.fi\n",
                required = required.concat(),
                params =
                    if required.is_empty() { String::new() } else { format!(" params{}", required.concat()) },
            )
        }
        Kind::Fence => format!(
            ".nf\n\\fB{name}\\fR [\\fIoption\\fR ...]\n\\fB{name}\\fR < \\fIoptions as name=value lines\\fR\n.fi\n"
        ),
    }
}

fn one_parameter(kind: Kind, parameter: &Parameter) -> String {
    let mut tag = match (kind, &parameter.getopt) {
        (Kind::Fence, Some(forms)) => format!("\\fB{}\\fR [{}]", escaped(forms), escaped(&parameter.name)),
        _ => format!("\\fB{}\\fR", escaped(&parameter.name)),
    };
    let mut facts = Vec::new();
    if !parameter.content.is_empty() {
        facts.push(escaped(&parameter.content));
    }
    if parameter.required {
        facts.push("required".to_owned());
    }
    if parameter.unique {
        facts.push("unique".to_owned());
    }
    if parameter.reloadable {
        facts.push("reloadable".to_owned());
    }
    if parameter.deprecated {
        facts.push("deprecated".to_owned());
    }
    if let Some(default) = parameter.default.as_deref().filter(|default| !default.is_empty()) {
        facts.push(format!("default \\fI{}\\fR", escaped(default)));
    }
    if !parameter.values.is_empty() {
        facts.push(format!("one of {}", escaped(&parameter.values.join(", "))));
    }
    if !facts.is_empty() {
        tag.push_str(&format!(" ({})", facts.join(", ")));
    }
    let prose = if parameter.long.is_empty() { &parameter.short } else { &parameter.long };
    format!(".TP\n{tag}\n{}", body(prose))
}

fn one_action(action: &Action) -> String {
    let facts: Vec<String> = [
        ("timeout", &action.timeout),
        ("interval", &action.interval),
        ("depth", &action.depth),
        ("role", &action.role),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {}", escaped(value))))
    .collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    format!(".br\n\\fB{}\\fR{facts}\n", escaped(&action.name))
}

const fn exit_status(kind: Kind) -> &'static str {
    match kind {
        Kind::Resource => {
            "The codes of the OCF resource agent API: 0 success or running, 1 failed, 2 wrong on this node,\n\
             3 no such action, 4 not permitted, 5 something is not installed on this node, 6 wrong on every\n\
             node, 7 cleanly stopped, 8 running promoted, 9 failed while promoted, 190 and 191 degraded.\n\
             The reason is the last line on standard error.\n"
        }
        Kind::Fence => {
            "0 success, or for \\fBstatus\\fR the plug is on; 1 failed; 2 for \\fBstatus\\fR: the plug is off.\n\
             An action that changes power succeeds only after the device itself has confirmed the new state.\n"
        }
    }
}

/// Text of several paragraphs as the body of a section.
fn paragraphs(text: &str) -> String {
    blocks(text).map(|block| text_line(&block)).collect::<Vec<_>>().join("\n.PP\n") + "\n"
}

/// The same, indented below a tag.
fn body(text: &str) -> String {
    blocks(text).map(|block| text_line(&block)).collect::<Vec<_>>().join("\n.IP\n") + "\n"
}

fn blocks(text: &str) -> impl Iterator<Item = String> {
    let mut blocks = vec![String::new()];
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            blocks.push(String::new());
        } else if let Some(block) = blocks.last_mut() {
            if !block.is_empty() {
                block.push(' ');
            }
            block.push_str(line);
        }
    }
    blocks.into_iter().filter(|block| !block.is_empty())
}

/// A line of running text: nothing in it is taken for a macro.
fn text_line(text: &str) -> String {
    let text = escaped(text);
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text).replace('"', "\\(dq"))
}

fn markdown(source: &str) -> String {
    let mut out = String::new();
    let mut paragraph = String::new();
    let mut code = false;
    let flush = |paragraph: &mut String, out: &mut String| {
        if !paragraph.is_empty() {
            out.push_str(&format!(".PP\n{}\n", emphasis(&text_line(paragraph))));
            paragraph.clear();
        }
    };
    for line in source.lines() {
        if line.starts_with("```") {
            flush(&mut paragraph, &mut out);
            out.push_str(if code { ".fi\n.RE\n" } else { ".PP\n.RS 4\n.nf\n" });
            code = !code;
        } else if code {
            out.push_str(&format!("{}\n", text_line(line)));
        } else if let Some(heading) = line.strip_prefix('#') {
            flush(&mut paragraph, &mut out);
            let heading = heading.trim_start_matches('#').trim().to_uppercase();
            out.push_str(&format!(".SH {}\n", quoted(&heading)));
        } else if let Some(item) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
            flush(&mut paragraph, &mut out);
            out.push_str(&format!(".IP \\(bu 2\n{}\n", emphasis(&text_line(item))));
        } else if let Some(more) = line.strip_prefix("  ").filter(|_| paragraph.is_empty()) {
            // Goes on in the list item above.
            out.push_str(&format!("{}\n", emphasis(&text_line(more.trim()))));
        } else if line.trim().is_empty() {
            flush(&mut paragraph, &mut out);
        } else {
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph.push_str(line.trim());
        }
    }
    flush(&mut paragraph, &mut out);
    out
}

/// `code` and **strong** in bold, *stressed* in italics.
fn emphasis(text: &str) -> String {
    let mut out = String::new();
    let mut inside: Option<&str> = None;
    let mut rest = text;
    while !rest.is_empty() {
        let mark = ["**", "`", "*"].into_iter().find(|mark| rest.starts_with(mark));
        match (mark, inside) {
            (Some(mark), Some(open)) if mark == open => {
                out.push_str("\\fR");
                inside = None;
                rest = rest.get(mark.len()..).unwrap_or_default();
            }
            // A star with no partner is a star.
            (Some(mark), None) if rest.get(mark.len()..).is_some_and(|after| after.contains(mark)) => {
                out.push_str(if mark == "*" { "\\fI" } else { "\\fB" });
                inside = Some(mark);
                rest = rest.get(mark.len()..).unwrap_or_default();
            }
            _ => {
                let mut chars = rest.chars();
                out.extend(chars.next());
                rest = chars.as_str();
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let metadata = Metadata {
            name: "Thing".to_owned(),
            short: "Manages things".to_owned(),
            long: ".first\n\nsecond \\ part".to_owned(),
            parameters: vec![Parameter {
                name: "ip".to_owned(),
                required: true,
                content: "string".to_owned(),
                default: Some("a-b".to_owned()),
                long: "The address.".to_owned(),
                ..Parameter::default()
            }],
            actions: vec![Action {
                name: "validate-all".to_owned(),
                timeout: Some("5s".to_owned()),
                ..Action::default()
            }],
            ..Metadata::default()
        };
        render(
            Kind::Resource,
            &metadata,
            Some("# Notes\nSee `x` and *y* at 3 * 4.\n\n- one\n- two\n```\ncode -a\n```\n"),
        )
    }

    #[test]
    fn everything_the_agent_says_is_there() {
        let page = page();
        for part in [
            ".TH \"OCF_RINGFENCE_THING\" 7",
            "ocf_ringfence_Thing \\- Manages things",
            "\\fBip\\fR (string, required, default \\fIa\\-b\\fR)\nThe address.",
            "\\fBvalidate\\-all\\fR (timeout 5s)",
            "ocf:ringfence:Thing ip=\\fI...\\fR",
        ] {
            assert!(page.contains(part), "{part}\n---\n{page}");
        }
    }

    #[test]
    fn prose_is_no_macro() {
        let page = page();
        assert!(page.contains("\\&.first\n.PP\nsecond \\e part\n"), "{page}");
    }

    #[test]
    fn markdown_becomes_macros() {
        let page = page();
        assert!(page.contains(".SH \"NOTES\"\n.PP\nSee \\fBx\\fR and \\fIy\\fR at 3 * 4.\n"), "{page}");
        assert!(
            page.contains(".IP \\(bu 2\none\n.IP \\(bu 2\ntwo\n.PP\n.RS 4\n.nf\ncode \\-a\n.fi\n.RE\n"),
            "{page}"
        );
    }
}
