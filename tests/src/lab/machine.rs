//! One QEMU process: the same machine every time, because a snapshot fits nothing else.

use super::agent::Agent;
use super::failure::LabError;
use super::image::Image;
use super::monitor::Monitor;
use super::place::Place;
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The guests' memory in MiB. Only what a guest touches is taken from the host.
const MEMORY: u32 = 1024;
/// Under Xen: the host's own part, and what is left for the hypervisor and two small guests of 128 MiB.
const MEMORY_OF_XEN: (u32, u32) = (768, 1280);
/// From the start of QEMU to the guest's first answer, restored and booted, on a busy host.
const RESTORED: Duration = Duration::from_secs(240);
const BOOTED: Duration = Duration::from_secs(600);

/// What makes a guest more than an ordinary one.
#[derive(Clone, Debug)]
pub(crate) struct Over {
    /// What is kept is named so.
    pub name: &'static str,
    /// A second image, over the root.
    pub layer: PathBuf,
    /// Xen, which then runs the kernel as its first domain.
    pub hypervisor: Option<PathBuf>,
    /// Run in the booted guest before its snapshot.
    pub start: &'static str,
}

/// Which machine, and where its files are.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub image: Image,
    /// None for an ordinary guest.
    pub over: Option<Over>,
    /// Its place on the bridge, 1 to 3, and the end of its addresses.
    pub number: u8,
    /// Its own folder for the sockets; their paths must be short (`unix(7)`).
    pub folder: PathBuf,
    /// Its own folder for the console and QEMU's words.
    pub logs: PathBuf,
    /// What it sees as `/host`.
    pub host: PathBuf,
    /// What it sees as `/ringfence`: the installed agents.
    pub tree: PathBuf,
}

/// A guest that runs. Dropping it is a power cut.
#[derive(Debug)]
pub(crate) struct Machine {
    child: Child,
    pub monitor: Monitor,
    pub agent: Agent,
}

impl Machine {
    /// Boots; the guest's agent answers when this returns.
    pub(crate) fn boot(plan: &Plan, place: &Place) -> Result<Self, LabError> {
        Self::start(plan, place, None, BOOTED)
    }

    /// Starts from a snapshot; the guest's agent answers when this returns.
    pub(crate) fn restore(plan: &Plan, place: &Place, snapshot: &Path) -> Result<Self, LabError> {
        Self::start(plan, place, Some(snapshot), RESTORED)
    }

    fn start(plan: &Plan, place: &Place, snapshot: Option<&Path>, limit: Duration) -> Result<Self, LabError> {
        let end = Instant::now() + limit;
        let mut child = spawn(plan, place, snapshot)?;
        let spoken = Monitor::connect(&plan.folder.join("monitor"), end).and_then(|mut monitor| {
            // A snapshot of a stopped guest comes up paused.
            monitor.wait_status("query-status", &["running", "paused"], limit)?;
            monitor.execute("cont", &json!({}))?;
            Ok((monitor, Agent::connect(&plan.folder.join("agent"), end)?))
        });
        match spoken {
            Ok((monitor, agent)) => Ok(Self { child, monitor, agent }),
            Err(why) => {
                let ended = child.try_wait().ok().flatten();
                let ended = ended.map(|status| format!("QEMU ended: {}\n", told(status))).unwrap_or_default();
                end_of(&mut child);
                Err(why.with(&format!("{ended}{}", tail(&plan.logs))))
            }
        }
    }

    /// True until QEMU has ended: it ends by itself when the guest reboots or panics.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end_of(&mut self.child);
    }
}

