//! A real BMC for fence agents: `ipmi_sim` of `OpenIPMI`, inside the trial's host, with a chassis that is a folder.
//!
//! The power is a file and every order to the chassis is a line of a log, so that a case asks these and never the agent.
//! It speaks IPMI v1.5 and v2.0 with cipher suites 0 to 3 (2.0.33 knows no SHA-256), and ends with the trial's host.

mod chassis;
mod session;

use crate::call::pause;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to answer after its start.
const START: Duration = Duration::from_secs(10);

/// What the BMC is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub address: SocketAddr,
    /// The account that agents are given.
    pub user: String,
    pub password: String,
    /// The account's highest privilege: `callback`, `user`, `operator`, `admin`.
    pub privilege: String,
    /// The key Kg that every RMCP+ session needs, as text; `None`: none is set.
    pub kg: Option<String>,
    /// Kinds of authentication of v1.5: words of `none`, `md2`, `md5`, `straight`.
    pub auths: String,
    /// The power in the beginning.
    pub on: bool,
}

impl Default for Options {
    /// 192.0.2.1:623, account `admin` with password `s3cret1`, node on.
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 623),
            user: "admin".to_owned(),
            password: "s3cret1".to_owned(),
            privilege: "admin".to_owned(),
            kg: None,
            auths: "none md2 md5 straight".to_owned(),
            on: true,
        }
    }
}

/// What an agent can ask of the chassis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Status,
    On,
    Off,
    /// The cold reset; `cycle` of the simulator is an off and, a second later, an on.
    Reset,
}

impl Order {
    pub const ALL: [Self; 4] = [Self::Status, Self::On, Self::Off, Self::Reset];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::On => "on",
            Self::Off => "off",
            Self::Reset => "reset",
        }
    }

    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.word() == word)
    }
}

/// What becomes of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    Obey,
    /// It is taken, with success, and nothing happens.
    Ignore,
    /// It is taken, and carried out so much later. For a status: the answer comes so much later.
    Delay(Duration),
    /// The BMC answers with an error, and nothing happens.
    Fail,
}

/// A running BMC. Its process ends with this value, and at the latest with the trial's host.
pub struct Bmc {
    folder: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
}

impl Bmc {
    /// Starts one and waits until it answers. `Err`: `ipmi_sim` (package openipmi) is missing, or what it said.
    pub fn start(options: &Options) -> Result<Self, String> {
        Self::start_in(Path::new(crate::host::OWN), options)
    }

    fn start_in(home: &Path, options: &Options) -> Result<Self, String> {
        let folder =
            home.join(format!("bmc-{}-{}", options.address.ip(), options.address.port()).replace(':', "_"));
        let told = |why: std::io::Error| format!("{}: {why}", folder.display());
        if !crate::tool::is_there("ipmi_sim") {
            return Err("needs ipmi_sim (package openipmi), which is not installed".to_owned());
        }
        for text in [Some(&options.user), Some(&options.password), options.kg.as_ref()].into_iter().flatten()
        {
            if text.len() > 16 || text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\\')) {
                return Err(format!(
                    "ipmi_sim cannot be given {text:?}: up to 16 bytes, no blanks, no quotes"
                ));
            }
        }
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("state")).map_err(told)?;
        chassis::furnish(&folder, options.on).map_err(told)?;
        fs::write(folder.join("lan.conf"), configuration(options, &folder)).map_err(told)?;
        fs::write(folder.join("bmc.emu"), EMULATION).map_err(told)?;
        let mut bmc = Self { folder, address: options.address, child: None };
        bmc.come_back()?;
        Ok(bmc)
    }

    /// Whether the node is on, in truth.
    pub fn power(&self) -> bool {
        chassis::power(&self.folder)
    }

    /// Somebody presses the button.
    pub fn set_power(&self, on: bool) -> Result<(), String> {
        chassis::set_power(&self.folder, on).map_err(|why| format!("the power's file: {why}"))
    }

    /// From now on, orders of this kind have this effect.
    pub fn react(&self, order: Order, reaction: &Reaction) -> Result<(), String> {
        chassis::react(&self.folder, order, reaction).map_err(|why| format!("the chassis: {why}"))
    }

    /// Orders that have arrived, oldest first, also those that were not obeyed.
    pub fn requests(&self) -> Vec<Order> {
        chassis::log(&self.folder)
    }

    /// Orders that change something: all but the questions for the status.
    pub fn deeds(&self) -> Vec<Order> {
        self.requests().into_iter().filter(|order| *order != Order::Status).collect()
    }

    /// Forgets what has arrived.
    pub fn forget(&self) -> Result<(), String> {
        chassis::forget(&self.folder).map_err(|why| format!("the chassis' log: {why}"))
    }

    /// Sessions that are open now, as it says itself (Get Session Info, IPMI 22.20) in one that is not counted.
    pub fn sessions(&self) -> Result<usize, String> {
        session::open_now(self.address)
    }

    /// It takes datagrams and answers none (`false`), or goes on (`true`) with all that came meanwhile.
    pub fn answering(&self, yes: bool) -> Result<(), String> {
        let child = self.child.as_ref().ok_or("the BMC has been ended")?;
        let pid = i32::try_from(child.id()).map_err(|why| why.to_string())?;
        kill(Pid::from_raw(pid), if yes { Signal::SIGCONT } else { Signal::SIGSTOP })
            .map_err(|errno| format!("signal to ipmi_sim: {}", errno.desc()))
    }

    /// Ends it: its port is closed, its sessions are lost, the power stays.
    pub fn go(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, with the same accounts and the same power.
    pub fn come_back(&mut self) -> Result<(), String> {
        self.go();
        let child = self.spawn().map_err(|why| format!("start ipmi_sim: {why}"))?;
        self.child = Some(child);
        let until = Instant::now() + START;
        while !session::answers(self.address) {
            if Instant::now() > until {
                let said = fs::read_to_string(self.folder.join("stderr")).unwrap_or_default();
                return Err(format!("ipmi_sim does not answer: {}", said.trim()));
            }
            pause(Duration::from_millis(5));
        }
        Ok(())
    }

    fn spawn(&self) -> std::io::Result<Child> {
        #[allow(
            clippy::disallowed_methods,
            reason = "the judge is its own program: it shares nothing with ocf-lib"
        )]
        let mut command = Command::new("/usr/bin/ipmi_sim");
        command
            .args(["-n", "-d", "-c"])
            .arg(self.folder.join("lan.conf"))
            .arg("-f")
            .arg(self.folder.join("bmc.emu"))
            .arg("-s")
            .arg(self.folder.join("state"))
            .env_clear()
            .env("PATH", crate::call::PATH)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.folder.join("stderr"))?);
        command.spawn()
    }
}

