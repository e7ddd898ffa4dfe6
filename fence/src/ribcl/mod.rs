//! A client of Hewlett Packard's Lights-Out processors: RIBCL over raw TLS (RILOE, iLO 1 and 2) or by HTTP POST (iLO 3 to 5).
//!
//! The standard: HP's *iLO scripting and command line guides*. There is no session: each question is a connection with its own
//! login, and the device ends it. Which of the two a device speaks, and which version, is found out with the first question.
//!
//! Invariants:
//! - A power state counts only out of a document that came to its end, with STATUS 0, after a login.
//! - No command is sent that could start a machine that is to be off: `HOLD_PWR_BTN` goes without TOGGLE, and where the device
//!   would hold the button all the same, only right after it has said that the machine is on.

mod documents;
mod error;
mod old_tls;
mod request;
mod route;

pub use documents::{Document, Documents, Element};
pub use error::Error;
pub use old_tls::Versions;
use request::Command;
pub use request::{Version, escaped};
pub use route::{OldVersions, Proxy, Route};

use crate::http::{self, Post};
use crate::tcp::{self, Link};
use ocf_lib::deadline::Deadline;
use std::io::ErrorKind;
use std::time::Duration;
use zeroize::Zeroizing;

/// How RIBCL is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// As it is, behind TLS: RILOE, iLO 1 and 2.
    Raw,
    /// In POST `/ribcl`: iLO 3 to 5.
    Http,
}

/// The account.
pub struct Account {
    pub user: String,
    pub password: Zeroizing<Vec<u8>>,
}

/// What a device reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    On,
    Off,
    /// It answered something else.
    Unknown,
}

/// How a machine is switched off (`ilo_powerdown_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Powerdown {
    /// `HOLD_PWR_BTN`
    Button,
    /// `SET_HOST_POWER`
    Power,
}

/// Documents that precede the one of the command: RIBCL, LOGIN, `SERVER_INFO`.
const BEFORE_COMMAND: usize = 3;
/// Documents that follow it: the ends of `SERVER_INFO` and LOGIN.
const AFTER_COMMAND: usize = 2;
/// Once the command is answered, the rest of the answer has so long: it says nothing new, and some devices keep the connection.
const REST: Duration = Duration::from_millis(500);

/// One device.
pub struct Device {
    route: Route,
    account: Account,
    transport: Option<Transport>,
    version: Option<Version>,
    /// Connections made so far.
    connections: u32,
}

impl Device {
    /// Nothing is sent yet. `transport` and `version` are found out where they are `None`.
    pub const fn new(
        route: Route,
        account: Account,
        transport: Option<Transport>,
        version: Option<Version>,
    ) -> Self {
        Self { route, account, transport, version, connections: 0 }
    }

    /// Connections made so far.
    pub const fn connections(&self) -> u32 {
        self.connections
    }

    /// What has been found out: `http, ribcl 2.23`.
    pub fn found(&self) -> String {
        let transport = match self.transport {
            None => "unknown",
            Some(Transport::Raw) => "raw",
            Some(Transport::Http) => "http",
        };
        let version = self.version.as_ref().map_or("unknown", Version::text);
        format!("{transport}, ribcl {version}")
    }

    /// True when the device is spoken to in TLS before 1.2.
    pub const fn is_old(&self) -> bool {
        self.route.is_old()
    }

    /// Asks for the power.
    pub fn power(&mut self, deadline: Deadline) -> Result<Reported, Error> {
        let answer = self.ask(Command::PowerStatus, deadline)?;
        reported(&answer)
    }

    /// Asks for off; `Ok`: the device took the order, and which. The state afterwards is the proof.
    pub fn off(&mut self, how: Option<Powerdown>, deadline: Deadline) -> Result<Powerdown, Error> {
        let safe = self.version.as_ref().is_some_and(Version::ignores_hold_when_off);
        let hold_first = how.map_or(safe, |how| how == Powerdown::Button);
        let (first, second) = if hold_first {
            (Powerdown::Button, Powerdown::Power)
        } else {
            (Powerdown::Power, Powerdown::Button)
        };
        match self.order_off(first, safe, deadline) {
            Err(error) if error.suggests_another_command() => {
                self.order_off(second, safe, deadline).map_err(|_| error)
            }
            other => other,
        }
    }

