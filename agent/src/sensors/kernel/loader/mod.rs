//! What the boot loader starts next time, if nobody chooses otherwise: GRUB, with menu entries of its own or with entries of the
//! boot loader specification, and systemd-boot.
//!
//! Their files are scripts for programs that run before the kernel; read here is what distributions generate. What a variable of
//! the firmware overrides, and entries inside of conditions, are not seen. Must not know which kernel is good.

mod entries;
mod grub;

use holdfast_checks::facts::{BootEntry, Observed, Reason, Source, SourceKind, Unavailable};

use self::entries::Entries;
use super::installed::IMAGES;
use super::now;
use crate::host::{ReadError, Root};

/// GRUB's menu and, beside each, its environment.
const GRUB: [(&str, &str); 2] = [("/boot/grub2/grub.cfg", "/boot/grub2/grubenv"), ("/boot/grub/grub.cfg", "/boot/grub/grubenv")];
/// Where systemd-boot keeps its configuration.
const SYSTEMD_BOOT: [&str; 3] = ["/boot/loader", "/efi/loader", "/boot/efi/loader"];
/// Where GRUB looks for entries of the specification.
const ENTRIES: &str = "/boot/loader/entries";
/// A menu of hundreds of kernels.
const MENU_CAP: u64 = 4 * 1024 * 1024;

/// An entry of any loader's menu.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Its title, else its name.
    pub(super) title: String,
    /// The image it starts.
    pub(super) image: String,
    /// The version that it says of itself; may be empty.
    pub(super) version: String,
    /// The kernel's command line; may be empty.
    pub(super) options: String,
    /// The file that chose it.
    pub(super) chosen_by: String,
}

/// What is started next time.
pub(super) fn next(root: &Root) -> Result<Choice, Unavailable> {
    let mut trouble = None;
    for (menu, environment) in GRUB {
        let text = match root.read_capped(menu, MENU_CAP) {
            Ok(content) => String::from_utf8_lossy(&content).into_owned(),
            Err(error) if error.is_absent() => continue,
            Err(error) => {
                trouble.get_or_insert(error);
                continue;
            }
        };
        let environment = grub::Environment::read(root, environment).map_err(|error| error.unavailable())?;
        // Its module that reads entries of the specification.
        if text.contains("blscfg") {
            let entries = Entries::read(root, ENTRIES).map_err(|error| error.unavailable())?;
            return entries.of_grub(&environment).ok_or_else(|| nothing(menu));
        }
        return grub::Menu::of(&text).chosen(&environment, menu).ok_or_else(|| nothing(menu));
    }
    for directory in SYSTEMD_BOOT {
        let entries = match Entries::read(root, &format!("{directory}/entries")) {
            Ok(entries) => entries,
            Err(error) if error.is_absent() => continue,
            Err(error) => {
                trouble.get_or_insert(error);
                continue;
            }
        };
        let own = format!("{directory}/loader.conf");
        let text = match root.read_text(&own) {
            Ok(text) => text,
            Err(error) if error.is_absent() => String::new(),
            Err(error) => return Err(error.unavailable()),
        };
        return entries.of_systemd(&text, &own).ok_or_else(|| nothing(&own));
    }
    let why = "no configuration of a boot loader that this version reads (GRUB, systemd-boot) in /boot or /efi";
    Err(trouble.map_or_else(|| Unavailable::new(Reason::NotSupported, why), |error: ReadError| error.unavailable()))
}

fn nothing(path: &str) -> Unavailable {
    Unavailable::new(Reason::NotSupported, format!("{path}: what it starts first cannot be told from its text"))
}

/// The same as a fact.
pub(super) fn entry(root: &Root, next: &Result<Choice, Unavailable>) -> Observed<BootEntry> {
    let choice = match next {
        Ok(choice) => choice,
        Err(why) => return Observed::Unavailable(why.clone()),
    };
    let Some(release) = release(root, choice) else {
        let detail = format!("{}: starts {}, which does not name its release", choice.chosen_by, cut(&choice.image));
        return Observed::unavailable_because(Reason::NotSupported, detail);
    };
    let source = Source::new(SourceKind::File, choice.chosen_by.as_str());
    Observed::known(BootEntry { release, title: cut(&choice.title), path: choice.chosen_by.clone() }, source, now())
}

/// The release of the image that a choice starts: in its name, in that of the file a link leads to (`/vmlinuz`), in the version that
/// the entry gives, or in the directory that `kernel-install` made for it.
fn release(root: &Root, choice: &Choice) -> Option<String> {
    let in_name = |path: &str| {
        let name = path.rsplit('/').next()?;
        IMAGES.iter().find_map(|start| name.strip_prefix(start)).filter(|release| is_release(release)).map(str::to_owned)
    };
    let behind = |path: String| in_name(&root.link_at(&path).ok()??);
    in_name(&choice.image)
        .or_else(|| behind(choice.image.clone()))
        .or_else(|| behind(format!("/boot{}", choice.image)))
        .or_else(|| Some(choice.version.clone()).filter(|version| is_release(version) && version.contains('.')))
        .or_else(|| choice.image.rsplit('/').nth(1).filter(|name| is_release(name)).map(str::to_owned))
}

fn is_release(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && text.len() <= 64
        && text.contains('.')
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '$')
}

/// A title that is worth showing.
fn cut(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect()
}

/// A menu, and what starts by it.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(text: &str) {
    if let Some(choice) = grub::Menu::of(text).chosen(&grub::Environment::default(), "grub.cfg") {
        assert!(cut(&choice.title).chars().count() <= 120);
    }
}
