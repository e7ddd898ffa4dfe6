//! One exchange with one host: XML-RPC, or JSON-RPC where the URL says so.

use super::error::Error;
use super::url::Url;
use super::xml;
use crate::http::{Client, Post};
use crate::tls::TlsSettings;
use ocf_lib::deadline::Deadline;
use serde_json::Value;
use zeroize::Zeroizing;

/// The longest answer that is taken. Bytes; a machine's record has about ten thousand, and a pool some thousands of them.
const LONGEST_ANSWER: usize = 96 << 20;

/// A parameter of a call.
#[derive(Clone, Copy)]
pub enum Param<'p> {
    Text(&'p str),
    Flag(bool),
}

/// Which members of records are kept, to spare the memory for the others.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// How many maps lie around the records; `None` keeps everything.
    level: Option<usize>,
    names: &'static [&'static str],
}

impl Keep {
    /// Everything.
    pub const ALL: Self = Self { level: None, names: &[] };

    /// The answer is one record.
    pub const fn of_record(names: &'static [&'static str]) -> Self {
        Self { level: Some(0), names }
    }

    /// The answer is a map of records.
    pub const fn of_records(names: &'static [&'static str]) -> Self {
        Self { level: Some(1), names }
    }

    pub(super) fn drops(self, level: usize, name: &str) -> bool {
        self.level == Some(level) && !self.names.contains(&name)
    }
}

/// A connection to one host, made when it is first needed.
pub struct Wire {
    pub url: Url,
    client: Client,
    calls: u32,
}

impl Wire {
    /// Nothing is sent yet.
    pub fn new(url: Url, tls: Option<&TlsSettings>) -> Self {
        let client = Client::new(&url.host, url.port, tls.filter(|_| url.secure).cloned());
        Self { url, client, calls: 0 }
    }

    /// `xs1:8080`, for messages.
    pub fn host(&self) -> String {
        self.client.authority()
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// [`Error::Refused`] when the pool says no; the others when it said nothing that counts.
    pub fn ask(
        &mut self,
        method: &str,
        params: &[Param<'_>],
        keep: Keep,
        deadline: Deadline,
    ) -> Result<Value, Error> {
        self.calls += 1;
        let json = self.url.is_json();
        let body = if json { json_request(method, params, self.calls) } else { xml::request(method, params) };
        let kind = if json { "application/json" } else { "text/xml" };
        let post = Post {
            path: &self.url.path,
            headers: &[("Content-Type", kind), ("User-Agent", "ringfence")],
            body: &body,
            close: false,
            most: LONGEST_ANSWER,
        };
        let response = self.client.post(&post, deadline)?;
        if response.status != 200 {
            let hint = match response.status {
                301 | 302 | 307 | 308 => ": use the address to which it sends (https?)",
                404 if json => ": json-rpc came with xenserver 7.3, leave /jsonrpc away for an older one",
                _ => "",
            };
            return Err(Error::protocol(format!(
                "{} answers with http {} {}{hint}",
                self.host(),
                response.status,
                response.reason
            )));
        }
        if json { json_answer(&response.body, self.calls) } else { xml::answer(&response.body, keep) }
    }

    /// Whether an answer has come over the present connection; see [`Client::is_fresh`].
    pub fn is_fresh(&self) -> bool {
        self.client.is_fresh()
    }

    /// The next call makes a new connection.
    pub fn disconnect(&mut self) {
        self.client.disconnect();
    }
}

fn json_request(method: &str, params: &[Param<'_>], id: u32) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(16 << 10));
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"method\":");
    json_text(method, &mut out);
    out.extend_from_slice(b",\"params\":[");
    for (at, param) in params.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match param {
            Param::Text(text) => json_text(text, &mut out),
            Param::Flag(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        }
    }
    out.extend_from_slice(format!("],\"id\":{id}}}").as_bytes());
    out
}

/// By hand and not by a serializer, which would copy a password into buffers of its own.
fn json_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 | 0x7f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            other => out.push(other),
        }
    }
    out.push(b'"');
}

/// JSON-RPC 2.0 as xapi answers it: the code of a refusal is the error's message, the arguments are its data.
fn json_answer(body: &[u8], id: u32) -> Result<Value, Error> {
    let no_answer = || Error::protocol("the host's answer is not one of the xenapi");
    let answer: Value = serde_json::from_slice(body)
        .map_err(|error| Error::protocol(format!("the host's answer is no json: {error}")))?;
    let Value::Object(mut answer) = answer else { return Err(no_answer()) };
    if answer.get("id").and_then(Value::as_u64) != Some(u64::from(id)) {
        return Err(Error::protocol("the host answers another question than the one that was asked"));
    }
    match (answer.remove("result"), answer.remove("error")) {
        (None | Some(Value::Null), Some(Value::Array(words))) => {
            Err(xml::refusal(Some(&Value::Array(words))))
        }
        (None | Some(Value::Null), Some(Value::Object(mut error))) => {
            let code = error.remove("message").unwrap_or_default();
            let data = error.remove("data");
            let mut words = vec![code];
            words.extend(
                data.and_then(|data| if let Value::Array(data) = data { Some(data) } else { None })
                    .into_iter()
                    .flatten(),
            );
            Err(xml::refusal(Some(&Value::Array(words))))
        }
        // What a call without a result answers is left to its caller, who knows whether there should be one.
        (Some(value), None | Some(Value::Null)) => Ok(value),
        _ => Err(no_answer()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_of_both_versions() {
        let read = |text: &str| json_answer(text.as_bytes(), 7);
        assert_eq!(read(r#"{"jsonrpc":"2.0","result":["a"],"id":7}"#), Ok(json!(["a"])));
        assert_eq!(read(r#"{"result":"","error":null,"id":7}"#), Ok(json!("")));
        assert_eq!(read(r#"{"jsonrpc":"2.0","result":null,"id":7}"#), Ok(Value::Null));
        for text in [
            r#"{"jsonrpc":"2.0","error":{"code":1,"message":"HOST_IS_SLAVE","data":["10.0.0.1"]},"id":7}"#,
            r#"{"result":null,"error":["HOST_IS_SLAVE","10.0.0.1"],"id":7}"#,
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.code(), error.argument(0)), (Some("HOST_IS_SLAVE"), Some("10.0.0.1")));
        }
        for text in [
            "",
            "[]",
            "{}",
            r#"{"result":1,"id":8}"#,
            r#"{"result":1}"#,
            r#"{"result":1,"error":["X"],"id":7}"#,
            r#"{"error":[],"id":7}"#,
            r#"{"error":{"code":1},"id":7}"#,
            r#"{"result":1,"id":7"#,
        ] {
            assert!(matches!(read(text), Err(Error::Protocol(_))), "{text}");
        }
    }

    #[test]
    fn a_request_is_json() {
        let params = [Param::Text("a\"\\\n\u{7f}\u{e4}"), Param::Flag(true)];
        let value: Value = serde_json::from_slice(&json_request("VM.x", &params, 3)).unwrap();
        assert_eq!(
            value,
            json!({"jsonrpc": "2.0", "method": "VM.x", "params": ["a\"\\\n\u{7f}\u{e4}", true], "id": 3})
        );
    }
}
