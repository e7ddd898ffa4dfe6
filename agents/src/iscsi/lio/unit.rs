//! A logical unit of a LIO target.

use super::backstore::{self, Place};
use super::mapping::Mapping;
use super::{Kind, Lio};
use crate::iscsi::serial;
use ocf_lib::resource::agent::State;
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two attempts to take away what is still in use.
const PAUSE: Duration = Duration::from_millis(100);

/// What the configuration wants.
pub struct Plan<'a> {
    pub target: &'a str,
    pub number: u64,
    /// The resource's name, which the exported object gets.
    pub name: &'a str,
    pub kind: Kind,
    pub path: &'a str,
    pub serial: &'a str,
    pub vendor: Option<&'a str>,
    pub product: Option<&'a str>,
    pub block_size: Option<u32>,
    pub write_cache: bool,
    /// Names and values under `attrib`.
    pub attributes: &'a [(&'a str, u32)],
    /// Empty: all that the target knows.
    pub initiators: &'a [String],
}

/// What is at the unit's number.
enum Found {
    Nothing,
    /// The directory, and nothing in it.
    Empty,
    Unit(Place),
}

impl Plan<'_> {
    pub fn check(&self) -> Result<(), Fault> {
        // rtslib's rule for names.
        if self.name.contains(|c: char| c == '/' || c.is_whitespace()) || self.name.starts_with('.') {
            return Err(Fault::configured(format!(
                "'{}' cannot be the name of an exported object",
                self.name
            )));
        }
        match self.initiators.iter().find(|name| name.contains('/')) {
            Some(name) => Err(Fault::configured(format!(
                "parameter allowed_initiators: '{name}' is not an initiator's name; lio-t knows no networks"
            ))),
            None => Ok(()),
        }
    }

    fn unit(&self, lio: &Lio) -> PathBuf {
        lio.group(self.target).join(format!("lun/lun_{}", self.number))
    }

    fn found(&self, lio: &Lio) -> Result<Found, Fault> {
        let unit = self.unit(lio);
        if !lio.objects().exists(&unit)? {
            return Ok(Found::Nothing);
        }
        let links = lio.objects().links(&unit)?;
        Ok(links.iter().find_map(|(_, to)| Place::from_link(to)).map_or(Found::Empty, Found::Unit))
    }

    /// Objects of our name that no unit but ours exports.
    fn left_over(&self, lio: &Lio) -> Result<Vec<Place>, Fault> {
        let own = self.unit(lio);
        let mut left = Vec::new();
        for place in backstore::named(lio, self.name)? {
            if backstore::exporters(lio, &place)?.iter().all(|unit| *unit == own) {
                left.push(place);
            }
        }
        Ok(left)
    }

    fn with_mapping<T>(
        &self,
        lio: &Lio,
        act: impl FnOnce(&Mapping<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let group = lio.group(self.target);
        act(&Mapping { lio, group: &group, target: self.target, number: self.number })
    }

    /// Looks, at files alone.
    pub fn probe(&self, lio: &Lio) -> Result<State, Fault> {
        let (number, target) = (self.number, self.target);
        let is_ours = match self.found(lio)? {
            Found::Empty => {
                return Ok(State::Failed(format!(
                    "lun {number} of {target} is half configured: it is empty"
                )));
            }
            Found::Unit(place) => place.device(lio)? == self.path,
            Found::Nothing => false,
        };
        if !is_ours {
            return Ok(match self.left_over(lio)?.first() {
                Some(place) => State::Failed(format!(
                    "{} is half configured: object {}/{} is there, and is not lun {number} of {target}",
                    self.name, place.hba, place.name
                )),
                None => State::Stopped,
            });
        }
        if !Path::new(self.path).exists() {
            return Ok(State::Unusable(format!(
                "{} is gone, and lun {number} of {target} still has it open",
                self.path
            )));
        }
        let missing = self.with_mapping(lio, |mapping| mapping.missing(self.initiators))?;
        Ok(missing.map_or(State::Running, |what| {
            State::Failed(format!("lun {number} of {target} is half configured: {what}"))
        }))
    }

    /// Makes it, or completes what is there.
    pub fn start(&self, lio: &Lio, cx: &Cx) -> Result<(), Fault> {
        let (number, target) = (self.number, self.target);
        let objects = lio.objects();
        if !objects.exists(&lio.group(target))? {
            return Err(Fault::generic(format!(
                "cannot add lun {number}: there is no target {target} on this node; start it first"
            )));
        }
        let there = match self.found(lio)? {
            Found::Unit(place) => {
                let device = place.device(lio)?;
                if device != self.path {
                    return Err(Fault::generic(format!(
                        "cannot add {} as lun {number} of {target}: that is {device} ({})",
                        self.path, place.name
                    )));
                }
                true
            }
            Found::Empty | Found::Nothing => false,
        };
        let place = if there { None } else { Some(self.make_object(lio, cx)?) };
        self.with_mapping(lio, |mapping| {
            let everybody;
            let initiators = if self.initiators.is_empty() {
                everybody = mapping.initiators()?;
                everybody.as_slice()
            } else {
                self.initiators
            };
            let link = serial::link(self.name);
            mapping.announce(initiators, cx)?;
            if let Some(place) = &place {
                let unit = self.unit(lio);
                objects.mkdir(&unit)?;
                objects.link(&place.object(lio), &unit.join(&link))?;
            }
            mapping.join(initiators, &link)
        })
    }

    /// What a start that was killed has left may be anything: a new one is made.
    fn make_object(&self, lio: &Lio, cx: &Cx) -> Result<Place, Fault> {
        backstore::give_back_number(lio, self.name, cx)?;
        let left = self.left_over(lio)?;
        if let Some(other) = backstore::named(lio, self.name)?.into_iter().find(|place| !left.contains(place))
        {
            return Err(Fault::generic(format!(
                "cannot make object {}: there is {}/{}, which another target exports",
                self.name, other.hba, other.name
            )));
        }
        for place in left {
            cx.info(format!("making {}/{} anew", place.hba, place.name));
            backstore::remove(lio, &place, self.name, cx)?;
        }
        let plan = backstore::Plan {
            name: self.name,
            kind: self.kind,
            path: self.path,
            serial: self.serial,
            vendor: self.vendor,
            product: self.product,
            block_size: self.block_size,
            write_cache: self.write_cache,
            attributes: self.attributes,
        };
        plan.make(lio, cx)
    }

    /// Gives back what one who was killed had taken and not used.
    pub fn give_back(&self, lio: &Lio, cx: &Cx) -> Result<(), Fault> {
        backstore::give_back_number(lio, self.name, cx)
    }

    /// Takes it away: from the initiators' view, then from the target, then the object itself.
    pub fn stop(&self, lio: &Lio, cx: &Cx) -> Result<(), Fault> {
        loop {
            match self.take_apart(lio, cx) {
                Ok(()) => return Ok(()),
                Err(fault) if cx.expired() => return Err(fault),
                // Commands that are under way keep it for a moment.
                Err(fault) => {
                    cx.debug(fault.reason());
                    cx.sleep(PAUSE);
                }
            }
        }
    }

    fn take_apart(&self, lio: &Lio, cx: &Cx) -> Result<(), Fault> {
        let exported = match self.found(lio)? {
            Found::Unit(place) if place.device(lio)? == self.path => Some(place),
            // Another has our number: its views are not ours either.
            Found::Unit(_) => return self.remove_left_over(lio, cx),
            Found::Empty | Found::Nothing => None,
        };
        self.with_mapping(lio, |mapping| mapping.remove(cx))?;
        lio.objects().take_apart(&self.unit(lio))?;
        if let Some(place) = exported
            && place.name != self.name
            && backstore::exporters(lio, &place)?.is_empty()
        {
            // Made under another name, as by targetcli: nobody else would ever let go of the device.
            backstore::remove(lio, &place, self.name, cx)?;
        }
        self.remove_left_over(lio, cx)
    }

    fn remove_left_over(&self, lio: &Lio, cx: &Cx) -> Result<(), Fault> {
        for place in self.left_over(lio)? {
            backstore::remove(lio, &place, self.name, cx)?;
        }
        Ok(())
    }
}
