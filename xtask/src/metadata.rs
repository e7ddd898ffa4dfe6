//! What an agent's metadata document says, of resource agents and fence agents alike.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub name: String,
    pub version: String,
    pub short: String,
    pub long: String,
    pub parameters: Vec<Parameter>,
    pub actions: Vec<Action>,
    /// Other names of a fence agent, with their short descriptions.
    pub symlinks: Vec<(String, String)>,
}

#[allow(clippy::struct_excessive_bools, reason = "they are the flags of the document")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub required: bool,
    pub unique: bool,
    pub reloadable: bool,
    pub deprecated: bool,
    /// Command line form of a fence agent's option, such as `-a, --ip=[ip]`.
    pub getopt: Option<String>,
    pub content: String,
    pub default: Option<String>,
    pub values: Vec<String>,
    pub short: String,
    pub long: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Action {
    pub name: String,
    pub timeout: Option<String>,
    pub interval: Option<String>,
    pub depth: Option<String>,
    pub role: Option<String>,
}

/// Parses the document; the error says what is wrong with it.
pub fn parse(xml: &str) -> Result<Metadata, String> {
    let mut reader = Reader::from_str(xml);
    let mut doc = Metadata::default();
    let mut inside = Vec::<String>::new();
    let mut text = String::new();
    loop {
        match reader.read_event().map_err(|why| format!("metadata is not XML: {why}"))? {
            Event::Start(tag) => {
                open(&mut doc, &inside, &tag);
                text.clear();
                inside.push(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
            }
            Event::Empty(tag) => open(&mut doc, &inside, &tag),
            Event::Text(part) => text.push_str(&part.decode().map_err(|why| format!("metadata: {why}"))?),
            Event::GeneralRef(entity) => text.push_str(&resolve(&String::from_utf8_lossy(&entity))),
            Event::CData(part) => text.push_str(&String::from_utf8_lossy(&part)),
            Event::End(_) => {
                let name = inside.pop().unwrap_or_default();
                close(&mut doc, &inside, &name, text.trim());
                text.clear();
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    if doc.name.is_empty() {
        return Err("metadata has no <resource-agent name=...>".to_owned());
    }
    Ok(doc)
}

fn open(doc: &mut Metadata, inside: &[String], tag: &BytesStart<'_>) {
    let attr = |name: &str| {
        tag.try_get_attribute(name)
            .ok()
            .flatten()
            .map(|attr| attr.unescape_value().map(std::borrow::Cow::into_owned).unwrap_or_default())
    };
    let flag = |name: &str| attr(name).as_deref() == Some("1");
    match (inside.last().map(String::as_str), tag.name().as_ref()) {
        (None, b"resource-agent") => {
            doc.name = attr("name").unwrap_or_default();
            doc.version = attr("version").unwrap_or_default();
            // Fence agents have no <shortdesc> of their own.
            doc.short = attr("shortdesc").unwrap_or_default();
        }
        (Some("resource-agent"), b"symlink") => {
            doc.symlinks.push((attr("name").unwrap_or_default(), attr("shortdesc").unwrap_or_default()));
        }
        (Some("parameters"), b"parameter") => doc.parameters.push(Parameter {
            name: attr("name").unwrap_or_default(),
            required: flag("required"),
            unique: flag("unique"),
            reloadable: flag("reloadable"),
            deprecated: flag("deprecated"),
            ..Parameter::default()
        }),
        (Some("actions"), b"action") => doc.actions.push(Action {
            name: attr("name").unwrap_or_default(),
            timeout: attr("timeout"),
            interval: attr("interval"),
            depth: attr("depth"),
            role: attr("role"),
        }),
        (Some("parameter"), name) => {
            let Some(parameter) = doc.parameters.last_mut() else { return };
            match name {
                b"getopt" => parameter.getopt = attr("mixed"),
                b"deprecated" => parameter.deprecated = true,
                b"content" => {
                    parameter.content = attr("type").unwrap_or_default();
                    parameter.default = attr("default");
                }
                _ => {}
            }
        }
        (Some("content"), b"option") => {
            if let Some(parameter) = doc.parameters.last_mut() {
                parameter.values.extend(attr("value"));
            }
        }
        _ => {}
    }
}

fn close(doc: &mut Metadata, inside: &[String], name: &str, text: &str) {
    match (inside.last().map(String::as_str), name) {
        (Some("resource-agent"), "longdesc") => text.clone_into(&mut doc.long),
        (Some("resource-agent"), "shortdesc") => text.clone_into(&mut doc.short),
        (Some("parameter"), "longdesc") => {
            if let Some(parameter) = doc.parameters.last_mut() {
                text.clone_into(&mut parameter.long);
            }
        }
        (Some("parameter"), "shortdesc") => {
            if let Some(parameter) = doc.parameters.last_mut() {
                text.clone_into(&mut parameter.short);
            }
        }
        _ => {}
    }
}

fn resolve(entity: &str) -> String {
    let coded = entity.strip_prefix('#').and_then(|number| {
        let code = match number.strip_prefix('x') {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        char::from_u32(code).map(String::from)
    });
    coded.unwrap_or_else(|| {
        quick_xml::escape::resolve_predefined_entity(entity).unwrap_or_default().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_agent() {
        let doc = parse(
            r#"<?xml version="1.0"?><!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
            <resource-agent name="X" version="2"><version>1.1</version>
            <longdesc lang="en">A &amp; B &#60;c&gt;</longdesc><shortdesc lang="en">short</shortdesc>
            <parameters><parameter name="p" unique="1" required="1" reloadable="1"><deprecated/>
              <longdesc lang="en">long p</longdesc><shortdesc lang="en">p</shortdesc>
              <content type="select" default="a"><option value="a"/><option value="b"/></content></parameter></parameters>
            <actions><action name="monitor" timeout="20s" interval="10s" depth="0" role="Promoted"/></actions></resource-agent>"#,
        )
        .unwrap();
        assert_eq!((doc.name.as_str(), doc.long.as_str(), doc.short.as_str()), ("X", "A & B <c>", "short"));
        let p = &doc.parameters[0];
        assert_eq!((p.required, p.unique, p.reloadable, p.deprecated), (true, true, true, true));
        assert_eq!(
            (p.default.as_deref(), p.values.join(" ").as_str(), p.long.as_str()),
            (Some("a"), "a b", "long p")
        );
        assert_eq!(doc.actions[0].role.as_deref(), Some("Promoted"));
    }

    #[test]
    fn a_fence_agent_and_its_other_names() {
        let doc = parse(
            r#"<resource-agent name="fence_x" shortdesc="Fence X"><symlink name="fence_y" shortdesc="Y"/>
            <longdesc>d</longdesc><parameters><parameter name="ip" unique="0" required="1"><getopt mixed="-a, --ip=[ip]"/>
            <content type="string"/><shortdesc lang="en">Address</shortdesc></parameter></parameters>
            <actions><action name="off"/></actions></resource-agent>"#,
        )
        .unwrap();
        assert_eq!(doc.short, "Fence X");
        assert_eq!(doc.symlinks, [("fence_y".to_owned(), "Y".to_owned())]);
        assert_eq!(doc.parameters[0].getopt.as_deref(), Some("-a, --ip=[ip]"));
        assert_eq!(doc.parameters[0].short, "Address");
    }

    #[test]
    fn what_is_no_metadata_is_an_error() {
        assert!(parse("usage: x").is_err());
        assert!(parse("<a><b></a>").is_err());
        assert!(parse("").is_err());
    }
}
