//! The values of the XenAPI, and how XML-RPC and JSON-RPC write them.
//!
//! XML-RPC as xapi speaks it: integers are strings, text stands bare in `<value>`, "nothing" is an empty string, and every answer is a
//! struct of `Status` and `Value` or `ErrorDescription`. JSON-RPC as XenServer 7.3 brought it, versions 1.0 and 2.0.

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text, also references, enumerations and integers.
    Text(String),
    /// True or false.
    Flag(bool),
    /// A floating point number.
    Real(f64),
    /// A moment, as ISO 8601 without dashes.
    Time(String),
    /// A set.
    List(Vec<Value>),
    /// A map or record, in order.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// Text of anything that is shown as such.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Time(text) => Some(text),
            Self::Flag(_) | Self::Real(_) | Self::List(_) | Self::Map(_) => None,
        }
    }
}

/// A call's answer: a value, or an error's code and arguments.
pub type Answer = Result<Value, Vec<String>>;

/// A request, understood.
#[derive(Debug)]
pub struct Request {
    /// `VM.start` and the like.
    pub method: String,
    /// In order.
    pub params: Vec<Value>,
    /// How the answer is to be written.
    pub form: Form,
}

/// What an answer looks like.
#[derive(Debug)]
pub enum Form {
    /// XML-RPC.
    Xml,
    /// JSON-RPC 1.0 with this id.
    Json1(serde_json::Value),
    /// JSON-RPC 2.0 with this id.
    Json2(serde_json::Value),
}

/// Understands an XML-RPC request.
///
/// # Errors
/// What is wrong with it.
pub fn parse_xml(body: &[u8]) -> Result<Request, String> {
    let mut parser = Parser { reader: Reader::from_reader(body) };
    // `<nil/>`, `<string/>`
    parser.reader.config_mut().expand_empty_elements = true;
    let mut method = String::new();
    let mut params = Vec::new();
    loop {
        match parser.next()? {
            Token::Open(name) if name == "methodName" => method = parser.text_until("methodName")?,
            Token::Open(name) if name == "value" => params.push(parser.value(0)?),
            Token::Open(_) | Token::Close(_) | Token::Text(_) => {}
            Token::End if method.is_empty() => return Err("no methodName".into()),
            Token::End => return Ok(Request { method, params, form: Form::Xml }),
        }
    }
}

enum Token {
    Open(String),
    Close(String),
    Text(String),
    End,
}

struct Parser<'b> {
    reader: Reader<&'b [u8]>,
}

