//! A logical unit of an iSCSI target: a disk that initiators see.
//!
//! Replaces `ocf:heartbeat:iSCSILogicalUnit` for the implementations tgt and lio-t. Manuals: tgtadm(8), targetcli(8), RFC
//! 7143. LIO is told and asked through configfs, tgtd through its management socket: no action runs a tool.
//!
//! Invariants:
//! - A unit is ours if it is number `lun` of exactly the target `target_iqn` and exports `path`; with LIO also an object
//!   of the resource's name that nobody else exports. Nothing else is touched.
//! - Its serial number is the one that upstream's agent gives, on every node: multipath must see one disk.
//! - With LIO, identity and block size are set before an initiator can see the unit, never after.
//! - After stop nothing on this node holds the device open for initiators.

mod params;

use ocf_lib::resource::prelude::*;
use params::{BlockSize, Params, Switch};
use ringfence_agents::iscsi::implementation::{self, Implementation};
use ringfence_agents::iscsi::lio::{self, Kind, Lio};
use ringfence_agents::iscsi::lock::Held;
use ringfence_agents::iscsi::tgt::{self, Tgtd};
use std::path::Path;

struct LogicalUnit {
    params: Params,
    /// The resource's name.
    name: String,
    /// `additional_parameters` and `emulate_*`, for LIO.
    attributes: Vec<(String, u32)>,
    lio: Lio,
    tgtd: Tgtd,
}

impl Agent for LogicalUnit {
    type Params = Params;

    const SPEC: Spec = Spec::new("iSCSILogicalUnit", "1.0")
        .short("Manages logical units of iSCSI targets")
        .long(
            "Exports a block device or a file as a logical unit of an iSCSI target (iSCSITarget): with the daemon tgtd, or \
             with the target of the Linux kernel (LIO). Stop lets go of the device, also while initiators use it: move the \
             address that they connect to first.",
        )
        .needs_root()
        .actions(&[
            action(Verb::Start, 10),
            action(Verb::Stop, 10),
            action(Verb::Status, 10).every(10).depth(0),
            action(Verb::Monitor, 10).every(10).depth(0),
        ]);

    fn new(params: Params, cx: &Cx) -> Self {
        let switches = [
            ("emulate_tpu", params.emulate_tpu),
            ("emulate_3pc", params.emulate_3pc),
            ("emulate_caw", params.emulate_caw),
        ];
        let switches =
            switches.into_iter().filter_map(|(name, on)| Some((name.to_owned(), u32::from(on?.0))));
        // One that is no number is an error of start; stop and probes do not look at it.
        let more = params
            .additional_parameters
            .0
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.parse().ok()?)));
        let attributes = switches.chain(more).collect();
        Self {
            attributes,
            name: cx.instance().to_owned(),
            lio: Lio::default(),
            tgtd: Tgtd::of(cx.env()),
            params,
        }
    }

    fn check(&self, _: &Cx) -> Result<(), Fault> {
        implementation::check(self.params.implementation)?;
        if self.params.scst_bstype.is_some() {
            return Err(Fault::configured(
                "parameter scst_bstype: needs implementation scst, which is not supported",
            ));
        }
        // What is not named is looked for on the host.
        match self.params.implementation.map(|word| implementation::choose(Some(word))) {
            Some(chosen) => self.check_for(chosen?),
            None => Ok(()),
        }
    }

    fn check_host(&self, cx: &Cx) -> Result<(), Fault> {
        let chosen = implementation::choose(self.params.implementation)?;
        self.check_for(chosen)?;
        let is_local = chosen == Implementation::Lio || self.tgt_plan().is_local();
        if is_local && !Path::new(&self.params.path.0).exists() {
            return Err(Fault::args(format!("{} is not there", self.params.path.0)));
        }
        if chosen == Implementation::Tgt {
            self.tgtd.targets(cx.deadline())?;
        }
        Ok(())
    }

    fn probe(&self, cx: &Cx) -> Result<State, Fault> {
        let mut seen = State::Stopped;
        for place in implementation::places(self.params.implementation) {
            let state = match place {
                Implementation::Lio => self.with_lio_plan(|plan| plan.probe(&self.lio))?,
                Implementation::Tgt => self.tgt_plan().probe(&self.tgtd, cx)?,
            };
            if state != State::Stopped {
                seen = state;
            }
        }
        Ok(seen)
    }

    fn start(&self, cx: &Cx) -> Result<(), Fault> {
        let chosen = implementation::choose(self.params.implementation)?;
        for name in self.without_effect(chosen) {
            cx.warn(format!("parameter {name} has no effect with this implementation"));
        }
        match chosen {
            Implementation::Lio => {
                let _held = Held::take(cx)?;
                self.with_lio_plan(|plan| plan.start(&self.lio, cx))
            }
            Implementation::Tgt => self.tgt_plan().start(&self.tgtd, cx),
        }
    }

    fn stop(&self, cx: &Cx, faults: &mut Faults) {
        for place in implementation::places(self.params.implementation) {
            faults.ok(match place {
                Implementation::Lio => self.stop_lio(cx),
                Implementation::Tgt => self.tgt_plan().stop(&self.tgtd, cx),
            });
        }
    }
}

