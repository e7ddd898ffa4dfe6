//! A small XML tree, written out by quick-xml: indented, escaped, deterministic.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

/// An element with attributes, and either children or text.
#[derive(Clone, Debug)]
pub struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Element>,
    text: Option<String>,
}

impl Element {
    pub const fn new(name: &'static str) -> Self {
        Self { name, attributes: Vec::new(), children: Vec::new(), text: None }
    }

    #[must_use]
    pub fn attr(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// Adds the attribute only when there is a value.
    #[must_use]
    pub fn maybe_attr(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    #[must_use]
    pub fn child(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children.extend(children);
        self
    }

    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// The element alone, indented by two blanks a level, with a final newline.
    pub fn to_fragment(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut Writer::new_with_indent(&mut out, b' ', 2));
        out.push(b'\n');
        String::from_utf8(out).unwrap_or_default()
    }

    /// A whole document: declaration, `doctype` (`resource-agent SYSTEM "ra-api-1.dtd"`) if any, element.
    pub fn to_document(&self, doctype: Option<&str>) -> String {
        let mut out = Vec::new();
        let mut writer = Writer::new_with_indent(&mut out, b' ', 2);
        // Writing into a Vec cannot fail.
        let _ = writer.write_event(Event::Decl(BytesDecl::new("1.0", None, None)));
        if let Some(doctype) = doctype {
            let _ = writer.write_event(Event::DocType(BytesText::from_escaped(doctype)));
        }
        self.write(&mut writer);
        out.push(b'\n');
        String::from_utf8(out).unwrap_or_default()
    }

    fn write(&self, writer: &mut Writer<&mut Vec<u8>>) {
        let mut start = BytesStart::new(self.name);
        for (name, value) in &self.attributes {
            start.push_attribute((*name, printable(value).as_str()));
        }
        if self.children.is_empty() && self.text.is_none() {
            let _ = writer.write_event(Event::Empty(start));
            return;
        }
        let _ = writer.write_event(Event::Start(start));
        if let Some(text) = &self.text {
            let _ = writer.write_event(Event::Text(BytesText::new(&printable(text))));
        }
        for child in &self.children {
            child.write(writer);
        }
        let _ = writer.write_event(Event::End(BytesEnd::new(self.name)));
    }
}

/// XML 1.0 has no way to write most control characters (section 2.2): they become U+FFFD.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c < ' ' && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_an_indented_document_with_doctype_and_escapes() {
        let doc = Element::new("a")
            .attr("x", "1 < \"2\" & 3")
            .child(Element::new("b").text("<&>"))
            .child(Element::new("c"));
        assert_eq!(
            doc.to_document(Some("a SYSTEM \"a.dtd\"")),
            "<?xml version=\"1.0\"?>\n<!DOCTYPE a SYSTEM \"a.dtd\">\n\
             <a x=\"1 &lt; &quot;2&quot; &amp; 3\">\n  <b>&lt;&amp;&gt;</b>\n  <c/>\n</a>\n"
        );
    }

    #[test]
    fn control_characters_cannot_break_the_document() {
        assert_eq!(Element::new("a").text("x\0y").to_fragment(), "<a>x\u{fffd}y</a>\n");
    }
}
