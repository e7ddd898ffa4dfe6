//! A command on the node.

use super::error::Error;
use super::{Client, drive, told};
use ocf_lib::deadline::Deadline;
use russh::client::{Handle, Msg};
use russh::{Channel, ChannelMsg};
use tokio::runtime::Runtime;

/// More of a command's words than anybody reads. Bytes.
const LONGEST: usize = 64 * 1024;

/// What a command that has ended left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// `None` when it was killed, or its end was not told.
    pub status: Option<u32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Its last words, for a message.
    pub fn said(&self) -> String {
        let words =
            |text: &str| text.lines().rev().find(|line| !line.trim().is_empty()).map(|l| l.trim().to_owned());
        words(&self.stderr).or_else(|| words(&self.stdout)).unwrap_or_default()
    }
}

/// What has become of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It runs, as far as is known.
    Nothing,
    /// The node told that it ended.
    Ended(Output),
    /// Its channel is gone, and how it ended was not told.
    Lost,
}

/// A command that was started.
pub struct Order {
    channel: Channel<Msg>,
    output: Output,
    host: String,
}

impl Order {
    /// Asks for `command` and waits for the sshd's word that it was started.
    pub(super) fn send(
        runtime: &Runtime,
        handle: &mut Handle<Client>,
        host: &str,
        command: &str,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let doing = format!("starting a command on {host}");
        let opened = drive(runtime, deadline, &doing, async {
            let channel = handle.channel_open_session().await?;
            channel.exec(true, command).await?;
            Ok(channel)
        })?;
        let channel = opened.map_err(|e| told(host, &e))?;
        let mut order = Self { channel, output: Output::default(), host: host.to_owned() };
        loop {
            match drive(runtime, deadline, &doing, order.channel.wait())? {
                Some(ChannelMsg::Success) => return Ok(order),
                Some(ChannelMsg::Failure) => {
                    return Err(Error::Refused(format!("{host} does not start commands for this user")));
                }
                Some(other) => order.note(&other),
                None => return Err(Error::Lost(format!("{host} closed the connection"))),
            }
        }
    }

    /// The same, and waits until the command itself has said that it begins.
    pub(super) fn begin(
        runtime: &Runtime,
        handle: &mut Handle<Client>,
        host: &str,
        command: &str,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|e| Error::Settings(format!("no random numbers: {e}")))?;
        let token = data_encoding::HEXLOWER.encode(&random);
        let (head, tail) = token.split_at(8);
        // In two parts, which only a shell joins: something that just repeats what it is sent does not print the token.
        let line = format!("echo ringfence-{head}''{tail}; sleep 1; {command}");
        let token = format!("ringfence-{token}");
        let mut order = Self::send(runtime, handle, host, &line, deadline)?;
        let doing = format!("the command begins on {host}");
        while !order.output.stdout.lines().any(|line| line.trim() == token) {
            match drive(runtime, deadline, &doing, order.channel.wait())? {
                Some(message) => {
                    order.note(&message);
                    if order.output.status.is_some() && matches!(message, ChannelMsg::Close) {
                        return Err(order.not_begun());
                    }
                }
                None => return Err(order.not_begun()),
            }
        }
        order.output.stdout.clear();
        Ok(order)
    }

    fn not_begun(&self) -> Error {
        let said = self.output.said();
        match self.output.status {
            Some(status) => Error::Refused(format!(
                "{} did not carry out the command: it ended with {status}{}",
                self.host,
                if said.is_empty() { said } else { format!(": {said}") }
            )),
            None => Error::Lost(format!("{} closed the connection before the command began", self.host)),
        }
    }

    fn note(&mut self, message: &ChannelMsg) {
        let Output { status, stdout, stderr } = &mut self.output;
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "the crate's messages may grow; the others say nothing of the end"
        )]
        match message {
            ChannelMsg::Data { data } if stdout.len() < LONGEST => {
                stdout.push_str(&String::from_utf8_lossy(data));
            }
            ChannelMsg::ExtendedData { data, .. } if stderr.len() < LONGEST => {
                stderr.push_str(&String::from_utf8_lossy(data));
            }
            ChannelMsg::ExitStatus { exit_status } => *status = Some(*exit_status),
            _ => {}
        }
    }

    /// Waits for the end.
    pub(super) fn finish(mut self, runtime: &Runtime, deadline: Deadline) -> Result<Output, Error> {
        let doing = format!("waiting for a command on {}", self.host);
        while let Some(message) = drive(runtime, deadline, &doing, self.channel.wait())? {
            self.note(&message);
        }
        match self.output.status {
            Some(_) => Ok(self.output),
            None => Err(Error::Lost(format!("{} closed the connection during a command", self.host))),
        }
    }

    pub(super) fn news(&mut self, runtime: &Runtime, deadline: Deadline) -> Result<News, Error> {
        loop {
            match drive(runtime, deadline, "looking", self.channel.wait()) {
                Ok(Some(message)) => {
                    self.note(&message);
                }
                Ok(None) => {
                    return Ok(match self.output.status {
                        Some(_) => News::Ended(self.output.clone()),
                        None => News::Lost,
                    });
                }
                Err(Error::TimedOut(_)) => return Ok(News::Nothing),
                Err(error) => return Err(error),
            }
        }
    }
}
