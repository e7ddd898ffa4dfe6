//! The disks of a test: sparse files, plugged into the guests after they were restored.

/// Which disks the guests get. In a guest a disk is `/dev/lab/NAME`, its partitions `/dev/lab/NAME-part1` and so on.
#[derive(Clone, Debug, Default)]
pub struct Disks {
    pub(crate) disks: Vec<Disk>,
}

#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub name: String,
    /// MiB.
    pub size: u64,
    /// One file for all guests, or one for each.
    pub shared: bool,
    /// As how many SCSI disks a guest sees it.
    pub paths: u8,
}

impl Disks {
    /// No disk at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Each guest has one of its own; `size` in MiB. The name is up to 20 letters, digits and dashes.
    #[must_use]
    pub fn own(self, name: &str, size: u64) -> Self {
        self.with(name, size, false)
    }

    /// All guests have the same one; `size` in MiB. What one guest partitions another sees after `blockdev --rereadpt`.
    #[must_use]
    pub fn shared(self, name: &str, size: u64) -> Self {
        self.with(name, size, true)
    }

    /// The disk that was named last is seen over this many paths (2 to 4): as many SCSI disks with the same WWN and serial
    /// number, which is what multipath puts together. `/dev/lab/NAME` is then any one of them.
    #[must_use]
    pub fn paths(mut self, count: u8) -> Self {
        if let Some(disk) = self.disks.last_mut() {
            disk.paths = count;
        }
        self
    }

    fn with(mut self, name: &str, size: u64, shared: bool) -> Self {
        self.disks.push(Disk { name: name.to_owned(), size, shared, paths: 1 });
        self
    }
}

impl Disk {
    /// The same for all paths and guests, another for each name: NAA 5 with a locally invented rest.
    pub(crate) fn wwn(&self) -> u64 {
        let text = super::recipe::digest(&[&self.name]);
        0x5000_0000_0000_0000 | u64::from_str_radix(&text, 16).unwrap_or(1)
    }
}
