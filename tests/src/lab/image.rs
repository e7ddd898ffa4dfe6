//! The guests' kernel, initramfs and root image, made of Debian's packages as they are.

use super::failure::LabError;
use super::{cache, debian, recipe, tool};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Parts of the kernel that no guest here has a device for; they would double the image.
const LEFT_OUT: [&str; 22] = [
    "drivers/gpu",
    "drivers/hid",
    "drivers/hwmon",
    "drivers/iio",
    "drivers/infiniband",
    "drivers/input",
    "drivers/isdn",
    "drivers/bluetooth",
    "drivers/leds",
    "drivers/media",
    "drivers/mfd",
    "drivers/mtd",
    "drivers/net/ethernet",
    "drivers/net/wireless",
    "drivers/platform",
    "drivers/power",
    "drivers/regulator",
    "drivers/staging",
    "drivers/usb",
    "sound",
    "net/bluetooth",
    "net/mac80211",
];

/// What the guests boot from.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The folder that holds it.
    pub folder: PathBuf,
}

impl Image {
    /// The kernel, as an ELF file where it could be unpacked: software emulation takes 3 s to unpack it.
    pub(crate) fn kernel(&self) -> PathBuf {
        self.folder.join("kernel")
    }

    pub(crate) fn initramfs(&self) -> PathBuf {
        self.folder.join("initramfs")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root.erofs")
    }

    /// The kernel's release, as `uname -r` says it.
    pub(crate) fn release(&self) -> Result<String, LabError> {
        let text = fs::read_to_string(self.folder.join("release"));
        Ok(text.map_err(LabError::io("read the image's release"))?.trim().to_owned())
    }
}

/// The image of this tree's recipe and of the packages that apt knows now; made if it is not kept.
pub(crate) fn ready(say: &dyn Fn(&str)) -> Result<Image, LabError> {
    let package = debian::kernel_package()?;
    let name = format!("image-{}", recipe::key(&package)?);
    let folder = cache::kept(&cache::folder()?, &name, |folder| make(folder, &package, say))?;
    Ok(Image { folder })
}

fn make(folder: &Path, package: &str, say: &dyn Fn(&str)) -> Result<(), LabError> {
    let release = package.trim_start_matches("linux-image-");
    let root = folder.join("rootfs");
    say(&format!("kernel {release}: fetching the package"));
    let unpacked = folder.join("kernel-package");
    for file in debian::download(&[package], &folder.join("debs"))? {
        tool::run("dpkg-deb", &["-x".as_ref(), file.as_os_str(), unpacked.as_os_str()])?;
    }
    unpack_kernel(&unpacked.join(format!("boot/vmlinuz-{release}")), &folder.join("kernel"))?;
    say(&format!("root file system: {} packages and what they need", recipe::packages().len()));
    bootstrap(&root, &debian::sources()?, &recipe::packages(), &["--variant=minbase"])?;
    say("modules, initramfs, image");
    copy_modules(&unpacked.join("lib/modules").join(release), &root.join("lib/modules").join(release))?;
    tool::run("depmod", &["-b".as_ref(), root.as_os_str(), release.as_ref()])?;
    furnish(&root)?;
    initramfs(&root, release, folder)?;
    // Not compressed: a guest would have to unpack it with an emulated processor.
    tool::run("mkfs.erofs", &["--quiet".as_ref(), folder.join("root.erofs").as_os_str(), root.as_os_str()])?;
    fs::write(folder.join("release"), release).map_err(LabError::io("write the release"))?;
    for part in ["rootfs", "kernel-package", "debs"] {
        fs::remove_dir_all(folder.join(part)).map_err(LabError::io(format!("remove {part}")))?;
    }
    Ok(())
}

/// Cuts the kernel's ELF file out of the compressed one, by the magic numbers of xz and zstd; left as it is when there is none.
fn unpack_kernel(from: &Path, to: &Path) -> Result<(), LabError> {
    let packed = fs::read(from).map_err(LabError::io(format!("read {}", from.display())))?;
    let kinds: [(&[u8], [&str; 3]); 2] = [
        (b"\xfd7zXZ\0", ["xz", "--decompress", "--single-stream"]),
        (b"\x28\xb5\x2f\xfd", ["zstd", "-d", "-q"]),
    ];
    for (magic, [program, args @ ..]) in kinds {
        let Some(start) = packed.windows(magic.len()).position(|window| window == magic) else { continue };
        let data = packed.get(start..).unwrap_or_default();
        let kernel = filter(program, &args, data)?;
        if let Some(elf) = kernel.windows(4).position(|window| window == b"\x7fELF") {
            return fs::write(to, kernel.get(elf..).unwrap_or_default())
                .map_err(LabError::io(format!("write {}", to.display())));
        }
    }
    fs::write(to, packed).map_err(LabError::io(format!("write {}", to.display())))
}

/// What the program makes of `data`; that it complains about what follows the compressed part is no error.
fn filter(program: &str, args: &[&str], data: &[u8]) -> Result<Vec<u8>, LabError> {
    let mut child = Command::new(program)
        .args(args)
        .arg("--stdout")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(LabError::io(format!("run {program}")))?;
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        // It may end before it has read all.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(data)));
        child.wait_with_output()
    })
    .map(|output| output.stdout)
    .map_err(LabError::io(format!("hear from {program}")))
}

