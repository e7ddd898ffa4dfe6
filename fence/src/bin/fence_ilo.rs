//! Switches a node's power through its Lights-Out processor (RILOE, iLO 1 to 5) by RIBCL.
//!
//! Replaces `fence_ilo`, `fence_ilo2`, the older `fence_riloe`, and Heartbeat's `external/riloe`. The standard: HP's *iLO scripting
//! and command line guides*. No program is run, except `gnutls-cli` for devices whose TLS is older than 1.2.
//!
//! Invariants:
//! - The certificate is verified before the password is sent, unless the administrator says `ssl_insecure`.
//! - No toggle is ever sent: a machine that has gone off in the meantime is not started by a request for off.
//! - An order that the device took is never a success by itself: the framework asks for the power afterwards.

use ocf_lib::fence::prelude::*;
use ocf_lib::fence::{FromText, Kind};
use ringfence_fence::ribcl::{
    Account, Device, Error, OldVersions, Powerdown, Proxy, Reported, Route, Transport, Version, Versions,
    escaped,
};
use ringfence_fence::tls::{self, TlsSettings};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

fence_choices! {
    /// How RIBCL is wrapped.
    enum Wrapping { Raw => "raw", Http => "http" }
}

/// `ribcl_version`: `2.0`
struct RibclVersion(Version);

impl FromText for RibclVersion {
    const KIND: Kind = Kind::Text;

    fn from_text(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).unwrap_or_default();
        Version::parse(text).map(Self).ok_or_else(|| "say a version like 1.2 or 2.0".into())
    }
}

/// `ilo_powerdown_method`. The original takes any other word as `power`, and configurations have them.
struct PowerdownWord(Option<Powerdown>);

impl FromText for PowerdownWord {
    const KIND: Kind = Kind::Text;

    fn from_text(text: &[u8]) -> Result<Self, String> {
        Ok(Self(match text {
            b"button" => Some(Powerdown::Button),
            b"power" => Some(Powerdown::Power),
            _ => None,
        }))
    }
}

fence_options! {
    /// What is special about RIBCL.
    struct Options {
        ribcl: Option<RibclVersion> => option("ribcl").long("ribcl-version").short('r').argument("[version]")
            .help("RIBCL version to speak; without it, the one that the device names"),
        ribcl_transport: Option<Wrapping> => option("ribcl_transport").long("ribcl-transport").argument("[raw/http]")
            .help("How the device takes RIBCL: raw (RILOE, iLO 1 and 2) or http (iLO 3 to 5); without it, found out"),
        ca_file: Option<String> => tls::CA_FILE,
        fingerprint: Option<String> => tls::FINGERPRINT,
        powerdown: Option<PowerdownWord> => option("ilo_powerdown_method").long("ilo-powerdown-method")
            .argument("[button/power]").order(200)
            .help("How to switch off: hold the power button (button) or set the power (power); without it, what suits the device"),
        proxyhost: Option<String> => option("ilo_proxyhost").long("ilo-proxyhost").argument("[host]").order(200)
            .help("HTTP proxy through which the device is reached"),
        proxyport: u16 => option("ilo_proxyport").long("ilo-proxyport").argument("[port]").order(200).default("3128")
            .help("TCP port of the proxy"),
    }
}

/// `power_timeout` where the caller minds the time.
const USUAL_POWER_TIMEOUT: Duration = Duration::from_secs(20);

struct Ilo {
    call: Call,
    device: Device,
    powerdown: Option<Powerdown>,
    /// It has been said that the device's TLS is old.
    told: bool,
    /// When `SET_HOST_POWER` was taken, until the machine is seen off or the button is held.
    asked_off: Option<Instant>,
}

impl PowerDevice for Ilo {
    const SPEC: FenceSpec = FenceSpec {
        takes: &[
            Takes::Ip,
            Takes::Login,
            Takes::Password,
            Takes::Ssl,
            Takes::NoTls,
            Takes::Tls10,
            Takes::Method,
        ],
        adjust: &[
            adjust("ssl").default("1"),
            adjust("login_timeout").default("10"),
            adjust("retry_on").default("3"),
            adjust("ipaddr").required(false),
        ],
        symlinks: &[
            Symlink { name: "fence_ilo2", shortdesc: "Fence agent for HP iLO2", adjust: &[] },
            Symlink { name: "fence_riloe", shortdesc: "Fence agent for HP RILOE", adjust: &[] },
        ],
        external: Some(EXTERNAL),
        ..FenceSpec::new(
            "fence_ilo",
            "Fence agent for HP iLO",
            "fence_ilo switches the power of a node through its Lights-Out processor (RILOE, iLO 1 to 5) by RIBCL.\n.P\n\
             The device's certificate is verified: most devices have a self-signed one, which \\fBssl_fingerprint\\fP or \
             \\fBssl_ca_file\\fP names. Off and reboot succeed only when the device has reported the node off after the \
             request. An iLO 6 has no RIBCL.",
        )
    };
    type Options = Options;

