//! A logical unit of a target of tgtd.

use super::request::{Header, Mode, Operation};
use super::target::{close_connections, find};
use super::{Error, Lun, Tgtd};
use ocf_lib::resource::agent::State;
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use std::path::Path;
use std::time::Duration;

/// Time between two attempts to delete a unit that is in use.
const PAUSE: Duration = Duration::from_millis(50);
/// So long commands under way may end by themselves before the connections are closed.
const GENTLE: Duration = Duration::from_secs(1);
/// `SCSI_ID_LEN` and `SCSI_SN_LEN`: tgtd keeps so many characters of an identifier (seen with 1.0.85).
const KEPT: usize = 36;
/// Backing stores whose path is no file.
const REMOTE: [&str; 3] = ["rbd", "sheepdog", "glfs"];
/// The caching mode page (SPC-4, SBC-3 6.4.5) with WCE off: tgtd then answers a write when it is on the disk. As tgt-admin
/// sends it for `write-cache off`; tgtd's default is on.
const WRITE_THROUGH: &str = "mode_page=8:0:18:0x10:0:0xff:0xff:0:0:0xff:0xff:0xff:0xff:0x80:0x14:0:0:0:0:0:0";
/// Names and numbers of kinds of devices, as tgtadm sends them.
const DEVICES: [(&str, u32); 7] =
    [("disk", 0), ("tape", 1), ("ssc", 1), ("cd", 5), ("changer", 8), ("osd", 17), ("pt", 255)];

/// What the configuration wants.
pub struct Plan<'a> {
    pub target: &'a str,
    pub number: u64,
    pub path: &'a str,
    pub scsi_id: &'a str,
    pub scsi_sn: &'a str,
    pub vendor: Option<&'a str>,
    pub product: Option<&'a str>,
    pub store: Option<&'a str>,
    pub open_flags: Option<&'a str>,
    pub options: Option<&'a str>,
    pub device: Option<&'a str>,
    /// Writes are answered from this node's memory, and lost with it.
    pub write_cache: bool,
    pub settings: &'a [(String, String)],
}

impl Plan<'_> {
    /// What tgtd could not take anywhere (code 6).
    pub fn check(&self) -> Result<(), Fault> {
        if self.number == 0 {
            return Err(Fault::configured("parameter lun: 0 is tgtd's own controller; units begin at 1"));
        }
        if let Some(kind) = self.device
            && DEVICES.iter().all(|(name, _)| *name != kind)
        {
            return Err(Fault::configured(format!(
                "parameter tgt_device_type: '{kind}' is none of disk, tape, ssc, cd, changer, osd, pt"
            )));
        }
        let words = [self.store, self.open_flags, self.options].into_iter().flatten();
        match words.into_iter().find(|word| word.contains([',', '\0', '\n'])) {
            Some(word) => Err(Fault::configured(format!(
                "'{word}' has a comma or a line break, which tgtd cannot take"
            ))),
            None => Ok(()),
        }
    }

    /// Whether there must be a file or device of that path here.
    pub fn is_local(&self) -> bool {
        !self.store.is_some_and(|store| REMOTE.contains(&store))
    }

    fn find(&self, tgtd: &Tgtd, cx: &Cx) -> Result<Option<(u32, Option<Lun>)>, Error> {
        let target = find(tgtd, self.target, cx)?;
        Ok(target.map(|target| (target.id, target.lun(self.number).cloned())))
    }

    /// True if the unit of our number is this one: another may have it.
    fn is_ours(&self, lun: &Lun) -> bool {
        lun.path.as_deref() == Some(self.path)
    }

    /// Looks.
    pub fn probe(&self, tgtd: &Tgtd, cx: &Cx) -> Result<State, Fault> {
        let Some((_, Some(lun))) = self.find(tgtd, cx)? else { return Ok(State::Stopped) };
        if !self.is_ours(&lun) {
            return Ok(State::Stopped);
        }
        let (number, target) = (self.number, self.target);
        Ok(if self.is_local() && !Path::new(self.path).exists() {
            State::Unusable(format!("{} is gone, and lun {number} of {target} still has it open", self.path))
        } else if !lun.online {
            State::Failed(format!("lun {number} of {target} is offline"))
        } else if !same(self.scsi_id, &lun.scsi_id) || !same(self.scsi_sn, &lun.scsi_sn) {
            let (id, sn) = (&lun.scsi_id, &lun.scsi_sn);
            State::Failed(format!(
                "lun {number} of {target} is half configured: its SCSI ID is '{id}', its serial '{sn}'"
            ))
        } else {
            State::Running
        })
    }

    /// Makes it, or completes it.
    pub fn start(&self, tgtd: &Tgtd, cx: &Cx) -> Result<(), Fault> {
        let (number, name) = (self.number, self.target);
        let until = cx.deadline();
        let all = tgtd.targets(until)?;
        let target = all.iter().find(|target| target.name == name).ok_or_else(|| {
            Fault::generic(format!(
                "cannot add lun {number}: there is no target {name} on this node; start it first"
            ))
        })?;
        let about = |operation| Header::of(Mode::Unit, operation, target.id).unit(number);
        match target.lun(number) {
            Some(lun) if self.is_ours(lun) => cx.info(format!("completing lun {number} of {name}")),
            Some(lun) => {
                let other = lun.path.as_deref().unwrap_or("a unit without a path");
                return Err(Fault::generic(format!(
                    "cannot add {} as lun {number} of {name}: that is {other}",
                    self.path
                )));
            }
            None => {
                let mut new = about(Operation::New);
                new.device_type = self.device_type();
                tgtd.ask(&new, self.store_words().as_bytes(), until).map_err(|error| {
                    let hint = if error == Error::INVALID {
                        "; can it be opened, and is the backing store known?"
                    } else {
                        ""
                    };
                    Fault::generic(format!(
                        "cannot add {} as lun {number} of {name}: {error}{hint}",
                        self.path
                    ))
                })?;
            }
        }
        let mut words = format!("scsi_id={},scsi_sn={},online=1,", self.scsi_id, self.scsi_sn);
        let named = [("vendor_id", self.vendor), ("product_id", self.product)];
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (name, value) in
            named.chain(self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        {
            words.extend([name, "=", value, ","]);
        }
        let cannot = |error, words: &str| {
            Fault::from(error).context(format_args!("cannot set up lun {number} of {name}: {words}"))
        };
        if !self.write_cache && self.device_type() == 0 {
            // An initiator that asks the node which takes over to flush what only the lost one had in memory is told "done".
            tgtd.ask(&about(Operation::Update), WRITE_THROUGH.as_bytes(), until)
                .map_err(|error| cannot(error, WRITE_THROUGH))?;
        }
        // The daemon looks for this word in front of what is for the unit rather than for its kind of device.
        tgtd.ask(&about(Operation::Update), format!("targetOps {words}").as_bytes(), until)
            .map_err(|error| cannot(error, &words))?;
        Ok(())
    }

    fn device_type(&self) -> u32 {
        let kind = self.device.unwrap_or("disk");
        DEVICES.iter().find(|(name, _)| *name == kind).map_or(0, |(_, number)| *number)
    }

    fn store_words(&self) -> String {
        // tgtadm names the store of tapes itself.
        let store = self.store.or_else(|| (self.device_type() == 1).then_some("ssc"));
        // aio opens its files directly by itself, and tgtd refuses the flag with it.
        let flags = self.open_flags.filter(|flags| !(store == Some("aio") && *flags == "direct"));
        let mut words = format!("path={}", self.path);
        for (name, value) in [("bstype", store), ("bsopts", self.options), ("bsoflags", flags)] {
            if let Some(value) = value {
                words.extend([",", name, "=", value]);
            }
        }
        words
    }

    /// Takes it away. While commands keep it busy, the initiators' connections are closed; they log in again.
    pub fn stop(&self, tgtd: &Tgtd, cx: &Cx) -> Result<(), Fault> {
        let Some((id, Some(lun))) = self.find(tgtd, cx)? else { return Ok(()) };
        if !self.is_ours(&lun) {
            return Ok(());
        }
        let delete = Header::of(Mode::Unit, Operation::Delete, id).unit(self.number);
        let mut waited = Duration::ZERO;
        loop {
            match tgtd.order(&delete, cx.deadline()) {
                Ok(()) | Err(Error::NO_UNIT | Error::NO_TARGET | Error::NotRunning) => return Ok(()),
                Err(Error::UNIT_ACTIVE) if !cx.expired() => {
                    if waited >= GENTLE {
                        close_connections(tgtd, self.target, cx)?;
                    } else {
                        cx.sleep(PAUSE);
                        waited += PAUSE;
                        continue;
                    }
                    // At once, before they are back.
                    if tgtd.order(&delete, cx.deadline()).is_err() {
                        cx.sleep(PAUSE / 10);
                    }
                }
                Err(error) => {
                    let (number, target) = (self.number, self.target);
                    return Err(
                        Fault::from(error).context(format_args!("cannot delete lun {number} of {target}"))
                    );
                }
            }
        }
    }
}