impl LogicalUnit {
    fn tgt_plan(&self) -> tgt::unit::Plan<'_> {
        let params = &self.params;
        let filled = |text: &&str| !text.is_empty();
        tgt::unit::Plan {
            target: &params.target_iqn.0,
            number: params.lun,
            path: &params.path.0,
            scsi_id: &params.scsi_id.0,
            scsi_sn: &params.scsi_sn.0,
            vendor: params.vendor_id.as_ref().map(|text| text.0.as_str()),
            product: params.product_id.as_ref().map(|text| text.0.as_str()),
            store: params.tgt_bstype.as_deref().filter(filled),
            open_flags: params.tgt_bsoflags.as_deref().filter(filled),
            options: params.tgt_bsopts.as_deref().filter(filled),
            device: params.tgt_device_type.as_deref().filter(filled),
            write_cache: params.write_cache.0,
            settings: &params.additional_parameters.0,
        }
    }

    fn with_lio_plan<T>(&self, act: impl FnOnce(&lio::unit::Plan<'_>) -> T) -> T {
        let params = &self.params;
        let attributes: Vec<(&str, u32)> =
            self.attributes.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        act(&lio::unit::Plan {
            target: &params.target_iqn.0,
            number: params.lun,
            name: &self.name,
            kind: params.liot_bstype.0,
            path: &params.path.0,
            serial: &params.scsi_sn.0,
            vendor: params.vendor_id.as_ref().map(|text| text.0.as_str()),
            product: params.product_id.as_ref().map(|text| text.0.as_str()),
            block_size: params.block_size.map(|BlockSize(bytes)| bytes),
            write_cache: params.write_cache.0,
            attributes: &attributes,
            initiators: &params.allowed_initiators.0,
        })
    }

    fn check_for(&self, chosen: Implementation) -> Result<(), Fault> {
        match chosen {
            Implementation::Lio => {
                let numbers = self.params.additional_parameters.0.iter();
                if let Some((name, value)) =
                    numbers.into_iter().find(|(_, value)| value.parse::<u32>().is_err())
                {
                    return Err(Fault::configured(format!(
                        "parameter additional_parameters: {name}={value} is not a number, as all of lio-t are"
                    )));
                }
                #[allow(
                    clippy::redundant_closure_for_method_calls,
                    reason = "the method is not general enough"
                )]
                self.with_lio_plan(|plan| plan.check())
            }
            Implementation::Tgt => {
                if self.params.block_size.is_some() {
                    return Err(Fault::configured("parameter block_size: needs implementation lio-t"));
                }
                self.tgt_plan().check()
            }
        }
    }

    fn without_effect(&self, chosen: Implementation) -> Vec<&'static str> {
        let params = &self.params;
        let mut names = match chosen {
            Implementation::Lio => vec![
                ("tgt_bstype", params.tgt_bstype.is_some()),
                ("tgt_bsoflags", params.tgt_bsoflags.is_some()),
                ("tgt_bsopts", params.tgt_bsopts.is_some()),
                ("tgt_device_type", params.tgt_device_type.is_some()),
                ("write_cache", params.write_cache == Switch(true) && params.liot_bstype.0 != Kind::File),
            ],
            Implementation::Tgt => vec![
                ("emulate_tpu", params.emulate_tpu.is_some()),
                ("emulate_3pc", params.emulate_3pc.is_some()),
                ("emulate_caw", params.emulate_caw.is_some()),
                ("allowed_initiators", !params.allowed_initiators.0.is_empty()),
            ],
        };
        names.push(("lio_iblock", params.lio_iblock != 0));
        names.into_iter().filter_map(|(name, is_set)| is_set.then_some(name)).collect()
    }

    fn stop_lio(&self, cx: &Cx) -> Result<(), Fault> {
        self.with_lio_plan(|plan| {
            if plan.probe(&self.lio)? == State::Stopped {
                return plan.give_back(&self.lio, cx);
            }
            let _held = Held::take(cx)?;
            plan.stop(&self.lio, cx)?;
            plan.give_back(&self.lio, cx)
        })
    }
}

fn main() -> ExitCode {
    run::<LogicalUnit>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf_lib::resource::testkit::Bench;

    fn validated(parameters: &[(&str, &str)]) -> u8 {
        let bench = Bench::new("iSCSILogicalUnit", Verb::ValidateAll)
            .param("target_iqn", "iqn.2026-01.org.lab:t")
            .param("lun", "1")
            .param("path", "/dev/nothing");
        let bench = parameters.iter().fold(bench, |bench, (name, value)| bench.param(name, value));
        bench.perform::<LogicalUnit>().code.number()
    }

    #[test]
    fn what_an_implementation_cannot_do_is_wrong_everywhere() {
        let lio = |name, value| validated(&[("implementation", "lio-t"), (name, value)]);
        let tgt = |name, value| validated(&[("implementation", "tgt"), (name, value)]);
        assert_eq!([lio("lun", "0"), tgt("lun", "0"), tgt("lun", "1"), tgt("lun", "-1")], [0, 6, 0, 6]);
        assert_eq!(
            [lio("block_size", "4096"), lio("block_size", "513"), tgt("block_size", "512")],
            [0, 6, 6]
        );
        assert_eq!(
            [lio("additional_parameters", "queue_depth=64"), lio("additional_parameters", "a=b")],
            [0, 6]
        );
        assert_eq!([lio("liot_bstype", "fileio"), lio("liot_bstype", "ram")], [0, 6]);
        assert_eq!([tgt("tgt_device_type", "disk"), tgt("tgt_device_type", "floppy")], [0, 6]);
        assert_eq!([lio("scst_bstype", "vdisk_fileio"), lio("path", "/dev/a,readonly=1")], [6, 6]);
        assert_eq!([lio("emulate_tpu", "1"), lio("emulate_tpu", "yes"), lio("write_cache", "2")], [0, 6, 6]);
        assert_eq!([lio("block_size", ""), lio("scsi_sn", "12345678")], [0, 0]);
    }
}