/// A root of these packages and what they need, without manuals and translations.
pub(crate) fn bootstrap(
    root: &Path,
    sources: &debian::Sources,
    packages: &[&str],
    more: &[&str],
) -> Result<(), LabError> {
    let list = root.with_extension("list");
    fs::write(&list, sources.lines.join("\n") + "\n").map_err(LabError::io("write the sources"))?;
    let mut command = tool::leashed("mmdebstrap");
    command.args(["--quiet", "--aptopt=Acquire::Retries \"3\"", "--dpkgopt=force-unsafe-io"]).args(more);
    for proxy in ["http", "https"] {
        let name = format!("Acquire::{proxy}::Proxy");
        let value = tool::run("apt-config", &["dump", "--format", "%v", &name])?;
        if !value.trim().is_empty() {
            command.arg(format!("--aptopt={name} \"{}\"", value.trim()));
        }
    }
    for folder in ["man", "doc", "locale", "info"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"));
    }
    command.arg(format!("--include={}", packages.join(",")));
    tool::output(command.arg(&sources.suite).arg(root).arg(&list))?;
    fs::remove_file(&list).map_err(LabError::io("remove the sources"))
}

fn copy_modules(from: &Path, to: &Path) -> Result<(), LabError> {
    let copy = |from: &Path, to: &Path| {
        tool::run("cp", &["-a".as_ref(), from.as_os_str(), to.as_os_str()]).map(|_| ())
    };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(LabError::io("make the modules' folder"))?;
    }
    for part in LEFT_OUT {
        let _ = fs::remove_dir_all(from.join("kernel").join(part));
    }
    copy(from, to)
}

/// What is ours in the root.
fn furnish(root: &Path) -> Result<(), LabError> {
    for folder in ["host", "ringfence", "etc/lab", "etc/target/pr", "etc/target/alua"] {
        fs::create_dir_all(root.join(folder)).map_err(LabError::io(format!("make {folder}")))?;
    }
    let modules = recipe::modules().join("\n") + "\n";
    let files = [
        ("sbin/lab-init", recipe::GUEST_INIT, 0o755),
        ("etc/udev/rules.d/99-lab.rules", recipe::UDEV_RULES, 0o644),
        ("etc/udev/rules.d/55-scsi-sg3_id.rules", recipe::NO_SG3_RULES, 0o644),
        ("etc/lab/modules", &modules, 0o644),
        // drbdadm would call home.
        ("etc/drbd.d/global_common.conf", "global { usage-count no; }\ncommon { }\n", 0o644),
    ];
    for (name, text, mode) in files {
        write(&root.join(name), text, mode)?;
    }
    let _ = fs::remove_file(root.join("etc/mtab"));
    symlink("/proc/mounts", root.join("etc/mtab")).map_err(LabError::io("make etc/mtab"))
}

fn initramfs(root: &Path, release: &str, folder: &Path) -> Result<(), LabError> {
    let tree = folder.join("initramfs-tree");
    for part in ["bin", "proc", "sys", "dev", "modules", "below", "above", "layer", "root"] {
        fs::create_dir_all(tree.join(part)).map_err(LabError::io(format!("make {part}")))?;
    }
    let busybox = root.join("bin/busybox");
    fs::copy(&busybox, tree.join("bin/busybox"))
        .map_err(LabError::io(format!("copy {}", busybox.display())))?;
    let mut order: Vec<String> = Vec::new();
    for module in recipe::initramfs_modules() {
        let text = tool::run(
            "modprobe",
            &[
                "-d".as_ref(),
                root.as_os_str(),
                "-S".as_ref(),
                release.as_ref(),
                "--show-depends".as_ref(),
                module.as_ref(),
            ],
        )?;
        for file in text.lines().filter_map(|line| line.trim().strip_prefix("insmod ")) {
            let file = Path::new(file.trim());
            let Some(name) = file.file_name().map(|name| name.to_string_lossy().into_owned()) else {
                continue;
            };
            if !order.contains(&name) {
                fs::copy(file, tree.join("modules").join(&name))
                    .map_err(LabError::io(format!("copy {}", file.display())))?;
                order.push(name);
            }
        }
    }
    write(&tree.join("modules/order"), &order.join(" "), 0o644)?;
    write(&tree.join("init"), recipe::INITRAMFS_INIT, 0o755)?;
    let archive = fs::File::create(folder.join("initramfs")).map_err(LabError::io("make the initramfs"))?;
    let mut find = Command::new("find")
        .arg(".")
        .current_dir(&tree)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(LabError::io("run find"))?;
    let names = find.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let status = Command::new("cpio")
        .args(["--create", "--format=newc", "--quiet", "--owner=0:0"])
        .current_dir(&tree)
        .stdin(names)
        .stdout(archive)
        .status()
        .map_err(LabError::io("run cpio"))?;
    let _ = find.wait();
    if !status.success() {
        return Err(LabError::Refused(format!("cpio ended with {status}")));
    }
    fs::remove_dir_all(&tree).map_err(LabError::io("remove the initramfs tree"))
}

pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), LabError> {
    let io = || LabError::io(format!("write {}", path.display()));
    fs::write(path, text).map_err(io())?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io())
}
