//! configfs (Documentation/filesystems/configfs.rst): directories that are objects of the kernel. `mkdir` makes one with
//! its attributes, `rmdir` takes it away with them, a symbolic link joins two.

use ocf_lib::resource::code::Fault;
use std::io::{ErrorKind, Result, Write};
use std::path::Path;

/// The operations that the drivers need. [`Kernel`] is the real thing; tests bring a model of it.
pub trait Tree {
    fn list(&self, directory: &Path) -> Result<Vec<String>>;
    fn read(&self, attribute: &Path) -> Result<String>;
    fn write(&self, attribute: &Path, value: &[u8]) -> Result<()>;
    fn mkdir(&self, directory: &Path) -> Result<()>;
    fn rmdir(&self, directory: &Path) -> Result<()>;
    fn link(&self, object: &Path, link: &Path) -> Result<()>;
    fn unlink(&self, link: &Path) -> Result<()>;
    /// Where a link points to, relative as configfs tells it; an error when it is no link.
    fn points_to(&self, link: &Path) -> Result<String>;
    fn exists(&self, path: &Path) -> Result<bool>;
}

/// The kernel's configfs.
pub struct Kernel;

impl Tree for Kernel {
    fn list(&self, directory: &Path) -> Result<Vec<String>> {
        let mut names = std::fs::read_dir(directory)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, attribute: &Path) -> Result<String> {
        std::fs::read(attribute).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn write(&self, attribute: &Path, value: &[u8]) -> Result<()> {
        // An attribute takes its value from one write(2), and is neither made nor shortened.
        let mut file = std::fs::OpenOptions::new().write(true).open(attribute)?;
        match file.write(value)? {
            written if written == value.len() => Ok(()),
            _ => Err(ErrorKind::WriteZero.into()),
        }
    }

    fn mkdir(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir(directory)
    }

    fn rmdir(&self, directory: &Path) -> Result<()> {
        std::fs::remove_dir(directory)
    }

    fn link(&self, object: &Path, link: &Path) -> Result<()> {
        std::os::unix::fs::symlink(object, link)
    }

    fn unlink(&self, link: &Path) -> Result<()> {
        std::fs::remove_file(link)
    }

    fn points_to(&self, link: &Path) -> Result<String> {
        std::fs::read_link(link).map(|path| path.to_string_lossy().into_owned())
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        match std::fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// True when there is no such object, or it has gone meanwhile.
pub fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        // An attribute that was open while its object went.
        || error.raw_os_error() == Some(libc::ENODEV)
}

/// True when the kernel keeps an object for the sake of another one.
pub fn is_in_use(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy)
}

/// The operations with words for when they fail.
#[derive(Clone, Copy)]
pub struct Objects<'a>(pub &'a dyn Tree);

impl Objects<'_> {
    pub fn exists(self, path: &Path) -> core::result::Result<bool, Fault> {
        self.0.exists(path).map_err(|error| failed("look at", path, error))
    }

    /// Names of objects in a directory; one that is not there has none.
    pub fn list(self, directory: &Path) -> core::result::Result<Vec<String>, Fault> {
        match self.0.list(directory) {
            Ok(names) => Ok(names),
            Err(error) if is_absent(&error) => Ok(Vec::new()),
            Err(error) => Err(failed("look into", directory, error)),
        }
    }

    /// The value without the line's end; one that is not there is empty.
    pub fn read(self, attribute: &Path) -> core::result::Result<String, Fault> {
        match self.0.read(attribute) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) if is_absent(&error) => Ok(String::new()),
            Err(error) => Err(failed("read", attribute, error)),
        }
    }

    pub fn write(self, attribute: &Path, value: &str) -> core::result::Result<(), Fault> {
        self.0
            .write(attribute, value.as_bytes())
            .map_err(|error| failed(&format!("write '{value}' to"), attribute, error))
    }

    /// As [`Self::write`], and nothing is told of the value.
    pub fn write_secret(self, attribute: &Path, value: &[u8]) -> core::result::Result<(), Fault> {
        self.0.write(attribute, value).map_err(|error| failed("write to", attribute, error))
    }

    /// Makes it, unless it is there.
    pub fn mkdir(self, directory: &Path) -> core::result::Result<(), Fault> {
        match self.0.mkdir(directory) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(failed("make", directory, error)),
        }
    }

    /// Takes it away, unless it is gone.
    pub fn rmdir(self, directory: &Path) -> core::result::Result<(), Fault> {
        match self.0.rmdir(directory) {
            Err(error) if !is_absent(&error) => Err(failed("remove", directory, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub fn link(self, object: &Path, link: &Path) -> core::result::Result<(), Fault> {
        self.0.link(object, link).map_err(|error| failed("join an object to", link, error))
    }

    /// Links in a directory, and where they point to.
    pub fn links(self, directory: &Path) -> core::result::Result<Vec<(String, String)>, Fault> {
        let names = self.list(directory)?;
        Ok(names
            .into_iter()
            .filter_map(|name| self.0.points_to(&directory.join(&name)).ok().map(|to| (name, to)))
            .collect())
    }

    /// Takes the links in a directory away, then the directory.
    pub fn take_apart(self, directory: &Path) -> core::result::Result<(), Fault> {
        for (name, _) in self.links(directory)? {
            let link = directory.join(name);
            match self.0.unlink(&link) {
                Err(error) if !is_absent(&error) => return Err(failed("remove", &link, error)),
                Ok(()) | Err(_) => {}
            }
        }
        self.rmdir(directory)
    }
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> Fault {
    Fault::from(error).context(format_args!("cannot {what} {}", path.display()))
}
