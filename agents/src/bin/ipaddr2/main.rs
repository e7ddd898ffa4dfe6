//! A service's IPv4 or IPv6 address on this node's network.
//!
//! Replaces `ocf:heartbeat:IPaddr2`. Everything is asked of and told to the kernel: rtnetlink(7), packet(7);
//! gratuitous ARP after RFC 5227, unsolicited neighbour advertisement after RFC 4861. The one exception is the
//! cluster-IP mode (a clone whose instances share the address), which runs `nft` or `iptables`.
//!
//! Invariants:
//! - The address is running here if it is on the wanted interface with the wanted prefix, and not otherwise.
//! - Stop removes exactly the entries that the probe counts, and puts back what the kernel drops with them.
//! - Start adds nothing before all parameters, the interface and the route are known to be good, and before
//!   duplicate detection (where it is asked for) is over.
//! - The process that repeats the announcement is the only one that outlives an action; stop ends it first.

mod address;
mod announcing;
mod loopback;
mod params;
mod sharing;

use announcing::Announcements;
use loopback::Loopback;
use ocf_lib::resource::prelude::*;
use params::{Params, PreferredLifetime};
use ringfence_agents::net::announce::find_duplicate;
use ringfence_agents::net::netlink::{Change, Dad, DadWatch, FOREVER, Link, Netlink, NewAddress};
use ringfence_agents::net::netns;
use ringfence_agents::net::route_lookup::{self, Found};
use sharing::Sharing;
use std::cell::RefCell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// `arping -w 3`, which upstream runs, looks for a duplicate this long.
const DUPLICATE_WAIT: Duration = Duration::from_secs(3);
/// Time for an interface that was off to negotiate its link; ethernet takes two to four seconds.
const LINK_WAIT: Duration = Duration::from_secs(5);
/// Upstream waits this long for the kernel's duplicate address detection, then goes on with a warning.
const DAD_WAIT: Duration = Duration::from_secs(10);

struct IPaddr2 {
    params: Params,
    /// With the clone's number added, if each clone has its own.
    ip: IpAddr,
    /// Without the label that may be written behind it.
    nic: Option<String>,
    label: Option<String>,
    /// What `cidr_netmask` says, if this family of addresses has such a prefix length.
    prefixlen: Option<u8>,
    sharing: Option<Sharing>,
    kernel: RefCell<Option<Netlink>>,
}

impl Agent for IPaddr2 {
    type Params = Params;

    const SPEC: Spec = Spec::new("IPaddr2", "1.0")
        .short("Manages virtual IPv4 and IPv6 addresses")
        .long(
            "Adds an address to a network interface and removes it, announces it to the neighbours, and monitors \
             that it is there. As a clone with more than one instance, the instances share the address: each node \
             answers for its part of the clients (cluster IP).",
        )
        .needs_root()
        .actions(&[
            action(Verb::Start, 20),
            action(Verb::Stop, 20),
            action(Verb::Status, 20).every(10).depth(0),
            action(Verb::Monitor, 20).every(10).depth(0),
            action(Verb::ReloadAgent, 20),
        ])
        .rgmanager(
            Rgmanager::new("ip")
                .names(RGMANAGER)
                .ignored(&["family", "sleeptime", "disable_rdisc", "nfslock"])
                .special(&[("maxinstances", "1")]),
        )
        .heartbeat(HEARTBEAT);

