//! A Lights-Out processor.

use super::ipmi::{object, power};
use super::quirk::{self, Quirk, account, count, flag, millis};
use super::{Common, Ready};
use clap::ArgMatches;
use ringfence_tests::sim::control::{Device, wanted_power};
use ringfence_tests::sim::ribcl::{Generation, Quirks, Ribcl, Settings, User};
use serde_json::{Map, Value, json};

const QUIRKS: &[Quirk<Quirks>] = &[
    Quirk {
        name: "lies",
        help: "orders are answered with No error and not carried out",
        set: |q, v| flag(v).map(|v| q.lies = v),
    },
    Quirk {
        name: "slow-power",
        help: "orders take effect so many milliseconds later",
        set: |q, v| millis(v).map(|v| q.slow_power = v),
    },
    Quirk {
        name: "answers-after",
        help: "each answer is so many milliseconds late",
        set: |q, v| millis(v).map(|v| q.answers_after = v),
    },
    Quirk {
        name: "busy",
        help: "the first n orders meet an error that goes away",
        set: |q, v| count(v).map(|v| q.busy = v),
    },
    Quirk {
        name: "refuses",
        help: "the first n connections are closed at once",
        set: |q, v| count(v).map(|v| q.refuses = v),
    },
    Quirk {
        name: "flips-before-order",
        help: "somebody presses the button just before the first order",
        set: |q, v| flag(v).map(|v| q.flips_before_order = v),
    },
    Quirk {
        name: "no-set-host-power",
        help: "SET_HOST_POWER is not supported",
        set: |q, v| flag(v).map(|v| q.no_set_host_power = v),
    },
    Quirk {
        name: "hangs",
        help: "the operating system does not heed a short press of the button",
        set: |q, v| flag(v).map(|v| q.hangs = v),
    },
    Quirk {
        name: "quotes-login",
        help: "each login is a syntax error that quotes the line, with the password",
        set: |q, v| flag(v).map(|v| q.quotes_login = v),
    },
    Quirk {
        name: "no-hold",
        help: "HOLD_PWR_BTN is not supported",
        set: |q, v| flag(v).map(|v| q.no_hold = v),
    },
    Quirk {
        name: "warm-cold-boot",
        help: "COLD_BOOT_SERVER does not interrupt the power",
        set: |q, v| flag(v).map(|v| q.warm_cold_boot = v),
    },
    Quirk {
        name: "ribcl-disabled",
        help: "RIBCL is switched off (iLO 5): 404",
        set: |q, v| flag(v).map(|v| q.ribcl_disabled = v),
    },
    Quirk {
        name: "mute",
        help: "takes connections and says nothing",
        set: |q, v| flag(v).map(|v| q.mute = v),
    },
    Quirk {
        name: "piece",
        help: "answers leave in pieces of so many bytes",
        set: |q, v| count(v).map(|v| q.piece = v),
    },
    Quirk {
        name: "cut-after",
        help: "each connection is cut after so many bytes of answer",
        set: |q, v| count(v).map(|v| q.cut_after = Some(v)),
    },
    Quirk {
        name: "stays-open",
        help: "the connection stays open behind the answer",
        set: |q, v| flag(v).map(|v| q.stays_open = v),
    },
    Quirk {
        name: "no-close-notify",
        help: "the connection ends without TLS saying so",
        set: |q, v| flag(v).map(|v| q.no_close_notify = v),
    },
    Quirk {
        name: "self-closed",
        help: "<RIBCL VERSION=../> and the content all the same (iLO 2)",
        set: |q, v| flag(v).map(|v| q.shape.self_closed = v),
    },
    Quirk {
        name: "control-byte",
        help: "a byte that XML does not allow",
        set: |q, v| flag(v).map(|v| q.shape.control_byte = v),
    },
    Quirk {
        name: "not-utf8",
        help: "bytes that are no UTF-8",
        set: |q, v| flag(v).map(|v| q.shape.not_utf8 = v),
    },
    Quirk {
        name: "informs",
        help: "an INFORM with advice in every document",
        set: |q, v| flag(v).map(|v| q.shape.informs = v),
    },
    Quirk {
        name: "short",
        help: "the document that ends an answer is missing",
        set: |q, v| flag(v).map(|v| q.shape.short = v),
    },
    Quirk {
        name: "seed",
        help: "all of it drawn from this number",
        set: |q, v| count(v).map(|v| *q = Quirks::draw(v)),
    },
];

pub fn quirks() -> String {
    quirk::help(QUIRKS)
}

struct Simulated {
    device: Ribcl,
    quirks: Quirks,
}

pub fn start(common: &Common, matches: &ArgMatches) -> Result<Ready, String> {
    let generation = match matches.get_one::<String>("generation").map(String::as_str) {
        Some("riloe") => Generation::Riloe,
        Some("ilo1") => Generation::Ilo1,
        Some("ilo2") => Generation::Ilo2,
        Some("ilo3") => Generation::Ilo3,
        Some("ilo5") => Generation::Ilo5,
        _ => Generation::Ilo4,
    };
    let mut words = common.quirks.clone();
    if let Some(seed) = common.seed {
        words.insert(0, format!("seed={seed}"));
    }
    let quirks = quirk::from_words(QUIRKS, &words)?;
    let mut settings = Settings::new(generation, &common.folder);
    settings.on = common.on;
    settings.tls = !matches.get_flag("plain");
    settings.quirks = quirks.clone();
    if !common.users.is_empty() {
        settings.users = common.users.iter().map(|text| user(text)).collect::<Result<_, _>>()?;
    }
    let tls = settings.tls;
    let device = Ribcl::start_at(settings, common.listen).map_err(|why| format!("cannot start: {why}"))?;
    let mut more = Map::new();
    if tls {
        let file = common.folder.join("certificate.pem");
        std::fs::write(&file, device.certificate_pem())
            .map_err(|why| format!("{}: {why}", file.display()))?;
        more = object(json!({"certificate": file, "fingerprint": device.fingerprint()}));
    }
    Ok(Ready { address: device.address().to_string(), more, device: Box::new(Simulated { device, quirks }) })
}

fn user(text: &str) -> Result<User, String> {
    let (name, password, level) = account(text)?;
    let may_reset = match level {
        None | Some("reset") => true,
        Some("look") => false,
        Some(other) => return Err(format!("--user: level '{other}' is none of reset, look")),
    };
    Ok(User { name: name.into(), password: password.into(), may_reset })
}

impl Device for Simulated {
    fn state(&self) -> Map<String, Value> {
        object(json!({
            "power": power(self.device.is_on()),
            "orders": self.device.orders(),
            "log": self.device.log(),
        }))
    }

    fn set(&mut self, wanted: &Map<String, Value>) -> Result<(), String> {
        self.device.set_power(wanted_power(wanted)?);
        Ok(())
    }

    fn fault(&mut self, faults: &Map<String, Value>) -> Result<(), String> {
        let quirks = quirk::from_request(QUIRKS, &self.quirks, faults)?;
        self.device.set_quirks(quirks.clone());
        self.quirks = quirks;
        Ok(())
    }

    /// RIBCL has none: each connection is one.
    fn sessions(&self) -> Map<String, Value> {
        object(json!({"open": 0, "opened": self.device.connections()}))
    }
}
