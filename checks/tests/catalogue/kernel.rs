//! Fixtures of `kernel.yaml`.

use holdfast_checks::entries::Verdict;
use holdfast_checks::facts::*;
use serde_json::json;

use holdfast_checks::versions::{Support, SupportState};

use crate::base::*;
use crate::case::{Case, judged};

/// A check of one sysctl.
fn sysctl(check: &'static str, field: fn(&mut Sysctls) -> &mut Observed<i64>, bad: i64) -> Case {
    Case::of(check)
        .fails(move |facts| *field(&mut kernel_of(facts).sysctls) = known(bad))
        .unreadable("permission_denied", move |facts| *field(&mut kernel_of(facts).sysctls) = denied())
        .unreadable("not_present", move |facts| {
            *field(&mut kernel_of(facts).sysctls) = Observed::unavailable_because(Reason::NotPresent, "/proc/sys");
        })
        .unreadable("permission_denied", |facts| facts.kernel = denied())
}

fn sentinel() -> RebootSentinel {
    RebootSentinel { path: "/run/reboot-required".into(), since: 1_789_500_000, packages: vec!["linux-image-amd64".into()] }
}

fn fedora(facts: &mut NodeFacts) {
    let os = facts.os.value_mut().expect("known");
    os.id = "fedora".into();
}

/// Two sysctls hide the kernel's addresses, each of them alone.
fn addresses() -> Case {
    Case::of("kernel-kptr-restrict")
        .passes(|facts| kernel_of(facts).sysctls.kptr_restrict = known(2))
        .fails(|facts| {
            let sysctls = &mut kernel_of(facts).sysctls;
            (sysctls.kptr_restrict, sysctls.perf_event_paranoid) = (known(0), known(1));
        })
        .unreadable("permission_denied", |facts| {
            let sysctls = &mut kernel_of(facts).sysctls;
            (sysctls.kptr_restrict, sysctls.perf_event_paranoid) = (denied(), denied());
        })
}

pub(crate) fn cases() -> Vec<Case> {
    settings().into_iter().chain(hardening()).collect()
}