    fn order_off(&mut self, how: Powerdown, safe: bool, deadline: Deadline) -> Result<Powerdown, Error> {
        match how {
            // A held button would start a machine that has gone off in the meantime.
            Powerdown::Button if !safe && self.power(deadline)? != Reported::On => {
                return Err(Error::WrongState { words: "it is not on any more".into() });
            }
            Powerdown::Button => self.hold(deadline)?,
            Powerdown::Power => self.order(Command::SetPower(false), deadline)?,
        }
        Ok(how)
    }

    /// Holds the button of a machine that the device has just reported on.
    pub fn hold(&mut self, deadline: Deadline) -> Result<(), Error> {
        self.order(Command::Hold, deadline)
    }

    /// Asks for on, in the same way.
    pub fn on(&mut self, deadline: Deadline) -> Result<(), Error> {
        match self.order(Command::SetPower(true), deadline) {
            Err(error) if error.suggests_another_command() => {
                // The button would ask a machine that is on to shut down.
                match self.power(deadline)? {
                    Reported::On => Ok(()),
                    Reported::Off => self.order(Command::Press, deadline).map_err(|_| error),
                    Reported::Unknown => Err(error),
                }
            }
            other => other,
        }
    }

    /// Asks for a power cycle of the device's own. [`Error::WrongState`] when the machine is off.
    pub fn cycle(&mut self, deadline: Deadline) -> Result<(), Error> {
        self.order(Command::ColdBoot, deadline)
    }

    fn order(&mut self, command: Command, deadline: Deadline) -> Result<(), Error> {
        self.ask(command, deadline).map(drop)
    }

    /// The documents of the answer, none of which bears an error.
    fn ask(&mut self, command: Command, deadline: Deadline) -> Result<Vec<Document>, Error> {
        match self.transport {
            Some(Transport::Raw) => self.ask_raw(command, deadline, false),
            Some(Transport::Http) => self.ask_http(command, deadline),
            None => self.ask_somehow(command, deadline),
        }
    }

    /// Raw first, which a device that speaks HTTP refuses at once; one that keeps silent has half of the time.
    fn ask_somehow(&mut self, command: Command, deadline: Deadline) -> Result<Vec<Document>, Error> {
        let half = deadline.remaining().map_or(Duration::from_secs(5), |left| left / 2);
        let first = match self.ask_raw(command, deadline.within(half), true) {
            Ok(documents) => {
                self.transport = Some(Transport::Raw);
                return Ok(documents);
            }
            Err(error) => error,
        };
        if self.transport == Some(Transport::Raw) {
            // It has spoken RIBCL: whatever went wrong then is no matter of the transport.
            return Err(first);
        }
        if let Error::Link(error) = &first
            && !matches!(error, tcp::Error::Lost(_) | tcp::Error::TimedOut(_))
        {
            return Err(first);
        }
        match (self.ask_http(command, deadline), first) {
            (Err(Error::Link(_)), first @ Error::Link(_)) => Err(first),
            // A connection that broke is not yet a device that lacks RIBCL: asking again may help.
            (Err(Error::NoRibcl(second)), Error::Link(first)) => {
                Err(tcp::Error::Lost(format!("{first}; and {second}")).into())
            }
            (result, _) => result,
        }
    }

    fn ask_raw(
        &mut self,
        command: Command,
        deadline: Deadline,
        searching: bool,
    ) -> Result<Vec<Document>, Error> {
        self.connections += 1;
        let mut link = self.route.open(deadline)?;
        let link = link.as_mut();
        // Old firmware decides by the first packet what it is spoken to in: the declaration must come alone.
        send(link, request::DECLARATION)?;
        let mut answer = Answer::default();
        if self.version.is_none() || searching {
            // It answers the declaration, and says its version.
            answer.read_until(link, |documents| !documents.is_empty())?;
            if let Some(start) = answer.documents.foreign_start() {
                return Err(Error::Protocol(format!(
                    "it does not answer in ribcl but with '{}'",
                    plain(start)
                )));
            }
            let Some(first) = answer.all.first() else {
                return Err(
                    tcp::Error::Lost("the device ended the connection without an answer".into()).into()
                );
            };
            self.transport = Some(Transport::Raw);
            if self.version.is_none() {
                self.version = first.version.as_deref().and_then(Version::parse);
            }
            link.set_deadline(deadline);
        }
        let body = request::body(command, &self.account, self.version.as_ref());
        send(link, &body)?;
        // The declaration has a document too.
        let before = 1 + BEFORE_COMMAND;
        answer.read_until(link, |documents| {
            documents.iter().any(|document| document.status.is_some_and(|status| status != 0))
                || documents.len() > before
                || has_power(documents)
        })?;
        if command != Command::PowerStatus && !answer.over && answer.error().is_none() {
            link.set_deadline(deadline.within(REST));
            // What is missing of it says nothing about the command.
            let _ = answer.read_until(link, |documents| documents.len() > before + AFTER_COMMAND);
        }
        answer.documents.end();
        answer.take_ready();
        self.judge(&answer, command, before)?;
        Ok(answer.all)
    }

