//! `lvs_support`: a real server's copy of the address on the loopback interface steps aside while the node
//! holds the address itself.
//!
//! The file that remembers it is upstream's: `$HA_RSCTMP/<ip>`, one line `ip mask broadcast interface`.

use crate::address::fault;
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use ocf_lib::resource::runfile::RunFile;
use ringfence_agents::net::netlink::{Broadcast, Link, Netlink, NewAddress};
use std::net::IpAddr;

pub struct Loopback {
    ip: IpAddr,
    file: RunFile,
}

impl Loopback {
    pub fn of(ip: IpAddr, cx: &Cx) -> Self {
        Self { ip, file: RunFile::new(cx.run_dir().join(ip.to_string())) }
    }

    /// Removes host entries of the address from loopback interfaces, after writing them down.
    pub fn take_away(&self, kernel: &mut Netlink, cx: &Cx) -> Result<(), Fault> {
        for address in kernel.find_address(self.ip, None).map_err(|e| fault(&e))? {
            let Some(link) = kernel.link_by_index(address.ifindex).map_err(|e| fault(&e))? else { continue };
            if !link.is_loopback() || address.prefixlen != 32 {
                continue;
            }
            let broadcast = address.broadcast.map_or_else(String::new, |b| b.to_string());
            self.file.write(&format!("{} {} {broadcast} {}\n", self.ip, address.prefixlen, link.name))?;
            kernel.delete_address(&address).map_err(|e| fault(&e))?;
            cx.info(format!("took {} away from {} until stop", self.ip, link.name));
        }
        Ok(())
    }

    /// Puts back what was written down, and forgets it.
    pub fn put_back(&self, kernel: &mut Netlink, cx: &Cx) -> Result<(), Fault> {
        let Some(saved) = self.file.read()? else { return self.file.remove() };
        let words: Vec<&str> = saved.split_whitespace().collect();
        let parsed = words.first().and_then(|ip| ip.parse::<IpAddr>().ok()).zip(words.last());
        if let Some((ip, name)) = parsed.filter(|(ip, _)| *ip == self.ip) {
            if let Some(link) = kernel.link(name).map_err(|e| fault(&e))?.filter(Link::is_loopback) {
                let mut new = NewAddress::new(link.index, ip, 32);
                new.broadcast = words
                    .iter()
                    .skip(1)
                    .find_map(|w| w.parse().ok())
                    .map_or(Broadcast::Unset, Broadcast::Given);
                kernel.add_address(&new).map_err(|e| fault(&e))?;
                cx.info(format!("put {ip} back on {name}"));
            }
        } else {
            cx.warn(format!("{} does not say which address to put back", self.file.path().display()));
        }
        self.file.remove()
    }
}
