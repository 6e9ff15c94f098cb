//! Files that were cut or changed under us, on a real disk: the saved image, or set aside; never another image, never a panic.

use holdfast_agent::spool::Image;
use holdfast_agent::spool::file::{FILE_NAME, SpoolFile};

use crate::samples::{bytes_of, image, works_anew};

const PAGE: usize = 4096;

/// Opens a spool of these bytes. `true`: it held the image, and else it was set aside and a new one works.
fn survives(bytes: &[u8], image: &Image, what: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), bytes).unwrap();
    let opened = SpoolFile::open(dir.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
    match (&opened.image, &opened.set_aside) {
        (Some(read), None) => {
            assert_eq!(read, image, "{what}: another image");
            true
        }
        (None, Some(aside)) => {
            assert!(!aside.because.is_empty(), "{what}");
            works_anew(opened.file, dir.path());
            false
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_file_cut_at_any_page_or_within_is_set_aside() {
    let image = image(50, 25);
    let bytes = bytes_of(&image);
    assert_eq!(bytes.len() % PAGE, 0);
    assert!(survives(&bytes, &image, "whole"));
    let pages = bytes.len() / PAGE;
    for page in 0..pages {
        for cut in [page * PAGE, page * PAGE + PAGE / 2] {
            assert!(!survives(&bytes[..cut], &image, &format!("cut to {cut} bytes")), "cut to {cut} bytes of {}", bytes.len());
        }
    }
    println!("{pages} pages, each cut at its start and in its middle");
}

#[test]
fn a_file_with_more_behind_it_is_set_aside_or_as_it_was() {
    let image = image(20, 5);
    let bytes = bytes_of(&image);
    for more in [1, 100, PAGE, 3 * PAGE] {
        survives(&[&bytes[..], &vec![0xa5; more]].concat(), &image, &format!("{more} bytes more"));
    }
}

#[test]
fn a_flipped_bit_on_a_disk_is_set_aside_or_changes_nothing() {
    let image = image(40, 20);
    let bytes = bytes_of(&image);
    let (mut noticed, mut harmless) = (0, 0);
    // Odd steps through the file, so that every offset within pages is met; the many are in the tables' own tests.
    for n in 0..150 {
        let at = if n % 3 == 0 { n * 2 } else { (n * 6151) % bytes.len() };
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (n % 8);
        let kept = survives(&flipped, &image, &format!("bit {} of byte {at}", n % 8));
        (noticed, harmless) = (noticed + usize::from(!kept), harmless + usize::from(kept));
    }
    println!("{noticed} noticed, {harmless} harmless");
    assert!(noticed > 15 && harmless > 15);
}

/// Pages of one file in another, each with its checksum right: what a restored backup of half a file looks like.
#[test]
fn pages_of_an_earlier_file_are_noticed() {
    let (old, new) = (image(40, 20), image(41, 21));
    let (old_bytes, new_bytes) = (bytes_of(&old), bytes_of(&new));
    for page in 1..new_bytes.len() / PAGE {
        let mut mixed = new_bytes.clone();
        if let Some(earlier) = old_bytes.get(page * PAGE..(page + 1) * PAGE) {
            mixed[page * PAGE..(page + 1) * PAGE].copy_from_slice(earlier);
        }
        survives(&mixed, &new, &format!("page {page} of an earlier file"));
    }
}
