//! A metadata document as a tree. Not the project's own writer read backwards: a plain XML reader, and a depth limit.

#![allow(dead_code, reason = "not every test needs all of it")]

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

#[derive(Clone, Debug, Default)]
pub struct Node {
    pub name: String,
    attributes: Vec<(String, String)>,
    pub children: Vec<Node>,
    pub text: String,
}

impl Node {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> + use<'a> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The only child of this name.
    pub fn one(&self, name: &str) -> &Self {
        let found: Vec<_> = self.children.iter().filter(|child| child.name == name).collect();
        assert_eq!(found.len(), 1, "<{}> has one <{name}>", self.name);
        found[0]
    }

    pub fn parameters(&self) -> Vec<&Node> {
        self.one("parameters").all("parameter").collect()
    }

    pub fn actions(&self) -> Vec<&Node> {
        self.one("actions").all("action").collect()
    }

    /// The names of parameters or actions.
    pub fn names(nodes: &[&Node]) -> Vec<String> {
        nodes.iter().map(|node| node.attribute("name").expect("a name").to_owned()).collect()
    }
}

/// The root of a well-formed document.
pub fn parse(xml: &str) -> Node {
    let mut reader = Reader::from_str(xml);
    let mut open = vec![Node::default()];
    loop {
        match reader.read_event().unwrap_or_else(|why| panic!("not XML: {why}\n{xml}")) {
            Event::Start(tag) => {
                open.push(node(&tag));
                assert!(open.len() < 20, "too deep");
            }
            Event::Empty(tag) => open.last_mut().unwrap().children.push(node(&tag)),
            Event::End(_) => {
                let done = open.pop().unwrap();
                open.last_mut().unwrap().children.push(done);
            }
            Event::Text(text) => open.last_mut().unwrap().text.push_str(&text.decode().unwrap()),
            Event::GeneralRef(_) => open.last_mut().unwrap().text.push('?'),
            Event::CData(text) => open.last_mut().unwrap().text.push_str(&String::from_utf8_lossy(&text)),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    assert_eq!(open.len(), 1, "everything is closed");
    open[0].one("resource-agent").clone()
}

fn node(tag: &BytesStart<'_>) -> Node {
    let attributes = tag.attributes().map(|attribute| {
        let attribute = attribute.unwrap();
        let name = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        (name, attribute.unescape_value().unwrap().into_owned())
    });
    Node {
        name: String::from_utf8_lossy(tag.name().as_ref()).into_owned(),
        attributes: attributes.collect(),
        ..Node::default()
    }
}
