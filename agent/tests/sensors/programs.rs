//! Programs written byte by byte: what their files tell of a version, and what hostile ones do not.

#![allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "lengths of a file written here")]

use std::fs;
use std::os::unix::fs::{FileExt, symlink};

use holdfast_agent::sensors::Sensors;
use holdfast_checks::facts::{Group, Kubelet, Reason};
use rstest::rstest;

use super::hostile::Tree;
use super::{complete, known, options};

/// Where the one segment of [`elf`] is loaded.
const BASE: u64 = 0x40_0000;
const HASH: &str = "8adc0f041b8e7ad1d30e29cc59c6ae7a15e19828";
const DAY: &str = "2025-05-15T08:27:33Z";

/// How the build information is laid out.
#[derive(Clone, Copy)]
pub(super) enum Layout {
    /// As Go 1.18 and newer write it.
    Inline,
    /// As older ones do.
    Pointers,
}

/// A 64-bit little-endian program: one segment, sections `.go.buildinfo` and `.data`, a string variable for each of `variables`.
pub(super) fn elf(layout: Layout, info: &str, variables: &[&str]) -> Vec<u8> {
    let info = format!("0123456789abcdef{info}fedcba9876543210");
    let mut file = vec![0; 64 + 56];
    let mut place = |bytes: &[u8]| {
        file.resize(file.len().next_multiple_of(16), 0);
        let at = file.len() as u64;
        file.extend_from_slice(bytes);
        at
    };
    let texts: Vec<u64> = variables.iter().map(|text| place(&[text.as_bytes(), b"\0"].concat())).collect();
    let header = |at: u64, length: usize| [(BASE + at).to_le_bytes(), (length as u64).to_le_bytes()].concat();
    let written = match layout {
        Layout::Inline => {
            let counted = |text: &str| {
                let length = text.len();
                let mut bytes = vec![(length & 0x7f) as u8 | 0x80, (length >> 7 & 0x7f) as u8 | 0x80, (length >> 14) as u8];
                bytes.extend(text.bytes());
                bytes
            };
            [b"\xff Go buildinf:\x08\x02".to_vec(), vec![0; 16], counted("go1.24.2"), counted(&info)].concat()
        }
        Layout::Pointers => {
            let (version, text) = (place(b"go1.17"), place(info.as_bytes()));
            let (version, text) = (place(&header(version, 6)), place(&header(text, info.len())));
            [b"\xff Go buildinf:\x08\x00".to_vec(), (BASE + version).to_le_bytes().to_vec(), (BASE + text).to_le_bytes().to_vec()].concat()
        }
    };
    let build = (place(&written), written.len());
    let data: Vec<u8> = texts.iter().zip(variables).flat_map(|(at, text)| header(*at, text.len())).collect();
    let data = (place(&data), data.len());
    let names = b"\0.go.buildinfo\0.data\0.shstrtab\0";
    let names = (place(names), names.len());
    let loaded = file.len() as u64;
    file.resize(file.len().next_multiple_of(16), 0);
    let sections = file.len() as u64;
    for (name, kind, (at, size)) in [(0u32, 0u32, (0, 0)), (1, 1, build), (15, 1, data), (21, 3, names)] {
        file.extend(name.to_le_bytes());
        file.extend(kind.to_le_bytes());
        for field in [3, BASE + at, at, size as u64] {
            file.extend(field.to_le_bytes());
        }
        file.extend([0; 8]);
        file.extend(1u64.to_le_bytes());
        file.extend([0; 8]);
    }
    let mut start = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    start.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for field in [BASE, 64, sections] {
        start.extend(field.to_le_bytes());
    }
    start.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 4, 0, 3, 0]);
    start.extend([1, 0, 0, 0, 6, 0, 0, 0]);
    for field in [0, BASE, BASE, loaded, loaded, 4096] {
        start.extend(field.to_le_bytes());
    }
    file[..start.len()].copy_from_slice(&start);
    file
}

const TRIMMED: &str = "path\tk8s.io/kubernetes/cmd/kubelet\nmod\tk8s.io/kubernetes\t(devel)\t\nbuild\t-trimpath=true\n";
const STAMPED: [&str; 6] = ["1", "33", "v1.33.1", HASH, "clean", DAY];

fn kubelet(program: &[u8]) -> Kubelet {
    let tree = Tree::new();
    tree.write("host/usr/bin/kubelet", program);
    complete(&tree.read().kubelets)[0].clone()
}

#[rstest]
#[case::stamped(elf(Layout::Inline, TRIMMED, &STAMPED), "v1.33.1")]
#[case::stamped_by_an_old_compiler(elf(Layout::Pointers, TRIMMED, &["1", "22", "v1.22.17", HASH, "clean", DAY]), "v1.22.17")]
#[case::by_flags_of_the_linker(
    elf(Layout::Inline, "build\t-ldflags=\"-X k8s.io/component-base/version.gitVersion=v1.31.0-eks-1\"\n", &[]),
    "v1.31.0-eks-1"
)]
#[case::by_the_main_module(elf(Layout::Inline, "mod\tk8s.io/kubernetes\tv1.34.0\t\n", &[]), "v1.34.0")]
#[case::k3s(elf(Layout::Inline, "mod\tgithub.com/k3s-io/k3s\t(devel)\t\n", &["v1.33.1+k3s1", HASH, "clean", DAY]), "v1.33.1+k3s1")]
fn the_version_is_read_from_the_program(#[case] program: Vec<u8>, #[case] expected: &str) {
    let kubelet = kubelet(&program);
    assert_eq!(known(&kubelet.version), expected);
    assert_eq!(known(&kubelet.executable).path, "/usr/bin/kubelet");
    assert!(!known(&kubelet.executable).replaced);
}

