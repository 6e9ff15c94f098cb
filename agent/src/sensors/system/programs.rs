//! Which running programs the group is about, by the name of their file, else by the name they run under.
//!
//! A name is a claim: in a pod anybody may run a program of any name. What only the host itself can do is taken from the host's own
//! processes alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_checks::facts::{Placement, Process, Reason, Unavailable};

use super::super::processes::{ProcessTable, Seen};

/// More of one part are not looked at.
const MAX: usize = 32;

/// What a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Keeps the journal.
    Journal,
    /// Carries logs elsewhere.
    Shipper,
    /// Sets the clock.
    Clock,
    /// Installs updates, or reboots for them.
    Update,
    /// Watches for intrusion.
    Protection,
    /// Runs containers: its file is compared with the operator's list.
    Binary,
}

impl Part {
    /// Pods do these for their node, too.
    fn in_pods(self) -> bool {
        matches!(self, Self::Shipper | Self::Update | Self::Protection)
    }
}

/// What a program of this name is for, and what it is called here. Names that the kernel cuts at 15 bytes stand as cut, too.
fn part_of(name: &str) -> Option<(Part, &'static str)> {
    Some(match name {
        "systemd-journald" | "systemd-journal" => (Part::Journal, "systemd-journald"),
        "fluent-bit" => (Part::Shipper, "fluent-bit"),
        "fluentd" | "td-agent" => (Part::Shipper, "fluentd"),
        "vector" => (Part::Shipper, "vector"),
        "promtail" => (Part::Shipper, "promtail"),
        "alloy" | "grafana-alloy" | "grafana-agent" => (Part::Shipper, "alloy"),
        "filebeat" => (Part::Shipper, "filebeat"),
        "elastic-agent" => (Part::Shipper, "elastic-agent"),
        "otelcol" | "otelcol-contrib" | "otelcol-k8s" | "opentelemetry-collector" => (Part::Shipper, "otelcol"),
        "rsyslogd" => (Part::Shipper, "rsyslog"),
        "syslog-ng" => (Part::Shipper, "syslog-ng"),
        "systemd-journal-upload" => (Part::Shipper, "systemd-journal-upload"),
        "datadog-agent" => (Part::Shipper, "datadog-agent"),
        "splunkd" => (Part::Shipper, "splunk"),
        "amazon-cloudwatch-agent" | "amazon-cloudwat" => (Part::Shipper, "amazon-cloudwatch-agent"),
        "nxlog" => (Part::Shipper, "nxlog"),
        "systemd-timesyncd" | "systemd-timesyn" => (Part::Clock, "systemd-timesyncd"),
        "chronyd" => (Part::Clock, "chronyd"),
        "ntpd" | "openntpd" | "ntpd-rs" | "ntp-daemon" => (Part::Clock, "ntpd"),
        "ptp4l" => (Part::Clock, "ptp4l"),
        "kured" => (Part::Update, "kured"),
        "update_engine" => (Part::Update, "update_engine"),
        "zincati" => (Part::Update, "zincati"),
        "system-upgrade-controller" | "system-upgrade-" => (Part::Update, "system-upgrade-controller"),
        "falco" => (Part::Protection, "falco"),
        "tetragon" => (Part::Protection, "tetragon"),
        "tracee" | "tracee-ebpf" => (Part::Protection, "tracee"),
        "kubearmor" => (Part::Protection, "kubearmor"),
        "wazuh-agentd" => (Part::Protection, "wazuh-agent"),
        "ossec-agentd" => (Part::Protection, "ossec"),
        "falcon-sensor" | "falcon-sensor-bpf" | "falcon-sensor-b" => (Part::Protection, "falcon-sensor"),
        "osqueryd" => (Part::Protection, "osquery"),
        "wdavdaemon" => (Part::Protection, "defender"),
        "sentinelone-agent" | "s1-agent" => (Part::Protection, "sentinelone"),
        "elastic-endpoint" => (Part::Protection, "elastic-endpoint"),
        "dragent" => (Part::Protection, "sysdig"),
        "ds_agent" => (Part::Protection, "deep-security"),
        "cbagentd" | "cbdaemon" => (Part::Protection, "carbon-black"),
        "clamd" => (Part::Protection, "clamav"),
        "kubelet" => (Part::Binary, "kubelet"),
        "containerd" => (Part::Binary, "containerd"),
        "crio" => (Part::Binary, "crio"),
        "dockerd" => (Part::Binary, "dockerd"),
        "k3s" => (Part::Binary, "k3s"),
        "rke2" => (Part::Binary, "rke2"),
        "kubelite" => (Part::Binary, "kubelite"),
        _ => return None,
    })
}

