//! Switches a node's power through its BMC, by IPMI over LAN (v2.0 RMCP+ and v1.5).
//!
//! Replaces `fence_ipmilan` and its other names, and Heartbeat's `external/ipmi`. The standard: *IPMI v2.0 rev 1.1*.
//! No program is run: the client is our own, in [`ringfence_fence::ipmi`].
//!
//! Invariants:
//! - One session for the whole run, closed on every way out.
//! - A command that the BMC took is never a success by itself: the framework asks for the power state afterwards.
//! - Never less patient with a BMC than `ipmitool` with the same `ipmitool_timeout`, and never endless.

use ocf_lib::deadline::Deadline;
use ocf_lib::fence::prelude::*;
use ocf_lib::fence::{FromText, Kind};
use ocf_lib::secret::Secret;
use ringfence_fence::ipmi::{self, Auth, Control, Privilege, Session, Target, Version, parse_kg_hex};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

fence_choices! {
    /// Authentication of an IPMI v1.5 session.
    enum Authentication { Md5 => "md5", Password => "password", None => "none" }
}

fence_choices! {
    /// Session privilege level.
    enum Level { Callback => "callback", User => "user", Operator => "operator", Administrator => "administrator" }
}

fence_options! {
    /// What is special about IPMI.
    struct Options {
        auth: Option<Authentication> => option("auth").short('A').argument("[auth]")
            .help("Authentication of IPMI v1.5 (lanplus=0); without it, the best that the BMC offers"),
        cipher: Option<u8> => option("cipher").short('C').argument("[cipher]").shown_as_text()
            .help("Cipher suite of IPMI v2.0; without it, 17 and then 3"),
        hexadecimal_kg: Option<Secret> => option("hexadecimal_kg").long("hexadecimal-kg").argument("[key]").secret()
            .help("BMC key (Kg) in hexadecimal digits"),
        kg: Option<Secret> => option("kg").argument("[key]").secret().help("BMC key (Kg) as text"),
        lanplus: bool => option("lanplus").short('P').default("0")
            .help("Use IPMI v2.0 (RMCP+), which protects the session better"),
        privlvl: Level => option("privlvl").short('L').argument("[level]").default("administrator")
            .help("Privilege level of the session; power control needs operator"),
        target: Option<String> => option("target").argument("[targetaddress]")
            .help("Slave address of the controller behind the BMC that controls the node"),
        ipmitool_path: String => option("ipmitool_path").long("ipmitool-path").argument("[path]").order(200)
            .default("/usr/bin/ipmitool").help("Accepted for older configurations; no program is run"),
        ipmitool_timeout: PacketTimeout => option("ipmitool_timeout").long("ipmitool-timeout").argument("[timeout]")
            .order(201).default("2")
            .help("Longest wait for one answer before the question is asked again, seconds; a fraction is possible"),
    }
}

/// `ipmitool_timeout`: seconds, also with a fraction. As for `ipmitool`, 0 is no choice: it becomes one second.
struct PacketTimeout(Duration);

impl FromText for PacketTimeout {
    const KIND: Kind = Kind::Text;

    fn from_text(text: &[u8]) -> Result<Self, String> {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let text = std::str::from_utf8(text).unwrap_or_default();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let seconds = (!whole.is_empty() && !fraction.is_empty() && digits(whole) && digits(fraction))
            .then(|| text.parse::<f64>().ok())
            .flatten()
            .filter(|seconds| *seconds <= LONGEST_PACKET_TIMEOUT)
            .ok_or_else(|| format!("say a number of seconds from 0.05 to {LONGEST_PACKET_TIMEOUT}"))?;
        Ok(Self(Duration::from_secs_f64(if seconds == 0.0 { 1.0 } else { seconds.max(0.05) })))
    }
}

/// Nobody waits longer for one datagram; five of them must fit into a caller's time. Seconds.
const LONGEST_PACKET_TIMEOUT: f64 = 3600.0;

/// `ipmitool` asks once and again four times.
const PATIENCE: u32 = 5;

struct IpmiLan {
    call: Call,
    session: Option<Session>,
    patience: Duration,
    /// What the BMC has reported beside the power; said once, however often it is asked.
    told: Vec<&'static str>,
}

impl PowerDevice for IpmiLan {
    const SPEC: FenceSpec = FenceSpec {
        takes: &[
            Takes::Ip,
            Takes::Login,
            Takes::NoLogin,
            Takes::Password,
            Takes::NoPassword,
            Takes::Method,
            Takes::Sudo,
            Takes::Diag,
        ],
        adjust: &[
            adjust("ipport").default("623"),
            adjust("power_wait").default("2"),
            adjust("ipaddr").required(false),
        ],
        symlinks: &[
            symlink("fence_ilo3", "Fence agent for HP iLO3", &[LANPLUS, adjust("power_wait").default("4")]),
            symlink("fence_ilo4", "Fence agent for HP iLO4", &[LANPLUS]),
            symlink("fence_ilo5", "Fence agent for HP iLO5", &[LANPLUS]),
            symlink("fence_ipmilanplus", "Fence agent for IPMI v2.0", &[LANPLUS]),
            symlink("fence_imm", "Fence agent for IBM Integrated Management Module", &[]),
            symlink("fence_idrac", "Fence agent for Dell iDRAC", &[]),
        ],
        external: Some(EXTERNAL),
        ..FenceSpec::new(
            "fence_ipmilan",
            "Fence agent for IPMI",
            "fence_ipmilan switches the power of a node through its BMC, by IPMI over LAN.\n.P\n\
             It speaks the protocol itself, in one session a run. Off and reboot succeed only when the BMC has \
             reported the node off after the request.",
        )
    };
    type Options = Options;

