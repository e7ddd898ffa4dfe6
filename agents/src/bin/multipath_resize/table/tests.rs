//! On images that sfdisk and sgdisk made, judged by sgdisk.

use super::*;
use ocf_lib::cmd::{Cmd, Runner, System};
use ocf_lib::deadline::Deadline;
use std::path::PathBuf;
use std::time::Duration;

const MIB: u64 = 1 << 20;

struct Image {
    dir: tempfile::TempDir,
}

fn tool(program: &str, args: &[&str], stdin: &str) -> (Option<i32>, String) {
    let cmd = Cmd::new(program).args(args.iter().copied()).stdin(stdin.as_bytes());
    let output = System
        .run(&cmd, Deadline::after(Duration::from_secs(20)))
        .unwrap_or_else(|why| panic!("{program} (Debian: gdisk, fdisk): {why}"));
    (output.code, output.stdout_text() + &output.stderr_text())
}

impl Image {
    fn new(mib: u64) -> Self {
        // In memory, where there is such a place: every write is waited for.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let image = Self { dir };
        File::create(image.path()).unwrap();
        image.size(mib);
        image
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn text(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    fn size(&self, mib: u64) {
        File::options().write(true).open(self.path()).unwrap().set_len(mib * MIB).unwrap();
    }

    fn with(mib: u64, program: &str, args: &[&str], stdin: &str) -> Self {
        let image = Self::new(mib);
        let (code, said) = tool(program, &[args, &[&image.text()]].concat(), stdin);
        assert_eq!(code, Some(0), "{said}");
        image
    }

    fn disk(&self) -> Disk {
        let bytes = self.path().metadata().unwrap().len();
        Disk::open(&self.path(), bytes, true).unwrap()
    }

    fn table(&self) -> Table {
        Table::read(&self.disk(), 512).unwrap().unwrap()
    }

    fn refused(&self) -> String {
        Table::read(&self.disk(), 512).unwrap_err().to_string()
    }

    /// The first `count` of the writes, the last of them torn in the middle when it has more than a sector.
    fn grow(&self, number: u32, bytes: u64, count: usize, torn: bool) -> usize {
        let disk = self.disk();
        let writes = self.table().grow(number, bytes, disk.bytes).unwrap();
        for (n, write) in writes.iter().take(count).enumerate() {
            let mut write = write.clone();
            if torn && n + 1 == count && write.bytes.len() > 512 {
                write.bytes.truncate(write.bytes.len() / 2 / 512 * 512);
                write.bytes.truncate(512);
            }
            disk.write(&write).unwrap();
        }
        writes.len()
    }
}

fn gpt(mib: u64) -> Image {
    let args = [
        "-n",
        "1:2048:+8M",
        "-n",
        "2:0:0",
        "-c",
        "2:keepme",
        "-u",
        "2:12345678-1234-1234-1234-123456789ABC",
        "-A",
        "2:set:2",
    ];
    Image::with(mib, "sgdisk", &args, "")
}

#[test]
fn a_gpt_grows_and_keeps_all_but_its_end() {
    let image = gpt(64);
    image.size(128);
    let table = image.table();
    assert_eq!(
        (table.scheme, table.made_for, table.damaged, table.tail),
        (Scheme::Gpt, Some(64 * MIB), false, 33 * 512)
    );
    assert!(table.last(1).unwrap_err().reason().contains("partition 2 is behind partition 1"));
    assert!(table.last(3).unwrap_err().reason().contains("not in the partition table"));
    let part = table.last(2).unwrap();
    assert_eq!(part.start, 9 * MIB);
    image.grow(2, 118 * MIB, usize::MAX, false);
    let (_, said) = tool("sgdisk", &["-v", "-i", "2", &image.text()], "");
    assert!(said.contains("No problems found"), "{said}");
    for kept in ["12345678-1234-1234-1234-123456789ABC", "'keepme'", "Attribute flags: 0000000000000004"] {
        assert!(said.contains(kept), "{kept}: {said}");
    }
    let table = image.table();
    assert_eq!((table.made_for, table.damaged), (Some(128 * MIB), false));
    assert_eq!(table.last(2).unwrap(), Listed { number: 2, start: 9 * MIB, bytes: 118 * MIB });
    assert_eq!(table.parts[0], image.table().parts[0]);
}

#[test]
fn a_crash_at_any_write_leaves_a_table_that_can_be_finished() {
    for (before, after) in [(64, 128), (64, 64)] {
        let mut crashes = 0;
        // One for all: sgdisk sleeps a second after each change.
        let template = if before == after {
            // A partition that does not use its disk: the new second copy is written over the old one.
            Image::with(64, "sgdisk", &["-n", "1:2048:+8M", "-n", "2:0:+20M", "-c", "2:keepme"], "")
        } else {
            gpt(before)
        };
        for count in 0..=5 {
            for torn in [false, true] {
                let image = Image::new(before);
                std::fs::copy(template.path(), image.path()).unwrap();
                image.size(after);
                let old = image.table().last(2).unwrap();
                let bytes = (after - 10) * MIB;
                assert_eq!(image.grow(2, bytes, count, torn), 5);
                let seen = image.table();
                let part = seen.last(2).unwrap();
                assert!(part.bytes == old.bytes || part.bytes == bytes, "{part:?} after {count} writes");
                let done = part.bytes == bytes && !seen.damaged && seen.made_for == Some(after * MIB);
                assert_eq!(done, count == 5, "{count} writes, torn: {torn}");
                crashes += usize::from(seen.damaged);
                image.grow(2, bytes, usize::MAX, false);
                let (_, said) = tool("sgdisk", &["-v", "-i", "2", &image.text()], "");
                assert!(
                    said.contains("No problems found") && said.contains("'keepme'"),
                    "{count} {torn}: {said}"
                );
            }
        }
        assert!(crashes > 0, "no crash was one");
    }
}

#[test]
fn an_mbr_grows_in_one_write() {
    let script =
        "label: dos\nlabel-id: 0xcafe1234\nstart=2048,size=8192,type=83,bootable\nstart=10240,type=8e\n";
    let image = Image::with(64, "sfdisk", &["-q"], script);
    image.size(128);
    let table = image.table();
    assert_eq!((table.scheme, table.made_for, table.tail), (Scheme::Mbr, None, 0));
    assert!(table.last(1).is_err());
    assert_eq!(image.grow(2, 123 * MIB, usize::MAX, false), 1);
    let (_, said) = tool("sfdisk", &["-d", &image.text()], "");
    for part in [
        "0xcafe1234",
        "size=        8192, type=83, bootable",
        "start=       10240, size=      251904, type=8e",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(image.table().grow(2, 124 * MIB, 128 * MIB).is_err(), "beyond the end of the disk");
    assert!(image.table().grow(2, 100 * MIB, 128 * MIB).is_err(), "smaller than it is");
}

#[test]
fn what_is_not_understood_as_a_whole_is_refused() {
    assert!(Table::read(&Image::new(8).disk(), 512).unwrap().is_none());
    let logical = Image::with(64, "sfdisk", &["-q"], "label: dos\nsize=20M,type=83\ntype=5\nsize=10M\n");
    assert!(logical.refused().contains("extended partition"));
    let hybrid = gpt(64);
    assert_eq!(tool("sgdisk", &["-h", "1:EE", &hybrid.text()], "").0, Some(0));
    assert!(hybrid.refused().contains("hybrid"), "{}", hybrid.refused());
    let broken = gpt(64);
    broken.size(128);
    broken.disk().write(&Sectors { offset: 512, bytes: vec![0; 512] }).unwrap();
    assert!(broken.refused().contains("both copies"), "the second one is not where it can be found");
    let shrunk = gpt(64);
    shrunk.size(32);
    let table = shrunk.table();
    assert_eq!((table.made_for, table.damaged), (Some(64 * MIB), true));
}

proptest::proptest! {
    #[test]
    fn garbage_is_never_a_panic(at in 0_u64..34 * 512, bytes in proptest::collection::vec(proptest::num::u8::ANY, 1..64)) {
        thread_local!(static IMAGE: Image = gpt(8 + 8));
        IMAGE.with(|image| {
            let file = File::options().read(true).write(true).open(image.path()).unwrap();
            let mut old = vec![0; bytes.len()];
            file.read_exact_at(&mut old, at).unwrap();
            file.write_all_at(&bytes, at).unwrap();
            let _ = Table::read(&image.disk(), 512).map(|table| table.map(|table| table.last(2)));
            file.write_all_at(&old, at).unwrap();
        });
    }
}
