//! A unit takes the size of the file or device behind it only when that is opened. tgtadm(8) has no word for it, but tgtd (1.0.85)
//! opens the path anew in an update that takes the unit offline, names the path and takes it online again: one request, between
//! two commands of initiators.

use super::request::{Header, Mode, Operation};
use super::target::{close_connections, find};
use super::{Error, Lun, Tgtd};
use ocf_lib::resource::code::Fault;
use ocf_lib::resource::context::Cx;
use std::fs::File;

/// The only store of which it is known that it goes on with the new size: `aio` keeps none at all.
const STORE: &str = "rdwr";

/// Makes a unit of `target` as large as what is behind it. Initiators lose their connection, and log in again by themselves:
/// tgtd's threads would otherwise find the file closed in the middle of a command.
///
/// # Errors
/// When the unit is not there, is of another kind, or what is behind it cannot be opened; nothing was changed then.
pub fn grow(tgtd: &Tgtd, target: &str, number: u64, cx: &Cx) -> Result<(), Fault> {
    let (id, lun) = unit(tgtd, target, number, cx)?;
    let path = lun.path.unwrap_or_default();
    check(&lun.store, &path)?;
    // With a path that cannot be opened tgtd says yes, and has a unit without one.
    File::options()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|error| Fault::from(error).context(format_args!("cannot open {path}")))?;
    close_connections(tgtd, target, cx)?;
    let update = Header::of(Mode::Unit, Operation::Update, id).unit(number);
    let words = format!("targetOps online=0,path={path},online=1");
    tgtd.ask(&update, words.as_bytes(), cx.deadline())?;
    let (_, now) = unit(tgtd, target, number, cx)?;
    if now.online && now.path.as_deref() == Some(&path) {
        return Ok(());
    }
    Err(Fault::generic(format!("lun {number} of {target} has lost {path}: stop and start its resource")))
}

/// What cannot be grown while it is exported, with the reason.
pub fn check(store: &str, path: &str) -> Result<(), Fault> {
    if store != STORE {
        return Err(Fault::args(format!(
            "tgtd cannot give a unit of store '{store}' another size while it is exported, only one of '{STORE}': restart its \
             resource"
        )));
    }
    if path.contains([',', '\0', '\n']) {
        return Err(Fault::args(format!("tgtd cannot be told the path '{path}'")));
    }
    Ok(())
}

fn unit(tgtd: &Tgtd, target: &str, number: u64, cx: &Cx) -> Result<(u32, Lun), Fault> {
    let found = find(tgtd, target, cx)?.ok_or_else(|| Fault::from(Error::NO_TARGET))?;
    let lun = found.lun(number).cloned().ok_or_else(|| Fault::from(Error::NO_UNIT))?;
    Ok((found.id, lun))
}

#[test]
fn only_what_is_known_to_go_on_is_grown() {
    assert_eq!(check("rdwr", "/srv/disk"), Ok(()));
    assert!(check("aio", "/srv/disk").is_err_and(|why| why.reason().contains("store 'aio'")));
    assert!(check("rdwr", "/srv/a,b").is_err());
}
