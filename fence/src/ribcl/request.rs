//! The documents that are sent.

use super::Account;
use zeroize::Zeroizing;

/// What begins every request.
pub const DECLARATION: &[u8] = b"<?xml version=\"1.0\"?>\r\n";

/// A RIBCL version: `2.22`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    text: String,
    major: u32,
    minor: u32,
}

impl Version {
    /// Digits and points, nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut parts = text.split('.');
        let number = |part: &str| {
            (part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| part.parse::<u32>().ok())?
        };
        let major = number(parts.next()?)?;
        let minor = parts.next().map_or(Some(0), number)?;
        (text.len() <= 10 && parts.all(|part| number(part).is_some())).then(|| Self {
            text: text.into(),
            major,
            minor,
        })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// From iLO 2 on (RIBCL 2.22) a held button is ignored while the machine is off; before, it starts it.
    pub fn ignores_hold_when_off(&self) -> bool {
        (self.major, self.minor) >= (2, 22)
    }
}

/// A command about the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    PowerStatus,
    /// Holds the button for about six seconds. Without TOGGLE, so that from RIBCL 2 on a machine that is off stays off.
    Hold,
    /// Presses it for a moment: starts a machine that is off, and asks the operating system of another to shut down.
    Press,
    /// Switches on, or off; the device refuses what is so already.
    SetPower(bool),
    /// Interrupts the power.
    ColdBoot,
}

impl Command {
    const fn element(self) -> &'static str {
        match self {
            Self::PowerStatus => "<GET_HOST_POWER_STATUS/>",
            Self::Hold => "<HOLD_PWR_BTN/>",
            Self::Press => "<PRESS_PWR_BTN/>",
            Self::SetPower(true) => "<SET_HOST_POWER HOST_POWER=\"Yes\"/>",
            Self::SetPower(false) => "<SET_HOST_POWER HOST_POWER=\"No\"/>",
            Self::ColdBoot => "<COLD_BOOT_SERVER/>",
        }
    }

    /// The least that the device has to open for it.
    const fn mode(self) -> &'static str {
        match self {
            Self::PowerStatus => "read",
            Self::Hold | Self::Press | Self::SetPower(_) | Self::ColdBoot => "write",
        }
    }
}

/// Everything behind the declaration.
pub fn body(command: Command, account: &Account, version: Option<&Version>) -> Zeroizing<Vec<u8>> {
    // The major number must be the device's; 2.0 is what every processor since iLO 1 takes.
    let version = match version {
        Some(version) if version.major < 2 => version.text(),
        Some(_) | None => "2.0",
    };
    // Room for all of it: growing would leave copies of the password in freed memory.
    let mut out = Zeroizing::new(Vec::with_capacity(512 + 6 * (account.password.len() + account.user.len())));
    for part in [
        b"<RIBCL VERSION=\"",
        version.as_bytes(),
        b"\">\r\n<LOGIN USER_LOGIN=\"",
        &escaped(account.user.as_bytes()),
        b"\" PASSWORD=\"",
        &escaped(&account.password),
        b"\">\r\n<SERVER_INFO MODE=\"",
        command.mode().as_bytes(),
        b"\">\r\n",
        command.element().as_bytes(),
        b"\r\n</SERVER_INFO>\r\n</LOGIN>\r\n</RIBCL>\r\n",
    ] {
        out.extend_from_slice(part);
    }
    out
}

/// As the value of an attribute in double quotes.
pub fn escaped(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(6 * text.len()));
    for byte in text {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&apos;"),
            other => out.push(*other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(password: &str) -> Account {
        Account { user: "a\"b".into(), password: Zeroizing::new(password.into()) }
    }

    #[test]
    fn a_password_cannot_leave_its_attribute() {
        let text = body(Command::Hold, &account("\"/><HOLD_PWR_BTN TOGGLE='Yes'/>&"), None);
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(text.contains(
            "USER_LOGIN=\"a&quot;b\" PASSWORD=\"&quot;/&gt;&lt;HOLD_PWR_BTN TOGGLE=&apos;Yes&apos;/&gt;&amp;\">"
        ));
        assert_eq!(text.matches('<').count(), 7);
    }

    #[test]
    fn no_command_toggles_and_only_orders_open_for_writing() {
        for command in [
            Command::PowerStatus,
            Command::Hold,
            Command::Press,
            Command::SetPower(true),
            Command::SetPower(false),
            Command::ColdBoot,
        ] {
            let text = String::from_utf8(body(command, &account("p"), None).to_vec()).unwrap();
            assert!(!text.contains("TOGGLE"));
            assert_eq!(text.contains("MODE=\"read\""), command == Command::PowerStatus, "{text}");
        }
    }

    #[test]
    fn a_held_button_is_harmless_from_ilo_2_on() {
        for (text, harmless) in
            [("1.2", false), ("2.20", false), ("2.21", false), ("2.22", true), ("2.50", true), ("3", true)]
        {
            assert_eq!(Version::parse(text).unwrap().ignores_hold_when_off(), harmless, "{text}");
        }
    }

    #[test]
    fn the_major_version_is_the_devices() {
        let sent = |text: &str| {
            let version = Version::parse(text);
            let body = body(Command::Press, &account("p"), version.as_ref());
            String::from_utf8(body.to_vec()).unwrap().split('"').nth(1).unwrap().to_owned()
        };
        assert_eq!(sent("1.2"), "1.2");
        assert_eq!(sent("2.22"), "2.0");
        assert_eq!(sent("2.50"), "2.0");
        for text in ["", "x", "2.", "2.x", "-1", "2\"><X", "2.222222222222", "99999"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
