//! XML-RPC as xapi speaks it: a request is written, an answer becomes the JSON value that JSON-RPC would have brought.

use super::error::Error;
use super::wire::{Keep, Param};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// An answer is a struct in a value in a param; a record of records adds two.
const DEEPEST: usize = 24;

/// The body of a request.
pub fn request(method: &str, params: &[Param<'_>]) -> Zeroizing<Vec<u8>> {
    // Enough for any request: growing would leave copies of a password in freed memory.
    let mut out = Zeroizing::new(Vec::with_capacity(16 << 10));
    out.extend_from_slice(b"<?xml version=\"1.0\"?><methodCall><methodName>");
    escape(method, &mut out);
    out.extend_from_slice(b"</methodName><params>");
    for param in params {
        out.extend_from_slice(b"<param><value>");
        match param {
            Param::Text(text) => {
                out.extend_from_slice(b"<string>");
                escape(text, &mut out);
                out.extend_from_slice(b"</string>");
            }
            Param::Flag(flag) => {
                out.extend_from_slice(if *flag { b"<boolean>1</boolean>" } else { b"<boolean>0</boolean>" });
            }
        }
        out.extend_from_slice(b"</value></param>");
    }
    out.extend_from_slice(b"</params></methodCall>");
    out
}

fn escape(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            // A parser turns it into a line feed (XML 1.0, 2.11).
            b'\r' => out.extend_from_slice(b"&#13;"),
            other => out.push(other),
        }
    }
}

/// What the pool answers: the value, or its refusal. Of records, only the members that `keep` names.
///
/// # Errors
/// [`Error::Refused`], or [`Error::Protocol`] for what is no answer of the API.
pub fn answer(body: &[u8], keep: Keep) -> Result<Value, Error> {
    let mut parser = Parser { reader: Reader::from_reader(body), keep };
    // `<value/>` is `<value></value>`: an empty text.
    parser.reader.config_mut().expand_empty_elements = true;
    let mut path = Vec::new();
    loop {
        match parser.next()? {
            Token::Open(name) if name == b"value" => break,
            Token::Open(name) => {
                if name == b"fault" {
                    return Err(Error::protocol("the host answers with an xml-rpc fault"));
                }
                path.push(name);
            }
            Token::Text(_) => {}
            Token::Close(_) | Token::End => return Err(no_answer()),
        }
    }
    if path != [&b"methodResponse"[..], b"params", b"param"] {
        return Err(no_answer());
    }
    // The envelope does not count as a level of `keep`.
    let value = parser.value(0, None)?;
    // What stands behind may be cut off, or another answer.
    for name in [&b"param"[..], b"params", b"methodResponse"] {
        loop {
            match parser.next()? {
                Token::Close(tag) if tag == name => break,
                Token::Text(text) if text.trim().is_empty() => {}
                Token::Open(_) | Token::Close(_) | Token::Text(_) | Token::End => return Err(no_answer()),
            }
        }
    }
    let Value::Object(mut envelope) = value else { return Err(no_answer()) };
    match envelope.get("Status").and_then(Value::as_str) {
        Some("Success") => envelope.remove("Value").ok_or_else(no_answer),
        Some("Failure") => Err(refusal(envelope.get("ErrorDescription"))),
        _ => Err(no_answer()),
    }
}

fn no_answer() -> Error {
    Error::protocol("the host's answer is not one of the xenapi")
}

/// `[code, argument, ...]`
pub fn refusal(description: Option<&Value>) -> Error {
    let words: Option<Vec<String>> = description
        .and_then(Value::as_array)
        .map(|words| words.iter().map(|word| word.as_str().unwrap_or_default().to_owned()).collect());
    match words.as_deref() {
        Some([code, arguments @ ..]) if !code.is_empty() => {
            Error::Refused { code: code.clone(), arguments: arguments.to_vec() }
        }
        _ => Error::protocol("the host reports an error and does not say which"),
    }
}

enum Token {
    Open(&'static [u8]),
    Close(&'static [u8]),
    Text(String),
    End,
}

struct Parser<'b> {
    reader: Reader<&'b [u8]>,
    keep: Keep,
}

impl Parser<'_> {
    fn next(&mut self) -> Result<Token, Error> {
        let broken = |why: String| Error::protocol(format!("the host's answer is no xml: {why}"));
        loop {
            let event = self.reader.read_event().map_err(|error| broken(error.to_string()))?;
            return Ok(match event {
                Event::Start(tag) => Token::Open(known(tag.local_name().as_ref())),
                Event::End(tag) => Token::Close(known(tag.local_name().as_ref())),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => continue,
                // No entity is declared by xapi, and none is expanded here.
                Event::DocType(_) => return Err(broken("it declares a document type".into())),
                Event::Text(text) => Token::Text(String::from_utf8_lossy(&text).into_owned()),
                Event::CData(text) => Token::Text(String::from_utf8_lossy(&text).into_owned()),
                Event::GeneralRef(name) => {
                    Token::Text(character(&name).ok_or_else(|| broken("an entity is unknown".into()))?)
                }
                Event::Eof => Token::End,
            });
        }
    }

