//! What Pacemaker says of itself: `crm_mon -1 --output-as=xml`, parsed.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::fmt;

/// One look at the cluster from one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The designated controller, once elected.
    pub dc: Option<String>,
    /// Whether this partition has quorum.
    pub quorum: bool,
    /// All configured nodes.
    pub nodes: Vec<NodeStatus>,
    /// All resources, members of clones and groups too.
    pub resources: Vec<ResourceStatus>,
}

/// A node as Pacemaker sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Member of the cluster, controller running.
    pub online: bool,
    /// In need of fencing.
    pub unclean: bool,
}

/// A resource (or an instance of a clone) as Pacemaker sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceStatus {
    /// Its id, with the instance number for a unique clone.
    pub id: String,
    /// `class:provider:type`.
    pub agent: String,
    /// `Started`, `Stopped`, `Promoted` (`Master` before Pacemaker 2.1), ...
    pub role: String,
    /// Running somewhere.
    pub active: bool,
    /// In the failed state.
    pub failed: bool,
    /// The nodes it runs on.
    pub on: Vec<String>,
}

/// The text was not what `crm_mon` writes.
#[derive(Debug)]
pub struct StatusError(String);

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crm_mon's XML cannot be read: {}", self.0)
    }
}

impl std::error::Error for StatusError {}

impl Status {
    /// Parses the document.
    pub fn parse(xml: &str) -> Result<Self, StatusError> {
        let mut reader = Reader::from_str(xml);
        let mut path: Vec<String> = Vec::new();
        let mut status = Self::default();
        let mut seen_result = false;
        loop {
            match reader.read_event() {
                Ok(Event::Start(tag)) => {
                    seen_result |= tag.name().as_ref() == b"pacemaker-result";
                    status.take(&path, &tag)?;
                    path.push(name_of(&tag));
                }
                Ok(Event::Empty(tag)) => status.take(&path, &tag)?,
                Ok(Event::End(_)) => {
                    path.pop();
                }
                Ok(Event::Eof) if !seen_result => {
                    return Err(StatusError("no pacemaker-result in it".to_owned()));
                }
                Ok(Event::Eof) if !path.is_empty() => {
                    return Err(StatusError("it ends too early".to_owned()));
                }
                Ok(Event::Eof) => return Ok(status),
                Ok(_) => {}
                Err(error) => return Err(StatusError(error.to_string())),
            }
        }
    }

    fn take(&mut self, path: &[String], tag: &BytesStart<'_>) -> Result<(), StatusError> {
        let parent = path.last().map_or("", String::as_str);
        match (parent, name_of(tag).as_str()) {
            ("summary", "current_dc") => {
                self.quorum = attribute(tag, "with_quorum")? == "true";
                let name = attribute(tag, "name")?;
                self.dc = (!name.is_empty()).then_some(name);
            }
            ("nodes", "node") => self.nodes.push(NodeStatus {
                name: attribute(tag, "name")?,
                online: attribute(tag, "online")? == "true",
                unclean: attribute(tag, "unclean")? == "true",
            }),
            (_, "resource") if path.iter().any(|name| name == "resources") => {
                self.resources.push(ResourceStatus {
                    id: attribute(tag, "id")?,
                    agent: attribute(tag, "resource_agent")?,
                    role: attribute(tag, "role")?,
                    active: attribute(tag, "active")? == "true",
                    failed: attribute(tag, "failed")? == "true",
                    on: Vec::new(),
                });
            }
            ("resource", "node") => {
                let name = attribute(tag, "name")?;
                if let Some(resource) = self.resources.last_mut() {
                    resource.on.push(name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the node is an online member that needs no fencing.
    #[must_use]
    pub fn is_online(&self, node: &str) -> bool {
        self.nodes.iter().any(|candidate| candidate.name == node && candidate.online && !candidate.unclean)
    }

    /// Whether the resource (any instance of it) runs, with no start or stop in progress, and has not failed.
    #[must_use]
    pub fn is_started(&self, id: &str) -> bool {
        // "Master" and "Slave" are what Pacemaker before 2.1 says; "Starting" is active too.
        let running = ["Started", "Promoted", "Unpromoted", "Master", "Slave"];
        self.resources.iter().any(|candidate| {
            candidate.id == id
                && candidate.active
                && !candidate.failed
                && running.contains(&candidate.role.as_str())
        })
    }

    /// The nodes an active resource runs on, over all its instances.
    #[must_use]
    pub fn running_on(&self, id: &str) -> Vec<&str> {
        self.resources
            .iter()
            .filter(|candidate| candidate.id == id && candidate.active)
            .flat_map(|candidate| candidate.on.iter().map(String::as_str))
            .collect()
    }
}

fn name_of(tag: &BytesStart<'_>) -> String {
    String::from_utf8_lossy(tag.name().as_ref()).into_owned()
}

/// An attribute's text; empty when there is none.
fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<String, StatusError> {
    match tag.try_get_attribute(name) {
        Ok(Some(found)) => found
            .unescape_value()
            .map(std::borrow::Cow::into_owned)
            .map_err(|error| StatusError(error.to_string())),
        Ok(None) => Ok(String::new()),
        Err(error) => Err(StatusError(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"<pacemaker-result api-version="2.25" request="crm_mon -1 --output-as=xml">
  <summary><stack type="corosync"/><current_dc present="true" version="2.1.5" name="n2" id="2" with_quorum="true"/></summary>
  <nodes><node name="n1" id="1" online="false" unclean="true" type="member"/><node name="n2" id="2" online="true" unclean="false"/></nodes>
  <resources>
    <resource id="vip" resource_agent="ocf:heartbeat:IPaddr2" role="Started" active="true" failed="false"><node name="n2" id="2" cached="true"/></resource>
    <clone id="c"><resource id="st" resource_agent="ocf:ringfence:Stateful" role="Promoted" active="true" failed="false"><node name="n1"/></resource>
    <resource id="st" resource_agent="ocf:ringfence:Stateful" role="Unpromoted" active="true" failed="false"><node name="n2"/></resource></clone>
    <resource id="off" resource_agent="stonith:fence_ipmilan" role="Stopped" active="false" failed="false"/>
    <resource id="soon" resource_agent="stonith:fence_ipmilan" role="Starting" active="true" failed="false"/>
  </resources>
  <node_attributes><node name="n1"/></node_attributes>
  <status code="0" message="OK"/>
</pacemaker-result>"#;

    #[test]
    fn reads_nodes_resources_and_controller() {
        let status = Status::parse(SAMPLE).unwrap();
        assert_eq!(status.dc.as_deref(), Some("n2"));
        assert!(status.quorum);
        assert!(!status.is_online("n1"));
        assert!(status.is_online("n2"));
        assert_eq!(status.running_on("vip"), ["n2"]);
        assert_eq!(status.running_on("st"), ["n1", "n2"]);
        assert!(status.is_started("vip"));
        assert!(!status.is_started("off"));
        assert!(!status.is_started("soon"), "active is not started");
        assert_eq!(status.nodes.len(), 2, "node_attributes are not nodes");
    }

    #[test]
    fn half_a_document_is_an_error() {
        assert!(Status::parse("").is_err());
        assert!(Status::parse(&SAMPLE[..SAMPLE.len() - 20]).is_err());
        assert!(Status::parse("<html/>").is_err());
    }
}
