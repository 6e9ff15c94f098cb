//! Names of capabilities, as `capabilities(7)` has them without `CAP_`.

/// By bit. The last came with Linux 5.9.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The names of the bits in `mask`, sorted; a bit of a newer kernel is `CAP_41`.
pub(super) fn names(mask: i64) -> Vec<String> {
    let name = |bit: usize| NAMES.get(bit).map_or_else(|| format!("CAP_{bit}"), |name| (*name).to_owned());
    let mut names: Vec<String> = (0..64).filter(|bit| mask >> bit & 1 == 1).map(name).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn bits_have_the_kernels_names() {
        assert_eq!(names(0), Vec::<String>::new());
        assert_eq!(names(1 << 21 | 1), ["CHOWN", "SYS_ADMIN"]);
        assert_eq!(names((1 << 41) - 1).len(), 41);
        assert_eq!(names(1 << 40 | 1 << 41 | i64::MIN), ["CAP_41", "CAP_63", "CHECKPOINT_RESTORE"]);
        // Docker's default set, as a process status shows it.
        let docker =
            "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT";
        assert_eq!(names(0xa804_25fb).join(" "), docker);
    }
}