    fn validate(options: &Options, call: &Call) -> Result<(), FenceError> {
        options.bmc(call)?.check().map_err(|e| fence_error(&e))?;
        if options.lanplus && options.auth.is_some() {
            call.log().debug("auth has no meaning with lanplus=1");
        }
        Ok(())
    }

    fn connect(options: Options, call: Call) -> Result<Self, FenceError> {
        if call.flag("sudo") || options.ipmitool_path != "/usr/bin/ipmitool" {
            call.log().debug("use_sudo and ipmitool_path have no effect: no program is run");
        }
        let patience = options.ipmitool_timeout.0 * PATIENCE;
        let target = options.bmc(&call)?;
        let session = Session::open(&target).map_err(|e| fence_error(&e))?;
        if let Some(suite) = session.suite() {
            call.log().debug(format!("session open, cipher suite {suite}"));
        }
        Ok(Self { call, session: Some(session), patience, told: Vec::new() })
    }

    fn status(&mut self, _: &Plug) -> Result<Power, FenceError> {
        let chassis = self.session()?.chassis_status().map_err(|e| fence_error(&e))?;
        for (bit, what) in [
            (chassis.overload, "a power overload"),
            (chassis.power_fault, "a fault of the power supply"),
            (chassis.control_fault, "a fault of the power control"),
        ] {
            if bit && !self.told.contains(&what) {
                self.told.push(what);
                self.call.log().warning(format!("the bmc reports {what}"));
            }
        }
        Ok(if chassis.on { Power::On } else { Power::Off })
    }

    fn set(&mut self, _: &Plug, wanted: Wanted) -> Result<(), FenceError> {
        let control = match wanted {
            Wanted::On => Control::On,
            Wanted::Off => Control::Off,
        };
        match self.session()?.chassis_control(control) {
            // Some BMCs refuse what is so already; whether it is so, the status tells.
            Err(error @ ipmi::Error::WrongState(_)) => {
                self.call.log().debug(error.to_string());
                Ok(())
            }
            other => other.map_err(|e| fence_error(&e)),
        }
    }

    fn cycle(&mut self, _: &Plug) -> Result<(), FenceError> {
        self.session()?.chassis_control(Control::Cycle).map_err(|e| fence_error(&e))
    }

    fn diag(&mut self, _: &Plug) -> Result<(), FenceError> {
        self.session()?.chassis_control(Control::Diag).map_err(|e| fence_error(&e))
    }
}

impl IpmiLan {
    /// The session, with the time for one request before it.
    fn session(&mut self) -> Result<&mut Session, FenceError> {
        let until = at_least(self.call.request_deadline(), self.patience);
        let session = self.session.as_mut().ok_or_else(|| FenceError::connection_lost("no session"))?;
        session.set_deadline(until);
        Ok(session)
    }
}

impl Drop for IpmiLan {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let traffic = session.close();
            self.call.log().debug(format!(
                "session closed: {} round trips, {} retransmissions, {} packets ignored",
                traffic.round_trips, traffic.retransmissions, traffic.ignored
            ));
        }
    }
}

/// The deadline, but not before `patience` is over.
fn at_least(deadline: Deadline, patience: Duration) -> Instant {
    let now = Instant::now();
    now + deadline.left_or(Duration::MAX / 4).min(ocf_lib::fence::LONGEST_WAIT).max(patience)
}

impl Options {
    /// The BMC, the account, and the time for the login from now on.
    fn bmc(&self, call: &Call) -> Result<Target, FenceError> {
        let packet_timeout = self.ipmitool_timeout.0;
        let until = at_least(call.connect_deadline(), packet_timeout * PATIENCE);
        let Some(host) = call.ip() else {
            return Err(FenceError::usage("You have to enter fence address"));
        };
        Ok(Target {
            host: host.to_owned(),
            port: call.ipport(),
            version: self.version(),
            username: call.login().unwrap_or_default().into_bytes(),
            password: Zeroizing::new(call.password().map(|p| p.expose().to_vec()).unwrap_or_default()),
            kg: self.key()?,
            privilege: self.privlvl.into(),
            bridge_to: self.target_address()?,
            packet_timeout,
            connect_deadline: until,
            deadline: until,
            interrupted: ocf_lib::fence::interrupted,
        })
    }

