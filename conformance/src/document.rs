//! A metadata document as a tree, read by a plain XML reader with a depth limit.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde::{Deserialize, Serialize};

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Node>,
    /// All text directly inside, entities resolved.
    pub text: String,
}

impl Node {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> + use<'a> {
        self.children.iter().filter(move |child| child.name == name)
    }

    pub fn first(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The `<parameter>` elements, in order.
    pub fn parameters(&self) -> Vec<&Self> {
        self.first("parameters").into_iter().flat_map(|list| list.all("parameter")).collect()
    }

    /// The `<action>` elements, in order.
    pub fn actions(&self) -> Vec<&Self> {
        self.first("actions").into_iter().flat_map(|list| list.all("action")).collect()
    }

    /// The declared type of a `<parameter>`.
    pub fn content_type(&self) -> Option<&str> {
        self.first("content").and_then(|content| content.attribute("type"))
    }
}

/// Deeper documents are refused: metadata has five levels.
const DEEPEST: usize = 40;

/// The root element of a well-formed document; else what is wrong with it.
pub fn parse(xml: &str) -> Result<Node, String> {
    let mut reader = Reader::from_str(xml);
    let mut open = vec![Node::default()];
    loop {
        let event = reader.read_event().map_err(|why| format!("not well-formed XML: {why}"))?;
        let inside = open.last_mut().ok_or("closes more than it opens")?;
        match event {
            Event::Start(tag) => {
                let node = node(&tag)?;
                if open.len() > DEEPEST {
                    return Err(format!("nested deeper than {DEEPEST} elements"));
                }
                open.push(node);
            }
            Event::Empty(tag) => inside.children.push(node(&tag)?),
            Event::End(_) => {
                let done = open.pop().unwrap_or_default();
                open.last_mut().ok_or("closes more than it opens")?.children.push(done);
            }
            Event::Text(text) => inside.text.push_str(&text.decode().map_err(|why| why.to_string())?),
            Event::GeneralRef(name) => inside.text.push_str(&entity(&String::from_utf8_lossy(&name))),
            Event::CData(text) => inside.text.push_str(&String::from_utf8_lossy(&text)),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    match open.as_slice() {
        [top] => top.children.first().cloned().ok_or_else(|| "no element at all".to_owned()),
        _ => Err("not every element is closed".to_owned()),
    }
}

fn entity(name: &str) -> String {
    let number = name.strip_prefix('#').and_then(|number| match number.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => number.parse().ok(),
    });
    match name {
        "amp" => "&".into(),
        "lt" => "<".into(),
        "gt" => ">".into(),
        "quot" => "\"".into(),
        "apos" => "'".into(),
        _ => number.and_then(char::from_u32).map_or_else(|| format!("&{name};"), String::from),
    }
}

fn node(tag: &BytesStart<'_>) -> Result<Node, String> {
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute =
            attribute.map_err(|why| format!("attribute of <{}>: {why}", lossy(tag.name().as_ref())))?;
        let value = attribute.unescape_value().map_err(|why| why.to_string())?;
        attributes.push((lossy(attribute.key.as_ref()), value.into_owned()));
    }
    Ok(Node { name: lossy(tag.name().as_ref()), attributes, ..Node::default() })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_tree() {
        let root =
            parse("<?xml version='1.0'?><!DOCTYPE a SYSTEM 'x'><a n='1 &lt; 2'><b>x &amp; y</b><b/></a>")
                .unwrap();
        assert_eq!(root.attribute("n"), Some("1 < 2"));
        assert_eq!(root.all("b").map(|b| b.text.as_str()).collect::<Vec<_>>(), ["x & y", ""]);
    }

    #[test]
    fn what_is_none_is_told_and_nothing_panics() {
        for bad in ["", "text", "<a>", "<a></b>", "<a x=1/>", "</a>", &"<a>".repeat(100)] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
