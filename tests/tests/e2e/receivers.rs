//! Debian's own Alertmanager and Prometheus, started for the test on loopback.

use std::path::Path;

use holdfast_tests::api::Api;
use holdfast_tests::port;
use holdfast_tests::process::{PATIENCE, Process, output};
use holdfast_tests::site::{Site, recorded};

use crate::BINARIES;

fn installed(program: &str, package: &str) -> String {
    let path = format!("/usr/bin/{program}");
    assert!(Path::new(&path).is_file(), "{path} is missing: apt-get install {package}");
    path
}

/// A rule with a slip in it is found by whoever copies it, or by nobody.
#[test]
fn prometheus_and_alertmanager_take_the_configuration_to_copy() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/alerts");
    for (program, package, command, file) in [
        ("promtool", "prometheus", &["check", "rules"][..], "prometheus.yaml"),
        ("amtool", "prometheus-alertmanager", &["check-config"][..], "alertmanager.yaml"),
    ] {
        let path = deploy.join(file).display().to_string();
        let arguments = [command, &[path.as_str()]].concat();
        let (code, said, complained) = output(Path::new(&installed(program, package)), &arguments).unwrap();
        assert_eq!(code, 0, "{said}{complained}");
    }
}

#[test]
fn alertmanager_gets_the_alert_and_its_end_and_prometheus_scrapes_the_collector() {
    let alertmanager = installed("prometheus-alertmanager", "prometheus-alertmanager");
    let prometheus = installed("prometheus", "prometheus");
    let site = Site::new(BINARIES).unwrap();
    let (am_port, prom_port) = (port::reserve().unwrap(), port::reserve().unwrap());
    std::fs::write(site.path("alertmanager.yaml"), "route: {receiver: none}\nreceivers: [{name: none}]\n").unwrap();
    let scrape = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: holdfast, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]\n",
        site.http
    );
    std::fs::write(site.path("prometheus.yaml"), scrape).unwrap();
    let flag = |name: &str, value: &str| format!("--{name}={value}");
    let am_flags = [
        flag("config.file", &site.path("alertmanager.yaml")),
        flag("storage.path", &site.path("am-data")),
        flag("web.listen-address", &format!("127.0.0.1:{am_port}")),
        flag("cluster.listen-address", ""),
    ];
    let prom_flags = [
        flag("config.file", &site.path("prometheus.yaml")),
        flag("storage.tsdb.path", &site.path("prom-data")),
        flag("web.listen-address", &format!("127.0.0.1:{prom_port}")),
    ];
    let refs = |flags: &[String]| -> Vec<String> { flags.to_vec() };
    let (am_flags, prom_flags) = (refs(&am_flags), refs(&prom_flags));
    let _alertmanager =
        Process::start(Path::new(&alertmanager), &am_flags.iter().map(String::as_str).collect::<Vec<_>>(), Path::new(&site.path("am.log")))
            .unwrap();
    let _prometheus = Process::start(
        Path::new(&prometheus),
        &prom_flags.iter().map(String::as_str).collect::<Vec<_>>(),
        Path::new(&site.path("prom.log")),
    )
    .unwrap();
    let manager = Api::new(format!("http://127.0.0.1:{am_port}"));
    manager
        .wait("Alertmanager is ready", PATIENCE, |manager| manager.text("/-/ready").is_ok())
        .unwrap_or_else(|error| panic!("{error}: {}", site.log("am.log")));

    site.token("open").unwrap();
    let _collector = site.collector(&["--alertmanager", &manager.url(""), "--silent-after", "1"]).unwrap();
    let (host, proc) = recorded("misconfigured");
    let agent = site.agent("open", &["--host-root", &host, "--proc", &proc]).unwrap();
    let has = |manager: &Api, name: &str| manager.text("/api/v2/alerts?active=true").is_ok_and(|alerts| alerts.contains(name));
    manager
        .wait("the read-only port alert arrives", PATIENCE, |manager| has(manager, "kubelet-read-only-port"))
        .unwrap_or_else(|error| panic!("{error}: {}", site.log("collector.log")));
    manager.wait("the anonymous alert arrives", PATIENCE, |manager| has(manager, "kubelet-answers-anonymous")).unwrap();

    // Killed: silent is told. Back: it ends there too.
    agent.kill().unwrap();
    manager
        .wait("the silent alert arrives", PATIENCE, |manager| has(manager, "node-silent"))
        .unwrap_or_else(|error| panic!("{error}: {}", site.log("collector.log")));
    let _back = site.agent("open", &["--host-root", &host, "--proc", &proc]).unwrap();
    manager
        .wait("the silent alert ends", PATIENCE, |manager| !has(manager, "node-silent"))
        .unwrap_or_else(|error| panic!("{error}: {}", site.log("collector.log")));

    let metrics = Api::new(format!("http://127.0.0.1:{prom_port}"));
    let query = "/api/v1/query?query=holdfast_nodes";
    metrics
        .wait("Prometheus has our metrics", PATIENCE, |metrics| metrics.text(query).is_ok_and(|text| text.contains("connected")))
        .unwrap_or_else(|error| panic!("{error}: {}", site.log("prom.log")));
    // A scrape may take longer than its second on a busy machine.
    let up = |metrics: &Api| metrics.json("/api/v1/query?query=up").is_ok_and(|up| up["data"]["result"][0]["value"][1] == "1");
    metrics.wait("the target is up", PATIENCE, up).unwrap_or_else(|error| panic!("{error}: {}", site.log("prom.log")));
}
