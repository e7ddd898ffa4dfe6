//! What the cluster has on record of a resource on another node: the results of the actions there, in the status of the CIB.

use super::bounded;
use crate::cmd::Cmd;
use crate::resource::code::Fault;
use crate::resource::context::Cx;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// When the agent on that node has seen that this resource is not there: in seconds since 1970, by that node's clock. It is
/// what the last action on it there was: a probe that found nothing, or a stop that succeeded.
///
/// `None`: the last action says otherwise, is not over, or there is none since the node has joined.
///
/// # Errors
/// When the cluster cannot be asked.
pub fn absent_since(cx: &Cx, node: &str) -> Result<Option<u64>, Fault> {
    let id = cx.instance().split(':').next().unwrap_or_default();
    if [node, id].iter().any(|name| name.is_empty() || name.contains(['\'', '"'])) {
        return Ok(None);
    }
    let path = format!(
        "//node_state[@uname='{node}']/lrm/lrm_resources/lrm_resource[@id='{id}' or starts-with(@id,'{id}:')]"
    );
    let said = bounded(cx, &Cmd::new("cibadmin").args(["--query", "--xpath", &path]))?;
    Ok(last_of(&said).filter(Entry::is_absence).map(|entry| entry.at))
}

/// One recorded result.
#[derive(Debug, Default)]
struct Entry {
    /// Counts up on a node; 0 or less of what has not run there.
    call: i64,
    operation: String,
    interval: String,
    code: String,
    /// 0 of an action that is over.
    status: String,
    at: u64,
}

impl Entry {
    fn is_absence(&self) -> bool {
        let result = (self.operation.as_str(), self.code.as_str());
        self.status == "0" && self.interval == "0" && matches!(result, ("monitor", "7") | ("stop", "0"))
    }
}

/// The last of them. `None`: there is none, or one of them is still running, or something cannot be read.
fn last_of(xml: &str) -> Option<Entry> {
    let mut reader = Reader::from_str(xml);
    let mut last: Option<Entry> = None;
    loop {
        let event = reader.read_event().ok()?;
        if matches!(event, Event::Eof) {
            return last;
        }
        let (Event::Empty(tag) | Event::Start(tag)) = event else { continue };
        if tag.name().as_ref() != b"lrm_rsc_op" {
            continue;
        }
        let entry = read(&tag)?;
        if entry.call <= 0 {
            return None;
        }
        if last.as_ref().is_none_or(|known| known.call < entry.call) {
            last = Some(entry);
        }
    }
}

fn read(tag: &BytesStart<'_>) -> Option<Entry> {
    let mut entry = Entry::default();
    for attribute in tag.attributes() {
        let attribute = attribute.ok()?;
        let value = attribute.unescape_value().ok()?.into_owned();
        match attribute.key.as_ref() {
            b"call-id" => entry.call = value.parse().ok()?,
            b"operation" => entry.operation = value,
            b"interval" => entry.interval = value,
            b"rc-code" => entry.code = value,
            b"op-status" => entry.status = value,
            b"last-rc-change" => entry.at = value.parse().ok()?,
            _ => {}
        }
    }
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::agent::Verb;
    use crate::resource::testkit::Bench;

    fn op(call: i64, operation: &str, interval: u32, code: i32, at: u64) -> String {
        format!(
            "<lrm_rsc_op id=\"pool_x\" operation=\"{operation}\" call-id=\"{call}\" rc-code=\"{code}\" op-status=\"0\" \
             interval=\"{interval}\" last-rc-change=\"{at}\" exit-reason=\"a &lt; b\"/>"
        )
    }

    fn absent(operations: &[String]) -> Option<u64> {
        let xml = format!("<lrm_resource id=\"pool\" class=\"ocf\">{}</lrm_resource>\n", operations.concat());
        let bench = Bench::new("ZFS", Verb::Start)
            .set("OCF_RESOURCE_INSTANCE", "pool:1")
            .answer("cibadmin", 0, &xml, "");
        let commands = bench.commands();
        let result = absent_since(&bench.into_cx(), "n1").unwrap();
        assert!(
            commands.borrow()[0].contains("[@uname='n1']") && commands.borrow()[0].contains("[@id='pool'")
        );
        result
    }

    #[test]
    fn a_probe_that_found_nothing_and_a_stop_are_proof() {
        assert_eq!(absent(&[op(5, "monitor", 0, 7, 100)]), Some(100));
        let life = [op(9, "stop", 0, 0, 300), op(8, "monitor", 5000, 0, 250), op(7, "start", 0, 0, 200)];
        assert_eq!(absent(&life), Some(300));
    }

    #[test]
    fn nothing_else_is() {
        assert_eq!(absent(&[]), None);
        assert_eq!(absent(&[op(5, "monitor", 0, 7, 100), op(7, "start", 0, 0, 200)]), None);
        assert_eq!(absent(&[op(5, "monitor", 0, 0, 100)]), None);
        assert_eq!(absent(&[op(5, "monitor", 0, 1, 100)]), None);
        assert_eq!(absent(&[op(9, "stop", 0, 1, 100)]), None);
        assert_eq!(absent(&[op(5, "monitor", 5000, 7, 100)]), None, "it may have been started again since");
        assert_eq!(absent(&[op(5, "monitor", 0, 7, 100), op(-1, "start", 0, 193, 200)]), None, "it runs now");
        let pending = op(5, "monitor", 0, 7, 100).replace("op-status=\"0\"", "op-status=\"-1\"");
        assert_eq!(absent(&[pending]), None);
        assert!(last_of("<lrm_rsc_op call-id=\"x\"/>").is_none());
    }

    #[test]
    fn names_that_would_be_more_than_names_ask_nothing() {
        let cx = Bench::new("ZFS", Verb::Start).into_cx();
        assert_eq!(absent_since(&cx, "n1' or '1'='1"), Ok(None));
        assert!(absent_since(&cx, "n1").is_err(), "no cibadmin");
    }
}