fn settings() -> Vec<Case> {
    vec![
        addresses(),
        sysctl("kernel-dmesg-restrict", |sysctls| &mut sysctls.dmesg_restrict, 0),
        sysctl("kernel-unprivileged-bpf", |sysctls| &mut sysctls.unprivileged_bpf_disabled, 0),
        sysctl("kernel-ptrace-scope", |sysctls| &mut sysctls.ptrace_scope, 0)
            .fails(|facts| kernel_of(facts).lsms = known(vec!["capability".into()]))
            .unreadable("permission_denied", |facts| kernel_of(facts).lsms = denied()),
        sysctl("kernel-perf-events", |sysctls| &mut sysctls.perf_event_paranoid, 1),
        sysctl("kernel-address-randomisation", |sysctls| &mut sysctls.randomize_va_space, 1),
        sysctl("kernel-protected-links", |sysctls| &mut sysctls.protected_symlinks, 0)
            .fails(|facts| kernel_of(facts).sysctls.protected_hardlinks = known(0)),
        sysctl("kernel-protected-files", |sysctls| &mut sysctls.protected_fifos, 0)
            .fails(|facts| kernel_of(facts).sysctls.protected_regular = known(0)),
        sysctl("kernel-setuid-core-dumps", |sysctls| &mut sysctls.suid_dumpable, 1)
            .passes(|facts| kernel_of(facts).sysctls.suid_dumpable = known(2)),
        sysctl("kernel-icmp-redirects", |sysctls| &mut sysctls.ipv4_accept_redirects, 1),
        sysctl("kernel-source-routing", |sysctls| &mut sysctls.ipv4_accept_source_route, 1),
        sysctl("kernel-syn-cookies", |sysctls| &mut sysctls.tcp_syncookies, 0),
        Case::of("kernel-kexec")
            .passes(|facts| kernel_of(facts).lockdown = known("none".into()))
            .passes(|facts| kernel_of(facts).sysctls.kexec_load_disabled = known(0))
            .fails(|facts| {
                kernel_of(facts).lockdown = known("none".into());
                kernel_of(facts).sysctls.kexec_load_disabled = known(0);
            })
            .unreadable("permission_denied", |facts| {
                kernel_of(facts).lockdown = known("none".into());
                kernel_of(facts).sysctls.kexec_load_disabled = denied();
            }),
        Case::of("kernel-lockdown")
            .passes(|facts| kernel_of(facts).lockdown = known("confidentiality".into()))
            .fails(|facts| kernel_of(facts).lockdown = known("none".into()))
            .unreadable("permission_denied", |facts| kernel_of(facts).lockdown = denied()),
        Case::of("kernel-mandatory-access-control")
            .passes(|facts| {
                kernel_of(facts).apparmor = known(false);
                kernel_of(facts).selinux = known(Selinux { enabled: true, enforcing: true });
            })
            .passes(|facts| kernel_of(facts).selinux = denied())
            .fails(|facts| kernel_of(facts).apparmor = known(false))
            .fails(|facts| {
                kernel_of(facts).apparmor = known(false);
                kernel_of(facts).selinux = known(Selinux { enabled: true, enforcing: false });
            })
            .unreadable("permission_denied", |facts| {
                kernel_of(facts).apparmor = known(false);
                kernel_of(facts).selinux = denied();
            }),
        Case::of("kernel-seccomp")
            .fails(|facts| kernel_of(facts).seccomp = known(false))
            .unreadable("permission_denied", |facts| kernel_of(facts).seccomp = denied()),
        Case::of("kernel-cpu-vulnerability")
            .passes(|facts| items(&mut kernel_of(facts).cpu_vulnerabilities)[0].status = "Not affected".into())
            .fails(|facts| items(&mut kernel_of(facts).cpu_vulnerabilities)[0].status = "Vulnerable: Clear CPU buffers attempted".into())
            .fails(|facts| items(&mut kernel_of(facts).cpu_vulnerabilities)[0].status = "KVM: Vulnerable".into())
            .passes(|facts| items(&mut kernel_of(facts).cpu_vulnerabilities)[0].status = "KVM: Mitigation: VMX disabled".into())
            .not_applicable(|facts| kernel_of(facts).cpu_vulnerabilities = complete(vec![]))
            .unreadable("permission_denied", |facts| kernel_of(facts).cpu_vulnerabilities = denied()),
        Case::of("kernel-end-of-life")
            .fails(|facts| lifecycle(facts, known(support(SupportState::Eol))))
            .unreadable("not_supported", |facts| {
                lifecycle(facts, Observed::unavailable_because(Reason::NotSupported, "nothing tells whose kernel it is"));
            })
            .unreadable("not_supported", |facts| {
                facts.versions = Observed::unavailable_because(Reason::NotSupported, "judged by the collector");
            }),
        Case::of("reboot-pending")
            .fails(|facts| items(&mut kernel_of(facts).reboot_sentinels).push(sentinel()))
            .fails(|facts| {
                facts.os = denied();
                items(&mut kernel_of(facts).reboot_sentinels).push(sentinel());
            })
            .passes(|facts| {
                let os = facts.os.value_mut().expect("known");
                (os.id, os.id_like) = ("linuxmint".into(), vec!["ubuntu".into(), "debian".into()]);
            })
            .not_applicable(fedora)
            .unreadable("permission_denied", |facts| kernel_of(facts).reboot_sentinels = denied())
            .unreadable("permission_denied", |facts| facts.os = denied()),
        Case::of("ip-forwarding")
            .passes(|facts| {
                kernel_of(facts).sysctls.ipv4_forward = known(0);
                kernel_of(facts).sysctls.ipv6_forward = known(1);
            })
            .fails(|facts| kernel_of(facts).sysctls.ipv4_forward = known(0))
            .not_applicable(no_kubelet)
            .unreadable("permission_denied", |facts| kernel_of(facts).sysctls.ipv4_forward = denied())
            .unreadable("permission_denied", |facts| facts.kubelets = denied()),
        Case::only("host-forwarding")
            .passes(|facts| {
                no_kubelet(facts);
                kernel_of(facts).sysctls.ipv4_forward = known(0);
            })
            .fails(no_kubelet)
            .not_applicable(|_| {})
            .unreadable("permission_denied", |facts| {
                no_kubelet(facts);
                kernel_of(facts).sysctls.ipv4_forward = denied();
            }),
    ]
}

