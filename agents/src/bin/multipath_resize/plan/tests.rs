use super::*;
use crate::stack::{DiskPath, Exporter, FsKind, Image, Map};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

/// A stack whose layers all agree, on a disk of `mib`.
pub fn whole(mib: u64, mapped: bool, scheme: Option<Scheme>, lvm: bool) -> Stack {
    let bytes = mib * MIB;
    let path = |name: &str| DiskPath { name: name.into(), bytes, real: bytes, down: None };
    let paths = if mapped { vec![path("sda"), path("sdb")] } else { vec![path("sda")] };
    let map = mapped.then(|| Map { name: "dm-0".into(), label: "mpatha".into(), bytes });
    let mut room = bytes;
    let part = scheme.map(|scheme| {
        let tail = if scheme == Scheme::Gpt { 33 * 512 } else { 0 };
        room = (bytes - tail) / MIB * MIB - MIB;
        Part {
            name: if mapped { "dm-1".into() } else { "sda1".into() },
            number: 1,
            label: mapped.then(|| "mpatha-part1".into()),
            scheme,
            start: MIB,
            listed: room,
            bytes: room,
            tail,
            most: u64::from(u32::MAX) * 512,
            made_for: (scheme == Scheme::Gpt).then_some(bytes),
            damaged: false,
        }
    });
    let pv = lvm.then(|| Pv {
        name: "pv".into(),
        group: "vg".into(),
        offset: MIB,
        extent: 4 * MIB,
        extents: (room - MIB) / (4 * MIB),
        free: 0,
    });
    let lv = pv.as_ref().map(|pv| {
        room = pv.extents * pv.extent;
        Lv { name: "dm-9".into(), volume: "lv".into(), extents: pv.extents, bytes: room }
    });
    let fs = Some(Fs {
        name: "top".into(),
        kind: FsKind::Xfs,
        bytes: room,
        slack: 4096,
        mount: Some("/mnt".into()),
        read_only: false,
        devid: 1,
    });
    Stack { paths, map, part, pv, lv, fs, ..Stack::default() }
}

/// What a step does to a stack, on a host where everything works.
fn carry_out(stack: &mut Stack, step: &Step) {
    let disk = |stack: &Stack| stack.map.as_ref().map_or(stack.paths[0].bytes, |map| map.bytes);
    match step {
        Step::Rescan { path } => {
            let path = stack.paths.iter_mut().find(|p| p.name == *path).unwrap();
            path.bytes = path.real;
        }
        Step::Map { .. } => {
            // multipathd takes the size of the paths as the kernel has it.
            stack.map.as_mut().unwrap().bytes = stack.paths.iter().map(|path| path.bytes).min().unwrap();
        }
        Step::Table { bytes, .. } => {
            let end = disk(stack);
            let part = stack.part.as_mut().unwrap();
            assert!(part.start + bytes + part.tail <= end, "the table is written inside of the disk");
            part.listed = *bytes;
            part.made_for = part.made_for.map(|_| end);
            part.damaged = false;
        }
        Step::Partition { bytes, .. } => {
            let part = stack.part.as_mut().unwrap();
            assert!(*bytes <= part.listed);
            part.bytes = *bytes;
        }
        Step::Pv { .. } => {
            let room = stack.part.as_ref().map_or(disk(stack), |part| part.bytes);
            let pv = stack.pv.as_mut().unwrap();
            let extents = (room - pv.offset) / pv.extent;
            pv.free += extents - pv.extents;
            pv.extents = extents;
        }
        Step::Lv { extents, .. } => {
            let (pv, lv) = (stack.pv.as_mut().unwrap(), stack.lv.as_mut().unwrap());
            assert!(extents - lv.extents <= pv.free);
            pv.free -= extents - lv.extents;
            lv.extents = *extents;
            lv.bytes = extents * pv.extent;
        }
        Step::Refresh { .. } => {
            let extent = stack.pv.as_ref().unwrap().extent;
            let lv = stack.lv.as_mut().unwrap();
            lv.bytes = lv.extents * extent;
        }
        Step::Fs(_) => {
            let below = stack.part.as_ref().map_or(disk(stack), |part| part.bytes);
            let room = stack.lv.as_ref().map_or(below, |lv| lv.bytes);
            stack.fs.as_mut().unwrap().bytes = room / 4096 * 4096;
        }
        Step::Vdev { bytes, .. } => stack.vdev.as_mut().unwrap().bytes = *bytes,
        Step::Export { bytes, .. } => stack.exports[0].bytes = Size::Bytes(*bytes),
    }
}

fn sizes(stack: &Stack) -> Vec<u64> {
    let mut sizes: Vec<u64> = stack.paths.iter().map(|path| path.bytes).collect();
    sizes.extend(stack.map.iter().map(|map| map.bytes));
    sizes.extend(stack.part.iter().flat_map(|part| [part.listed, part.bytes]));
    sizes.extend(stack.pv.iter().map(|pv| pv.extents));
    sizes.extend(stack.lv.iter().flat_map(|lv| [lv.extents, lv.bytes]));
    sizes.extend(stack.fs.iter().map(|fs| fs.bytes));
    sizes
}