/// By the program's file, which the kernel does not cut, else by the name it runs under (a script's: its interpreter has the file).
fn part(process: &Process) -> Option<(Part, &'static str)> {
    let file = process.exe.value().map(|exe| exe.strip_suffix(" (deleted)").unwrap_or(exe));
    // Its program is called `agent` and nothing else.
    if file.is_some_and(|file| file.contains("/datadog-agent/")) {
        return Some((Part::Shipper, "datadog-agent"));
    }
    let by_file = file.and_then(|file| file.rsplit('/').next()).and_then(part_of);
    // Two of systemd's programs are cut to the same name.
    let by_name = || part_of(&process.name).filter(|(part, _)| *part != Part::Journal || file.is_none());
    let (part, name) = by_file.or_else(by_name)?;
    let of_host = !matches!(process.placement, Placement::Pod | Placement::Machine);
    let allowed = match part {
        Part::Binary => of_host && process.uid == 0,
        part => of_host || (part.in_pods() && process.placement == Placement::Pod),
    };
    allowed.then_some((part, name))
}

/// The programs that matter, of one pass.
#[derive(Debug, Default)]
pub(in crate::sensors) struct Cast {
    seen: Vec<(Part, &'static str, Arc<Seen>)>,
    hidden: Option<Unavailable>,
}

impl Cast {
    pub(in crate::sensors) fn of(table: &ProcessTable) -> Self {
        let mut seen: Vec<(Part, &'static str, Arc<Seen>)> = Vec::new();
        for process in &table.processes {
            if let Some((part, name)) = part(&process.fact)
                && seen.iter().filter(|(other, ..)| *other == part).count() < MAX
            {
                seen.push((part, name, Arc::clone(process)));
            }
        }
        let hidden = table.skipped.first().map(|skipped| {
            let reason = if skipped.reason == Reason::NotPresent { Reason::NotSupported } else { skipped.reason };
            Unavailable::new(reason, skipped.what.clone())
        });
        Self { seen, hidden }
    }

    /// Which programs run, to tell whether that has changed.
    pub(in crate::sensors) fn fingerprint(&self) -> BTreeSet<(i64, i64)> {
        self.seen.iter().map(|(_, _, seen)| (seen.fact.pid, seen.fact.start_ticks)).collect()
    }

    pub(super) fn of_part(&self, part: Part) -> impl Iterator<Item = (&'static str, &Arc<Seen>)> {
        self.seen.iter().filter(move |(other, ..)| *other == part).map(|(_, name, seen)| (*name, seen))
    }

    pub(super) fn runs(&self, part: Part, name: &str) -> bool {
        self.of_part(part).any(|(other, _)| other == name)
    }

    /// Why more programs may run than are seen.
    pub(super) fn hidden(&self) -> Option<Unavailable> {
        self.hidden.clone()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_checks::facts::{Observed, Source, SourceKind};

    use super::*;

    fn process(name: &str, exe: Option<&str>, placement: Placement) -> Process {
        let exe = match exe {
            Some(exe) => Observed::known(exe.to_owned(), Source::new(SourceKind::Process, "exe"), 1),
            None => Observed::unavailable_because(Reason::PermissionDenied, "exe"),
        };
        Process { name: name.to_owned(), exe, placement, uid: 0, ..Process::unread("s", 1) }
    }

    #[test]
    fn a_program_is_told_by_its_file_and_else_by_its_name() {
        let told = |name, exe, placement| part(&process(name, exe, placement)).map(|(_, name)| name);
        let host = Placement::Host;
        assert_eq!(told("systemd-journal", Some("/usr/lib/systemd/systemd-journal-upload"), host), Some("systemd-journal-upload"));
        assert_eq!(told("systemd-journal", Some("/usr/lib/systemd/systemd-journald"), host), Some("systemd-journald"));
        assert_eq!(told("systemd-journal", None, host), Some("systemd-journald"));
        assert_eq!(told("systemd-journal", Some("/usr/lib/systemd/systemd-journal-remote"), host), None);
        assert_eq!(told("fluentd", Some("/usr/local/bin/ruby"), Placement::Pod), Some("fluentd"));
        assert_eq!(told("agent", Some("/opt/datadog-agent/bin/agent/agent"), Placement::Pod), Some("datadog-agent"));
        assert_eq!(told("kubelet", Some("/usr/bin/kubelet (deleted)"), host), Some("kubelet"));
        assert_eq!(told("kubelet", Some("/usr/bin/kubelet"), Placement::Pod), None, "a pod's is not the node's");
        assert_eq!(told("chronyd", Some("/usr/sbin/chronyd"), Placement::Pod), None, "a pod sets no clock");
        assert_eq!(told("sh", Some("/bin/sh"), host), None);
    }
}