    fn ask_http(&mut self, command: Command, deadline: Deadline) -> Result<Vec<Document>, Error> {
        self.connections += 1;
        let mut link = self.route.open(deadline)?;
        let mut body = Zeroizing::new(request::DECLARATION.to_vec());
        body.extend_from_slice(&request::body(command, &self.account, self.version.as_ref()));
        let post = Post {
            path: "/ribcl",
            headers: &[("Content-Type", "text/xml"), ("TE", "chunked")],
            body: &body,
            close: true,
            most: documents::LONGEST,
        };
        let response = http::post_over(link.as_mut(), (&self.route.host, self.route.port), &post, deadline)?;
        if response.status != 200 {
            let text =
                format!("POST /ribcl is answered with {} {}", response.status, plain(&response.reason));
            return Err(match response.status {
                404 | 405 | 410 | 501 => Error::NoRibcl(text),
                401 | 403 => Error::Login { words: text },
                _ => Error::Protocol(text),
            });
        }
        let mut answer = Answer::default();
        answer.documents.push(&response.body);
        answer.documents.end();
        answer.over = true;
        answer.take_ready();
        if answer.all.is_empty() {
            return Err(Error::NoRibcl("POST /ribcl is answered without a ribcl document".into()));
        }
        self.transport = Some(Transport::Http);
        if self.version.is_none() {
            self.version = answer.all.first().and_then(|d| d.version.as_deref()).and_then(Version::parse);
        }
        self.judge(&answer, command, BEFORE_COMMAND)?;
        Ok(answer.all)
    }

    /// Whether the answer says that the command was taken.
    fn judge(&self, answer: &Answer, command: Command, before: usize) -> Result<(), Error> {
        if let Some((status, words)) = answer.error() {
            return Err(Error::of_status(status, self.shown(words)));
        }
        if answer.all.iter().any(|document| document.whole && document.status.is_none()) {
            return Err(Error::Protocol("a document of the answer bears no status".into()));
        }
        let whole = answer.all.iter().filter(|document| document.whole).count();
        if command != Command::PowerStatus && whole <= before {
            return Err(tcp::Error::Lost(
                "the device ended the connection before it answered the command".into(),
            )
            .into());
        }
        Ok(())
    }

    /// The device's words for people: a syntax error quotes the line, which may hold the password.
    fn shown(&self, words: &str) -> String {
        let secret = String::from_utf8_lossy(&self.account.password).into_owned();
        let escaped = String::from_utf8_lossy(&escaped(&self.account.password)).into_owned();
        let mut text = words.to_owned();
        // As it was sent, as it was meant, and with its blanks as they are shown.
        for secret in [escaped, secret.clone()] {
            if !secret.is_empty() {
                text = text.replace(&secret, "[password]");
            }
        }
        text = plain(&text);
        let secret = plain(&secret);
        if !secret.is_empty() {
            text = text.replace(&secret, "[password]");
        }
        text.chars().take(LONGEST_WORDS).collect()
    }
}

/// Characters of a device's message that are shown.
const LONGEST_WORDS: usize = 200;

/// On one line and without control characters.
fn plain(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).collect()
}