/// An identifier as tgtd has kept it.
fn same(wanted: &str, kept: &str) -> bool {
    let wanted: String = wanted.chars().take(KEPT).collect();
    wanted.trim() == kept.trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan<'static> {
        Plan {
            target: "iqn.2026-01.lab:t",
            number: 1,
            path: "/dev/sdx",
            scsi_id: "id",
            scsi_sn: "sn",
            vendor: None,
            product: None,
            store: None,
            open_flags: None,
            options: None,
            device: None,
            write_cache: false,
            settings: &[],
        }
    }

    #[test]
    fn the_words_of_tgtadm() {
        assert_eq!(plan().store_words(), "path=/dev/sdx");
        let full = Plan { store: Some("rdwr"), open_flags: Some("sync"), options: Some("a=b:c=d"), ..plan() };
        assert_eq!(full.store_words(), "path=/dev/sdx,bstype=rdwr,bsopts=a=b:c=d,bsoflags=sync");
        let aio = Plan { store: Some("aio"), open_flags: Some("direct"), ..plan() };
        assert_eq!(aio.store_words(), "path=/dev/sdx,bstype=aio");
        let tape = Plan { device: Some("tape"), ..plan() };
        assert_eq!((tape.store_words().as_str(), tape.device_type()), ("path=/dev/sdx,bstype=ssc", 1));
    }

    #[test]
    fn what_tgtd_cannot_take_is_wrong_everywhere() {
        let code = |plan: Plan<'_>| plan.check().map_err(|fault| fault.code().number());
        assert_eq!(code(plan()), Ok(()));
        assert_eq!(code(Plan { number: 0, ..plan() }), Err(6));
        assert_eq!(code(Plan { store: Some("rdwr,bsoflags=direct"), ..plan() }), Err(6));
        assert_eq!(code(Plan { device: Some("floppy"), ..plan() }), Err(6));
        assert!(!Plan { store: Some("rbd"), ..plan() }.is_local() && plan().is_local());
    }

    #[test]
    fn an_identifier_is_compared_as_far_as_it_is_kept() {
        assert!(same(&"a".repeat(40), &"a".repeat(36)));
        assert!(!same("lu1", "lu10"));
    }
}
