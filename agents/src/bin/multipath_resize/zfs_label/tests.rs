use super::{LABEL, LIST, Label, parse, read};
use std::fs::File;
use std::os::unix::fs::FileExt;

fn word(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_be_bytes()
}

/// Pairs in the external form.
#[derive(Default)]
struct Pairs(Vec<u8>);

impl Pairs {
    fn pair(mut self, name: &str, kind: u32, count: u32, value: &[u8]) -> Self {
        let padded = name.len().next_multiple_of(4);
        let size = 8 + 4 + padded + 8 + value.len();
        for number in [size, 0x40, name.len()] {
            self.0.extend(word(number));
        }
        self.0.extend(name.bytes());
        self.0.resize(self.0.len() + padded - name.len(), 0);
        self.0.extend(kind.to_be_bytes());
        self.0.extend(count.to_be_bytes());
        self.0.extend(value);
        self
    }

    fn number(self, name: &str, value: u64) -> Self {
        self.pair(name, 8, 1, &value.to_be_bytes())
    }

    fn text(self, name: &str, value: &str) -> Self {
        let mut bytes = word(value.len()).to_vec();
        bytes.extend(value.bytes());
        bytes.resize(4 + value.len().next_multiple_of(4), 0);
        self.pair(name, 9, 1, &bytes)
    }

    fn list(self) -> Vec<u8> {
        [&[0, 0, 0, 0, 0, 0, 0, 1][..], &self.0, &[0; 8]].concat()
    }
}

fn device() -> Pairs {
    let device = Pairs::default().text("type", "disk").number("guid", 7).text("path", "/dev/sda1");
    device.number("whole_disk", 1)
}

fn label(tree: Pairs) -> Vec<u8> {
    let top = Pairs::default()
        .number("version", 5000)
        .text("name", "tank")
        .number("pool_guid", 17_216_376_061_212_153_755)
        .number("guid", 7)
        // Of a kind that is skipped: a boolean without a value.
        .pair("odd", 1, 0, &[])
        .pair("vdev_tree", 19, 1, &tree.list());
    [&[1, 1, 0, 0][..], &top.list()].concat()
}

fn sized(tree: Pairs) -> Pairs {
    tree.number("metaslab_shift", 25).number("asize", 404_226_048)
}

#[test]
fn a_disk_and_a_leg_of_a_mirror() {
    let seen = parse(&label(sized(device()))).unwrap();
    assert_eq!((seen.pool.as_str(), seen.pool_guid), ("tank", 17_216_376_061_212_153_755));
    assert_eq!((seen.kind.as_str(), seen.path.as_str(), seen.whole), ("disk", "/dev/sda1", true));
    assert_eq!((seen.bytes, seen.shift), (404_226_048, 25));
    let other = Pairs::default().text("type", "disk").number("guid", 8).text("path", "/dev/sdb1").list();
    let children = [other, device().list()].concat();
    let mirror =
        sized(Pairs::default().text("type", "mirror").number("guid", 9)).pair("children", 20, 2, &children);
    let seen = parse(&label(mirror)).unwrap();
    assert_eq!((seen.kind.as_str(), seen.path.as_str()), ("mirror", "/dev/sda1"));
}

#[test]
fn a_disk_of_400_mib_as_openzfs_2_3_divides_it() {
    // 390 MiB are the partition that it made of it; 418 MiB a map as it is.
    assert_eq!(Label::used_of(390 << 20), 404_226_048);
    assert_eq!(Label::used_of(0), 0);
}

#[test]
fn the_second_label_serves_while_the_first_one_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.set_len(8 << 20).unwrap();
    assert_eq!(read(&file).unwrap(), None);
    let whole = label(sized(device()));
    file.write_all_at(&whole, LABEL + LIST).unwrap();
    assert_eq!(read(&file).unwrap(), parse(&whole));
    file.write_all_at(&whole[..40], LIST).unwrap();
    assert_eq!(read(&file).unwrap(), parse(&whole));
    file.set_len(1 << 20).unwrap();
    assert_eq!(read(&file).unwrap(), parse(&whole));
    file.set_len(4096).unwrap();
    assert_eq!(read(&file).unwrap(), None, "a device without room for a label has none");
}

proptest::proptest! {
    #[test]
    fn garbage_is_never_a_panic(at in 0_usize..400, bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..16)) {
        let mut text = label(sized(device()));
        let end = (at + bytes.len()).min(text.len());
        text.splice(at.min(end)..end, bytes);
        let _ = parse(&text);
        text.truncate(at);
        let _ = parse(&text);
    }
}
