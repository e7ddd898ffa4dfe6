//! The parameters of a logical unit.

use ocf_lib::env::Env;
use ocf_lib::resource::param::{Content, FromParam};
use ocf_lib::resource::prelude::*;
use ringfence_agents::iscsi::implementation::Word;
use ringfence_agents::iscsi::lio::Kind;
use ringfence_agents::iscsi::names::{Initiators, ScsiText, Settings, StorePath, TargetName};
use ringfence_agents::iscsi::serial;

params! {
    pub struct Params {
        pub implementation: Option<Word> => param("implementation").short("Target software")
            .long("tgt (the daemon tgtd) or lio-t (the kernel's own target, LIO). If not set, the first whose tool is \
                installed of iet, tgt, lio, lio-t, scst; start refuses what is neither tgt nor lio-t."),
        pub target_iqn: TargetName => param("target_iqn").required().short("Name of the target")
            .long("The iSCSI Qualified Name of the target (iSCSITarget) that exports the unit."),
        pub lun: u64 => param("lun").required().short("Number of the unit")
            .long("The logical unit number (LUN) that initiators see. tgt keeps number 0 for itself."),
        pub path: StorePath => param("path").required().short("Device or file")
            .long("What is exported: a block device, or a file. Without it the unit does not run."),
        pub scsi_id: ScsiText => param("scsi_id").unique("scsi_id").short("SCSI ID")
            .long("Identifies the unit; for tgt. By default the first 16 characters of the resource's name.")
            .default_from(default_id),
        pub scsi_sn: ScsiText => param("scsi_sn").unique("scsi_sn").short("SCSI serial number")
            .long("By this multipath knows the unit again, so it must be the same on every node. By default the first 8 \
                hexadecimal digits of the MD5 of the resource's name.")
            .default_from(default_serial),
        pub emulate_tpu: Option<Switch> => param("emulate_tpu").short("UNMAP")
            .long("1: initiators may give blocks back (discard). For lio-t."),
        pub emulate_3pc: Option<Switch> => param("emulate_3pc").short("EXTENDED COPY")
            .long("1: initiators may have the target copy. For lio-t."),
        pub emulate_caw: Option<Switch> => param("emulate_caw").short("COMPARE AND WRITE")
            .long("1: initiators may compare and write in one step. For lio-t."),
        pub write_cache: Switch => param("write_cache").short("Write cache")
            .long("1: writes are answered when they are in this node's memory, and are lost with it. 0: when they are on \
                its disk. For tgt, and for lio-t with liot_bstype=fileio; the blocks of lio-t are as safe as the device that \
                they are on (of a ZFS volume: with sync=always).")
            .default("0"),
        pub vendor_id: Option<ScsiText> => param("vendor_id").short("SCSI vendor")
            .long("What initiators read as the vendor of the disk. For lio-t: with Linux 5.0 or later."),
        pub product_id: Option<ScsiText> => param("product_id").short("SCSI product")
            .long("What initiators read as the product."),
        pub tgt_bstype: Option<String> => param("tgt_bstype").short("Backing store of tgt")
            .long("rdwr, aio, rbd, sg and others; tgtadm(8). aio needs a tgtd that was built with libaio."),
        pub tgt_bsoflags: Option<String> => param("tgt_bsoflags").short("How tgt opens it")
            .long("direct, sync or direct:sync; tgtadm(8)."),
        pub tgt_bsopts: Option<String> => param("tgt_bsopts").short("Options of the backing store")
            .long("tgtadm(8), as for rbd: conf=/etc/ceph/ceph.conf."),
        pub tgt_device_type: Option<String> => param("tgt_device_type").short("Kind of device for tgt")
            .long("disk, tape, cd, changer, osd, ssc or pt; tgtadm(8)."),
        pub additional_parameters: Settings => param("additional_parameters").short("More parameters of the unit")
            .long("Pairs NAME=VALUE, separated by blanks: for tgt what tgtadm(8) takes as --params, for lio-t names under attrib."),
        pub allowed_initiators: Initiators => param("allowed_initiators").short("Initiators that see the unit")
            .long("Names of initiators, separated by blanks. Empty: all whom the target lets in. For lio-t.")
            .default(""),
        pub lio_iblock: u32 => param("lio_iblock").deprecated().short("Number of an iblock object")
            .long("For the implementation lio, which this agent does not support.")
            .default("0"),
        pub liot_bstype: LioStore => param("liot_bstype").short("Backing store of lio-t")
            .long("block: a block device. fileio: a file, or a block device through the page cache. pscsi: a SCSI device to \
                which commands are passed on.")
            .default("block"),
        pub block_size: Option<BlockSize> => param("block_size").short("Block size")
            .long("512, 1024, 2048 or 4096 bytes; by default that of the device. For lio-t.")
            .default(""),
        pub scst_bstype: Option<ScstStore> => param("scst_bstype").deprecated().short("Backing store of scst")
            .long("For the implementation scst, which this agent does not support."),
    }
}

/// The metadata, which is about no resource, shows what upstream's shows.
const NO_RESOURCE: &str = "RESOURCE_ID";

fn resource(env: &Env) -> &str {
    env.get_nonempty("OCF_RESOURCE_INSTANCE").unwrap_or(NO_RESOURCE)
}

fn default_id(env: &Env) -> String {
    serial::id(resource(env))
}

fn default_serial(env: &Env) -> String {
    serial::number(resource(env))
}

/// 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch(pub bool);

impl FromParam for Switch {
    const CONTENT: Content = Content::Integer;

    fn from_param(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self(false)),
            "1" => Ok(Self(true)),
            _ => Err(format!("'{text}' is neither 0 nor 1")),
        }
    }
}

/// Bytes; what the kernel's target takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize(pub u32);

impl FromParam for BlockSize {
    const CONTENT: Content = Content::Integer;

    fn from_param(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(size @ (512 | 1024 | 2048 | 4096)) => Ok(Self(size)),
            _ => Err(format!("'{text}' is none of 512, 1024, 2048, 4096")),
        }
    }
}

pub struct LioStore(pub Kind);

impl FromParam for LioStore {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        match text {
            "block" => Ok(Self(Kind::Block)),
            "fileio" => Ok(Self(Kind::File)),
            "pscsi" => Ok(Self(Kind::Passthrough)),
            _ => Err(format!("'{text}' is none of block, fileio, pscsi")),
        }
    }
}

pub struct ScstStore;

impl FromParam for ScstStore {
    const CONTENT: Content = Content::String;

    fn from_param(text: &str) -> Result<Self, String> {
        match text {
            "vdisk_blockio" | "vdisk_fileio" => Ok(Self),
            _ => Err(format!("'{text}' is neither vdisk_blockio nor vdisk_fileio")),
        }
    }
}
