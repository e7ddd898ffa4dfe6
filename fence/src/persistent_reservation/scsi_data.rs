//! What PERSISTENT RESERVE IN answers (SPC-4 6.15), taken apart.

use super::fault::Fault;
use super::port::{Keys, Kind, Registration, Reservation};
use std::fmt::Write as _;

/// The type of a reservation by SCSI's number (SPC-4 table 218).
pub const fn kind(number: u8) -> Kind {
    match number {
        1 => Kind::WriteExclusive,
        3 => Kind::ExclusiveAccess,
        5 => Kind::WriteExclusiveRegistrants,
        6 => Kind::ExclusiveAccessRegistrants,
        7 => Kind::WriteExclusiveAll,
        8 => Kind::ExclusiveAccessAll,
        other => Kind::Other(other),
    }
}

/// The other way round.
pub const fn number(kind: Kind) -> u8 {
    match kind {
        Kind::WriteExclusive => 1,
        Kind::ExclusiveAccess => 3,
        Kind::WriteExclusiveRegistrants => 5,
        Kind::ExclusiveAccessRegistrants => 6,
        Kind::WriteExclusiveAll => 7,
        Kind::ExclusiveAccessAll => 8,
        Kind::Other(other) => other,
    }
}

/// A parameter list: generation, and the part that follows.
pub struct List<'a> {
    pub generation: u32,
    /// Bytes that the disk has to tell, also those that did not fit.
    pub whole: usize,
    pub body: &'a [u8],
}

/// Header of every answer: generation and length of the rest.
pub fn list(data: &[u8]) -> Result<List<'_>, Fault> {
    let short = || Fault::Failed(format!("the disk's answer has {} bytes, too few", data.len()));
    let generation = be32(data, 0).ok_or_else(short)?;
    let length = usize::try_from(be32(data, 4).ok_or_else(short)?).unwrap_or(usize::MAX);
    let rest = data.get(8..).unwrap_or_default();
    Ok(List { generation, whole: length, body: rest.get(..length.min(rest.len())).unwrap_or_default() })
}

/// READ KEYS.
pub fn keys(data: &[u8]) -> Result<Keys, Fault> {
    let list = list(data)?;
    if list.body.len() < list.whole || list.whole % 8 != 0 {
        return Err(cut(list.body.len(), list.whole));
    }
    let keys = list.body.chunks_exact(8).filter_map(|chunk| be64(chunk, 0)).collect();
    Ok(Keys { generation: list.generation, keys })
}

/// READ RESERVATION.
pub fn reservation(data: &[u8]) -> Result<Option<Reservation>, Fault> {
    let list = list(data)?;
    if list.whole == 0 {
        return Ok(None);
    }
    match (be64(list.body, 0), list.body.get(13)) {
        (Some(key), Some(scope_and_type)) => Ok(Some(Reservation { key, kind: kind(scope_and_type & 0x0f) })),
        (Some(_) | None, _) => Err(cut(list.body.len(), list.whole)),
    }
}

/// READ FULL STATUS.
pub fn registrations(data: &[u8]) -> Result<Vec<Registration>, Fault> {
    let list = list(data)?;
    if list.body.len() < list.whole {
        return Err(cut(list.body.len(), list.whole));
    }
    let mut found = Vec::new();
    let mut rest = list.body;
    while !rest.is_empty() {
        let whole = || cut(list.body.len(), list.whole);
        let key = be64(rest, 0).ok_or_else(whole)?;
        let flags = *rest.get(12).ok_or_else(whole)?;
        let port =
            rest.get(18..20).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes).ok_or_else(whole)?;
        let length = usize::try_from(be32(rest, 20).ok_or_else(whole)?).unwrap_or(usize::MAX);
        let end = length.checked_add(24).ok_or_else(whole)?;
        let id = rest.get(24..end).ok_or_else(whole)?;
        found.push(Registration {
            key,
            holder: flags & 1 != 0,
            initiator: transport_id(id),
            target_port: if flags & 2 != 0 { 0 } else { port },
        });
        rest = rest.get(end..).unwrap_or_default();
    }
    Ok(found)
}

/// A `TransportID` in words (SPC-4 7.6.4).
fn transport_id(id: &[u8]) -> String {
    let hex = |from: usize, to: usize| {
        id.get(from..to).unwrap_or_default().iter().fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    };
    match id.first().map(|byte| byte & 0x0f) {
        Some(0) => format!("fc {}", hex(8, 16)),
        Some(4) => format!("srp {}", hex(8, 24)),
        Some(5) => {
            let name: Vec<u8> =
                id.get(4..).unwrap_or_default().iter().copied().take_while(|byte| *byte != 0).collect();
            String::from_utf8_lossy(&name).into_owned()
        }
        Some(6) => format!("sas {}", hex(4, 12)),
        Some(_) | None => format!("transport id {}", hex(0, id.len())),
    }
}

fn cut(have: usize, whole: usize) -> Fault {
    Fault::Failed(format!("the disk's answer was cut: {have} of {whole} bytes"))
}

fn be32(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes)
}

fn be64(data: &[u8], at: usize) -> Option<u64> {
    data.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made from the words of a real LIO target behind iSCSI: two nodes, the first holds the reservation.
    fn full_status() -> Vec<u8> {
        let mut body = Vec::new();
        for (key, flags, name) in [
            (0x0abc_0001_u64, 1_u8, "iqn.2026-01.lab:n1,i,0x00023d000002"),
            (0x0abc_0002, 0, "iqn.2026-01.lab:n2,i,0x00023d000002"),
        ] {
            let mut id = vec![0x45, 0];
            let padded = name.len().div_ceil(4) * 4 + 4;
            id.extend(u16::try_from(padded).unwrap().to_be_bytes());
            id.extend(name.bytes());
            id.resize(4 + padded, 0);
            body.extend(key.to_be_bytes());
            body.extend([0, 0, 0, 0, flags, 0x05, 0, 0, 0, 0, 0, 1]);
            body.extend(u32::try_from(id.len()).unwrap().to_be_bytes());
            body.extend(id);
        }
        let mut data = 2_u32.to_be_bytes().to_vec();
        data.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        data.extend(body);
        data
    }

    #[test]
    fn who_is_registered_over_what() {
        let found = registrations(&full_status()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].initiator, "iqn.2026-01.lab:n1,i,0x00023d000002");
        assert!(found[0].holder && !found[1].holder);
        assert_eq!((found[1].key, found[1].target_port), (0x0abc_0002, 1));
    }

    #[test]
    fn a_list_that_was_cut_is_no_list() {
        let mut data = vec![0, 0, 0, 7, 0, 0, 0, 16];
        data.extend(1_u64.to_be_bytes());
        assert!(keys(&data).is_err(), "the second key is missing: nothing can be said about it");
        data.extend(2_u64.to_be_bytes());
        assert_eq!(keys(&data).unwrap(), Keys { generation: 7, keys: vec![1, 2] });
        assert!(keys(&[0; 7]).is_err());
        assert_eq!(keys(&[0; 8]).unwrap().keys, Vec::<u64>::new());
        assert!(reservation(&[0, 0, 0, 1, 0, 0, 0, 16, 1, 2, 3]).is_err());
        assert_eq!(reservation(&[0; 8]).unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (keys(&bytes), reservation(&bytes), registrations(&bytes));
        }
    }
}