    fn validate(options: &Options, call: &Call) -> Result<(), FenceError> {
        options.route(call).map(drop)
    }

    fn connect(options: Options, call: Call) -> Result<Self, FenceError> {
        let route = options.route(&call)?;
        if call.tls() == Tls::Off {
            call.log().warning("ssl=0 has no effect: these devices speak tls only; see ssl_insecure");
        }
        let powerdown = match &options.powerdown {
            None => None,
            Some(PowerdownWord(Some(how))) => Some(*how),
            Some(PowerdownWord(None)) => {
                call.log().warning("ilo_powerdown_method is neither button nor power: using power");
                Some(Powerdown::Power)
            }
        };
        let password = Zeroizing::new(call.password().map(|p| p.expose().to_vec()).unwrap_or_default());
        // The same bytes as a device would quote them.
        call.log().never_show(&escaped(&password));
        let account = Account { user: call.login().unwrap_or_default(), password };
        let transport = options.ribcl_transport.map(|wrapping| match wrapping {
            Wrapping::Raw => Transport::Raw,
            Wrapping::Http => Transport::Http,
        });
        let device = Device::new(route, account, transport, options.ribcl.map(|version| version.0));
        Ok(Self { call, device, powerdown, told: false, asked_off: None })
    }

    fn status(&mut self, _: &Plug) -> Result<Power, FenceError> {
        let until = self.until();
        let reported = self.device.power(until)?;
        if self.device.is_old() && !self.told {
            self.told = true;
            self.call.log().warning(
                "the device speaks no tls newer than 1.1, which protects little: gnutls-cli is used; update its firmware if you can",
            );
        }
        self.call.log().debug(format!("the device ({}) reports {reported:?}", self.device.found()));
        Ok(match reported {
            Reported::On => {
                self.hold_if_it_hangs();
                Power::On
            }
            Reported::Off => {
                self.asked_off = None;
                Power::Off
            }
            Reported::Unknown => Power::Unknown,
        })
    }