fn any_stack() -> impl Strategy<Value = (Stack, bool)> {
    let scheme = prop_oneof![Just(None), Just(Some(Scheme::Mbr)), Just(Some(Scheme::Gpt))];
    let grown = prop_oneof![Just(0), 1..64u64, 64..100_000u64, Just(3 << 22)];
    (64..10_000u64, grown, 0..4096u64, any::<bool>(), scheme, any::<bool>(), any::<bool>()).prop_map(
        |(mib, more, odd, mapped, scheme, lvm, extend)| {
            let mut stack = whole(mib, mapped, scheme, lvm);
            for path in &mut stack.paths {
                path.real += more * MIB + if more == 0 { 0 } else { odd * 512 };
            }
            (stack, extend)
        },
    )
}

proptest! {
    #[test]
    fn nothing_shrinks_a_crash_resumes_and_the_end_is_quiet((mut stack, extend) in any_stack(), crash in 0..12usize) {
        let whole = plan(&stack, extend).unwrap();
        for (done, step) in whole.steps.iter().enumerate() {
            if done == crash {
                // Another process goes on from what it sees: with the very steps that were left.
                prop_assert_eq!(&plan(&stack, extend).unwrap().steps, &whole.steps[done..]);
            }
            let before = sizes(&stack);
            carry_out(&mut stack, step);
            for (before, after) in before.iter().zip(sizes(&stack)) {
                prop_assert!(after >= *before, "{} shrank something", step);
            }
        }
        let end = plan(&stack, extend).unwrap();
        prop_assert_eq!(end.steps, vec![]);
        prop_assert!(end.layers.iter().all(|layer| layer.now == layer.then));
    }

    #[test]
    fn a_disk_that_shrank_is_refused((mut stack, extend) in any_stack(), less in 4..40u64) {
        // Less than an extent (4 MiB) can be missing where nothing lies.
        for path in &mut stack.paths {
            path.real = path.bytes - less * MIB;
        }
        prop_assert!(plan(&stack, extend).unwrap_err().reason().contains("nothing is made smaller"));
        // Also when the kernel and multipathd were told already.
        for path in &mut stack.paths {
            path.bytes = path.real;
        }
        if let Some(map) = &mut stack.map {
            map.bytes = stack.paths[0].real;
        }
        let seen = plan(&stack, extend).unwrap_err();
        prop_assert!(seen.reason().contains("nothing is made smaller"), "{}", seen);
    }
}

fn steps(stack: &Stack, extend: bool) -> Vec<String> {
    plan(stack, extend).unwrap().steps.iter().map(ToString::to_string).collect()
}

fn grown(mut stack: Stack, mib: u64) -> Stack {
    for path in &mut stack.paths {
        path.real += mib * MIB;
    }
    stack
}

#[test]
fn the_longest_way_in_its_order() {
    let stack = grown(whole(700, true, Some(Scheme::Gpt), true), 200);
    assert_eq!(
        steps(&stack, true),
        [
            "asking sda for its size",
            "asking sdb for its size",
            "resizing the multipath map mpatha",
            "writing partition 1 of dm-0",
            "telling the kernel of partition dm-1",
            "growing the physical volume on pv",
            "extending vg/lv",
            "growing the xfs file system on top",
        ]
    );
    assert_eq!(steps(&stack, false).len(), 6, "the logical volume is left alone");
    let mut text = Vec::new();
    plan(&stack, true).unwrap().describe(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("map mpatha (dm-0): 734003200 -> 943718400\n"), "{text}");
    assert!(
        plan(&stack, true)
            .unwrap()
            .mismatch()
            .unwrap()
            .starts_with("path sda has 734003200 of 943718400 bytes")
    );
}

#[test]
fn a_path_that_is_down_is_in_the_way_of_growing_and_of_nothing_else() {
    let mut stack = whole(700, true, None, false);
    stack.paths[1].down = Some("offline".into());
    assert_eq!(steps(&stack, true), [""; 0]);
    stack.paths[0].real += MIB;
    assert!(plan(&stack, true).unwrap_err().reason().contains("path sdb is offline"));
    let mut stack = grown(whole(700, true, None, false), 200);
    stack.paths[1].real += MIB;
    assert!(plan(&stack, true).unwrap_err().reason().contains("the same size on all paths"));
}

#[test]
fn an_mbr_ends_at_what_it_can_count() {
    let stack = grown(whole(700, false, Some(Scheme::Mbr), false), 4 << 20);
    let plan = plan(&stack, true).unwrap();
    let listed = plan.layers.iter().find(|layer| layer.what.ends_with("in the table")).unwrap();
    assert_eq!(listed.then, u64::from(u32::MAX) * 512);
}

