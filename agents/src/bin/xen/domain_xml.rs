//! libvirt's description of a guest (formatdomain), as far as this agent has to know it.

use crate::config::{Config, Disk};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Whether this is XML: no configuration of xl begins so.
pub fn is_xml(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with('<')
}

/// Reads what can be read up to where it is broken; libvirt judges the file.
pub fn parse(text: &str) -> Config {
    let mut config = Config { libvirt: Some(String::new()), ..Config::default() };
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    let mut disk = None;
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Eof => break,
            Event::Start(element) => {
                path.push(name_of(&element));
                opened(&path, &element, &mut config, &mut disk);
            }
            Event::Empty(element) => {
                path.push(name_of(&element));
                opened(&path, &element, &mut config, &mut disk);
                path.pop();
            }
            Event::End(_) => {
                if is_disk(&path) {
                    config.disks.extend(disk.take().and_then(DiskSeen::disk));
                }
                path.pop();
            }
            Event::Text(text) => {
                let text = text.decode().unwrap_or_default().trim().to_owned();
                match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                    ["domain", "name"] => config.name.get_or_insert_default().push_str(&text),
                    ["domain", "uuid"] => config.uuid = Some(text.to_lowercase()),
                    _ => {}
                }
            }
            Event::GeneralRef(entity) if path == ["domain", "name"] => {
                let name = config.name.get_or_insert_default();
                match entity.decode().unwrap_or_default().as_ref() {
                    "amp" => name.push('&'),
                    "lt" => name.push('<'),
                    "gt" => name.push('>'),
                    "quot" => name.push('"'),
                    "apos" => name.push('\''),
                    // No name that this agent takes has others.
                    _ => name.push('\u{fffd}'),
                }
            }
            Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::GeneralRef(_) => {}
        }
    }
    config
}

#[derive(Default)]
struct DiskSeen {
    source: Option<String>,
    shared: bool,
}

impl DiskSeen {
    fn disk(self) -> Option<Disk> {
        Some(Disk { target: self.source?, exclusive: !self.shared })
    }
}

fn is_disk(path: &[String]) -> bool {
    path == ["domain", "devices", "disk"]
}

fn opened(path: &[String], element: &BytesStart<'_>, config: &mut Config, disk: &mut Option<DiskSeen>) {
    match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["domain"] => config.libvirt = attribute(element, "type"),
        ["domain", "devices", "disk"] => {
            let shared = attribute(element, "device").is_some_and(|device| device == "cdrom");
            *disk = Some(DiskSeen { source: None, shared });
        }
        ["domain", "devices", "disk", "source"] => {
            if let Some(disk) = disk {
                disk.source = attribute(element, "file").or_else(|| attribute(element, "dev"));
            }
        }
        ["domain", "devices", "disk", "readonly" | "shareable"] => {
            if let Some(disk) = disk {
                disk.shared = true;
            }
        }
        _ => {}
    }
}

fn name_of(element: &BytesStart<'_>) -> String {
    String::from_utf8_lossy(element.name().as_ref()).into_owned()
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element.try_get_attribute(name).ok()??;
    attribute.unescape_value().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GUEST: &str = "<!--\nWARNING: <name>no</name>\n-->\n<domain type='xen'>\n  <name>d1</name>\n  \
        <uuid>E7A323FB-ae9e-4e9d-91a0-ab226250bbc9</uuid>\n  <metadata><name>other</name></metadata>\n  <devices>\n    \
        <disk type='block' device='disk'><source dev='/dev/vg/d1'/><target dev='xvda'/></disk>\n    \
        <disk type='file' device='disk'><source file='/img/a&amp;b'/><shareable/></disk>\n    \
        <disk type='file' device='disk'><source file='/img/ro'/><readonly/></disk>\n    \
        <disk type='file' device='cdrom'><source file='/iso'/></disk>\n    \
        <disk type='file' device='cdrom'/>\n  </devices>\n</domain>\n";

    #[test]
    fn a_guest_of_libvirt_has_name_kind_and_disks() {
        assert!(
            is_xml(GUEST) && is_xml("<?xml version='1.0'?>\n<domain/>") && !is_xml("name = 'd1' # <domain>")
        );
        let config = parse(GUEST);
        assert_eq!(config.name.as_deref(), Some("d1"));
        assert_eq!(config.uuid.as_deref(), Some("e7a323fb-ae9e-4e9d-91a0-ab226250bbc9"));
        assert_eq!(config.libvirt.as_deref(), Some("xen"));
        let disks: Vec<(&str, bool)> =
            config.disks.iter().map(|disk| (disk.target.as_str(), disk.exclusive)).collect();
        assert_eq!(disks, [("/dev/vg/d1", true), ("/img/a&b", false), ("/img/ro", false), ("/iso", false)]);
    }

    #[test]
    fn a_name_is_what_libvirt_reads_there() {
        assert_eq!(parse("<domain><name>a&amp;b</name></domain>").name.as_deref(), Some("a&b"));
        assert_eq!(parse("<domain><name> d1 </name>").name.as_deref(), Some("d1"));
        assert_eq!(parse("<domain type='kvm'/>").libvirt.as_deref(), Some("kvm"));
        assert_eq!(parse("<domain").name, None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[<>/a-z='& \n]{0,200}") {
            let _ = parse(&text);
        }
    }
}