#[test]
fn what_runs_after_a_restart_is_the_version_of_the_file_that_is_there_now() {
    let tree = Tree::new();
    let installed = |tree: &Tree| complete(&tree.read().kubelets)[0].installed.clone();
    tree.write("host/usr/bin/kubelet", elf(Layout::Inline, TRIMMED, &STAMPED));
    assert_eq!(known(&installed(&tree)), "v1.33.1", "the same that runs");
    tree.write("proc/10/exe", "/usr/bin/kubelet (deleted)");
    tree.write("host/usr/bin/kubelet", elf(Layout::Inline, "mod\tk8s.io/kubernetes\tv1.34.0\t\n", &[]));
    let kubelet = complete(&tree.read().kubelets)[0].clone();
    assert!(known(&kubelet.executable).replaced);
    assert_eq!(known(&kubelet.installed), "v1.34.0");
    fs::remove_file(tree.path("host/usr/bin/kubelet")).unwrap();
    assert_eq!(installed(&tree).unavailable().map(|why| why.reason), Some(Reason::NotPresent));
}

#[test]
fn a_program_that_does_not_tell_is_unknown_with_the_reason() {
    let why = |program: &[u8]| kubelet(program).version.unavailable().cloned().unwrap();
    let silent = why(&elf(Layout::Inline, TRIMMED, &[]));
    assert_eq!(silent.reason, Reason::NotSupported);
    insta::assert_snapshot!(silent.detail, @"/usr/bin/kubelet: it carries no version that can be read without running it");
    insta::assert_snapshot!(why(b"#!/bin/sh\n").detail, @"/usr/bin/kubelet: it does not read as an ELF file: Could not read file magic");
    let mut stripped = elf(Layout::Inline, TRIMMED, &STAMPED);
    let at = stripped.windows(14).position(|bytes| bytes == b"\xff Go buildinf:").unwrap();
    stripped[at] = b'x';
    let stripped = why(&stripped);
    assert_eq!(stripped.reason, Reason::NotSupported);
    insta::assert_snapshot!(stripped.detail, @"/usr/bin/kubelet: it is no Go program, or its build information was removed");
    let tree = Tree::new();
    let absent = complete(&tree.read().kubelets)[0].version.unavailable().cloned().unwrap();
    assert_eq!(absent.reason, Reason::NotPresent);
}

/// Every field of the headers, one after the other, is set to what no honest program has: nothing may hang, panic or be believed.
#[test]
fn no_lie_in_a_header_does_harm() {
    let honest = elf(Layout::Inline, TRIMMED, &STAMPED);
    let sections = usize::try_from(u64::from_le_bytes(honest[40..48].try_into().unwrap())).unwrap();
    let tree = Tree::new();
    let mut sensors = Sensors::open(options(&tree.path("host"), &tree.path("proc"))).unwrap();
    let mut facts = sensors.read_all(&mut |_| {});
    let mut version = |program: &[u8]| {
        // A new file each time, so that what is kept of the one before says nothing of it.
        drop(fs::remove_file(tree.path("host/usr/bin/kubelet")));
        tree.write("host/usr/bin/kubelet", program);
        sensors.refresh(&mut facts, &[Group::Kubelets].into());
        assert!(sensors.troubled().is_empty());
        complete(&facts.kubelets)[0].version.clone()
    };
    assert_eq!(known(&version(&honest)), "v1.33.1");
    let fields = (16..120).step_by(4).chain((sections..honest.len()).step_by(4));
    for at in fields {
        for lie in [u32::MAX, 0x7fff_ffff, 0] {
            let mut program = honest.clone();
            program[at..at + 4].copy_from_slice(&lie.to_le_bytes());
            let version = version(&program);
            assert!(version.value().is_none_or(|version| version == "v1.33.1"), "{at}: {version:?}");
        }
    }
    for length in [0, 3, 16, 64, 100, honest.len() / 2, honest.len() - 1] {
        assert!(version(&honest[..length]).value().is_none(), "{length}");
    }
}

#[test]
fn a_huge_program_is_not_read_whole() {
    let tree = Tree::new();
    let mut program = elf(Layout::Inline, TRIMMED, &STAMPED);
    // A section of 2 GiB that is there, in a file with a hole.
    let sections = usize::try_from(u64::from_le_bytes(program[40..48].try_into().unwrap())).unwrap();
    program[sections + 64 + 32..sections + 64 + 40].copy_from_slice(&(2u64 << 30).to_le_bytes());
    tree.write("host/usr/bin/kubelet", &program);
    let file = fs::OpenOptions::new().write(true).open(tree.path("host/usr/bin/kubelet")).unwrap();
    file.write_all_at(b"end", 3 << 30).unwrap();
    let why = complete(&tree.read().kubelets)[0].version.unavailable().cloned().unwrap();
    assert!(matches!(why.reason, Reason::Malformed | Reason::TooLarge), "{why:?}");
}

#[test]
fn a_program_that_is_no_file_is_not_opened() {
    let tree = Tree::new();
    fs::create_dir_all(tree.path("host/usr/bin")).unwrap();
    symlink("/dev/zero", tree.path("host/usr/bin/kubelet")).unwrap();
    tree.write("host/dev/zero", "");
    assert!(complete(&tree.read().kubelets)[0].version.value().is_none());
}
