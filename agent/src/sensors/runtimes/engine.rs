//! Which process is a container runtime's daemon, and who brought it. Must not know what it is configured with.

/// A runtime's daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Engine {
    pub(super) kind: Kind,
    /// The distribution that brought it; empty where it is the host's own.
    pub(super) flavour: &'static str,
}

/// Whose daemon it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Containerd,
    Crio,
    Docker,
}

impl Kind {
    /// The name in facts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
            Self::Docker => "docker",
        }
    }

    /// The unit that is made for it.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Containerd => "containerd.service",
            Self::Crio => "crio.service",
            Self::Docker => "docker.service",
        }
    }
}

/// Where distributions keep theirs.
const FLAVOURS: [(&str, &str); 4] =
    [("/rancher/k3s/", "k3s"), ("/rancher/rke2/", "rke2"), ("/snap/microk8s/", "microk8s"), ("/var/lib/k0s/", "k0s")];
/// What a daemon is not asked for: it answers and ends.
const ANSWERS: [&str; 16] = [
    "--version",
    "-v",
    "--help",
    "-h",
    "--validate",
    "version",
    "help",
    "config",
    "publish",
    "oci-hook",
    "status",
    "wipe",
    "check",
    "complete",
    "completion",
    "man",
];

/// The daemon that runs `exe` with `argv`. By the program file: a name that a process gives itself decides only inside k3s, whose
/// one program is several.
pub(super) fn engine(exe: &str, argv: &[String]) -> Option<Engine> {
    let exe = exe.trim_end_matches(" (deleted)");
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let flavour = FLAVOURS.iter().find(|(part, _)| exe.contains(part)).map(|(_, flavour)| *flavour).unwrap_or_default();
    let program = base(exe);
    let called = argv.first().map(|first| base(first)).unwrap_or_default();
    let name = if program == "k3s" { called } else { program };
    let kind = match name.as_str() {
        "containerd" => Kind::Containerd,
        "crio" => Kind::Crio,
        "dockerd" => Kind::Docker,
        _ => return None,
    };
    let answers = |argument: &String| ANSWERS.contains(&argument.as_str());
    let first_is_verb = argv.get(1).is_some_and(answers);
    let asks = first_is_verb || argv.iter().any(|argument| matches!(argument.as_str(), "--version" | "--help" | "--validate"));
    (!asks).then_some(Engine { kind, flavour })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/usr/bin/containerd", "/usr/bin/containerd", Some(("containerd", "")))]
    #[case("/usr/bin/containerd (deleted)", "/usr/bin/containerd", Some(("containerd", "")))]
    #[case("/usr/local/bin/crio", "crio --config /x", Some(("cri-o", "")))]
    #[case("/usr/bin/dockerd", "dockerd -H fd://", Some(("docker", "")))]
    #[case("/var/lib/rancher/k3s/data/abc/bin/k3s", "containerd -c /x", Some(("containerd", "k3s")))]
    #[case("/var/lib/rancher/k3s/data/abc/bin/k3s", "/usr/local/bin/k3s server", None)]
    #[case("/var/lib/rancher/rke2/data/abc/bin/containerd", "containerd -c /x", Some(("containerd", "rke2")))]
    #[case("/snap/microk8s/7/bin/containerd", "containerd", Some(("containerd", "microk8s")))]
    #[case("/usr/bin/containerd-shim-runc-v2", "containerd-shim-runc-v2 -namespace k8s.io", None)]
    #[case("/usr/bin/sleep", "containerd", None)]
    #[case("/usr/bin/containerd", "containerd config dump", None)]
    #[case("/usr/bin/containerd", "containerd --version", None)]
    fn daemons_are_told_by_their_program(#[case] exe: &str, #[case] argv: &str, #[case] expected: Option<(&str, &str)>) {
        let argv: Vec<String> = argv.split(' ').map(str::to_owned).collect();
        assert_eq!(engine(exe, &argv).map(|engine| (engine.kind.name(), engine.flavour)), expected);
    }
}