    /// What follows `<value>`, up to and with `</value>`. `level`: 0 in the answer's value, 1 in its members and so on; `None` outside.
    fn value(&mut self, depth: usize, level: Option<usize>) -> Result<Value, Error> {
        if depth > DEEPEST {
            return Err(Error::protocol("the host's answer is nested too deeply"));
        }
        let mut bare = String::new();
        let mut typed = None;
        loop {
            match self.next()? {
                Token::Text(text) => bare.push_str(&text),
                Token::Open(tag) if typed.is_none() => typed = Some(self.typed(tag, depth, level)?),
                Token::Close(b"value") => return Ok(typed.unwrap_or(Value::String(bare))),
                Token::Open(_) | Token::Close(_) | Token::End => return Err(no_answer()),
            }
        }
    }

    fn typed(&mut self, tag: &[u8], depth: usize, level: Option<usize>) -> Result<Value, Error> {
        match tag {
            b"struct" => self.members(depth, level),
            b"array" => self.items(depth, level),
            b"boolean" => match self.text(tag)?.trim() {
                "1" => Ok(Value::Bool(true)),
                "0" => Ok(Value::Bool(false)),
                _ => Err(Error::protocol("the host's answer holds a boolean that is neither 0 nor 1")),
            },
            // Numbers are looked at by nobody here.
            b"string" | b"int" | b"i4" | b"i8" | b"double" | b"dateTime.iso8601" | b"base64" | b"nil" => {
                self.text(tag).map(Value::String)
            }
            _ => Err(no_answer()),
        }
    }

    fn text(&mut self, tag: &[u8]) -> Result<String, Error> {
        let mut all = String::new();
        loop {
            match self.next()? {
                Token::Text(text) => all.push_str(&text),
                Token::Close(name) if name == tag => return Ok(all),
                Token::Open(_) | Token::Close(_) | Token::End => return Err(no_answer()),
            }
        }
    }

    fn members(&mut self, depth: usize, level: Option<usize>) -> Result<Value, Error> {
        let mut members = Map::new();
        loop {
            match self.next()? {
                Token::Text(text) if text.trim().is_empty() => {}
                Token::Open(b"member") => {
                    let (name, value) = self.member(depth, level)?;
                    if let Some(value) = value
                        && members.insert(name, value).is_some()
                    {
                        return Err(Error::protocol("the host's answer says the same thing twice"));
                    }
                }
                Token::Close(b"struct") => return Ok(Value::Object(members)),
                Token::Open(_) | Token::Close(_) | Token::Text(_) | Token::End => return Err(no_answer()),
            }
        }
    }

    /// A name and its value, which is `None` where nobody wants it.
    fn member(&mut self, depth: usize, level: Option<usize>) -> Result<(String, Option<Value>), Error> {
        let mut name: Option<String> = None;
        let mut value: Option<Option<Value>> = None;
        loop {
            match self.next()? {
                Token::Text(text) if text.trim().is_empty() => {}
                Token::Open(b"name") if name.is_none() => name = Some(self.text(b"name")?),
                Token::Open(b"value") if value.is_none() => {
                    let Some(name) = &name else { return Err(no_answer()) };
                    let inner = match level {
                        Some(level) => Some(level + 1),
                        None => (name == "Value").then_some(0),
                    };
                    value = Some(if level.is_some_and(|level| self.keep.drops(level, name)) {
                        self.skip()?;
                        None
                    } else {
                        Some(self.value(depth + 1, inner)?)
                    });
                }
                Token::Close(b"member") => {
                    let (Some(name), Some(value)) = (name, value) else { return Err(no_answer()) };
                    return Ok((name, value));
                }
                Token::Open(_) | Token::Close(_) | Token::Text(_) | Token::End => return Err(no_answer()),
            }
        }
    }

    fn items(&mut self, depth: usize, level: Option<usize>) -> Result<Value, Error> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Token::Text(text) if text.trim().is_empty() => {}
                Token::Open(b"data") | Token::Close(b"data") => {}
                Token::Open(b"value") => items.push(self.value(depth + 1, level.map(|level| level + 1))?),
                Token::Close(b"array") => return Ok(Value::Array(items)),
                Token::Open(_) | Token::Close(_) | Token::Text(_) | Token::End => return Err(no_answer()),
            }
        }
    }

    /// Passes over a value, with its end.
    fn skip(&mut self) -> Result<(), Error> {
        let mut open = 1_usize;
        while open > 0 {
            match self.next()? {
                Token::Open(_) => open += 1,
                Token::Close(_) => open -= 1,
                Token::Text(_) => {}
                Token::End => return Err(no_answer()),
            }
        }
        Ok(())
    }
}

/// The elements of XML-RPC.
#[rustfmt::skip]
const TAGS: [&[u8]; 19] = [
    b"methodResponse", b"params", b"param", b"fault", b"value", b"struct", b"member", b"name", b"array", b"data", b"boolean",
    b"string", b"int", b"i4", b"i8", b"double", b"dateTime.iso8601", b"base64", b"nil",
];

