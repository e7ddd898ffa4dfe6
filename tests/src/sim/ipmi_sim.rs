//! The real `ipmi_sim` of `OpenIPMI` with a chassis that is a directory: the power is a file, each command a line of a log.
//!
//! It is the one BMC here that nobody of this project wrote. Its truth is asked of the files, never of itself.

#![allow(clippy::disallowed_methods, reason = "a test bed: it starts a daemon and waits for it")]

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::bmc_wire::packet15;

/// How long it may take to answer after its start.
const START: Duration = Duration::from_secs(10);

/// A running `ipmi_sim` with its own directory and port; ended with this value, or with the test process.
pub struct IpmiSim {
    directory: TempDir,
    address: SocketAddr,
    keeper: Option<JoinHandle<()>>,
    orders: Sender<Order>,
}

enum Order {
    Restart(Option<Sender<()>>),
    End,
}

/// Restarts it from another thread: its sessions are gone, the power stays.
#[derive(Clone)]
pub struct Restarter(Sender<Order>);

impl Restarter {
    /// Returns at once; for some milliseconds the port is closed.
    pub fn strike(&self) {
        // the simulator may have ended already
        let _ = self.0.send(Order::Restart(None));
    }
}

impl IpmiSim {
    /// Starts one on 127.0.0.1, with accounts `admin`, `oper` and `user` (password `s3cret1`) and a second controller at 30h.
    ///
    /// # Errors
    /// When `ipmi_sim` (package `openipmi`) or `setpriv` is missing, or does not answer in ten seconds.
    pub fn start(kg: Option<&str>) -> io::Result<Self> {
        let directory = TempDir::new()?;
        let path = directory.path();
        // a port that was free a moment ago
        let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        for (name, text) in [
            ("chassis", hook(path)),
            ("lan.conf", lan(address, path, kg)),
            ("bmc.emu", EMULATION.to_owned()),
            ("power", "1\n".to_owned()),
            ("log", String::new()),
        ] {
            fs::write(path.join(name), text)?;
        }
        fs::set_permissions(path.join("chassis"), fs::Permissions::from_mode(0o755))?;
        fs::create_dir(path.join("state"))?;
        let (orders, ordered) = channel();
        let (started, start) = channel();
        let home = path.to_path_buf();
        // the thread that starts it stays: the kernel ends it with that very thread
        let keeper = std::thread::Builder::new().name("ipmi_sim".into()).spawn(move || {
            let mut child = match spawn(&home) {
                Ok(child) => child,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let _ = started.send(Ok(()));
            while let Ok(Order::Restart(done)) = ordered.recv() {
                end(&mut child);
                match spawn(&home) {
                    Ok(new) => child = new,
                    Err(_) => return,
                }
                if let Some(done) = done {
                    let _ = done.send(());
                }
            }
            end(&mut child);
        })?;
        start.recv().map_err(io::Error::other)??;
        let sim = Self { directory, address, keeper: Some(keeper), orders };
        sim.wait_until_it_answers()?;
        Ok(sim)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn wait_until_it_answers(&self) -> io::Result<()> {
        let until = Instant::now() + START;
        while !self.answers() {
            if Instant::now() > until {
                let said = fs::read_to_string(self.directory().join("stderr")).unwrap_or_default();
                return Err(io::Error::other(format!("ipmi_sim does not answer: {said}")));
            }
        }
        Ok(())
    }

    /// Whether it is alive: Get Channel Authentication Capabilities has an answer.
    pub fn answers(&self) -> bool {
        Probe::new(self.address).is_ok_and(|mut probe| probe.ask(0, 0x38, &[0x0E, 4]).is_some())
    }

    /// Kills it, starts it again, and waits until it answers.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart(&self) -> io::Result<()> {
        let (done, is_done) = channel();
        self.orders.send(Order::Restart(Some(done))).map_err(io::Error::other)?;
        is_done.recv().map_err(io::Error::other)?;
        self.wait_until_it_answers()
    }

    /// A handle to restart it while a test runs.
    pub fn restarter(&self) -> Restarter {
        Restarter(self.orders.clone())
    }

    /// The node's real power, from its file.
    pub fn is_on(&self) -> bool {
        fs::read_to_string(self.directory().join("power")).is_ok_and(|text| text.trim() == "1")
    }

    /// Somebody presses the button.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_power(&self, on: bool) -> io::Result<()> {
        // in one step: the hook may be reading
        let new = self.directory().join("power.new");
        fs::write(&new, if on { "1\n" } else { "0\n" })?;
        fs::rename(new, self.directory().join("power"))
    }

    /// Power commands are accepted and not carried out.
    ///
    /// # Errors
    /// When the file cannot be changed.
    pub fn lie(&self, lies: bool) -> io::Result<()> {
        self.mark("lies", lies.then(String::new))
    }

    /// A power command takes effect so many seconds later; `None`: at once.
    ///
    /// # Errors
    /// When the file cannot be changed.
    pub fn be_slow(&self, seconds: Option<&str>) -> io::Result<()> {
        self.mark("slow", seconds.map(|text| format!("{text}\n")))
    }