    fn new(params: Params, cx: &Cx) -> Self {
        let (nic, label) = match params.nic.as_deref().map(|nic| nic.split_once(':').ok_or(nic)) {
            Some(Ok((nic, label))) => (Some(nic.to_owned()), Some(label.to_owned())),
            Some(Err(nic)) => (Some(nic.to_owned()), params.iflabel.clone()),
            None => (None, params.iflabel.clone()),
        };
        let filled = |text: &String| !text.is_empty();
        let (nic, label) = (nic.filter(filled), label.filter(filled));
        let number = cx.clone_number().unwrap_or(0);
        let ip = match params.ip.0 {
            IpAddr::V4(ip) if params.unique_clone_address => {
                IpAddr::V4(ip.to_bits().wrapping_add(number).into())
            }
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        let sharing = Sharing::of(&params, ip, nic.as_deref(), cx);
        // One that cannot be is an error of start; stop and probes look for the address with any.
        let prefixlen = params.cidr_netmask.filter(|prefix| prefix.fits(ip)).map(|prefix| prefix.length);
        Self { ip, nic, label, prefixlen, sharing, kernel: RefCell::default(), params }
    }

    fn check(&self, cx: &Cx) -> Result<(), Fault> {
        self.check_parameters(cx)
    }

    fn check_host(&self, cx: &Cx) -> Result<(), Fault> {
        if let Some(sharing) = &self.sharing {
            sharing.check_host()?;
        }
        self.with_kernel(cx, |kernel| self.place(kernel).map(drop))?
            .ok_or_else(|| Fault::installed(self.missing_namespace()))
    }

    fn probe(&self, cx: &Cx) -> Result<State, Fault> {
        let Some(entries) = self.with_kernel(cx, |kernel| self.entries(kernel))? else {
            return Ok(State::Stopped);
        };
        let Some(entry) = entries.first() else { return Ok(State::Stopped) };
        if let Some(sharing) = &self.sharing {
            let share = sharing.probe(&entry.link, cx)?;
            if !share.is_running() {
                return Ok(share);
            }
        }
        Ok(self.judge(entry))
    }

    fn start(&self, cx: &Cx) -> Result<(), Fault> {
        for name in self.ignored_parameters() {
            cx.info(format!("parameter {name} is accepted for older configurations and has no effect"));
        }
        self.with_kernel(cx, |kernel| self.bring_up(kernel, cx))?
            .ok_or_else(|| Fault::installed(self.missing_namespace()))
    }

    fn stop(&self, cx: &Cx, faults: &mut Faults) {
        faults.ok(self.announcements(cx).stop(cx));
        let taken = self.with_kernel(cx, |kernel| {
            self.take_down(kernel, cx, faults);
            Ok(())
        });
        faults.ok(taken);
    }

    fn observed(&self, cx: &Cx, state: &State) {
        if cx.is_probe() || !state.is_running() || self.params.arp_count_refresh == 0 {
            return;
        }
        let announced = self.with_kernel(cx, |kernel| {
            let entry = self.entries(kernel)?.into_iter().next();
            entry.map_or(Ok(()), |entry| self.announce(&entry.link, self.params.arp_count_refresh, cx))
        });
        if let Err(fault) = announced {
            cx.warn(fault.reason());
        }
    }

    /// The reloadable parameters are read by each action anew: there is nothing to hand on.
    fn reload_agent(&self, _: &Cx) -> Result<(), Fault> {
        Ok(())
    }
}

const RGMANAGER: &[Foreign] = &[
    foreign("address", &["ip", "cidr_netmask"])
        .split('/')
        .short("IPv4 or IPv6 address, with or without /prefix"),
    foreign("monitor_link", &["check_link_status"]).short("Monitor the link too"),
    foreign("prefer_interface", &["nic"]).short("Network interface"),
];

/// `IPaddr2::10.0.0.1/24/eth0/10.0.0.255` of haresources.
const HEARTBEAT: &[Foreign] = &[foreign("address", &["ip", "cidr_netmask", "nic", "broadcast"]).split('/')];

impl IPaddr2 {
    /// Runs `act` on a netlink socket in the right network namespace. `None`: the namespace does not exist.
    fn with_kernel<T>(
        &self,
        cx: &Cx,
        act: impl FnOnce(&mut Netlink) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let mut kernel = self.kernel.borrow_mut();
        if kernel.is_none() {
            if let Some(name) = &self.params.network_namespace {
                match netns::enter(name) {
                    Ok(()) => {}
                    // What cannot exist holds nothing that could run; start refuses the name by itself.
                    Err(netns::Error::Missing(_) | netns::Error::BadName(_)) => return Ok(None),
                    Err(error @ netns::Error::Permission(_)) => return Err(Fault::perm(error.to_string())),
                    Err(error @ netns::Error::Failed(..)) => return Err(Fault::generic(error.to_string())),
                }
            }
            *kernel = Some(Netlink::open(until(cx, LONG)).map_err(|e| address::fault(&e))?);
        }
        kernel
            .as_mut()
            .map(|kernel| {
                kernel.set_deadline(until(cx, LONG) + LAST_LOOK);
                act(kernel)
            })
            .transpose()
    }

    fn missing_namespace(&self) -> String {
        let name = self.params.network_namespace.as_deref().unwrap_or_default();
        format!("no network namespace '{name}' on this host")
    }

    fn announcements(&self, cx: &Cx) -> Announcements {
        Announcements::of(self.ip, cx)
    }