    fn set(&mut self, _: &Plug, wanted: Wanted) -> Result<(), FenceError> {
        let until = self.until();
        self.asked_off = None;
        let result = match wanted {
            Wanted::On => self.device.on(until),
            Wanted::Off => self.device.off(self.powerdown, until).map(|how| {
                self.asked_off = (how == Powerdown::Power).then(Instant::now);
            }),
        };
        match result {
            // It says that it is so already; whether it is so, the status tells.
            Err(error @ Error::WrongState { .. }) => {
                self.call.log().debug(error.to_string());
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn cycle(&mut self, _: &Plug) -> Result<(), FenceError> {
        let until = self.until();
        Ok(self.device.cycle(until)?)
    }
}

impl Ilo {
    /// `SET_HOST_POWER` may be a short press of the button, which asks the operating system: a node that hangs, which is why it is
    /// fenced, does not heed it. After half of the time it is held, as a person would. The machine has just been reported on.
    fn hold_if_it_hangs(&mut self) {
        let patience = self.call.timing().power.unwrap_or(USUAL_POWER_TIMEOUT) / 2;
        if self.asked_off.is_none_or(|at| at.elapsed() < patience) {
            return;
        }
        self.asked_off = None;
        let seconds = patience.as_secs();
        self.call
            .log()
            .warning(format!("still on {seconds} s after SET_HOST_POWER: holding the power button"));
        let until = self.until();
        if let Err(error) = self.device.hold(until) {
            self.call.log().warning(format!("holding the power button: {error}"));
        }
    }

    /// From now until a question must be answered: each one is a connection with a login of its own.
    fn until(&self) -> ocf_lib::deadline::Deadline {
        self.call.connect_deadline()
    }
}

impl Drop for Ilo {
    fn drop(&mut self) {
        let connections = self.device.connections();
        self.call.log().debug(format!("{connections} connections, {}", self.device.found()));
    }
}

impl Options {
    fn route(&self, call: &Call) -> Result<Route, FenceError> {
        let Some(host) = call.ip() else {
            return Err(FenceError::usage("You have to enter fence address"));
        };
        let tls = TlsSettings::new(call.tls(), self.ca_file.as_deref(), self.fingerprint.as_deref())?;
        let proxy = self.proxyhost.as_deref().map(str::trim).filter(|host| !host.is_empty());
        let proxy = proxy.map(|host| Proxy { host: host.to_owned(), port: self.proxyport });
        let old = match (call.flag("notls"), call.flag("tls1.0")) {
            (true, _) => OldVersions::Always(Versions::Ssl30),
            (false, true) => OldVersions::Always(Versions::Only10),
            (false, false) => OldVersions::IfNeeded,
        };
        if old != OldVersions::IfNeeded && proxy.is_some() {
            return Err(FenceError::usage("notls and tls1.0 cannot go through ilo_proxyhost"));
        }
        let gnutls_cli = call.text("gnutlscli_path").unwrap_or_else(|| "gnutls-cli".into()).into();
        Ok(Route { host: host.to_owned(), port: call.ipport(), tls, old, gnutls_cli, proxy })
    }
}

/// The plugin of Heartbeat's `stonith`, with the nine parameters of the original; the last three are ours.
const EXTERNAL: External = External {
    name: "riloe",
    devid: "iLO STONITH external device",
    devdescr: "Switches a node's power through its HP Lights-Out processor (RILOE, iLO 1 to 5) by RIBCL. The device's \
               certificate is verified: set ssl_fingerprint, ssl_ca_file or, at your own risk, ssl_insecure.",
    devurl: "http://www.hp.com/",
    params: &[
        ExternalParam {
            unique: true,
            ..external_param("hostlist", Meaning::Hosts, true, "Name of the node")
        },
        ExternalParam {
            unique: true,
            ..external_param("ilo_hostname", Meaning::Option("ipaddr"), true, "Address of the device")
        },
        ExternalParam {
            default: Some("Administrator"),
            ..external_param("ilo_user", Meaning::Option("login"), true, "User name at the device")
        },
        ExternalParam {
            default: Some(""),
            ..external_param("ilo_password", Meaning::Password("passwd"), true, "Password at the device")
        },
        ExternalParam {
            default: Some("0"),
            ..external_param(
                "ilo_can_reset",
                Meaning::Words("method", RESETS),
                false,
                "1: reset by the device's own power cycle; 0: by off and on",
            )
        },
        external_param("ilo_protocol", Meaning::Option("ribcl"), false, "RIBCL version, 1.2 or 2.0"),
        ExternalParam {
            default: Some("power"),
            ..external_param(
                "ilo_powerdown_method",
                Meaning::Option("ilo_powerdown_method"),
                false,
                "How to switch off: button or power",
            )
        },
        external_param("ilo_proxyhost", Meaning::Option("ilo_proxyhost"), false, "HTTP proxy to the device"),
        ExternalParam {
            default: Some("3128"),
            ..external_param(
                "ilo_proxyport",
                Meaning::Option("ilo_proxyport"),
                false,
                "TCP port of the proxy",
            )
        },
        hidden("ssl_insecure", "1: do not verify the device's certificate"),
        hidden("ssl_ca_file", "File with the authority of the device's certificate, or that certificate"),
        hidden("ssl_fingerprint", "SHA-256 of the device's certificate"),
        hidden("ipport", "TCP port of the device"),
    ],
};

/// `ilo_can_reset`: a number that is not 0 in the original.
const RESETS: &[(&str, &str)] = &[
    ("0", "onoff"),
    ("1", "cycle"),
    ("no", "onoff"),
    ("yes", "cycle"),
    ("false", "onoff"),
    ("true", "cycle"),
];

/// A parameter that the original does not have: accepted, and not in its list.
const fn hidden(name: &'static str, shortdesc: &'static str) -> ExternalParam {
    ExternalParam { listed: false, ..external_param(name, Meaning::Option(name), false, shortdesc) }
}

fn main() -> ExitCode {
    run::<Ilo>()
}
