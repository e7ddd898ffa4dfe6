//! Announcing the address: the first time before the action returns, the rest from a process of its own.

use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use ringfence_agents::detached::{self, Detached, Stopped};
use ringfence_agents::net::announce::Announcer;
use ringfence_agents::net::netlink::Link;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What `ps` shows of the announcing process, and how a stop recognises it.
const NAME: &str = "IPaddr2-arp";
/// Programs of upstream's agent that may stand in the pid file after a change of agents.
const KNOWN: &[&str] = &[NAME, "send_arp", "arping", "send_ua"];
/// Ending the process is a matter of milliseconds; this only bounds a stuck machine.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// The announcements of one address, and the pid file of the process that repeats them (upstream's name).
pub struct Announcements {
    ip: IpAddr,
    pid_file: PathBuf,
}

impl Announcements {
    pub fn of(ip: IpAddr, cx: &Cx) -> Self {
        Self { ip, pid_file: cx.run_dir().join(format!("send_arp-{ip}")) }
    }

    /// Announces `count` times, `interval` apart. The first one is out when this returns; the others too,
    /// unless they are left to the background process. `mac` stands for the interface's own address.
    pub fn send(
        &self,
        link: &Link,
        mac: Option<&[u8]>,
        count: u32,
        interval: Duration,
        in_background: bool,
        cx: &Cx,
    ) -> Result<(), Fault> {
        let generic = |error: &dyn std::fmt::Display| Fault::generic(error.to_string());
        let announcer = Announcer::open(link, self.ip, mac).map_err(|e| generic(&e))?;
        let first = announcer.announce();
        let rest = count.saturating_sub(1);
        if rest > 0 {
            let span = interval.saturating_mul(rest);
            if in_background {
                self.detach(&announcer, rest, interval, span, cx)?;
            } else {
                let until = Instant::now() + cx.left_or(span + Duration::from_secs(1));
                cx.sleep(interval);
                announcer.announce_all(rest, interval, until).map_err(|e| generic(&e))?;
            }
        }
        first.map_err(|e| generic(&e))
    }

    fn detach(
        &self,
        announcer: &Announcer,
        count: u32,
        interval: Duration,
        span: Duration,
        cx: &Cx,
    ) -> Result<(), Fault> {
        let generic = |error: &dyn std::fmt::Display| Fault::generic(error.to_string());
        if let Some(dir) = self.pid_file.parent() {
            std::fs::create_dir_all(dir)
                .map_err(|e| Fault::from(e).context(format_args!("cannot make {}", dir.display())))?;
        }
        let limit = span + Duration::from_secs(2);
        let how = Detached { name: NAME, pid_file: &self.pid_file, limit, keep: &[announcer.as_fd()] };
        let until = Instant::now() + limit;
        detached::run(&how, Instant::now() + cx.left_or(STOP_WAIT), || {
            ocf_lib::deadline::Deadline::never().sleep(interval);
            let _ = announcer.announce_all(count, interval, until);
        })
        .map(drop)
        .map_err(|e| generic(&e))
    }

    /// Ends the background process, if there is one.
    pub fn stop(&self, cx: &Cx) -> Result<(), Fault> {
        // Also when the time is up: a start that failed is taken back then.
        let until = Instant::now() + cx.left_or(STOP_WAIT) + crate::LAST_LOOK;
        match detached::stop(&self.pid_file, KNOWN, until) {
            Ok(Stopped::Now) => {
                cx.debug("ended the announcing process");
                Ok(())
            }
            Ok(Stopped::WasNot) => Ok(()),
            Err(error) => Err(Fault::generic(error.to_string())),
        }
    }
}

/// `02:00:00:00:00:01`.
pub fn mac_text(mac: &[u8]) -> String {
    mac.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}