    /// Makes the address run, from whatever is there.
    fn bring_up(&self, kernel: &mut Netlink, cx: &Cx) -> Result<(), Fault> {
        let place = self.place(kernel)?;
        let link = place.link.clone();
        let was_down = self.params.check_link_status && link.is_up() && link.is_link_down();
        let there = self.entries(kernel)?;
        if was_down {
            // Upstream's codes: the node is out of the question if it had the address and lost its link.
            let reason = format!("link of interface {} is down", link.name);
            return Err(if there.is_empty() { Fault::generic(reason) } else { Fault::installed(reason) });
        }
        let loopback = self.loopback(cx);
        if self.params.lvs_support {
            loopback.take_away(kernel, cx)?;
        }
        let mut lock = None;
        if let Some(sharing) = &self.sharing {
            lock = Some(sharing.lock(cx)?);
            sharing.start(&link, cx)?;
        }
        if there.iter().any(|entry| !self.judge(entry).is_running()) {
            for entry in &there {
                cx.info(format!("replacing {}: {}", entry.text(), self.judge(entry).reason().unwrap_or("")));
                address::remove(kernel, entry, cx)?;
            }
        } else if !there.is_empty() {
            // Only the cluster IP's rules were missing.
            return Ok(());
        }
        Self::set_link_up(kernel, &link, cx)?;
        self.look_for_duplicate(&link, cx)?;
        self.add(kernel, &place, cx)?;
        drop(lock);
        if let Err(fault) = self.announce(&link, self.params.arp_count.get(), cx) {
            cx.warn(fault.context("the address is up, but was not announced").reason());
        }
        Ok(())
    }

    /// What is sent before the carrier is there reaches nobody, neither a question nor an announcement.
    fn set_link_up(kernel: &mut Netlink, link: &Link, cx: &Cx) -> Result<(), Fault> {
        if kernel.set_link_up(link).map_err(|e| address::fault(&e))? == Change::AlreadySo {
            return Ok(());
        }
        cx.info(format!("set interface {} up", link.name));
        let until = until(cx, LINK_WAIT);
        while Instant::now() < until {
            let now = kernel.link_by_index(link.index).map_err(|e| address::fault(&e))?;
            if now.is_none_or(|link| !link.is_link_down()) {
                return Ok(());
            }
            cx.sleep(Duration::from_millis(20));
        }
        cx.warn(format!("interface {} is up, but has no link yet", link.name));
        Ok(())
    }

    fn look_for_duplicate(&self, link: &Link, cx: &Cx) -> Result<(), Fault> {
        let IpAddr::V4(ip) = self.ip else { return Ok(()) };
        let nobody_answers = link.is_loopback() || link.is_without_arp();
        if !self.params.run_arping || nobody_answers || self.sharing.is_some() {
            return Ok(());
        }
        match find_duplicate(link, ip, until(cx, DUPLICATE_WAIT)) {
            Ok(None) => Ok(()),
            Ok(Some(mac)) => Err(Fault::generic(format!(
                "duplicate address: {ip} is in use on the network of {} by {}",
                link.name,
                announcing::mac_text(&mac)
            ))),
            Err(error) => {
                cx.warn(format!("cannot look for a duplicate: {error}"));
                Ok(())
            }
        }
    }

    /// Adds the address and waits for the kernel's own duplicate detection.
    fn add(&self, kernel: &mut Netlink, place: &Found, cx: &Cx) -> Result<(), Fault> {
        let link = &place.link;
        let mut new = NewAddress::new(link.index, self.ip, place.prefixlen);
        new.broadcast = self.broadcast(place);
        new.label = self.full_label(link);
        new.noprefixroute = self.params.noprefixroute;
        new.nodad = self.params.nodad;
        new.metric = self.params.metric.or(place.metric);
        new.preferred_lifetime = match self.params.preferred_lft {
            PreferredLifetime::Forever => FOREVER,
            PreferredLifetime::Seconds(seconds) => seconds,
        };
        // Subscribed before the address is there, so that no event is missed.
        let watch = match self.ip {
            IpAddr::V6(ip) if !self.params.nodad && !link.is_loopback() => {
                self.add_label(kernel, cx);
                Some((ip, DadWatch::open(until(cx, LONG)).map_err(|e| address::fault(&e))?))
            }
            IpAddr::V6(_) => {
                self.add_label(kernel, cx);
                None
            }
            IpAddr::V4(_) => None,
        };
        match kernel.add_address(&new).map_err(|e| address::fault(&e))? {
            Change::Done => cx.info(format!("added {}/{} to {}", self.ip, place.prefixlen, link.name)),
            Change::AlreadySo => cx.info(format!("{} was already on {}", self.ip, link.name)),
        }
        let Some((ip, mut watch)) = watch else { return Ok(()) };
        match watch.wait(ip, link.index, until(cx, DAD_WAIT)).map_err(|e| address::fault(&e))? {
            Dad::Unique => Ok(()),
            Dad::Duplicate => Err(Fault::generic(format!(
                "duplicate address: {ip} is in use on the network of {}",
                link.name
            ))),
            Dad::Gone => Err(Fault::generic(format!("{ip} was removed from {} by somebody else", link.name))),
            Dad::Undecided => {
                cx.warn(format!("duplicate detection of {ip} on {} has not ended; going on", link.name));
                Ok(())
            }
        }
    }

