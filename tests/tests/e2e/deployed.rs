//! Our own manifests, made real: the DaemonSet's pod with exactly its security context on a real containerd, what the agent in it found
//! out about itself, and what our own catalogue says of both pods.
//!
//! What cannot be tried here, with the line of `agent-daemonset.yaml` that it stands in:
//! - `appArmorProfile: {type: Unconfined}`: the kernel of a test may be without AppArmor. That the default profile would hide other
//!   processes is what the line's comment says.
//! - `seLinuxOptions: {type: spc_t}`: the same of SELinux.
//! - `serviceAccountToken: {expirationSeconds: 3600}`: rotation by a real kubelet. The token here is of a tokens file, in the same place;
//!   `incluster` has one that an API server vouches for, and replaces it as a kubelet does.
//! - `resources.limits`: the tests' containerd is given none, because not every machine that tests may set them.
//! - `--collector`: the collector listens on a port that was free, on the host's loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use holdfast_checks::waivers;
use holdfast_tests::containers::RuntimeHost;
use holdfast_tests::containers::manifest::{Surroundings, Workload};
use holdfast_tests::site::Site;
use serde_json::{Value, json};

use crate::{BINARIES, KUBELET};

/// The agent's first findings, on a busy machine.
const SHOWN: Duration = holdfast_tests::process::PATIENCE;
const NAMESPACE: &str = "holdfast-system";
/// The agent's name in its image.
pub(crate) const PROGRAM: &str = "/usr/bin/holdfast-agent";

/// A pod of a manifest of `deploy/kustomize/base`, with what stands in for objects of the API.
pub(crate) fn workload(file: &str, pod: &str, content: BTreeMap<(String, String), Vec<u8>>) -> Workload {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kustomize/base").join(file);
    // As Kubernetes reads it: 0440 is octal.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let manifest: Value = serde_saphyr::from_str_with_options(&std::fs::read_to_string(path).unwrap(), options).unwrap();
    let spec = manifest["spec"]["template"]["spec"].clone();
    Workload { namespace: NAMESPACE.to_owned(), pod: pod.to_owned(), spec, content, node: "n1".to_owned(), around: Surroundings::default() }
}

fn agent(pod: &str) -> Workload {
    workload("agent-daemonset.yaml", pod, BTreeMap::new())
}

/// What of its two pods fails and is no surprise, with the reason; the agent's are the built-in expectations.
type Fails = BTreeSet<String>;

/// Verdicts on one container, by check.
fn judged(host: &RuntimeHost, subject: &str) -> BTreeMap<String, String> {
    let arguments = ["scan", "-o", "json", "--no-probe", "--node-name", "n1"];
    let (code, report, errors) = holdfast_tests::process::in_time(|| host.space.output(BINARIES.agent, &arguments)).unwrap();
    assert_eq!(code, 0, "{errors}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let about = report["findings"].as_array().unwrap().iter().filter(|finding| finding["subject"] == subject);
    let verdict = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        (text("check"), if finding["verdict"] == "unknown" { format!("unknown {}", text("reason")) } else { text("verdict") })
    };
    about.map(verdict).collect()
}

fn with(verdicts: &BTreeMap<String, String>, verdict: &str) -> Fails {
    verdicts.iter().filter(|(_, said)| said.starts_with(verdict)).map(|(check, _)| check.clone()).collect()
}

/// Those that no built-in expectation covers.
fn unexpected(fails: &Fails, subject: &str) -> Fails {
    let expectations = waivers::built_in().unwrap();
    fails.iter().filter(|check| waivers::expected(&expectations, check, subject).is_none()).cloned().collect()
}

/// The image is named by version in the base; an overlay may name it by digest.
const BY_TAG: &str = "container-image-digest";