/// The element of that name; empty for all others.
fn known(name: &[u8]) -> &'static [u8] {
    TAGS.into_iter().find(|tag| *tag == name).unwrap_or_default()
}

/// What stands between `&` and `;`.
fn character(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix('x') {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).map(String::from);
    }
    Some(String::from(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn success(value: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<methodResponse> <params><param><value><struct><member><name>Status</name>\
             <value>Success</value></member><member><name>Value</name><value>{value}</value></member></struct></value>\
             </param></params></methodResponse>\n"
        )
    }

    fn read(value: &str, keep: Keep) -> Result<Value, Error> {
        answer(success(value).as_bytes(), keep)
    }

    #[test]
    fn values_of_every_type() {
        for (text, want) in [
            ("OpaqueRef:1", json!("OpaqueRef:1")),
            ("", json!("")),
            ("<string>a &lt;b&gt; &#x26;&apos;c</string>", json!("a <b> &'c")),
            ("<string/>", json!("")),
            ("<boolean>1</boolean>", json!(true)),
            ("<int>3</int>", json!("3")),
            ("<double>0.5</double>", json!("0.5")),
            (
                "<array><data><value>a</value><value><boolean>0</boolean></value></data></array>",
                json!(["a", false]),
            ),
            ("<nil/>", json!("")),
            ("<array><data/></array>", json!([])),
            ("<struct/>", json!({})),
            ("<struct>\n<member><name>a</name><value>b</value></member>\n</struct>", json!({"a": "b"})),
            ("<![CDATA[<x>]]>", json!("<x>")),
        ] {
            assert_eq!(read(text, Keep::ALL), Ok(want), "{text}");
        }
    }

    #[test]
    fn an_empty_value_in_one_tag() {
        let text = success("x").replace("<value>x</value>", "<value/>");
        assert_eq!(answer(text.as_bytes(), Keep::ALL), Ok(json!("")));
    }

    #[test]
    fn only_what_is_wanted_of_a_record_is_kept() {
        let record = "<struct><member><name>a</name><value>1</value></member><member><name>b</name><value><struct>\
                      <member><name>a</name><value>x</value></member></struct></value></member></struct>";
        assert_eq!(read(record, Keep::of_record(&["a"])), Ok(json!({"a": "1"})));
        let records = format!("<struct><member><name>r</name><value>{record}</value></member></struct>");
        assert_eq!(read(&records, Keep::of_records(&["a"])), Ok(json!({"r": {"a": "1"}})));
        assert_eq!(read(&records, Keep::ALL), Ok(json!({"r": {"a": "1", "b": {"a": "x"}}})));
    }

    #[test]
    fn a_refusal_has_code_and_arguments() {
        let text = "<methodResponse><params><param><value><struct><member><name>Status</name><value>Failure</value></member>\
                    <member><name>ErrorDescription</name><value><array><data><value>HOST_IS_SLAVE</value><value>10.0.0.1</value>\
                    </data></array></value></member></struct></value></param></params></methodResponse>";
        let error = answer(text.as_bytes(), Keep::ALL).unwrap_err();
        assert_eq!((error.code(), error.argument(0)), (Some("HOST_IS_SLAVE"), Some("10.0.0.1")));
    }

    #[test]
    fn what_is_no_answer_is_no_success() {
        let whole = success("x");
        for end in 0..whole.trim_end().len() {
            assert!(answer(&whole.as_bytes()[..end], Keep::ALL).is_err(), "{end}");
        }
        for (from, to) in [
            ("Success", "Succesz"),
            ("Status", "status"),
            ("Value", "Valve"),
            ("methodResponse", "methodresponse"),
            ("<params>", "<fault>"),
            ("<?xml version=\"1.0\"?>", "<!DOCTYPE a [<!ENTITY b \"c\">]>"),
            (">x<", ">&b;<"),
            (
                "<member><name>Status",
                "<member><name>Value</name><value>y</value></member><member><name>Status",
            ),
        ] {
            assert!(answer(whole.replace(from, to).as_bytes(), Keep::ALL).is_err(), "{from} {to}");
        }
        let deep = "<array><data><value>".repeat(60);
        assert!(read(&deep, Keep::ALL).is_err());
        assert!(answer(b"<html><body>nothing here</body></html>", Keep::ALL).is_err());
    }

    #[test]
    fn a_request_is_what_xapi_reads() {
        let text = request("VM.start", &[Param::Text("a<&\r"), Param::Flag(false)]);
        assert_eq!(
            String::from_utf8_lossy(&text),
            "<?xml version=\"1.0\"?><methodCall><methodName>VM.start</methodName><params><param><value><string>a&lt;&amp;&#13;\
             </string></value></param><param><value><boolean>0</boolean></value></param></params></methodCall>"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = answer(&bytes, Keep::ALL);
        }
    }
}