fn send(link: &mut (dyn Link + '_), bytes: &[u8]) -> Result<(), Error> {
    link.write_all(bytes)
        .and_then(|()| link.flush())
        .map_err(|error| tcp::told("sending a request", &error).into())
}

/// What has been read so far.
#[derive(Default)]
struct Answer {
    documents: Documents,
    all: Vec<Document>,
    /// The device has ended the connection.
    over: bool,
}

impl Answer {
    fn take_ready(&mut self) {
        self.all.extend(self.documents.by_ref());
    }

    /// The first error.
    fn error(&self) -> Option<(u32, &str)> {
        self.all
            .iter()
            .find_map(|d| d.status.filter(|status| *status != 0).map(|status| (status, d.message.as_str())))
    }

    /// Reads until there is enough, the device ends the connection, or what comes is no RIBCL.
    fn read_until(
        &mut self,
        link: &mut (dyn Link + '_),
        enough: impl Fn(&[Document]) -> bool,
    ) -> Result<(), Error> {
        let mut buffer = [0; 4096];
        while !self.over && !enough(&self.all) {
            match link.read(&mut buffer) {
                Ok(0) => self.over = true,
                // Many processors end the connection without TLS's own goodbye; what was read is judged by its own form.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.over = true,
                Err(error) if error.kind() == ErrorKind::ConnectionReset && !self.all.is_empty() => {
                    self.over = true;
                }
                Err(error) => return Err(tcp::told("reading the answer", &error).into()),
                Ok(length) => {
                    if !self.documents.push(buffer.get(..length).unwrap_or_default()) {
                        return Err(Error::Protocol("the answer has no end".into()));
                    }
                    self.take_ready();
                    if self.documents.foreign_start().is_some() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

fn power_word(document: &Document) -> Option<&str> {
    let element = document.elements.iter().find(|element| element.name == "GET_HOST_POWER")?;
    Some(element.get("HOST_POWER").unwrap_or_default())
}

fn has_power(documents: &[Document]) -> bool {
    documents.iter().any(|document| document.whole && power_word(document).is_some())
}

/// What an answer without errors says about the power.
fn reported(answer: &[Document]) -> Result<Reported, Error> {
    let mut words = answer
        .iter()
        .filter(|document| document.whole && document.status == Some(0))
        .filter_map(power_word)
        .map(|word| word.trim().to_ascii_uppercase());
    let Some(word) = words.next() else {
        return Err(Error::Protocol("the answer does not say whether the power is on".into()));
    };
    if words.any(|other| other != word) {
        return Ok(Reported::Unknown);
    }
    Ok(match word.as_str() {
        "ON" => Reported::On,
        "OFF" => Reported::Off,
        _ => Reported::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(texts: &[&str]) -> Vec<Document> {
        let mut documents = Documents::default();
        for text in texts {
            documents.push(format!("<?xml version=\"1.0\"?><RIBCL VERSION=\"2.22\">{text}").as_bytes());
        }
        documents.end();
        documents.collect()
    }

    const FINE: &str = "<RESPONSE STATUS=\"0x0000\" MESSAGE='No error'/></RIBCL>";

    fn with(word: &str) -> String {
        format!("<RESPONSE STATUS=\"0x0000\"/><GET_HOST_POWER HOST_POWER=\"{word}\"/></RIBCL>")
    }

    #[test]
    fn only_a_whole_document_without_error_tells_the_power() {
        assert_eq!(reported(&answer(&[FINE, &with("ON"), FINE])), Ok(Reported::On));
        assert_eq!(reported(&answer(&[&with(" off ")])), Ok(Reported::Off));
        for word in ["", "UNKNOWN", "OFFLINE", "0", "OFF ON"] {
            assert_eq!(reported(&answer(&[&with(word)])), Ok(Reported::Unknown), "{word}");
        }
        let off = with("OFF");
        let unfinished = off.trim_end_matches("</RIBCL>");
        for texts in [
            vec![FINE],
            vec![unfinished],
            vec![unfinished, FINE],
            vec!["<RESPONSE STATUS=\"0x0001\"/><GET_HOST_POWER HOST_POWER=\"OFF\"/></RIBCL>"],
            vec!["<GET_HOST_POWER HOST_POWER=\"OFF\"/></RIBCL>"],
            vec!["<RESPONSE STATUS=\"0x0000\"/><!-- <GET_HOST_POWER HOST_POWER=\"OFF\"/> --></RIBCL>"],
        ] {
            assert!(reported(&answer(&texts)).is_err(), "{texts:?}");
        }
    }

    #[test]
    fn two_answers_that_differ_are_none() {
        assert_eq!(reported(&answer(&[&with("OFF"), &with("ON")])), Ok(Reported::Unknown));
        assert_eq!(reported(&answer(&[&with("OFF"), &with("OFF")])), Ok(Reported::Off));
    }
}
