//! `ringfence-sim`: a fence device that is not there, for tests of fence agents and clusters. One process is one device: an IPMI
//! BMC, a Lights-Out processor with RIBCL, a pool of XenServer hosts, or a disk with persistent reservations.
//!
//! Power is a file in the device's folder, readable and writable at any time; a control socket beside it tells what the device has
//! seen and makes it misbehave. The simulators are those of `tests/src/sim`, which real clients have proven.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a test bed, not an agent")]

mod ipmi;
mod pr;
mod quirk;
mod ribcl;
mod xenapi;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use ringfence_tests::sim::control::{Control, Device, ask};
use serde_json::{Map, Value, json};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A device that listens.
pub struct Ready {
    pub address: String,
    /// What else a client needs: certificates, further addresses.
    pub more: Map<String, Value>,
    pub device: Box<dyn Device>,
}

/// What every device is told.
pub struct Common {
    pub folder: PathBuf,
    pub listen: SocketAddr,
    pub on: bool,
    pub seed: Option<u64>,
    pub quirks: Vec<String>,
    pub users: Vec<String>,
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    let done = match matches.subcommand() {
        Some(("ask", asked)) => question(asked),
        Some((name, asked)) => run(name, asked),
        None => Err("which device?".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "ringfence-sim: {why}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let device = |name: &'static str, about: &'static str, quirks: String| {
        Command::new(name)
            .about(about)
            .after_help(format!(
                "Quirks, as --quirk NAME or NAME=VALUE, and as names in a fault request:\n{quirks}\n\
                 Control socket FOLDER/control, one JSON object a line: {{\"do\":\"state\"}}, {{\"do\":\"set\",\"power\":\"off\"}}, \
                 {{\"do\":\"fault\",\"lies\":true}}, {{\"do\":\"fault\",\"clear\":true}}, {{\"do\":\"sessions\"}}, {{\"do\":\"quit\"}}."
            ))
            .arg(value("folder", "DIR", "Keeps the power and the control socket; made when it is not there").required(true))
            .arg(value("listen", "ADDRESS:PORT", "Address on loopback; port 0 takes a free one").default_value("127.0.0.1:0"))
            .arg(value("seed", "NUMBER", "Misbehave by this seed, always in the same way"))
            .arg(value("quirk", "NAME[=VALUE]", "How this device is unlike a good one").action(ArgAction::Append))
            .arg(value("user", "NAME:PASSWORD[:LEVEL]", "An account, instead of those that are there by default").action(ArgAction::Append))
            .arg(flag("off", "Power off at the start, where the folder does not say otherwise"))
            .arg(flag("json", "Say as a line of JSON where it listens"))
            .arg(flag("with-parent", "End when the process that started it ends"))
    };
    Command::new("ringfence-sim")
        .about("Simulators of fence devices, for tests")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            device("ipmi", "A BMC: IPMI v1.5 and v2.0 (RMCP+) over UDP", ipmi::quirks())
                .arg(
                    value("suite", "NUMBER", "A cipher suite; by default 17 and 3").action(ArgAction::Append),
                )
                .arg(
                    value(
                        "auth",
                        "WORD",
                        "An authentication of IPMI v1.5: md5, password, none; by default all",
                    )
                    .action(ArgAction::Append),
                )
                .arg(value("kg", "TEXT", "The BMC's key"))
                .arg(value("slots", "NUMBER", "Sessions at a time").default_value("8"))
                .arg(
                    value("behind", "ADDRESS", "A controller behind the bridge, by slave address (0x20)")
                        .action(ArgAction::Append),
                ),
        )
        .subcommand(
            device("ribcl", "A Lights-Out processor: RIBCL over TLS (to iLO 2) or HTTPS", ribcl::quirks())
                .arg(
                    value("generation", "WORD", "Which processor")
                        .value_parser(PossibleValuesParser::new([
                            "riloe", "ilo1", "ilo2", "ilo3", "ilo4", "ilo5",
                        ]))
                        .default_value("ilo4"),
                )
                .arg(flag("plain", "Without TLS, for an end of one's own in front")),
        )
        .subcommand(
            device("xenapi", "A pool of XenServer hosts: XML-RPC and JSON-RPC", xenapi::quirks())
                .arg(
                    value("hosts", "NUMBER", "Hosts, each at an address of its own; the first is the master")
                        .default_value("1"),
                )
                .arg(
                    value("vm", "NAME[=STATE]", "A machine: Running, Halted, Paused or Suspended")
                        .action(ArgAction::Append),
                )
                .arg(flag("tls", "https instead of http")),
        )
        .subcommand(
            device(
                "pr",
                "A SCSI disk with persistent reservations; commands come by the control socket",
                pr::help(),
            )
            .arg(flag("no-full-status", "It does not know READ FULL STATUS, as tgtd's disks"))
            .arg(flag("no-abort", "It does not know PREEMPT AND ABORT, as tgtd's disks"))
            .arg(value("room", "NUMBER", "Registrations that it has room for").default_value("128"))
            .arg(
                value("faults", "NUMBER", "Of a thousand commands, how many go wrong, by the seed")
                    .default_value("0"),
            ),
        )
        .subcommand(
            Command::new("ask")
                .about("Ask a running simulator, and print its answer")
                .arg(Arg::new("folder").value_name("DIR").required(true).help("The simulator's folder"))
                .arg(Arg::new("request").value_name("JSON").required(true).help("As {\"do\":\"state\"}")),
        )
}