impl Parser<'_> {
    fn next(&mut self) -> Result<Token, String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        loop {
            let token = match self.reader.read_event().map_err(|e| e.to_string())? {
                Event::Start(tag) => Token::Open(text(tag.name().as_ref())),
                Event::End(tag) => Token::Close(text(tag.name().as_ref())),
                Event::Text(chars) => Token::Text(text(&chars)),
                Event::CData(chars) => Token::Text(text(&chars)),
                Event::GeneralRef(name) => Token::Text(entity(&text(&name))?),
                Event::Eof => Token::End,
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {
                    continue;
                }
            };
            return Ok(token);
        }
    }

    fn text_until(&mut self, name: &str) -> Result<String, String> {
        let mut all = String::new();
        loop {
            match self.next()? {
                Token::Text(text) => all.push_str(&text),
                Token::Close(tag) if tag == name => return Ok(all),
                Token::Open(tag) | Token::Close(tag) => return Err(format!("<{tag}> inside <{name}>")),
                Token::End => return Err(format!("<{name}> has no end")),
            }
        }
    }

    /// What stands behind `<value>`, up to and with `</value>`.
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > 20 {
            return Err("nested too deeply".into());
        }
        let mut bare = String::new();
        let mut typed = None;
        loop {
            match self.next()? {
                Token::Text(text) => bare.push_str(&text),
                Token::Open(tag) => typed = Some(self.typed(&tag, depth)?),
                Token::Close(tag) if tag == "value" => return Ok(typed.unwrap_or(Value::Text(bare))),
                Token::Close(tag) => return Err(format!("</{tag}> inside <value>")),
                Token::End => return Err("<value> has no end".into()),
            }
        }
    }

    fn typed(&mut self, tag: &str, depth: usize) -> Result<Value, String> {
        match tag {
            "string" | "int" | "i4" | "i8" | "nil" => self.text_until(tag).map(Value::Text),
            "boolean" => Ok(Value::Flag(self.text_until(tag)?.trim() == "1")),
            "double" => {
                self.text_until(tag)?.trim().parse().map(Value::Real).map_err(|_| "not a double".into())
            }
            "dateTime.iso8601" => self.text_until(tag).map(Value::Time),
            "array" => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Token::Open(tag) if tag == "value" => items.push(self.value(depth + 1)?),
                        Token::Close(tag) if tag == "array" => return Ok(Value::List(items)),
                        Token::End => return Err("<array> has no end".into()),
                        Token::Open(_) | Token::Close(_) | Token::Text(_) => {}
                    }
                }
            }
            "struct" => {
                let (mut members, mut name) = (Vec::new(), String::new());
                loop {
                    match self.next()? {
                        Token::Open(tag) if tag == "name" => name = self.text_until("name")?,
                        Token::Open(tag) if tag == "value" => {
                            members.push((std::mem::take(&mut name), self.value(depth + 1)?));
                        }
                        Token::Close(tag) if tag == "struct" => return Ok(Value::Map(members)),
                        Token::End => return Err("<struct> has no end".into()),
                        Token::Open(_) | Token::Close(_) | Token::Text(_) => {}
                    }
                }
            }
            other => Err(format!("unknown type <{other}>")),
        }
    }
}

fn entity(name: &str) -> Result<String, String> {
    if let Some(number) = name.strip_prefix('#') {
        let number = match number.strip_prefix('x') {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return number
            .ok()
            .and_then(char::from_u32)
            .map(String::from)
            .ok_or_else(|| format!("unknown character &{name};"));
    }
    Ok(match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        other => return Err(format!("unknown entity &{other};")),
    }
    .into())
}

/// Understands a JSON-RPC request of either version.
///
/// # Errors
/// What is wrong with it.
pub fn parse_json(body: &[u8]) -> Result<Request, String> {
    let mut request: serde_json::Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let method = request.get("method").and_then(|m| m.as_str()).ok_or("no method")?.to_owned();
    let params = match request.get("params") {
        Some(serde_json::Value::Array(items)) => items.iter().map(from_json).collect(),
        Some(_) => return Err("params is no array".into()),
        None => Vec::new(),
    };
    let second = request.get("jsonrpc").and_then(|v| v.as_str()) == Some("2.0");
    let id = request.get_mut("id").map(serde_json::Value::take).unwrap_or_default();
    Ok(Request { method, params, form: if second { Form::Json2(id) } else { Form::Json1(id) } })
}

fn from_json(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::text(""),
        Json::Bool(flag) => Value::Flag(*flag),
        Json::Number(number) => Value::text(number.to_string()),
        Json::String(text) => Value::text(text),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect()),
        Json::Object(members) => {
            Value::Map(members.iter().map(|(name, value)| (name.clone(), from_json(value))).collect())
        }
    }
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) | Value::Time(text) => text.as_str().into(),
        Value::Flag(flag) => (*flag).into(),
        Value::Real(number) => (*number).into(),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), to_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

impl Form {
    /// The body of an answer, and its content type.
    pub fn write(&self, answer: &Answer) -> (Vec<u8>, &'static str) {
        use serde_json::json;
        let body = match (self, answer) {
            (Self::Xml, answer) => return (xml(answer).into_bytes(), "text/xml"),
            (Self::Json2(id), Ok(value)) => json!({"jsonrpc": "2.0", "result": to_json(value), "id": id}),
            (Self::Json2(id), Err(error)) => {
                let code = error.first().cloned().unwrap_or_default();
                let data = error.get(1..).unwrap_or_default();
                json!({"jsonrpc": "2.0", "error": {"code": 1, "message": code, "data": data}, "id": id})
            }
            (Self::Json1(id), Ok(value)) => json!({"result": to_json(value), "error": null, "id": id}),
            (Self::Json1(id), Err(error)) => json!({"result": null, "error": error, "id": id}),
        };
        (body.to_string().into_bytes(), "application/json")
    }
}

