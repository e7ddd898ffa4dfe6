//! What `ipmi_sim` runs to read and set the chassis power (`chassis_control` in its configuration): the power is the node's life.
//!
//! The protocol is not in the manual page but in the source of `OpenIPMI`'s lanserv: `get power` wants `power:0` or `power:1` on stdout, `set`
//! takes pairs of a name and a value, and anything but exit 0 becomes an unspecified error for the IPMI client.

use super::control;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;

/// `chassis-hook N get NAME...` or `chassis-hook N set NAME VALUE...`, run in the state directory.
pub(crate) fn main(args: &[OsString]) -> io::Result<()> {
    let words: Vec<String> = args.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [node, "get", names @ ..] => {
            let mut stdout = io::stdout();
            for name in names {
                writeln!(stdout, "{name}:{}", get(node, name)?)?;
            }
            Ok(())
        }
        [node, "set", pairs @ ..] => pairs.chunks(2).try_for_each(|pair| match pair {
            [name, value] => set(node, name, value),
            _ => Err(io::Error::other("a name without a value")),
        }),
        [_, "check", ..] => Ok(()),
        _ => Err(io::Error::other(format!("unknown request '{}'", words.join(" ")))),
    }
}

fn ask(request: &str) -> io::Result<String> {
    control::ask(Path::new("."), request)
}

fn get(node: &str, name: &str) -> io::Result<String> {
    match name {
        "power" => Ok(if ask(&format!("bmc-get {node}"))? == "on" { "1" } else { "0" }.to_owned()),
        "boot" => Ok("default".to_owned()),
        _ => Ok("0".to_owned()),
    }
}

fn set(node: &str, name: &str, value: &str) -> io::Result<()> {
    let wanted = match (name, value) {
        ("power", "1") => "on",
        ("power", "0") | ("shutdown", _) => "off",
        ("reset", _) => "reset",
        // The boot device and the identify light change nothing here.
        _ => return Ok(()),
    };
    ask(&format!("bmc-set {node} {wanted}")).map(drop)
}
