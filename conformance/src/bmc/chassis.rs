//! The chassis: a folder with the power, the reactions and the log, and the small program that `ipmi_sim` asks.
//!
//! What `chassis_control` is called with stands in no manual but in `OpenIPMI`'s lanserv: `get power` wants `power:0` or
//! `power:1`, `set power 0`, `set power 1` and `set reset 1` change it, and anything but exit 0 becomes an error for the client. It
//! reads up to the end of file, so nothing that stays may hold standard output.

use super::{Order, Reaction};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A reaction is a file `KIND-ORDER`; the delay's holds its seconds.
const KINDS: [&str; 3] = ["ignore", "delay", "fail"];

pub fn furnish(folder: &Path, on: bool) -> io::Result<()> {
    let program = folder.join("chassis");
    fs::write(&program, SCRIPT.replace("FOLDER", &folder.display().to_string()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    forget(folder)?;
    set_power(folder, on)
}

const SCRIPT: &str = r#"#!/bin/sh
cd FOLDER || exit 1
put() { echo "$1" >power.$$ && mv power.$$ power; }
# log ORDER: then 0 go on, 1 do nothing
react() {
  echo "$1" >>log
  [ -e "fail-$1" ] && exit 1
  [ ! -e "ignore-$1" ]
}
case $1 in
get)
  shift
  for name; do
    case $name in
    power)
      react status
      [ -e delay-status ] && { read -r span <delay-status; sleep "$span"; }
      read -r power <power
      echo "power:$power" ;;
    boot) echo boot:default ;;
    *) echo "$name:0" ;;
    esac
  done ;;
set)
  case "$2 $3" in
  "power 0" | "shutdown 1") order=off to=0 ;;
  "power 1") order=on to=1 ;;
  "reset 1") order=reset to=1 ;;
  *) exit 0 ;;
  esac
  react $order || exit 0
  if [ -e delay-$order ]; then
    read -r span <delay-$order
    (sleep "$span"; put $to) >/dev/null 2>&1 </dev/null &
  else
    put $to
  fi ;;
esac
exit 0
"#;

pub fn power(folder: &Path) -> bool {
    fs::read_to_string(folder.join("power")).is_ok_and(|text| text.trim() == "1")
}

/// In one step: the program may be reading.
pub fn set_power(folder: &Path, on: bool) -> io::Result<()> {
    let new = folder.join("power.new");
    fs::write(&new, if on { "1\n" } else { "0\n" })?;
    fs::rename(new, folder.join("power"))
}

pub fn react(folder: &Path, order: Order, reaction: &Reaction) -> io::Result<()> {
    let file = |kind: &str| folder.join(format!("{kind}-{}", order.word()));
    for kind in KINDS {
        match fs::remove_file(file(kind)) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
    }
    match reaction {
        Reaction::Obey => Ok(()),
        Reaction::Ignore => fs::write(file("ignore"), ""),
        Reaction::Delay(span) => fs::write(file("delay"), format!("{}\n", span.as_secs_f64())),
        Reaction::Fail => fs::write(file("fail"), ""),
    }
}

pub fn log(folder: &Path) -> Vec<Order> {
    let text = fs::read_to_string(folder.join("log")).unwrap_or_default();
    text.lines().filter_map(Order::named).collect()
}

pub fn forget(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("log"), "")
}
