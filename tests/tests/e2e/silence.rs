//! An agent that dies is silent, raises an alert and recovers; an agent that stops on purpose does not.

use holdfast_tests::process::PATIENCE;
use holdfast_tests::site::{Site, recorded};

use crate::BINARIES;

fn firing(site: &Site, rule: &str) -> bool {
    let alerts = site.api().list("/api/v1/alerts", "alerts").unwrap_or_default();
    alerts.iter().any(|alert| alert["rule"] == rule && alert["state"] == "firing")
}

#[test]
fn killed_is_silent_and_alerts_until_it_is_back_and_stopped_is_not() {
    let site = Site::new(BINARIES).unwrap();
    let (host, proc) = recorded("hardened");
    let tree = ["--host-root", &host, "--proc", &proc];
    site.token("killed").unwrap();
    site.token("stopped").unwrap();
    let _collector = site.collector(&["--silent-after", "1"]).unwrap();
    let killed = site.agent("killed", &tree).unwrap();
    let stopped = site.agent("stopped", &tree).unwrap();
    let state = |name: &'static str, state: &'static str| {
        let waited = site.api().wait(&format!("{name} is {state}"), PATIENCE, |api| api.node_state(name).as_deref() == Some(state));
        waited.unwrap_or_else(|error| panic!("{error}\n{}\n{}", site.log("collector.log"), site.log(&format!("{name}.log"))));
    };
    state("killed", "reporting");
    state("stopped", "reporting");

    let status = stopped.stop(PATIENCE).unwrap();
    assert!(status.success(), "{status}: {}", site.log("stopped.log"));
    state("stopped", "stopped");
    killed.kill().unwrap();
    state("killed", "silent");
    site.api().wait("the alert fires", PATIENCE, |_| firing(&site, "node-silent")).unwrap();
    // Others of these two nodes may fire as well: of their kernels, for one.
    let alerts = site.api().list("/api/v1/alerts", "alerts").unwrap();
    let alert = alerts.iter().filter(|alert| alert["rule"] == "node-silent").map(ToString::to_string).collect::<String>();
    assert!(alert.contains("killed") && !alert.contains("stopped"), "only the killed node is named: {alert}");

    let _back = site.agent("killed", &tree).unwrap();
    state("killed", "reporting");
    site.api().wait("the alert resolves", PATIENCE, |_| !firing(&site, "node-silent")).unwrap();
}