#[tokio::test(flavor = "multi_thread")]
async fn the_daemonset_on_a_real_runtime_is_a_reader_that_sees_the_host() {
    let _kubelet = KUBELET.lock().await;
    let mut host = RuntimeHost::start().await.unwrap();
    let image = host.import("registry.example/holdfast-agent", Path::new(BINARIES.agent), PROGRAM).await.unwrap();
    let here = tokio::runtime::Handle::current();
    // Entering a network is for a thread, and for good.
    let test = move || {
        let _runtime = here.enter();
        let site = Site::new(BINARIES).unwrap();
        host.space.enter_network().unwrap();
        let token = std::fs::read(site.token("n1").unwrap()).unwrap();
        let ca = std::fs::read(site.path("tls/ca.crt")).unwrap();
        let _collector = site.collector_in(&host.space, &[]).unwrap();
        let content = [(("collector-token", "token"), token), (("collector-ca", "ca.crt"), ca)];
        let content = content.into_iter().map(|((volume, file), bytes)| ((volume.to_owned(), file.to_owned()), bytes)).collect();
        let mut workload = workload("agent-daemonset.yaml", "holdfast-agent-x7k2p", content);
        for argument in workload.spec["containers"][0]["args"].as_array_mut().unwrap() {
            if argument.as_str().unwrap().starts_with("--collector=") {
                *argument = json!(format!("--collector=https://127.0.0.1:{}", site.grpc));
            }
        }
        here.block_on(host.run_workload(&workload, Some(&image))).unwrap();
        let log = || std::fs::read_to_string(host.outside(&workload.log())).unwrap_or_default();
        let finding = |check: &str| {
            let found = site.api().findings(&format!("node=n1&check={check}")).unwrap_or_default();
            found.into_iter().next().unwrap_or_default()
        };
        // A snapshot comes in parts, and the spool is in its file once it was saved.
        for check in ["agent-least-privilege", "agent-sees-the-host", "agent-spool-file"] {
            let passes = site.api().wait(&format!("{check} passes"), SHOWN, |_| finding(check)["verdict"] == "pass");
            passes.unwrap_or_else(|error| panic!("{error}\n{:#}\n{}\n{}", finding(check), log(), site.log("collector.log")));
        }
        // The runtime writes what a container says when it comes to it.
        let self_test = || log().lines().find(|line| line.contains("self-test: ") && line.contains(" attempts refused")).map(str::to_owned);
        let written = site.api().wait("its self-test is in its log", SHOWN, |_| self_test().is_some());
        written.unwrap_or_else(|error| panic!("{error}\n{}", log()));
        let said = self_test().unwrap();
        assert!(said.contains("uid 65523, CAP_DAC_READ_SEARCH CAP_SYS_PTRACE; "), "{said}");
        let numbers = said.split("; ").find_map(|part| part.split_once(" attempts refused")).unwrap().0;
        let (refused, tried) = numbers.split_once(" of ").unwrap();
        assert!(refused == tried && tried.parse::<u32>().unwrap() >= 25, "{said}");
        println!("in its pod: {}", said.split("self-test").nth(1).unwrap());

        judge_the_manifests(&mut host, &workload, &here);
    };
    tokio::task::spawn_blocking(|| std::thread::spawn(test).join().unwrap()).await.unwrap();
}

/// What our own catalogue says of the agent that runs, of the collector, and of manifests that got worse.
fn judge_the_manifests(host: &mut RuntimeHost, running: &Workload, here: &tokio::runtime::Handle) {
    let collector = workload("collector-deployment.yaml", "holdfast-collector-6d5f-abcde", BTreeMap::new());
    here.block_on(host.run_workload(&collector, None)).unwrap();
    let worse = worse();
    for (workload, _) in &worse {
        here.block_on(host.run_workload(workload, None)).unwrap();
    }
    host.settle().unwrap();

    for workload in [running, &collector] {
        let subject = workload.subject();
        let verdicts = judged(host, &subject);
        let fails: Fails = with(&verdicts, "fail").into_iter().filter(|check| check != BY_TAG).collect();
        let (unexpected, unknown) = (unexpected(&fails, &subject), with(&verdicts, "unknown"));
        println!("{subject}: {} pass, fails and expected: {fails:?}", with(&verdicts, "pass").len());
        assert!(unexpected.is_empty() && unknown.is_empty(), "{subject}: {unexpected:?} {unknown:?}\n{verdicts:#?}");
        assert!(with(&verdicts, "pass").len() > 10, "{verdicts:#?}");
        // An expectation that nothing needs is one that hides something one day.
        let expectations = waivers::built_in().unwrap();
        let own = expectations.iter().find(|waiver| waivers::expected(std::slice::from_ref(waiver), &waiver.checks[0], &subject).is_some());
        let own: Fails = own.unwrap().checks.iter().map(ToString::to_string).collect();
        assert_eq!(fails, own, "{subject}: what is expected is what fails");
    }
    for (workload, check) in &worse {
        let subject = workload.subject();
        let fails = with(&judged(host, &subject), "fail");
        assert!(unexpected(&fails, &subject).contains(*check), "{subject}: {check} is not seen: {fails:?}");
    }
}

/// Manifests that somebody made worse, each with the check that must not let it pass.
fn worse() -> Vec<(Workload, &'static str)> {
    let changed = |name: &str, check: &'static str, change: &dyn Fn(&mut Value)| {
        let mut workload = agent(&format!("holdfast-agent-{name}"));
        change(&mut workload.spec);
        (workload, check)
    };
    let context = |spec: &mut Value, field: &str, value: Value| spec["containers"][0]["securityContext"][field] = value;
    vec![
        changed("privileged", "pod-privileged", &|spec| {
            context(spec, "privileged", json!(true));
            context(spec, "allowPrivilegeEscalation", json!(true));
        }),
        changed("gains", "pod-no-new-privileges", &|spec| context(spec, "allowPrivilegeEscalation", json!(true))),
        changed("unfiltered", "pod-seccomp", &|spec| context(spec, "seccompProfile", json!({"type": "Unconfined"}))),
        changed("writes", "container-read-only-root", &|spec| context(spec, "readOnlyRootFilesystem", json!(false))),
        changed("root", "container-root", &|_| {}),
    ]
}
