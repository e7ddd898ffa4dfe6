//! What a Lights-Out processor answers: small XML documents, one after the other, and none of them to be relied on.
//!
//! Real devices close `<RIBCL VERSION="2.22"/>` and go on inside it, forget `</RIBCL>`, put quotes into quoted messages, control bytes
//! and Latin-1 into text, and their documents begin and end anywhere in what a read returns. An XML parser ends at the first of
//! these. This one knows tags and attributes only, goes on after what it does not understand, and marks a document that did not
//! come to its end, because nothing may be concluded from one.

use std::collections::VecDeque;

/// Answers beyond this are not read. Bytes; the answer to a power command has about 1,000.
pub const LONGEST: usize = 1 << 20;

/// A tag beyond this is broken off at its first `>`. Bytes.
const LONGEST_TAG: usize = 4096;

/// An element inside a document, with its attributes. Names are in capitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
}

impl Element {
    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The device's RIBCL version.
    pub version: Option<String>,
    /// STATUS of the first RESPONSE that is not 0, else 0; `None` without any, or when it is no number.
    pub status: Option<u32>,
    /// The device's words beside that STATUS.
    pub message: String,
    pub elements: Vec<Element>,
    /// It came to its end.
    pub whole: bool,
}

/// Takes bytes as they come and gives documents as they are complete.
#[derive(Default)]
pub struct Documents {
    bytes: Vec<u8>,
    seen: usize,
    /// Something but blanks has come.
    begun: bool,
    foreign: Option<String>,
    open: Option<Document>,
    ready: VecDeque<Document>,
}

impl Documents {
    /// Takes the next bytes; false: more than [`LONGEST`] have come.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.seen += bytes.len();
        if self.seen > LONGEST {
            return false;
        }
        let start = bytes.trim_ascii_start();
        if !self.begun && !start.is_empty() {
            self.begun = true;
            let shown = String::from_utf8_lossy(start.get(..40).unwrap_or(start)).into_owned();
            self.foreign = Some(shown).filter(|_| !start.starts_with(b"<"));
        }
        self.bytes.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((tag, end)) = next_tag(self.bytes.get(at..).unwrap_or_default()) {
            at += end;
            if let Some(tag) = tag {
                self.take(&tag);
            }
        }
        self.bytes.drain(..at);
        true
    }

    /// Nothing more comes: what is open is given out, marked as not whole.
    pub fn end(&mut self) {
        if let Some(open) = self.open.take() {
            self.ready.push_back(open);
        }
    }

    /// The start of what has come, when it does not begin like XML.
    pub fn foreign_start(&self) -> Option<&str> {
        self.foreign.as_deref()
    }

    fn take(&mut self, tag: &Tag) {
        if tag.name == "?XML" || (tag.name == "RIBCL" && !tag.closes) {
            self.end();
        }
        match (tag.name.as_str(), tag.closes) {
            ("RIBCL", false) => {
                let version = tag.element().get("VERSION").map(str::to_owned);
                self.open = Some(Document { version, ..Document::default() });
            }
            ("RIBCL", true) => {
                if let Some(mut open) = self.open.take() {
                    open.whole = true;
                    self.ready.push_back(open);
                }
            }
            ("RESPONSE", false) => {
                if let Some(open) = &mut self.open {
                    let element = tag.element();
                    let status = element.get("STATUS").and_then(status);
                    if open.status.is_none_or(|known| known == 0) || status.is_none() {
                        open.status = status;
                        let words = element.get("MESSAGE").or(element.get("MSG")).unwrap_or_default();
                        open.message = words.into();
                    }
                }
            }
            (_, false) => {
                if let Some(open) = &mut self.open {
                    open.elements.push(tag.element());
                }
            }
            (_, true) => {}
        }
    }
}

impl Iterator for Documents {
    type Item = Document;

    fn next(&mut self) -> Option<Document> {
        self.ready.pop_front()
    }
}

/// `0x005F`
fn status(text: &str) -> Option<u32> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    u32::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

struct Tag {
    name: String,
    closes: bool,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn element(&self) -> Element {
        Element { name: self.name.clone(), attributes: self.attributes.clone() }
    }
}

/// The next tag in `bytes` and where what follows it begins; `None` in its place: something to pass over. `None`: more is needed.
fn next_tag(bytes: &[u8]) -> Option<(Option<Tag>, usize)> {
    let start = bytes.iter().position(|byte| *byte == b'<')?;
    let rest = bytes.get(start..).unwrap_or_default();
    if rest.starts_with(b"<!--") {
        let end = rest.windows(3).position(|part| part == b"-->");
        return match end {
            Some(end) => Some((None, start + end + 3)),
            None if rest.len() > LONGEST_TAG => Some((None, start + 4)),
            None => None,
        };
    }
    let end = match end_of_tag(rest) {
        Some(end) => end,
        // An open quote has swallowed what follows: the tag ends where it would without quotes.
        None if rest.len() > LONGEST_TAG => rest.iter().position(|byte| *byte == b'>')?,
        None => return None,
    };
    let inside = String::from_utf8_lossy(rest.get(1..end).unwrap_or_default()).into_owned();
    Some((parse_tag(&inside), start + end + 1))
}

/// A quote opens a value after `=`, and closes it where a value can end: before a blank, `/`, `?` or `>`.
fn opens(before: &[u8]) -> bool {
    before.trim_ascii_end().last() == Some(&b'=')
}

fn can_end(next: u8) -> bool {
    next.is_ascii_whitespace() || matches!(next, b'/' | b'?' | b'>')
}

/// Where the `>` is that ends the tag at the beginning of `bytes`.
fn end_of_tag(bytes: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        match (quote, *byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') if opens(bytes.get(..at).unwrap_or_default()) => quote = Some(*byte),
            (Some(open), byte) if byte == open && can_end(*bytes.get(at + 1)?) => quote = None,
            _ => {}
        }
    }
    None
}

fn parse_tag(inside: &str) -> Option<Tag> {
    let closes = inside.starts_with('/');
    let inside = inside.trim_start_matches('/');
    let name_end = inside.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(inside.len());
    let (name, rest) = inside.split_at(name_end);
    if name.is_empty() {
        return None;
    }
    let mut attributes = Vec::new();
    let mut rest = rest;
    while let Some((before, after)) = rest.split_once('=') {
        let name = before.split_ascii_whitespace().next_back().unwrap_or_default().to_ascii_uppercase();
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, beyond) = match quote {
            Some(quote) => {
                let value = after.get(1..).unwrap_or_default();
                let end = value
                    .char_indices()
                    .find(|(at, c)| {
                        *c == quote && value.as_bytes().get(at + 1).is_none_or(|next| can_end(*next))
                    })
                    .map_or(value.len(), |(at, _)| at);
                (value.get(..end).unwrap_or_default(), value.get(end + 1..).unwrap_or_default())
            }
            None => after.split_at(after.find(char::is_whitespace).unwrap_or(after.len())),
        };
        attributes.push((name, resolved(value)));
        rest = beyond;
    }
    Some(Tag { name: name.to_ascii_uppercase(), closes, attributes })
}

/// With the five entities of XML resolved; others stay as they are.
fn resolved(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
