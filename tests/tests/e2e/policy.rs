//! A policy from the collector's file to the node and back: applied, refused by nobody's fault, kept over a restart, and gone.

use std::time::Duration;

use holdfast_tests::api::Api;
use holdfast_tests::process::PATIENCE;
use holdfast_tests::site::Site;
use serde_json::Value;

use crate::{BINARIES, KUBELET};

const CHECK: &str = "kernel-kptr-restrict";

/// As an editor does it: whoever reads meets the old file or the new one, and never none of both.
fn write(file: &str, text: &str) {
    let new = format!("{file}.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

fn policy(api: &Api) -> Value {
    api.json("/api/v1/nodes/test/host").map(|node| node["policy"].clone()).unwrap_or_default()
}

fn state(api: &Api) -> String {
    policy(api)["state"].as_str().unwrap_or_default().to_owned()
}

/// Verdict and reason of the check's one finding.
fn found(api: &Api) -> Option<(String, String)> {
    let found = api.findings(&format!("node=host&check={CHECK}&verdict=any")).ok()?;
    assert!(found.len() <= 1, "never two: {found:?}");
    let text = |name: &str| found.first().and_then(|finding| finding[name].as_str()).map(str::to_owned);
    Some((text("verdict")?, text("reason")?))
}

fn decided(api: &Api) -> bool {
    found(api).is_some_and(|(verdict, _)| matches!(verdict.as_str(), "pass" | "fail"))
}

fn disabled(api: &Api) -> bool {
    found(api).is_some_and(|found| found == ("not_applicable".to_owned(), "disabled: by the collector's policy".to_owned()))
}

#[test]
fn a_policy_is_applied_when_the_file_changes_kept_over_a_restart_and_taken_back() {
    let _none = KUBELET.blocking_lock();
    let site = Site::new(BINARIES).unwrap();
    site.token("host").unwrap();
    let file = site.path("policy.yaml");
    write(&file, "full_pass_seconds: 600\n");
    let collector = site.collector(&["--policy", &file]).unwrap();
    let agent = site.agent("host", &["--no-probe"]).unwrap();
    let api = site.api();
    let wait = |what: &str, done: &dyn Fn(&Api) -> bool| {
        api.wait(what, PATIENCE, |api| done(api))
            .unwrap_or_else(|error| panic!("{error}\n{}\n{}\n{}", policy(&api), site.log("collector.log"), site.log("host.log")));
    };
    wait("the policy of the start is applied", &|api| state(api) == "applied");
    assert_eq!(policy(&api)["full_pass_seconds"], 600);
    wait("the check is judged", &decided);

    write(&file, &format!("full_pass_seconds: 300\ndisabled_checks: [{CHECK}]\n"));
    wait("the changed policy is applied", &|api| state(api) == "applied" && policy(api)["full_pass_seconds"] == 300);
    wait("the disabled check says so", &disabled);
    assert_eq!(policy(&api)["hash"], policy(&api)["in_force"]);

    // A bad file changes nothing, and is said.
    write(&file, "full_pass_seconds: 5\n");
    let problem =
        |api: &Api| api.json("/api/v1/policy").is_ok_and(|said| said["problem"].as_str().is_some_and(|text| text.contains("is below 60")));
    wait("the bad file is said", &problem);
    assert_eq!((state(&api).as_str(), disabled(&api)), ("applied", true));

    // The agent comes back while there is no collector: what was last in force is, before anything is judged.
    collector.stop(PATIENCE).unwrap();
    agent.kill().unwrap();
    let again = site.agent("host", &["--no-probe"]).unwrap();
    let logged = |text: &str| site.log("host.log").contains(text);
    let start = std::time::Instant::now();
    while !logged("the collector's last policy is in force") {
        assert!(start.elapsed() < PATIENCE, "{}", site.log("host.log"));
        std::thread::sleep(Duration::from_millis(100));
    }

    // A collector without policies takes it back.
    let _collector = site.collector(&[]).unwrap();
    wait("the agent follows its own configuration again", &|api| state(api) == "none");
    wait("the check is judged again", &decided);
    drop(again);
}