fn spawn(plan: &Plan, place: &Place, snapshot: Option<&Path>) -> Result<Child, LabError> {
    for socket in ["monitor", "agent"] {
        let _ = fs::remove_file(plan.folder.join(socket));
    }
    let words = File::options()
        .create(true)
        .append(true)
        .open(plan.logs.join("qemu.log"))
        .map_err(LabError::io("make QEMU's log"))?;
    let mut command = Command::new(QEMU);
    command.args(arguments(plan)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(words);
    if let Some(snapshot) = snapshot {
        command.arg("-incoming").arg(format!("exec:cat '{}'", snapshot.display()));
    }
    place.spawn(&mut command)
}

pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// Everything but the snapshot. The order and kind of the devices is part of what a snapshot fits to.
fn arguments(plan: &Plan) -> Vec<String> {
    let folder = plan.folder.display();
    let image = &plan.image;
    let mut words: Vec<String> = Vec::new();
    let mut add = |line: &str| words.extend(line.split(' ').map(str::to_owned));
    let hypervisor = plan.over.as_ref().and_then(|over| over.hypervisor.as_ref());
    // Under Xen no AVX: with it programs of its first domain were seen to crash.
    let (processor, memory) =
        if hypervisor.is_some() { ("qemu64", MEMORY_OF_XEN.1) } else { ("max", MEMORY) };
    // One vCPU in one thread: a second one made nothing faster.
    add(&format!(
        "-machine q35 -accel tcg,thread=multi -cpu {processor} -m {memory} -nodefaults -no-reboot -display none"
    ));
    add(&format!("-name ringfence-lab-{}", plan.number));
    words.extend(kernel(image, hypervisor.map(PathBuf::as_path)));
    let mut add = |line: &str| words.extend(line.split(' ').map(str::to_owned));
    // romfile= : the firmware would look at each for something to boot from.
    let root = image.root();
    for (id, file) in [("root", Some(&root)), ("layer", plan.over.as_ref().map(|over| &over.layer))] {
        if let Some(file) = file {
            add(&format!(
                "-drive file={},if=none,id={id},format=raw,readonly=on,file.locking=off -device virtio-blk-pci,drive={id},romfile=",
                file.display()
            ));
        }
    }
    for (id, path, rights) in [("host", &plan.host, ""), ("tree", &plan.tree, ",readonly=on")] {
        add(&format!(
            "-fsdev local,id={id},path={},security_model=none,multidevs=remap{rights} -device virtio-9p-pci,fsdev={id},mount_tag={id}",
            path.display()
        ));
    }
    add(&format!(
        "-netdev tap,id=n0,ifname=g{},script=no,downscript=no -device virtio-net-pci,netdev=n0,id=net0,mac=52:54:00:55:00:10,romfile=",
        plan.number
    ));
    add(
        "-device virtio-scsi-pci,id=scsi,romfile= -device virtio-rng-pci,romfile= -device virtio-serial-pci,romfile=",
    );
    add(&format!("-chardev socket,id=agent,path={folder}/agent,server=on,wait=off"));
    add("-device virtserialport,chardev=agent,name=org.qemu.guest_agent.0");
    add(&format!(
        "-chardev file,id=console,path={},append=on -serial chardev:console",
        plan.logs.join("console.log").display()
    ));
    add(&format!("-qmp unix:{folder}/monitor,server=on,wait=off"));
    words
}

/// Kernel, initramfs and their command lines.
fn kernel(image: &Image, hypervisor: Option<&Path>) -> Vec<String> {
    let (kernel, initramfs) = (image.kernel(), image.initramfs());
    let line =
        |console: &str| format!("console={console} panic=-1 quiet mitigations=off nokaslr net.ifnames=0");
    let (first, more, said) = match hypervisor {
        None => (kernel.as_path(), initramfs.display().to_string(), line("ttyS0")),
        // Multiboot: the modules with their arguments, a comma between. Xen would zero all memory, and calls the processor unsafe.
        Some(xen) => (
            xen,
            format!("{} {},{}", kernel.display(), line("hvc0"), initramfs.display()),
            format!(
                "console=com1 com1=115200,8n1 loglvl=warning guest_loglvl=warning bootscrub=0 spec-ctrl=no xpti=no \
                 dom0_max_vcpus=1 dom0_mem={0}M,max:{0}M",
                MEMORY_OF_XEN.0
            ),
        ),
    };
    let words = ["-kernel", &first.display().to_string(), "-initrd", &more, "-append", &said];
    words.map(str::to_owned).to_vec()
}

/// The words of a command line that decide whether a snapshot fits, with the version of QEMU.
pub(crate) fn shape(over: Option<&Over>) -> Result<String, LabError> {
    let nowhere = Path::new("/x").to_owned();
    let plan = Plan {
        image: Image { folder: nowhere.clone() },
        over: over.cloned(),
        number: 1,
        folder: nowhere.clone(),
        logs: nowhere.clone(),
        host: nowhere.clone(),
        tree: nowhere,
    };
    let version = super::tool::run(QEMU, &["--version"])?;
    Ok(format!("{} {}", version.lines().next().unwrap_or_default(), arguments(&plan).join(" ")))
}

/// The last lines of the console and of QEMU's own words.
pub(crate) fn tail(folder: &Path) -> String {
    let mut text = String::new();
    for (file, count) in [("qemu.log", 5), ("console.log", 20)] {
        let bytes = fs::read(folder.join(file)).unwrap_or_default();
        let all = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = all.lines().collect();
        let last = lines.get(lines.len().saturating_sub(count)..).unwrap_or_default();
        if !last.is_empty() {
            text.extend(["-- ", file, "\n", &last.join("\n"), "\n"]);
        }
    }
    text
}

fn told(status: std::process::ExitStatus) -> String {
    status.signal().map_or_else(|| status.to_string(), |signal| format!("killed by signal {signal}"))
}

fn end_of(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
