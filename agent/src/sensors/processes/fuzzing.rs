//! The readers of text that a process, or whoever starts one, shapes: for tests/fuzzing.

use std::hint::black_box;

use super::{cgroup, parse};
use holdfast_checks::facts::Placement;

/// Reads a `cgroup` file both ways; panics where its rules contradict each other.
pub(in crate::sensors) fn cgroup(text: &str) {
    for namespaced in [false, true] {
        let read = cgroup::cgroup(text, namespaced);
        assert!(read.path.starts_with('/') || text.contains(&read.path), "the path is the kernel's");
        assert!(read.pod_uid.is_empty() || read.placement == Placement::Pod, "only a pod has a pod's uid: {read:?}");
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        assert!(hex(&read.pod_uid) && hex(&read.container_id), "ids are hexadecimal: {read:?}");
        assert!(matches!(read.container_id.len(), 0 | 64), "{read:?}");
    }
}

/// Reads `stat`, `status`, `cmdline` and `uid_map` out of the same bytes.
pub(in crate::sensors) fn files(content: &[u8]) {
    black_box(parse::stat(content));
    if let Some(status) = parse::status(content) {
        assert!(status.groups.len() <= 32 && status.ids.len() <= 33, "lists are bounded");
    }
    let text = String::from_utf8_lossy(content);
    for uid in [0, 1000, i64::from(u32::MAX)] {
        black_box(parse::inside_uid(&text, uid));
    }
    black_box(parse::identity_map(&text));
    let arguments = parse::arguments(content);
    let redacted = crate::sensors::redact::arguments(&arguments);
    assert_eq!(arguments.len(), redacted.len(), "an argument is hidden, never left out");
}
