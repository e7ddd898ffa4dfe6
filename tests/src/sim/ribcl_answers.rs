//! What a Lights-Out processor answers to the bytes that it hears: one document for each element of a request.

use super::SplitMix64;
use super::ribcl::{Generation, State};
use std::fmt::Write as _;
use std::time::Duration;

/// How answers are malformed.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is one known fault of real devices")]
pub struct Shape {
    /// `<RIBCL VERSION="2.22"/>`, and then the content all the same.
    pub self_closed: bool,
    /// A byte 01h in the text.
    pub control_byte: bool,
    /// Bytes that are no UTF-8.
    pub not_utf8: bool,
    /// The message is called MSG and has double quotes, also inside.
    pub msg: bool,
    /// No line ends, no blanks.
    pub dense: bool,
    /// `HOST_POWER="on"`
    pub lower_case: bool,
    /// An INFORM with advice in every document.
    pub informs: bool,
    /// The document that ends the request is missing.
    pub short: bool,
    /// The power is reported with this word.
    pub power_word: Option<&'static str>,
    /// What closes the document with the power is missing, and the connection ends there.
    pub unfinished: bool,
    /// HTTP: no chunks, the end of the connection ends the answer.
    pub unchunked: bool,
    /// HTTP: each chunk has so many bytes; 0 for one chunk.
    pub chunk: usize,
}

impl Shape {
    pub(super) fn draw(random: &mut SplitMix64) -> Self {
        let mut shape = Self::default();
        for _ in 0..=random.below(3) {
            match random.below(12) {
                0 => shape.self_closed = true,
                1 => shape.control_byte = true,
                2 => shape.not_utf8 = true,
                3 => shape.msg = true,
                4 => shape.dense = true,
                5 => shape.lower_case = true,
                6 => shape.informs = true,
                7 => shape.short = true,
                8 => {
                    shape.power_word = ["", "UNKNOWN", "OFFLINE", "OFF ON"].get(below(random, 4)).copied();
                }
                9 => shape.unfinished = true,
                10 => shape.unchunked = true,
                _ => shape.chunk = 1 + below(random, 60),
            }
        }
        shape
    }
}

fn below(random: &mut SplitMix64, limit: u64) -> usize {
    usize::try_from(random.below(limit)).unwrap_or(0)
}

/// One connection.
#[derive(Default)]
pub(super) struct Dialogue {
    heard: Vec<u8>,
    /// `None` until the first bytes tell.
    http: Option<bool>,
    user: Option<(String, bool)>,
    /// The block that is open, and whether it may write.
    block: Option<(String, bool)>,
    over: bool,
}

impl Dialogue {
    /// The device has nothing more to say.
    pub fn is_over(&self) -> bool {
        self.over
    }

    pub fn hear(&mut self, bytes: &[u8], state: &mut State) -> Vec<u8> {
        self.heard.extend_from_slice(bytes);
        if self.over {
            return Vec::new();
        }
        if self.http.is_none() {
            let start: Vec<u8> =
                self.heard.iter().copied().skip_while(u8::is_ascii_whitespace).take(2).collect();
            match start.as_slice() {
                [b'<', ..] => self.http = Some(false),
                [_, _] => self.http = Some(true),
                _ => return Vec::new(),
            }
        }
        match (self.http == Some(true), state.settings.generation.speaks_http()) {
            (true, true) => self.post(state),
            (false, false) => self.elements(state),
            (true, false) => self.page("404 Not Found"),
            (false, true) => self.page("400 Bad Request"),
        }
    }