impl Drop for Bmc {
    fn drop(&mut self) {
        self.go();
    }
}

/// Two controllers: the BMC, and one behind it at 30h.
const EMULATION: &str = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
    mc_enable 0x20\nmc_add 0x30 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x30\n";

/// `ipmi_lan(5)`. Account 1 has no name, account 5 is the judge's own.
fn configuration(options: &Options, folder: &Path) -> String {
    let kg = options.kg.as_ref().map(|kg| format!("    bmc_key \"{kg}\"\n")).unwrap_or_default();
    let offered = format!("none {}", options.auths);
    let auths = ["callback", "user", "operator", "admin"].map(|level| {
        let kinds = if level == "admin" { &offered } else { &options.auths };
        format!("    allowed_auths_{level} {kinds}\n")
    });
    let chassis = folder.join("chassis");
    let chassis = chassis.display();
    format!(
        "name \"judged\"\nset_working_mc 0x20\n  startlan 1\n    addr {} {}\n    priv_limit admin\n{kg}{}\
         \x20   guid a123456789abcdefa123456789abcde1\n  endlan\n  chassis_control \"{chassis}\"\n  startnow false\n\
         \x20 user 1 true \"\" \"{password}\" user 10 {kinds}\n\
         \x20 user 2 true \"{}\" \"{password}\" {} 10 {kinds}\n\
         \x20 user 5 true \"{}\" \"\" admin 10 none\n\
         set_working_mc 0x30\n  chassis_control \"{chassis}\"\n",
        options.address.ip(),
        options.address.port(),
        auths.concat(),
        options.user,
        options.privilege,
        session::ACCOUNT,
        password = options.password,
        kinds = options.auths,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(kg: Option<&str>) -> (tempfile::TempDir, Bmc) {
        let home = tempfile::tempdir().unwrap();
        let address = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let options = Options { address, kg: kg.map(str::to_owned), ..Options::default() };
        let bmc = Bmc::start_in(home.path(), &options).unwrap();
        (home, bmc)
    }

    /// `ipmitool` and its exit status.
    fn ipmitool(bmc: &Bmc, more: &str) -> (String, bool) {
        let port = bmc.address.port();
        let words = format!("-I lanplus -C 3 -N 1 -R 1 -H 127.0.0.1 -p {port} -U admin -P s3cret1 {more}");
        match crate::tool::output("ipmitool", &words.split(' ').collect::<Vec<_>>()) {
            Ok(said) => (said, true),
            Err(why) => (why, false),
        }
    }

    #[test]
    fn the_power_is_a_file_and_orders_are_logged() {
        let (_home, bmc) = some(None);
        assert!(ipmitool(&bmc, "chassis power status").0.contains("is on"));
        assert!(ipmitool(&bmc, "chassis power off").1 && !bmc.power());
        bmc.set_power(true).unwrap();
        assert!(ipmitool(&bmc, "chassis power status").0.contains("is on"));
        assert!(ipmitool(&bmc, "chassis power reset").1);
        assert_eq!(bmc.requests(), [Order::Status, Order::Off, Order::Status, Order::Reset]);
        assert_eq!(bmc.deeds(), [Order::Off, Order::Reset]);
        bmc.forget().unwrap();
        assert_eq!(bmc.requests(), []);
        assert_eq!(bmc.sessions().unwrap(), 0);
    }

    #[test]
    fn reactions() {
        let (_home, bmc) = some(None);
        bmc.react(Order::Off, &Reaction::Ignore).unwrap();
        assert!(ipmitool(&bmc, "chassis power off").1 && bmc.power());
        bmc.react(Order::Off, &Reaction::Fail).unwrap();
        assert!(!ipmitool(&bmc, "chassis power off").1 && bmc.power());
        bmc.react(Order::Off, &Reaction::Delay(Duration::from_millis(400))).unwrap();
        assert!(ipmitool(&bmc, "chassis power off").1 && bmc.power());
        pause(Duration::from_millis(800));
        assert!(!bmc.power());
        bmc.react(Order::On, &Reaction::Obey).unwrap();
        assert!(ipmitool(&bmc, "chassis power on").1 && bmc.power());
        assert_eq!(bmc.deeds().len(), 4);
    }

    #[test]
    fn silent_gone_and_back_with_its_key() {
        let (_home, mut bmc) = some(Some("k"));
        assert!(ipmitool(&bmc, "-k k mc info").1 && !ipmitool(&bmc, "mc info").1);
        bmc.answering(false).unwrap();
        assert!(!session::answers(bmc.address));
        bmc.answering(true).unwrap();
        assert!(session::answers(bmc.address));
        bmc.go();
        assert!(!session::answers(bmc.address));
        bmc.come_back().unwrap();
        assert!(bmc.power());
    }
}