fn value(name: &'static str, argument: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(argument).help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// All values of an option that may be repeated.
pub fn all(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches.get_many::<String>(name).into_iter().flatten().cloned().collect()
}

/// The value of an option that is a number.
pub fn number<T: std::str::FromStr>(matches: &ArgMatches, name: &str) -> Result<Option<T>, String> {
    matches
        .get_one::<String>(name)
        .map(|text| text.parse().map_err(|_| format!("--{name}: '{text}' is not such a number")))
        .transpose()
}

fn run(name: &str, matches: &ArgMatches) -> Result<(), String> {
    if matches.get_flag("with-parent") {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
            .map_err(|why| format!("--with-parent: {why}"))?;
    }
    let listen = matches.get_one::<String>("listen").map(String::as_str).unwrap_or_default();
    let listen: SocketAddr =
        listen.parse().map_err(|_| format!("--listen: '{listen}' is not ADDRESS:PORT"))?;
    // It has a known password, and does what it is told.
    if !listen.ip().is_loopback() {
        return Err(format!("--listen: {} is not on loopback", listen.ip()));
    }
    let common = Common {
        folder: matches.get_one::<String>("folder").map(PathBuf::from).unwrap_or_default(),
        listen,
        on: !matches.get_flag("off"),
        seed: number(matches, "seed")?,
        quirks: all(matches, "quirk"),
        users: all(matches, "user"),
    };
    std::fs::create_dir_all(&common.folder).map_err(|why| format!("{}: {why}", common.folder.display()))?;
    let ready = match name {
        "ipmi" => ipmi::start(&common, matches),
        "ribcl" => ribcl::start(&common, matches),
        "pr" => pr::start(&common, matches),
        _ => xenapi::start(&common, matches),
    }?;
    let path = common.folder.join("control");
    let control = Control::start(&path, ready.device).map_err(|why| format!("{}: {why}", path.display()))?;
    let said = if matches.get_flag("json") {
        let mut line = ready.more;
        line.insert("device".to_owned(), json!(name));
        line.insert("address".to_owned(), json!(ready.address));
        line.insert("folder".to_owned(), json!(common.folder));
        line.insert("control".to_owned(), json!(path));
        Value::Object(line).to_string()
    } else {
        format!("{name} at {}, control at {}", ready.address, path.display())
    };
    // Whoever started it may not care.
    let _ = writeln!(std::io::stdout(), "{said}");
    control.wait();
    Ok(())
}

fn question(matches: &ArgMatches) -> Result<(), String> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let path = Path::new(&text("folder")).join("control");
    let request = serde_json::from_str(&text("request")).map_err(|why| format!("no JSON: {why}"))?;
    let answer = ask(&path, &request).map_err(|why| format!("{}: {why}", path.display()))?;
    println!("{answer}");
    if answer.get("ok") == Some(&Value::Bool(true)) {
        Ok(())
    } else {
        Err("the simulator refused that".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
