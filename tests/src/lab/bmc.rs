//! Management controllers for the guests: real `ipmi_sim`s in the lab's network whose chassis is the guest, so that a fence agent
//! that says "off" has cut the guest's power, and one that says "on" has started it.
//!
//! `ipmi_sim` asks and sets the power by a program (`chassis_control`, `ipmi_lan(5)`): a script here, which talks with the driver by
//! files. The driver answers `get` with the state of QEMU itself, and `set` only after it has acted.

use super::failure::LabError;
use super::guest::Guest;
use super::open::Lab;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::Duration;

/// The user of every controller.
pub const USER: &str = "admin";
/// Their password.
pub const PASSWORD: &str = "lab-s3cret";
/// The port of the first guest's controller, at 10.55.0.1; the others follow.
const FIRST_PORT: u16 = 6231;
const LOOK: Duration = Duration::from_millis(20);

/// One controller. Dropping it ends it.
struct Bmc {
    child: Child,
}

impl Drop for Bmc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The port of the guest's controller.
#[must_use]
pub fn port(guest: &Guest) -> u16 {
    FIRST_PORT - 1 + u16::from(guest.number())
}

/// Runs `during` while each of the guests has a controller at 10.55.0.1, port [`port`]; they end with it.
///
/// # Errors
/// When a controller cannot be started.
pub fn with_bmcs<T>(lab: &Lab, guests: &[&Guest], during: impl FnOnce() -> T) -> Result<T, LabError> {
    let mut bmcs = Vec::new();
    let mut chassis = Vec::new();
    for guest in guests {
        let home = lab.folder().join(format!("bmc{}", guest.number()));
        bmcs.push(start(lab, guest, &home)?);
        chassis.push((*guest, home));
    }
    let over = AtomicBool::new(false);
    Ok(std::thread::scope(|scope| {
        // Also when `during` panics: the scope would wait for ever.
        let _ends = Ends(&over);
        for (guest, home) in &chassis {
            let over = &over;
            scope.spawn(move || serve(scope, guest, home, over));
        }
        during()
    }))
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps the state's file true, and does what is asked.
fn serve<'scope>(
    scope: &'scope Scope<'scope, '_>,
    guest: &'scope Guest,
    home: &Path,
    over: &'scope AtomicBool,
) {
    let mut told = "";
    while !over.load(Ordering::Relaxed) {
        let asked = fs::read_to_string(home.join("asked")).unwrap_or_default();
        match asked.trim() {
            "off" => guest.cut_power(),
            "on" if !guest.is_on() && !guest.is_coming() => {
                scope.spawn(move || {
                    // A test that ends meanwhile ends this guest, too.
                    if let Err(why) = guest.power_on()
                        && !over.load(Ordering::Relaxed)
                    {
                        let _ = writeln!(std::io::stderr(), "lab: {} does not come up: {why}", guest.name());
                    }
                });
                while !guest.is_coming() && !guest.is_on() && !over.load(Ordering::Relaxed) {
                    std::thread::sleep(LOOK);
                }
            }
            _ => {}
        }
        let state = if guest.is_on() || guest.is_coming() { "1\n" } else { "0\n" };
        if state != told && written(home, "power", state).is_ok() {
            told = state;
        }
        if !asked.is_empty() {
            let _ = fs::remove_file(home.join("asked"));
        }
        std::thread::sleep(LOOK);
    }
}

/// In one step: the script may be reading.
fn written(home: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let fresh = home.join(format!("{name}.new"));
    fs::write(&fresh, text)?;
    fs::rename(fresh, home.join(name))
}

fn start(lab: &Lab, guest: &Guest, home: &Path) -> Result<Bmc, LabError> {
    let io = || LabError::io(format!("prepare {}", home.display()));
    fs::create_dir_all(home.join("state")).map_err(io())?;
    for (name, text) in [
        ("chassis", hook(home)),
        ("lan.conf", lan(guest, home)),
        (
            "bmc.emu",
            "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n"
                .to_owned(),
        ),
        ("power", "1\n".to_owned()),
    ] {
        fs::write(home.join(name), text).map_err(io())?;
    }
    fs::set_permissions(home.join("chassis"), fs::Permissions::from_mode(0o755)).map_err(io())?;
    let log = fs::File::create(lab.logs().join(format!("bmc-{}.log", guest.name()))).map_err(io())?;
    let mut command = Command::new("ipmi_sim");
    let file = |name: &str| -> PathBuf { home.join(name) };
    command.args(["-n", "-d", "-c"]).arg(file("lan.conf")).arg("-f").arg(file("bmc.emu"));
    command
        .arg("-s")
        .arg(file("state"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(io())?)
        .stderr(log);
    Ok(Bmc { child: lab.spawn(&mut command)? })
}

/// `get power`, `set power 0`, `set reset 1`. `set` is over when it is done, or has failed after 10 s.
fn hook(home: &Path) -> String {
    format!(
        "#!/bin/sh\nD={}\necho \"$*\" >>$D/log\n\
         ask() {{ echo $1 >$D/asked.$$ && mv $D/asked.$$ $D/asked && i=0\n\
           while [ -e $D/asked ]; do i=$((i+1)); [ $i -gt 200 ] && exit 1; sleep 0.05; done; }}\n\
         case $1 in\nget) shift; for k in \"$@\"; do case $k in power) read p <$D/power; echo power:$p;; \
         boot) echo boot:default;; *) echo $k:0;; esac; done;;\n\
         set) case $2$3 in power0|shutdown*) ask off;; power1) ask on;; reset*) ask off; ask on;; esac;;\n\
         esac\nexit 0\n",
        home.display()
    )
}

fn lan(guest: &Guest, home: &Path) -> String {
    let auths = ["callback", "user", "operator", "admin"]
        .map(|level| format!("    allowed_auths_{level} none md2 md5 straight\n"))
        .concat();
    format!(
        "name \"{}\"\nset_working_mc 0x20\n  startlan 1\n    addr 10.55.0.1 {}\n    priv_limit admin\n{auths}\
         \x20   guid a123456789abcdefa123456789abcde{}\n  endlan\n  chassis_control \"{}\"\n  startnow false\n\
         \x20 user 1 true \"\" \"test\" user 10 none md2 md5 straight\n\
         \x20 user 2 true \"{USER}\" \"{PASSWORD}\" admin 10 none md2 md5 straight\n",
        guest.name(),
        port(guest),
        guest.number(),
        home.join("chassis").display(),
    )
}