/// Settings that make a way into the kernel longer, and kernels that wait.
fn hardening() -> Vec<Case> {
    vec![
        sysctl("kernel-io-uring", |sysctls| &mut sysctls.io_uring_disabled, 0),
        sysctl("kernel-userfaultfd", |sysctls| &mut sysctls.unprivileged_userfaultfd, 1),
        sysctl("kernel-null-page", |sysctls| &mut sysctls.mmap_min_addr, 0),
        sysctl("kernel-send-redirects", |sysctls| &mut sysctls.ipv4_send_redirects, 1)
            .fails(|facts| kernel_of(facts).sysctls.ipv4_send_redirects_default = known(1)),
        Case::of("kernel-reverse-path-filter")
            .passes(|facts| kernel_of(facts).sysctls.ipv4_rp_filter = known(0))
            .passes(|facts| kernel_of(facts).sysctls.ipv4_rp_filter_default = known(0))
            .fails(|facts| {
                let sysctls = &mut kernel_of(facts).sysctls;
                (sysctls.ipv4_rp_filter, sysctls.ipv4_rp_filter_default) = (known(0), known(0));
            })
            .unreadable("permission_denied", |facts| {
                let sysctls = &mut kernel_of(facts).sysctls;
                (sysctls.ipv4_rp_filter, sysctls.ipv4_rp_filter_default) = (known(0), denied());
            }),
        Case::of("kernel-ipv6-redirects")
            .passes(|facts| {
                let sysctls = &mut kernel_of(facts).sysctls;
                (sysctls.ipv6_accept_redirects, sysctls.ipv6_forward) = (known(1), known(1));
            })
            .fails(|facts| kernel_of(facts).sysctls.ipv6_accept_redirects = known(1))
            .fails(|facts| kernel_of(facts).sysctls.ipv6_accept_redirects_default = known(1))
            .fails(|facts| kernel_of(facts).sysctls.ipv6_accept_source_route = known(1))
            .unreadable("permission_denied", |facts| kernel_of(facts).sysctls.ipv6_accept_redirects_default = denied()),
        Case::of("kernel-module-signatures")
            .passes(|facts| kernel_of(facts).module_signatures = known(false))
            .passes(|facts| {
                kernel_of(facts).module_signatures = known(false);
                kernel_of(facts).lockdown = known("none".into());
                kernel_of(facts).sysctls.modules_disabled = known(1);
            })
            .fails(|facts| {
                kernel_of(facts).module_signatures = known(false);
                kernel_of(facts).lockdown = known("none".into());
            })
            .unreadable("permission_denied", |facts| {
                kernel_of(facts).module_signatures = denied();
                kernel_of(facts).lockdown = known("none".into());
            }),
        Case::of("kernel-command-line")
            .passes(|facts| kernel_of(facts).command_line = known(vec!["mitigations=auto,nosmt".into(), "apparmor=0".into()]))
            .fails(|facts| kernel_of(facts).command_line = known(vec!["quiet".into(), "mitigations=off".into()]))
            .fails(|facts| kernel_of(facts).command_line = known(vec!["nokaslr".into()]))
            .unreadable("permission_denied", |facts| kernel_of(facts).command_line = denied()),
        Case::of("kernel-unprivileged-user-namespaces")
            .passes(|facts| {
                let sysctls = &mut kernel_of(facts).sysctls;
                (sysctls.unprivileged_userns_clone, sysctls.apparmor_restrict_unprivileged_userns) = (known(1), known(1));
            })
            .fails(|facts| kernel_of(facts).sysctls.unprivileged_userns_clone = known(1))
            .unreadable("permission_denied", |facts| kernel_of(facts).sysctls.unprivileged_userns_clone = denied()),
        Case::of("kernel-process-ids")
            .fails(|facts| kernel_of(facts).sysctls.pid_max = known(32_768))
            .not_applicable(no_kubelet)
            .not_applicable(|facts| configure(facts, json!({"podPidsLimit": -1})))
            .unreadable("permission_denied", |facts| kernel_of(facts).sysctls.pid_max = denied())
            .unreadable("permission_denied", hide_config),
        Case::of("kernel-waits-for-reboot")
            .fails(|facts| installed(facts, "6.12.63+deb13-amd64"))
            .passes(|facts| installed(facts, "6.12.63+deb13-cloud-amd64"))
            .not_applicable(|facts| kernel_of(facts).installed = complete(vec![]))
            .unreadable("permission_denied", |facts| kernel_of(facts).installed = denied()),
        Case::of("kernel-leftovers")
            .fails(|facts| ["6.12.1", "6.12.2"].into_iter().for_each(|release| installed(facts, release)))
            .not_applicable(|facts| kernel_of(facts).installed = complete(vec![]))
            .unreadable("permission_denied", |facts| kernel_of(facts).installed = denied()),
    ]
}

fn installed(facts: &mut NodeFacts, release: &str) {
    let kernel = InstalledKernel::unread(release, format!("/lib/modules/{release}"));
    items(&mut kernel_of(facts).installed).push(kernel);
}

#[test]
fn a_host_with_hidden_processes_is_not_said_to_have_no_kubelet() {
    let findings = judged("host-forwarding", &|facts| {
        let skipped = vec![Skipped { what: "processes hidden from the agent".into(), reason: Reason::PermissionDenied }];
        facts.kubelets = known(Listing { items: Vec::new(), skipped });
        kernel_of(facts).sysctls.ipv4_forward = known(0);
    });
    assert_eq!((findings[0].verdict, findings[0].reason_class()), (Verdict::Unknown, "incomplete"));
}

fn lifecycle(facts: &mut NodeFacts, support: Observed<Support>) {
    let kernel = &mut facts.versions.value_mut().expect("known").kernel;
    kernel.value_mut().expect("known").support = support;
}

#[test]
fn a_cpu_weakness_the_kernel_does_not_know_about_is_not_passed() {
    for status in ["Unknown: Dependent on hypervisor status", "Unknown: No mitigations"] {
        let findings = judged("kernel-cpu-vulnerability", &|facts| {
            items(&mut kernel_of(facts).cpu_vulnerabilities)[0].status = status.into();
        });
        assert_eq!((findings[0].verdict, findings[0].reason_class()), (Verdict::Unknown, "undecided"), "{status}");
    }
}

#[test]
fn kernel_addresses_are_hidden_where_perf_is_closed_though_kptr_restrict_is_zero() {
    let findings = judged("kernel-kptr-restrict", &|facts| kernel_of(facts).sysctls.kptr_restrict = known(0));
    assert_eq!(findings[0].verdict, Verdict::Pass);
}
