//! The label that AppArmor or SELinux gave a process.

use holdfast_checks::facts::{Reason, Unavailable};

use crate::host::{Buffer, Host, ProcessDir};

/// `AppArmor`'s own, where several modules give labels; else the one there is.
const APPARMOR: &str = "attr/apparmor/current";
const CURRENT: &str = "attr/current";
/// A page is what the kernel gives at most. A profile's name is a path at worst.
const CAP: usize = 1024;

/// Where labels are, on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Labels {
    At(&'static str),
    /// No module that gives any.
    None,
}

impl Labels {
    /// On a live host the reader's own label tells; in a recording each process has one or has not.
    pub(super) fn of_host(host: &Host) -> Self {
        if !host.live() {
            return Self::At(CURRENT);
        }
        let has = |file: &&&str| host.proc.root().read(&format!("self/{file}")).is_ok_and(|label| !text(&label).is_empty());
        [APPARMOR, CURRENT].iter().find(has).map_or(Self::None, |file| Self::At(file))
    }

    /// The label of `process` and the file it is from.
    pub(super) fn read(self, process: &ProcessDir, buffer: &mut Buffer) -> Result<(String, &'static str), Unavailable> {
        let none = || Unavailable::new(Reason::NotSupported, "neither AppArmor nor SELinux runs");
        let Self::At(file) = self else { return Err(none()) };
        let label = process.read_into(file, buffer).map_err(|error| error.unavailable())?;
        if label.len() > CAP {
            // Cut short it could lose the mode at its end, and mean another.
            return Err(Unavailable::new(Reason::TooLarge, format!("{file}: longer than {CAP} bytes")));
        }
        let label = text(label);
        if label.is_empty() { Err(none()) } else { Ok((label, file)) }
    }
}

/// `AppArmor` ends it with a newline, `SELinux` with a NUL.
fn text(label: &[u8]) -> String {
    String::from_utf8_lossy(label).trim_end_matches(['\0', '\n']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_end_as_each_module_ends_them() {
        assert_eq!(text(b"cri-containerd.apparmor.d (enforce)\n"), "cri-containerd.apparmor.d (enforce)");
        assert_eq!(text(b"system_u:system_r:container_t:s0:c1,c2\0"), "system_u:system_r:container_t:s0:c1,c2");
        assert_eq!(text(b"\n"), "");
    }
}
