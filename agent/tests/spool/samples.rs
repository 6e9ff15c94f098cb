//! Images and saves to keep.

use std::path::Path;

use holdfast_agent::spool::file::{FILE_NAME, SpoolFile};
use holdfast_agent::spool::{Image, Position, Remote, Row, Save};
use holdfast_checks::entries::{Entry, Evidence, Finding, Hash, Key, Severity, Transition, Verdict};

/// A finding of about 300 bytes.
pub(crate) fn finding(n: usize, content: usize) -> Entry {
    let value = serde_json::json!({"value": content, "source": "flag", "hosts": ["10.0.0.1", "::1"], "none": null});
    let evidence = vec![
        Evidence {
            path: "kubelets.settings.readOnlyPort".into(),
            value: Some(value),
            source: "flag --read-only-port".into(),
            at: 1_800_000_000_000,
        },
        Evidence { path: "kubelets.files".into(), value: None, source: "permission_denied".into(), at: -1 },
    ];
    let finding = Finding {
        check: format!("kubelet-check-{}", n % 90),
        subject: format!("file:/var/lib/kubelet/{n}.yaml"),
        verdict: Verdict::ALL[content % 5],
        reason: if content % 5 == 1 { "permission_denied: /var/lib/kubelet".into() } else { String::new() },
        severity: Severity::ALL[n % 5],
        title: "Kubelet refuses anonymous requests".into(),
        evidence,
        evidence_truncated: n.is_multiple_of(3),
    };
    Entry::finding(finding, 1_800_000_000_000 + i64::try_from(content).unwrap())
}

pub(crate) fn inventory(n: usize) -> Entry {
    let document = serde_json::json!({"port": n, "process": "kubelet „quoted“ \u{7}", "addresses": []});
    Entry::inventory("listener", &format!("tcp/{n}"), &document, 5).unwrap()
}

pub(crate) fn transition(number: u64) -> Transition {
    let n = usize::try_from(number).unwrap();
    Transition {
        number,
        key: finding(n, 0).key,
        from: (n % 3 != 0).then_some(Verdict::Pass),
        to: (n % 3 != 1).then_some(Verdict::Fail),
        reason: "permission_denied: /etc/kubernetes".into(),
        severity: Severity::ALL[n % 5],
        because: "readOnlyPort = 10255 (drop-in 20-debug.conf)".into(),
        at: 1_800_000_000_000,
    }
}

/// An image with every kind of row.
pub(crate) fn image(rows: usize, transitions: u64) -> Image {
    let position =
        Position { epoch: u64::MAX - 4, seq: 77, last_acked: 70, next_transition: transitions + 11, truncated: 3, policy: vec![0, 255, 7] };
    let mut image = Image { position, ..Image::default() };
    for n in 0..rows {
        let entry = if n % 5 == 4 { inventory(n) } else { finding(n, n) };
        let (key, hash) = (entry.key.clone(), entry.hash);
        let remote = [Some(Remote::Holds(hash)), Some(Remote::Unsure), None, Some(Remote::Holds(Hash([9; 16])))][n % 4];
        image.rows.insert(key, Row { entry: Some(entry), remote, refused: n % 7 == 6 });
    }
    image.rows.insert(Key::finding("gone", "node"), Row { entry: None, remote: Some(Remote::Unsure), refused: false });
    image.transitions = (11..11 + transitions).map(|number| (number, transition(number))).collect();
    image
}

/// An image of `rows` documents of almost three kilobytes.
pub(crate) fn large(rows: usize) -> Image {
    let entry = |n: usize| Entry::inventory("container", &n.to_string(), &serde_json::json!({"text": "x".repeat(2800)}), 5).unwrap();
    let rows = (0..rows).map(entry).map(|entry| (entry.key.clone(), Row { entry: Some(entry), remote: None, refused: false }));
    Image { rows: rows.collect(), ..image(0, 0) }
}

/// The save that makes a file hold exactly `image`.
pub(crate) fn whole(image: &Image) -> Save {
    Save {
        replace: true,
        rows: image.rows.iter().map(|(key, row)| (key.clone(), Some(row.clone()))).collect(),
        transitions: image.transitions.values().cloned().collect(),
        transitions_from: 0,
        position: image.position.clone(),
    }
}

/// The bytes of a file that holds `image` and was closed; after a few saves, so that closing it gives back what it does not need.
pub(crate) fn bytes_of(image: &Image) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let mut file = SpoolFile::open(dir.path()).unwrap().file;
    file.write(&whole(image)).unwrap();
    for _ in 0..4 {
        file.write(&Save { replace: false, rows: Vec::new(), transitions: Vec::new(), ..whole(image) }).unwrap();
    }
    drop(file);
    std::fs::read(dir.path().join(FILE_NAME)).unwrap()
}

/// The names in a directory, with the time of what was set aside as `N`.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let hide = |name: String| match name.split_once(".bad-") {
        Some((name, _)) => format!("{name}.bad-N"),
        None => name,
    };
    let mut names: Vec<String> = std::fs::read_dir(dir).unwrap().map(name).map(hide).collect();
    names.sort();
    names
}

/// A spool that was begun anew in `dir` takes saves and gives them back.
pub(crate) fn works_anew(mut file: SpoolFile, dir: &Path) {
    let image = image(6, 3);
    file.write(&whole(&image)).unwrap();
    drop(file);
    assert_eq!(SpoolFile::open(dir).unwrap().image, Some(image));
}
