#![allow(clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use super::*;

/// As Debian 12 generates it, shortened.
const DEBIAN: &str = r#"
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="DEFAULT"
fi
function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
  fi
}
function gfxmode {
	set gfxpayload="${1}"
}
menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'gnulinux-simple-1' {
	load_video
	if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
	echo	'Loading Linux 6.1.0-28-amd64 ...'
	linux	/boot/vmlinuz-6.1.0-28-amd64 root=UUID=1 ro quiet
	initrd	/boot/initrd.img-6.1.0-28-amd64
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-1' {
	menuentry 'Debian GNU/Linux, with Linux 6.1.0-28-amd64' --class debian $menuentry_id_option 'gnulinux-6.1.0-28-amd64-advanced-1' {
		linux	/boot/vmlinuz-6.1.0-28-amd64 root=UUID=1 ro quiet
	}
	menuentry 'Debian GNU/Linux, with Linux 6.1.0-28-amd64 (recovery mode)' {
		linux	/boot/vmlinuz-6.1.0-28-amd64 root=UUID=1 ro single
	}
	menuentry "Debian GNU/Linux, with Linux 6.1.0-25-amd64" --id 'old' {
		linux	/boot/vmlinuz-6.1.0-25-amd64 root=UUID=1 ro quiet
	}
}
menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {
	fwsetup
}
"#;

fn chosen(default: &str, saved: Option<&str>, next: Option<&str>) -> Option<String> {
    let menu = Menu::of(&DEBIAN.replace("DEFAULT", default));
    let text = |text: Option<&str>| text.map(str::to_owned);
    let environment = Environment { path: "/boot/grub/grubenv".to_owned(), saved: text(saved), next: text(next) };
    menu.chosen(&environment, "/boot/grub/grub.cfg").map(|choice| format!("{} by {}", choice.image, choice.chosen_by))
}

const NEW: Option<&str> = Some("/boot/vmlinuz-6.1.0-28-amd64 by /boot/grub/grub.cfg");
const OLD: Option<&str> = Some("/boot/vmlinuz-6.1.0-25-amd64 by /boot/grub/grub.cfg");
const SAVED: Option<&str> = Some("/boot/vmlinuz-6.1.0-25-amd64 by /boot/grub/grubenv");

#[rstest::rstest]
#[case::first("0", None, None, NEW)]
#[case::in_a_menu("1>2", None, None, OLD)]
#[case::by_title("Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-25-amd64", None, None, OLD)]
#[case::by_id("gnulinux-advanced-1>old", None, None, OLD)]
#[case::a_menu_starts_its_first("1", None, None, NEW)]
#[case::not_there_starts_the_first("9", None, None, NEW)]
#[case::not_an_image("2", None, None, None)]
#[case::saved("${saved_entry}", Some("gnulinux-advanced-1>old"), None, SAVED)]
#[case::saved_but_not_asked("0", Some("gnulinux-advanced-1>old"), None, NEW)]
#[case::asked_but_not_saved("${saved_entry}", None, None, NEW)]
#[case::once("0", None, Some("1>2"), SAVED)]
fn what_grub_starts_is_what_its_menu_and_environment_say(
    #[case] default: &str,
    #[case] saved: Option<&str>,
    #[case] next: Option<&str>,
    #[case] expected: Option<&str>,
) {
    assert_eq!(chosen(default, saved, next).as_deref(), expected);
}

proptest::proptest! {
    #[test]
    fn no_menu_makes_it_panic(text in "(menuentry '[a-z]*' \\{\n|submenu x \\{\n|\\}\n|linux /a b\n|set default=\"[0-9>]*\"\n|.{0,20}\n){0,60}", next in ".{0,10}") {
        let environment = Environment { path: String::new(), saved: None, next: Some(next) };
        let _ = Menu::of(&text).chosen(&environment, "");
    }
}