fn xml(answer: &Answer) -> String {
    let envelope = match answer {
        Ok(value) => {
            Value::Map(vec![("Status".into(), Value::text("Success")), ("Value".into(), value.clone())])
        }
        Err(error) => Value::Map(vec![
            ("Status".into(), Value::text("Failure")),
            ("ErrorDescription".into(), Value::List(error.iter().map(Value::text).collect())),
        ]),
    };
    let mut out = String::from("<?xml version=\"1.0\"?><methodResponse><params><param>");
    write_xml(&envelope, &mut out);
    out.push_str("</param></params></methodResponse>");
    out
}

fn write_xml(value: &Value, out: &mut String) {
    out.push_str("<value>");
    match value {
        Value::Text(text) => out.push_str(&escape(text.as_str())),
        Value::Flag(flag) => {
            out.push_str(if *flag { "<boolean>1</boolean>" } else { "<boolean>0</boolean>" });
        }
        Value::Real(number) => {
            out.push_str("<double>");
            out.push_str(&number.to_string());
            out.push_str("</double>");
        }
        Value::Time(text) => {
            out.push_str("<dateTime.iso8601>");
            out.push_str(text);
            out.push_str("</dateTime.iso8601>");
        }
        Value::List(items) => {
            out.push_str("<array><data>");
            for item in items {
                write_xml(item, out);
            }
            out.push_str("</data></array>");
        }
        Value::Map(members) => {
            out.push_str("<struct>");
            for (name, value) in members {
                out.push_str("<member><name>");
                out.push_str(&escape(name.as_str()));
                out.push_str("</name>");
                write_xml(value, out);
                out.push_str("</member>");
            }
            out.push_str("</struct>");
        }
    }
    out.push_str("</value>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_both_forms_mean_the_same() {
        let xml = b"<?xml version='1.0'?>\n<methodCall>\n<methodName>VM.start</methodName>\n<params>\n<param>\n\
            <value><string>OpaqueRef:s</string></value>\n</param>\n<param><value>a &lt;b&#62; &amp;c</value></param>\
            <param><value><boolean>0</boolean></value></param><param><value><array><data><value><int>3</int></value>\
            </data></array></value></param></params></methodCall>";
        let json =
            br#"{"jsonrpc":"2.0","method":"VM.start","params":["OpaqueRef:s","a <b> &c",false,[3]],"id":7}"#;
        let (one, two) = (parse_xml(xml).unwrap(), parse_json(json).unwrap());
        assert_eq!((one.method, one.params), (two.method, two.params));
        for broken in [&b"<methodCall><methodName>x"[..], b"<a><value>", b"", b"<value><int>3</int>"] {
            assert!(parse_xml(broken).is_err());
        }
    }

    #[test]
    fn answers_as_xapi_writes_them() {
        let value =
            Ok(Value::Map(vec![("a<".into(), Value::List(vec![Value::text("x&y"), Value::Flag(true)]))]));
        let told = |form: Form, answer: &Answer| String::from_utf8(form.write(answer).0).unwrap();
        assert!(told(Form::Xml, &value).contains(
            "<member><name>a&lt;</name><value><array><data><value>x&amp;y</value><value><boolean>1</boolean></value>"
        ));
        let error = Err(vec!["HOST_IS_SLAVE".into(), "192.0.2.1".into()]);
        assert!(told(Form::Xml, &error).contains("<name>Status</name><value>Failure</value>"));
        assert_eq!(
            told(Form::Json2(7.into()), &error),
            r#"{"error":{"code":1,"data":["192.0.2.1"],"message":"HOST_IS_SLAVE"},"id":7,"jsonrpc":"2.0"}"#
        );
        assert_eq!(
            told(Form::Json1(7.into()), &error),
            r#"{"error":["HOST_IS_SLAVE","192.0.2.1"],"id":7,"result":null}"#
        );
    }
}