    fn announce(&self, link: &Link, count: u32, cx: &Cx) -> Result<(), Fault> {
        if link.is_loopback() || link.is_without_arp() {
            return Ok(());
        }
        // A shared address announced with one node's own MAC would draw all traffic there.
        let mac = self.sharing.as_ref().map(Sharing::mac);
        self.announcements(cx).send(
            link,
            mac.as_ref().map(<[u8; 6]>::as_slice),
            count,
            Duration::from_millis(u64::from(self.params.arp_interval.get())),
            self.params.arp_bg != Some(false),
            cx,
        )
    }

    fn take_down(&self, kernel: &mut Netlink, cx: &Cx, faults: &mut Faults) {
        let Some(entries) = faults.ok(self.entries(kernel)) else { return };
        let shared = self.sharing.as_ref().and_then(|sharing| {
            // A start that was killed may have left rules without the address.
            let there = entries.first().map(|entry| entry.link.clone());
            let link = there.or_else(|| self.place(kernel).ok().map(|place| place.link))?;
            Some((sharing, link, faults.ok(sharing.lock(cx))))
        });
        if let Some((sharing, link, _lock)) = &shared {
            match sharing.close(link, cx, faults) {
                sharing::Left::Others => return,
                sharing::Left::Nobody => {}
            }
        }
        for entry in &entries {
            if faults.ok(address::remove(kernel, entry, cx)).is_some() {
                cx.info(format!("removed {}", entry.text()));
            }
        }
        if let Some((sharing, link, _lock)) = &shared {
            sharing.clear(link, cx, faults);
        }
        self.remove_label(kernel, cx);
        if self.params.flush_routes {
            cx.debug("no routing cache to flush: Linux has none since 3.6");
        }
        // Without it the note is another resource's, with the same address elsewhere on this node.
        if self.params.lvs_support {
            faults.ok(self.loopback(cx).put_back(kernel, cx));
        }
    }

    fn loopback(&self, cx: &Cx) -> Loopback {
        Loopback::of(self.ip, cx)
    }

    fn add_label(&self, kernel: &mut Netlink, cx: &Cx) {
        if let (IpAddr::V6(ip), true) = (self.ip, self.params.lvs_ipv6_addrlabel)
            && let Err(error) = kernel.add_address_label(ip, self.params.lvs_ipv6_addrlabel_value)
        {
            cx.warn(format!("address label not set: {error}"));
        }
    }

    fn remove_label(&self, kernel: &mut Netlink, cx: &Cx) {
        if let (IpAddr::V6(ip), true) = (self.ip, self.params.lvs_ipv6_addrlabel)
            && let Err(error) = kernel.delete_address_label(ip, self.params.lvs_ipv6_addrlabel_value)
        {
            cx.warn(format!("address label not removed: {error}"));
        }
    }

    fn place(&self, kernel: &mut Netlink) -> Result<Found, Fault> {
        let place =
            route_lookup::find(kernel, &self.wanted()?).map_err(|error| address::place_fault(&error))?;
        self.check_label(&place.link)?;
        Ok(place)
    }
}

const LONG: Duration = Duration::from_secs(60);
/// When the time is up the agent still looks what became of it, and takes back a start that failed. That is within
/// the margin that the framework keeps.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// The action's deadline as an instant, or `span` from now if that is earlier.
fn until(cx: &Cx, span: Duration) -> Instant {
    Instant::now() + cx.left_or(span)
}

fn main() -> ExitCode {
    ocf_lib::resource::run::run::<IPaddr2>()
}