    fn page(&mut self, status: &str) -> Vec<u8> {
        self.over = true;
        let text = "<html><body>no</body></html>";
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        )
        .into_bytes()
    }

    /// A whole request by HTTP, or nothing yet.
    fn post(&mut self, state: &mut State) -> Vec<u8> {
        let heard = String::from_utf8_lossy(&self.heard).into_owned();
        let Some((fields, body)) = heard.split_once("\r\n\r\n") else { return Vec::new() };
        if !fields.starts_with("POST /ribcl HTTP/1.") || state.settings.quirks.ribcl_disabled {
            return self.page("404 Not Found");
        }
        let length = fields
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse::<usize>().ok());
        let Some(length) = length else { return self.page("411 Length Required") };
        if body.len() < length {
            return Vec::new();
        }
        self.heard = body.as_bytes().get(..length).unwrap_or_default().to_vec();
        let shape = state.settings.quirks.shape.clone();
        let answer = self.elements(state);
        self.over = true;
        let fields = "Content-Type: text/xml\r\nCache-Control: no-cache\r\nConnection: close";
        if shape.unchunked {
            return [format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").into_bytes(), answer].concat();
        }
        let mut out =
            format!("HTTP/1.1 200 OK\r\n{fields}\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
        let size = if shape.chunk == 0 { answer.len().max(1) } else { shape.chunk };
        for chunk in answer.chunks(size) {
            out.extend_from_slice(format!("{:03x}\r\n", chunk.len()).as_bytes());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
        if !shape.unfinished {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        out
    }

    /// All elements that have been heard to their end, each with its answer.
    fn elements(&mut self, state: &mut State) -> Vec<u8> {
        let mut out = Vec::new();
        while !self.over
            && let Some(tag) = self.next_tag()
        {
            out.extend_from_slice(&self.element(&tag, state));
        }
        out
    }

    /// Takes the next `<...>` from what has been heard; quotes may hold a `>`.
    fn next_tag(&mut self) -> Option<String> {
        let from = self.heard.iter().position(|byte| *byte == b'<')?;
        let mut quote = None;
        for (at, byte) in self.heard.iter().enumerate().skip(from) {
            match (quote, byte) {
                (None, b'"' | b'\'') => quote = Some(*byte),
                (Some(open), byte) if open == *byte => quote = None,
                (None, b'>') => {
                    let tag = String::from_utf8_lossy(self.heard.get(from + 1..at)?).into_owned();
                    self.heard.drain(..=at);
                    return Some(tag);
                }
                _ => {}
            }
        }
        None
    }

    fn element(&mut self, tag: &str, state: &mut State) -> Vec<u8> {
        let shape = state.settings.quirks.shape.clone();
        let version = state.settings.generation.ribcl();
        let say =
            |status: u16, message: &str, payload: &str| document(&shape, version, status, message, payload);
        let fine = |payload: &str| say(0, "No error", payload);
        let name: String = tag.chars().take_while(|c| !c.is_whitespace() && *c != '>').collect();
        let name = if name.len() > 1 { name.trim_end_matches('/') } else { name.as_str() };
        match name {
            "?xml" => fine(""),
            // The wrapper of HP's own tool has no answer of its own.
            "LOCFG" => Vec::new(),
            "RIBCL" => {
                let asked = attribute(tag, "VERSION").unwrap_or_default();
                if asked.is_empty() {
                    self.over = true;
                    return say(1, "Version must not be blank.", "");
                }
                let major = |text: &str| text.split('.').next().map(str::to_owned);
                if major(&asked) == major(version) {
                    fine("")
                } else {
                    fine("<INFORM>Scripting utility should be updated to the latest version.</INFORM>\r\n")
                }
            }
            "/RIBCL" => {
                self.over = true;
                Vec::new()
            }
            "/LOGIN" => {
                self.user = None;
                if shape.short { Vec::new() } else { fine("") }
            }
            "LOGIN" if state.settings.quirks.quotes_login => {
                self.over = true;
                say(1, &format!("Syntax error: Line #3: syntax error in the line: \"<{tag}>\""), "")
            }
            "LOGIN" => {
                let (user, password) = (
                    attribute(tag, "USER_LOGIN").unwrap_or_default(),
                    attribute(tag, "PASSWORD").unwrap_or_default(),
                );
                let known = state.settings.users.iter().find(|u| u.name == user && u.password == password);
                self.user = known.map(|user| (user.name.clone(), user.may_reset));
                if self.user.is_some() {
                    state.note(&format!("login {user}"));
                    return fine("");
                }
                state.note("login refused");
                self.over = true;
                let by_http = state.settings.generation.speaks_http();
                say(0x5F, if by_http { "Login credentials rejected." } else { "Login failed." }, "")
            }
            _ if self.user.is_none() => {
                self.over = true;
                say(1, "Syntax error: a LOGIN is expected.", "")
            }
            "SERVER_INFO" | "RIB_INFO" | "USER_INFO" => {
                let mode = attribute(tag, "MODE").unwrap_or_else(|| "read".into());
                self.block = Some((name.to_owned(), mode.eq_ignore_ascii_case("write")));
                fine("")
            }
            "/SERVER_INFO" | "/RIB_INFO" | "/USER_INFO" => {
                self.block = None;
                fine("")
            }
            command => self.command(command, tag, state),
        }
    }

    fn command(&mut self, command: &str, tag: &str, state: &mut State) -> Vec<u8> {
        let generation = state.settings.generation;
        let shape = state.settings.quirks.shape.clone();
        let say = |status: u16, message: &str, payload: &str| {
            document(&shape, generation.ribcl(), status, message, payload)
        };
        let block = self.block.clone().unwrap_or_default();
        match (block.0.as_str(), command) {
            ("RIB_INFO", "GET_FW_VERSION") => {
                let (processor, firmware) = generation.firmware();
                say(
                    0,
                    "No error",
                    &format!(
                        "<GET_FW_VERSION\r\n    FIRMWARE_VERSION=\"{firmware}\"\r\n    FIRMWARE_DATE=\"Aug 10 2015\"\r\n    \
                         MANAGEMENT_PROCESSOR=\"{processor}\"\r\n    />\r\n"
                    ),
                )
            }
            ("SERVER_INFO", "GET_HOST_POWER_STATUS") => {
                let word = match (state.is_on(), shape.lower_case) {
                    (true, false) => "ON",
                    (true, true) => "on",
                    (false, false) => "OFF",
                    (false, true) => "off",
                };
                let word = shape.power_word.unwrap_or(word);
                let mut answer = say(
                    0,
                    "No error",
                    &format!("<GET_HOST_POWER\r\n    HOST_POWER=\"{word}\"\r\n    />\r\n"),
                );
                if shape.unfinished {
                    let end = answer.windows(8).rposition(|part| part == b"</RIBCL>").unwrap_or(answer.len());
                    answer.truncate(end);
                    self.over = true;
                }
                answer
            }
            (
                "SERVER_INFO",
                "SET_HOST_POWER" | "HOLD_PWR_BTN" | "PRESS_PWR_BTN" | "RESET_SERVER" | "COLD_BOOT_SERVER"
                | "WARM_BOOT_SERVER",
            ) => {
                let (status, words) = if !block.1 {
                    (
                        1,
                        "Server information is open for read-only access. Write access is required for this operation.",
                    )
                } else if !self.user.as_ref().is_some_and(|user| user.1) {
                    (0x23, "User does NOT have correct privilege for action. RESET_SERVER_PRIV required.")
                } else {
                    order(command, tag, state)
                };
                say(status, words, "")
            }
            _ => {
                self.over = true;
                let mut line = String::from("Syntax error: Line #3: syntax error near \"");
                line.push_str(command);
                line.push_str("\" in the line: \"");
                line.push_str(tag);
                line.push('"');
                say(1, &line, "")
            }
        }
    }
}

/// Carries out what changes the power.
fn order(command: &str, tag: &str, state: &mut State) -> (u16, &'static str) {
    const FINE: (u16, &str) = (0, "No error");
    const IS_OFF: (u16, &str) = (1, "Server is currently powered off.");
    let quirks = state.settings.quirks.clone();
    state.orders += 1;
    if quirks.flips_before_order && state.orders == 1 {
        state.flip();
    }
    let words: Vec<String> = ["HOST_POWER", "TOGGLE"]
        .iter()
        .filter_map(|name| attribute(tag, name).map(|value| format!(" {name}={value}")))
        .collect();
    state.note(&format!("order {command}{}", words.concat()));
    if state.orders <= quirks.busy {
        return (0x1, "The management processor is busy. Try again later.");
    }
    let on = state.is_on();
    let ignores_hold = state.settings.generation >= Generation::Ilo2;
    let yes = |name: &str| {
        attribute(tag, name).map(|word| {
            ["y", "yes", "t", "true", "1", "on"].iter().any(|known| word.eq_ignore_ascii_case(known))
        })
    };
    match command {
        "SET_HOST_POWER" if quirks.no_set_host_power => {
            (0x3C, "Virtual Power Button feature is not supported on this server.")
        }
        "HOLD_PWR_BTN" if quirks.no_hold => {
            (0x3C, "Virtual Power Button feature is not supported on this server.")
        }
        "SET_HOST_POWER" => match (yes("HOST_POWER"), on) {
            (None, _) => (1, "The value specified is invalid."),
            (Some(true), true) => (1, "Host power is already ON."),
            (Some(false), false) => (1, "Host power is already OFF."),
            (Some(false), true) if quirks.hangs => FINE,
            (Some(wanted), _) => {
                state.switch(wanted);
                FINE
            }
        },
        "HOLD_PWR_BTN" => match (on, yes("TOGGLE") == Some(true)) {
            (false, false) if ignores_hold => {
                (0x54, "Command without TOGGLE=\"Yes\" attribute is ignored when host power is off.")
            }
            _ => {
                state.switch(!on);
                FINE
            }
        },
        "PRESS_PWR_BTN" if on && quirks.hangs => FINE,
        // The operating system of this machine heeds the button.
        "PRESS_PWR_BTN" => {
            state.switch(!on);
            FINE
        }
        _ if !on => IS_OFF,
        "COLD_BOOT_SERVER" if !quirks.warm_cold_boot => {
            state.switch(false);
            state.switch_after(Duration::from_millis(900), true);
            FINE
        }
        _ => {
            if !quirks.lies {
                state.note("reset");
            }
            FINE
        }
    }
}

fn document(shape: &Shape, version: &str, status: u16, message: &str, payload: &str) -> Vec<u8> {
    let mut text = String::new();
    let close = if shape.self_closed { "/" } else { "" };
    let _ =
        write!(text, "<?xml version=\"1.0\"?>\r\n<RIBCL VERSION=\"{version}\"{close}>\r\n<RESPONSE\r\n    ");
    let _ = if shape.msg {
        write!(text, "STATUS=\"0x{status:04X}\"\r\n    MSG=\"{message}\"\r\n     />\r\n")
    } else {
        write!(text, "STATUS=\"0x{status:04X}\"\r\n    MESSAGE='{message}'\r\n     />\r\n")
    };
    if shape.informs {
        text.push_str("<INFORM>Firmware 2 > 1 is available</INFORM>\r\n");
    }
    if shape.control_byte {
        text.push('\u{1}');
    }
    text.push_str(payload);
    let mut bytes = text.into_bytes();
    if shape.not_utf8 {
        bytes.extend_from_slice(b"<!-- \xe9\xff -->");
    }
    bytes.extend_from_slice(b"</RIBCL>\r\n");
    if shape.dense {
        let text: Vec<&[u8]> = bytes.split(|byte| *byte == b'\r' || *byte == b'\n').collect();
        return text.iter().map(|line| line.trim_ascii_end()).collect::<Vec<_>>().join(&b' ');
    }
    bytes
}

/// The value of an attribute, entities resolved.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    while let Some(at) = rest.find(name) {
        let before = rest.get(..at).and_then(|text| text.chars().last());
        let after = rest.get(at + name.len()..)?;
        rest = after;
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        let (Some(value), true) = (value, before.is_none_or(char::is_whitespace)) else { continue };
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let value = value.get(1..)?.split(quote).next()?;
        return Some(
            value
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&apos;", "'")
                .replace("&amp;", "&"),
        );
    }
    None
}