    fn mark(&self, name: &str, text: Option<String>) -> io::Result<()> {
        let path = self.directory().join(name);
        match text {
            Some(text) => fs::write(path, text),
            None => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// What the chassis was told, oldest first: `power 0`, `reset 1`.
    pub fn commands(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Forgets what the chassis was told.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget_commands(&self) -> io::Result<()> {
        fs::write(self.directory().join("log"), "")
    }

    /// Sessions open now, as it says itself in a session of ours that is not counted (Get Session Info, 22.20).
    ///
    /// # Errors
    /// When it does not answer, or refuses: it may have no slot left.
    pub fn open_sessions(&self) -> io::Result<usize> {
        let mut probe = Probe::new(self.address)?;
        let no = |what: &str| io::Error::other(format!("ipmi_sim: {what}"));
        let mut asked = vec![0];
        asked.extend(b"admin");
        asked.resize(17, 0);
        let challenge = probe.ask(0, 0x39, &asked).ok_or_else(|| no("no challenge"))?;
        let (id, bytes) = (word(&challenge, 1), challenge.get(5..21));
        let (Some(id), Some(bytes)) = (id, bytes) else { return Err(no("short challenge")) };
        let mut asked = vec![0, 4];
        asked.extend(bytes);
        asked.extend(1_u32.to_le_bytes());
        let active = probe.ask(id, 0x3A, &asked).ok_or_else(|| no("no activation"))?;
        let (Some(id), Some(first)) = (word(&active, 2), word(&active, 6)) else {
            return Err(no("no session free"));
        };
        probe.number = first;
        let info = probe.ask(id, 0x3D, &[0]);
        let _ = probe.ask(id, 0x3B, &[4]);
        let _ = probe.ask(id, 0x3C, &id.to_le_bytes());
        let count = info.as_ref().and_then(|info| info.get(3)).ok_or_else(|| no("no session info"))?;
        Ok(usize::from(*count).saturating_sub(1))
    }
}

impl Drop for IpmiSim {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn spawn(home: &Path) -> io::Result<Child> {
    let file = |name: &str| -> PathBuf { home.join(name) };
    // setpriv becomes ipmi_sim
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "ipmi_sim", "-n", "-d", "-c"])
        .arg(file("lan.conf"))
        .arg("-f")
        .arg(file("bmc.emu"))
        .arg("-s")
        .arg(file("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(file("stderr"))?)
        .spawn()
}

const EMULATION: &str = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
    mc_enable 0x20\nmc_add 0x30 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x30\n";

/// `get power` says what the file says; `set power N` writes it, later when `slow` exists, never when `lies` exists.
fn hook(home: &Path) -> String {
    format!(
        "#!/bin/sh\nD={}\ncase $1 in\nget) read p <$D/power; shift; for k in \"$@\"; do case $k in power) echo power:$p;; \
         boot) echo boot:default;; *) echo $k:0;; esac; done;;\nset) shift; echo \"$*\" >>$D/log; [ -e $D/lies ] && exit 0\n\
         [ $1 = power ] || exit 0\nif [ -e $D/slow ]; then read s <$D/slow; (sleep $s; echo $2 >$D/power) >/dev/null 2>&1 & exit 0; fi\n\
         echo $2 >$D/power;;\nesac\nexit 0\n",
        home.display()
    )
}

fn lan(address: SocketAddr, home: &Path, kg: Option<&str>) -> String {
    let kg = kg.map(|kg| format!("    bmc_key \"{kg}\"\n")).unwrap_or_default();
    let auths = ["callback", "user", "operator", "admin"]
        .map(|level| format!("    allowed_auths_{level} none md2 md5 straight\n"))
        .concat();
    let chassis = home.join("chassis");
    let chassis = chassis.display();
    format!(
        "name \"test\"\nset_working_mc 0x20\n  startlan 1\n    addr {} {}\n    priv_limit admin\n{kg}{auths}\
         \x20   guid a123456789abcdefa123456789abcde1\n  endlan\n  chassis_control \"{chassis}\"\n  startnow false\n\
         \x20 user 1 true \"\" \"test\" user 10 none md2 md5 straight\n\
         \x20 user 2 true \"admin\" \"s3cret1\" admin 10 none md2 md5 straight\n\
         \x20 user 4 true \"user\" \"s3cret1\" user 10 none md2 md5 straight\n\
         \x20 user 3 true \"oper\" \"s3cret1\" operator 10 none md2 md5 straight\n\
         set_working_mc 0x30\n  chassis_control \"{chassis}\"\n",
        address.ip(),
        address.port(),
    )
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The smallest v1.5 client there is, without authentication: to ask the daemon about itself, not to prove anything.
struct Probe {
    socket: UdpSocket,
    sequence: u8,
    number: u32,
}

impl Probe {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = Ipv4Addr::UNSPECIFIED.into();
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(Self { socket, sequence: 0, number: 0 })
    }

    /// Completion code and data of an App command; `None` when there is no answer.
    fn ask(&mut self, session: u32, command: u8, data: &[u8]) -> Option<Vec<u8>> {
        let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        self.sequence = (self.sequence + 1) & 0x3F;
        let mut message = vec![0x20, 0x18];
        message.push(sum(&message));
        let mut body = vec![0x81, self.sequence << 2, command];
        body.extend(data);
        body.push(sum(&body));
        message.extend(body);
        let mut buffer = [0; 512];
        for _ in 0..5 {
            self.socket.send(&packet15(0, None, session, self.number, &message)).ok();
            if self.number > 0 {
                self.number += 1;
            }
            let until = Instant::now() + Duration::from_millis(200);
            while Instant::now() < until {
                match self.socket.recv(&mut buffer) {
                    Ok(length) => {
                        // 14 bytes of headers without a code, then addresses, sequence, command
                        let message = buffer.get(14..length).unwrap_or_default();
                        if let [_, _, _, _, sequence, heard, answer @ .., _] = message
                            && (*sequence, *heard) == (self.sequence << 2, command)
                        {
                            return Some(answer.to_vec());
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        std::thread::sleep(Duration::from_millis(20));
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
        None
    }
}