#[test]
fn what_was_done_by_half_is_finished() {
    let mut stack = whole(700, false, Some(Scheme::Gpt), true);
    stack.part.as_mut().unwrap().damaged = true;
    stack.lv.as_mut().unwrap().bytes -= 4 * MIB;
    stack.fs.as_mut().unwrap().bytes -= 8 * MIB;
    assert_eq!(
        steps(&stack, false),
        ["writing partition 1 of sda", "telling the kernel of vg/lv", "growing the xfs file system on top"]
    );
    stack.fs.as_mut().unwrap().read_only = true;
    let told = plan(&stack, false).unwrap();
    assert_eq!(told.steps.len(), 2, "one that cannot be written to waits, too");
    assert!(told.layers.last().unwrap().what.contains("read-only on /mnt: grows once it is writable"));
    stack.fs.as_mut().unwrap().mount = None;
    assert_eq!(steps(&stack, false).len(), 2, "a file system that is not mounted waits");
}

/// A pool on a disk of 400 MiB, as OpenZFS 2.3.2 has made it.
fn pool(own_start: Option<u64>, bytes: u64) -> Stack {
    let vdev = Vdev {
        name: "sda".into(),
        pool: "tank".into(),
        path: "/dev/sda".into(),
        own_start,
        bytes,
        shift: 25,
    };
    Stack { vdev: Some(vdev), fs: None, ..whole(400, false, None, false) }
}

#[test]
fn a_pool_takes_the_disk_in_its_own_steps() {
    for mut stack in [pool(Some(MIB), 404_226_048), pool(None, 414_711_808)] {
        assert_eq!(steps(&stack, true), [""; 0], "as it was made");
        stack.paths[0].bytes += 4 * MIB;
        stack.paths[0].real += 4 * MIB;
        assert_eq!(steps(&stack, true), [""; 0], "less than a step of 32 MiB");
        let mut stack = grown(stack, 200);
        let whole = plan(&stack, true).unwrap();
        assert_eq!(steps(&stack, true), ["asking sda for its size", "growing pool tank on /dev/sda"]);
        for step in &whole.steps {
            carry_out(&mut stack, step);
        }
        assert_eq!(steps(&stack, true), [""; 0]);
        stack.paths[0].real = 400 * MIB;
        stack.paths[0].bytes = 400 * MIB;
        assert!(plan(&stack, true).unwrap_err().reason().contains("pool tank on sda has"));
    }
    // What it had after the disk had grown to 600 MiB.
    let mut seen = grown(pool(Some(MIB), 613_941_248), 200);
    seen.paths[0].bytes = seen.paths[0].real;
    assert_eq!(steps(&seen, true), [""; 0]);
}

#[test]
fn a_file_that_is_exported() {
    let by = Exporter::Tgt { target: "iqn.x:t".into(), number: 1, store: "rdwr".into() };
    let unit = |bytes| Export { by: by.clone(), path: "/srv/disk".into(), bytes };
    let stack = |bytes: u64, sizes: &[Size]| Stack {
        image: Some(Image { path: "/srv/disk".into(), bytes }),
        exports: sizes.iter().map(|size| unit(*size)).collect(),
        ..Stack::default()
    };
    assert_eq!(
        steps(&stack(64 * MIB, &[Size::Same, Size::Megabytes(67), Size::Bytes(64 * MIB)]), false),
        [""; 0]
    );
    // To the nearest: 67.1 of them is 67.
    for size in [Size::Megabytes(34), Size::Bytes(32 * MIB)] {
        assert_eq!(steps(&stack(64 * MIB, &[size]), false), ["growing tgtd's unit 1 of iqn.x:t"]);
    }
    let shrunk = plan(&stack(32 * MIB, &[Size::Megabytes(67)]), false).unwrap_err();
    assert!(shrunk.reason().contains("and /srv/disk only 33554432: nothing is made smaller"), "{shrunk}");
    let told = plan(&stack(64 * MIB, &[Size::Bytes(32 * MIB)]), false).unwrap().as_json();
    assert_eq!(told["layers"][1]["bytes_then"], 64 * MIB);
    assert_eq!(told["steps"][0], "growing tgtd's unit 1 of iqn.x:t");
}

#[test]
fn every_layer_has_the_program_that_it_will_take() {
    let of = |mapped, scheme, lvm, extend| crate::apply::programs(&whole(700, mapped, scheme, lvm), extend);
    let gpt = Some(Scheme::Gpt);
    assert_eq!(of(false, None, false, true), ["xfs_growfs"]);
    assert_eq!(of(false, gpt, false, true), ["xfs_growfs"], "the kernel's own partitions take none");
    assert_eq!(of(true, None, false, true), ["multipathd", "xfs_growfs"]);
    assert_eq!(of(true, gpt, false, true), ["multipathd", "dmsetup", "xfs_growfs"]);
    assert_eq!(of(false, gpt, true, true), ["pvresize", "lvextend", "xfs_growfs"]);
    assert_eq!(of(true, gpt, true, false), ["multipathd", "dmsetup", "pvresize", "xfs_growfs"]);
    assert_eq!(crate::apply::programs(&pool(None, 0), true), ["zpool"]);
    // A target is told by the kernel's or the daemon's own interface.
    let image = Stack { image: Some(Image { path: "/srv/disk".into(), bytes: MIB }), ..Stack::default() };
    assert_eq!(crate::apply::programs(&image, true), [""; 0]);
}
