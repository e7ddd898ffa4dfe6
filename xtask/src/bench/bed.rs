//! Where the measured calls run: a network namespace of their own, with addresses on a veth pair
//! and a real `ipmi_sim` on loopback. All of it ends with this program, also when that is killed.

use super::call::Call;
use crate::process;
use ringfence_tests::sim::ribcl::{self, Generation, Ribcl};
use ringfence_tests::sim::xenapi::{self, Pool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

pub const ADDRESS: &str = "10.66.0.100";
pub const DEVICE: &str = "rf0";
const PASSWORD: &str = "s3cret";

/// Lives as long as the measurement.
pub struct Bed {
    dir: tempfile::TempDir,
    simulator: Option<Child>,
    /// In this program: threads in the namespace.
    others: Option<Others>,
}

/// Devices that Debian has no simulator of.
struct Others {
    ilo: Ribcl,
    pool: Pool,
}

impl Bed {
    /// Moves this program into the namespace: what needs the network must be done before.
    pub fn new() -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("bench needs root: a network namespace, addresses, a BMC on port 623".to_owned());
        }
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
            .map_err(|why| format!("cannot make a network namespace: {why}"))?;
        let dir = tempfile::tempdir().map_err(|why| format!("cannot make a temporary folder: {why}"))?;
        fs::create_dir(dir.path().join("rsctmp")).map_err(|why| why.to_string())?;
        let mut bed = Self { dir, simulator: None, others: None };
        // A pair and not a dummy device: kernels without loadable modules may lack that.
        for line in [
            "link set lo up",
            "link add rf0 type veth peer name rf1",
            "addr add 10.66.0.2/24 dev rf0",
            "link set rf0 up",
            "link set rf1 up",
        ] {
            ip(line)?;
        }
        bed.simulator = Some(bed.start_simulator()?);
        let not = |what: &'static str| {
            move |why: std::io::Error| format!("cannot start the simulator of {what}: {why}")
        };
        bed.others = Some(Others {
            ilo: Ribcl::start(ribcl::Settings::new(Generation::Ilo2, bed.dir.path().join("ilo")))
                .map_err(not("an iLO"))?,
            pool: Pool::start(xenapi::Settings::default()).map_err(not("a XenServer pool"))?,
        });
        Ok(bed)
    }

    fn start_simulator(&self) -> Result<Child, String> {
        let file = |name: &str, text: &str, mode: u32| {
            let path = self.dir.path().join(name);
            crate::workspace::replace(&path, text.as_bytes(), mode).map(|()| path)
        };
        // Called by ipmi_sim through popen. The power is a file; everything else is accepted.
        let power = file("power", "1\n", 0o600)?;
        let power = power.display();
        let hook = format!(
            "#!/bin/sh\nverb=$1; shift\nwhile [ $# -gt 0 ]; do\n  [ $verb$1 != getpower ] || echo power:$(cat {power})\n  \
             [ $verb$1 != setpower ] || echo $2 >{power}\n  shift\ndone\nexit 0\n"
        );
        let hook = file("chassis", &hook, 0o755)?;
        let lan = format!(
            "name \"bench\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 623\n    priv_limit admin\n    \
             allowed_auths_callback none md2 md5 straight\n    allowed_auths_user none md2 md5 straight\n    \
             allowed_auths_operator none md2 md5 straight\n    allowed_auths_admin none md2 md5 straight\n    \
             guid a123456789abcdefa123456789abcdef\n  endlan\n  chassis_control \"{}\"\n  startnow false\n  \
             user 1 true \"\" \"test\" user 10 none md2 md5 straight\n  \
             user 2 true \"admin\" \"{PASSWORD}\" admin 10 none md2 md5 straight\n",
            hook.display()
        );
        let lan = file("lan.conf", &lan, 0o600)?;
        let emulation = file(
            "bmc.emu",
            "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
             sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n",
            0o600,
        )?;
        // setpriv: the kernel ends it when this program is gone, however that goes.
        let child = process::command("setpriv")
            .args(["--pdeathsig", "KILL", "ipmi_sim", "-n", "-d", "-c"])
            .arg(&lan)
            .arg("-f")
            .arg(&emulation)
            .arg("-s")
            .arg(self.dir.path().join("bmc-state"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|why| format!("cannot start ipmi_sim: {why}"))?;
        let begin = Instant::now();
        // /proc/net is this process's first thread's: the one that moved.
        while !fs::read_to_string("/proc/thread-self/net/udp")
            .is_ok_and(|sockets| sockets.contains("0100007F:026F"))
        {
            if begin.elapsed() > Duration::from_secs(10) {
                return Err("ipmi_sim does not listen on 127.0.0.1:623 after 10 s".to_owned());
            }
            #[allow(clippy::disallowed_methods, reason = "bounded by the deadline above")]
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(child)
    }

    /// A call of a resource agent in this bed.
    pub fn resource(&self, program: &Path, verb: &str, parameters: &[(&str, &str)]) -> Call {
        let mut call = Call::new(program, &[verb])
            .set("OCF_ROOT", "/usr/lib/ocf")
            .set("OCF_RA_VERSION_MAJOR", "1")
            .set("OCF_RA_VERSION_MINOR", "1")
            .set("OCF_RESOURCE_INSTANCE", "bench")
            .set("OCF_RESKEY_CRM_meta_timeout", "20000")
            .set("HA_RSCTMP", self.dir.path().join("rsctmp").to_string_lossy())
            .set("HA_LOGFACILITY", "none");
        if verb == "monitor" {
            call = call.set("OCF_RESKEY_CRM_meta_interval", "10000");
        }
        for (name, value) in parameters {
            call = call.set(&format!("OCF_RESKEY_{name}"), *value);
        }
        call
    }

    /// A call of a fence agent as Pacemaker makes it: everything on stdin.
    pub fn fence(&self, program: &Path, device: Device, action: &str) -> Result<Call, String> {
        let lines = match (device, &self.others) {
            (Device::Ilo, Some(others)) => format!(
                "ip=127.0.0.1\nipport={}\nusername=admin\npassword=s3cret1\nssl_insecure=1\n",
                others.ilo.address().port()
            ),
            (Device::Pool, Some(others)) => format!(
                "session_url=http://{}\nusername=root\npassword=s3cret1\nplug=node1\n",
                others.pool.address(0)
            ),
            (Device::Ipmi, _) | (Device::Ilo | Device::Pool, None) => {
                format!("ip=127.0.0.1\nusername=admin\npassword={PASSWORD}\nlanplus=1\ncipher=3\n")
            }
        };
        let file: PathBuf = self.dir.path().join(format!("{device:?}-{action}"));
        crate::workspace::replace(&file, format!("{lines}action={action}\n").as_bytes(), 0o600)?;
        Ok(Call::new(program, &[]).reading(&file))
    }
}

/// What a fence agent speaks to.
#[derive(Clone, Copy, Debug)]
pub enum Device {
    Ipmi,
    Ilo,
    Pool,
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.simulator {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `ip LINE`, in the namespace.
pub fn ip(line: &str) -> Result<(), String> {
    process::output_of(process::command("ip").args(line.split_whitespace())).map(|_| ())
}

/// Puts 999 addresses on the device or takes them away.
pub fn crowd(verb: &str) -> Result<(), String> {
    let lines: Vec<String> =
        (0..999).map(|n| format!("addr {verb} 10.67.{}.{}/32 dev {DEVICE}", n / 250, n % 250 + 1)).collect();
    let file = tempfile::NamedTempFile::new().map_err(|why| why.to_string())?;
    fs::write(file.path(), lines.join("\n") + "\n").map_err(|why| why.to_string())?;
    process::output_of(process::command("ip").arg("-batch").arg(file.path())).map(|_| ())
}

/// Datagrams that have crossed loopback so far: each query is one and each answer is one.
pub fn datagrams() -> u64 {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    lo_packets(&table).unwrap_or(0)
}

fn lo_packets(table: &str) -> Option<u64> {
    let counters = table.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    counters.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packets_of_loopback() {
        let table =
            "Inter-|   Receive\n face |bytes packets\n    lo:    1234      56    0 0\n  eth0: 9 9 0 0\n";
        assert_eq!(lo_packets(table), Some(56));
        assert_eq!(lo_packets("eth0: 1 2"), None);
    }
}