    fn version(&self) -> Version {
        if self.lanplus {
            return Version::V20 { suite: self.cipher };
        }
        let auth = self.auth.map(|auth| match auth {
            Authentication::Md5 => Auth::Md5,
            Authentication::Password => Auth::Password,
            Authentication::None => Auth::None,
        });
        Version::V15 { auth }
    }

    /// Kg from whichever of the two options is set.
    fn key(&self) -> Result<Option<Zeroizing<Vec<u8>>>, FenceError> {
        match (&self.hexadecimal_kg, &self.kg) {
            (Some(hex), _) => {
                let text = std::str::from_utf8(hex.expose()).unwrap_or("?");
                parse_kg_hex(text).map(Some).map_err(|e| FenceError::usage(format!("hexadecimal_kg: {e}")))
            }
            (None, Some(text)) if text.expose().len() > 20 => {
                Err(FenceError::usage("kg is longer than 20 bytes, the most ipmi knows"))
            }
            (None, Some(text)) => Ok(Some(Zeroizing::new(text.expose().to_vec()))),
            (None, None) => Ok(None),
        }
    }

    /// Decimal, or hexadecimal with 0x, as `ipmitool -t` reads it.
    fn target_address(&self) -> Result<Option<u8>, FenceError> {
        let Some(text) = &self.target else { return Ok(None) };
        let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => u8::from_str_radix(hex, 16),
            None => text.parse(),
        };
        number.map(Some).map_err(|_| {
            FenceError::usage(format!(
                "target '{text}' is not a slave address: a number from 0 to 255, or 0x00 to 0xff"
            ))
        })
    }
}

impl From<Level> for Privilege {
    fn from(level: Level) -> Self {
        match level {
            Level::Callback => Self::Callback,
            Level::User => Self::User,
            Level::Operator => Self::Operator,
            Level::Administrator => Self::Administrator,
        }
    }
}

fn fence_error(error: &ipmi::Error) -> FenceError {
    use ipmi::Error as E;
    let text = error.to_string();
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the client's errors may grow: an unknown one is a protocol fault"
    )]
    match error {
        E::Invalid(_) | E::Local(_) => FenceError::usage(text),
        E::Resolve { .. } | E::Unreachable { .. } => FenceError::unreachable(text),
        E::Interrupted => FenceError::interrupted(),
        E::TimedOut { .. } => FenceError::timed_out(text),
        E::WrongUser | E::WrongPassword | E::WrongKg { .. } => FenceError::login_denied(text),
        E::Privilege { .. } => FenceError::privilege(text),
        E::CipherUnsupported { .. } | E::NoVersion20 | E::AuthUnsupported | E::Unsupported(_) => {
            FenceError::unsupported(text)
        }
        E::Busy | E::Completion { .. } => FenceError::refused(text),
        E::WrongState(_) => FenceError::wrong_state(text),
        _ => FenceError::protocol(text),
    }
}

const LANPLUS: Adjust = adjust("lanplus").default("1");

const fn symlink(name: &'static str, shortdesc: &'static str, adjust: &'static [Adjust]) -> Symlink {
    Symlink { name, shortdesc, adjust }
}

/// The plugin of Heartbeat's `stonith`, with the parameters of the original.
const EXTERNAL: External = External {
    name: "ipmi",
    devid: "IPMI STONITH external device",
    devdescr: "Switches a node's power through its BMC by IPMI over LAN. On a BMC whose off asks the operating \
               system to shut down, switch ACPI off on the node.",
    devurl: "https://www.intel.com/content/www/us/en/products/docs/servers/ipmi/ipmi-home.html",
    params: &[
        external_param("hostname", Meaning::Hosts, false, "Name of the node"),
        external_param("ipaddr", Meaning::Option("ipaddr"), true, "Address of the BMC"),
        external_param("ipport", Meaning::Option("ipport"), false, "UDP port of the BMC"),
        external_param("userid", Meaning::Option("login"), true, "User name at the BMC"),
        external_param(
            "passwd",
            Meaning::Password("passwd"),
            true,
            "Password at the BMC, or the file that holds it",
        ),
        ExternalParam {
            default: Some("lan"),
            ..external_param(
                "interface",
                Meaning::Words("lanplus", &[("lan", "0"), ("lanplus", "1")]),
                false,
                "lan (IPMI v1.5) or lanplus (IPMI v2.0)",
            )
        },
        ExternalParam {
            listed: false,
            default: Some("param"),
            ..external_param(
                "passwd_method",
                Meaning::PasswordMethod,
                false,
                "What passwd is: the password (param, env) or the name of a file that holds it (file)",
            )
        },
        ExternalParam {
            listed: false,
            ..external_param("priv", Meaning::Option("privlvl"), false, "Privilege level of the session")
        },
        ExternalParam {
            listed: false,
            ..external_param("ipmitool", Meaning::Ignored, false, "Accepted; no program is run")
        },
    ],
};

fn main() -> ExitCode {
    run::<IpmiLan>()
}
