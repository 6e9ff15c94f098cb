//! The patch chain of this machine: what really runs here, its packages as dpkg knows them, and what an import changes of the verdict.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use holdfast_tests::api::Api;
use holdfast_tests::browser::{Browser, Window};
use holdfast_tests::containers::RuntimeHost;
use holdfast_tests::containers::pod::Pod;
use holdfast_tests::port;
use holdfast_tests::process::{PATIENCE, output, pause};
use holdfast_tests::site::Site;
use serde_json::{Value, json};

use crate::{BINARIES, KUBELET};

const NODE: &str = "/api/v1/nodes/test/host/chain";
/// Made up, as is what is said of it: nothing of the built-in data is about it.
const CVE: &str = "CVE-2026-99001";
/// A day on which all real data is older.
const DAY: &str = "2026-11-20";

/// The link of `subject`, whole.
fn link(chain: &[Value], subject: &str) -> Value {
    let found = chain.iter().find(|link| link["row"]["subject"] == subject);
    found.unwrap_or_else(|| panic!("no {subject} in {chain:#?}")).clone()
}

fn chain(api: &Api) -> Vec<Value> {
    api.list(NODE, "chain").unwrap_or_default()
}

/// Version and source package of what `package` installed, as dpkg prints them.
fn dpkg(package: &str) -> (String, String) {
    let query = ["-W", "-f", "${Version} ${source:Package}", package];
    let (code, text, errors) = output(Path::new("dpkg-query"), &query).unwrap();
    assert_eq!(code, 0, "{errors}");
    let (version, source) = text.split_once(' ').unwrap();
    (version.to_owned(), source.to_owned())
}

/// The release of this system as OSV names it.
fn ecosystem() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().trim_matches('"');
    match (field("ID"), field("VERSION_ID")) {
        ("debian", version) => format!("Debian:{version}"),
        ("ubuntu", version) if ["18.04", "20.04", "22.04", "24.04", "26.04"].contains(&version) => format!("Ubuntu:{version}:LTS"),
        ("ubuntu", version) => format!("Ubuntu:{version}"),
        other => panic!("no packages of dpkg: {other:?}"),
    }
}

/// A distribution's record: every version of `source` before one that is newer than what is installed.
fn osv(source: &str, installed: &str) -> String {
    let affected = json!([{
        "package": {"ecosystem": ecosystem(), "name": source},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": format!("{installed}.1")}]}]
    }]);
    let id = if ecosystem().starts_with("Debian") { format!("DEBIAN-{CVE}") } else { format!("UBUNTU-{CVE}") };
    let times = format!("{DAY}T00:00:00Z");
    json!({"schema_version": "1.7.0", "id": id, "upstream": [CVE], "published": times, "modified": times, "affected": affected}).to_string()
}

fn kev() -> String {
    let entry = json!({
        "cveID": CVE, "vendorProject": "Open Containers", "product": "runc", "vulnerabilityName": "runc Container Escape",
        "dateAdded": DAY, "shortDescription": "", "requiredAction": "", "dueDate": DAY, "knownRansomwareCampaignUse": "Unknown",
        "notes": "", "cwes": []
    });
    let released = format!("{DAY}T15:00:00.0000Z");
    json!({"title": "", "catalogVersion": DAY.replace('-', "."), "dateReleased": released, "count": 1, "vulnerabilities": [entry]})
        .to_string()
}

/// Imports what is in `text` into the data of the collector that runs.
fn import(site: &Site, name: &str, text: &str) {
    let file = site.path(name);
    std::fs::write(&file, text).unwrap();
    let (code, said, errors) = output(Path::new(BINARIES.collector), &["feeds", "import", "--data", &site.path("data"), &file]).unwrap();
    assert_eq!(code, 0, "{said}{errors}");
}

/// Which links of `after` say another verdict, or count other vulnerabilities, than in `before`.
fn changed(before: &[Value], after: &[Value]) -> Vec<String> {
    let said =
        |link: &Value| ["headline", "running", "affecting", "exploited", "fixed_in", "support"].map(|part| link["row"][part].clone());
    let others = after.iter().filter(|link_after| {
        let subject = link_after["row"]["subject"].as_str().unwrap();
        said(link_after) != said(&link(before, subject))
    });
    others.map(|link| link["row"]["subject"].as_str().unwrap().to_owned()).collect()
}

fn subjects_of(chain: &[Value]) -> BTreeSet<&str> {
    chain.iter().filter_map(|link| link["row"]["subject"].as_str()).collect()
}

/// The chain once the agent of `health` has told everything, and the collector has judged that.
fn judged(site: &Site, health: &Api) -> Vec<Value> {
    let api = site.api();
    let subjects = ["os", "kernel", "containerd", "containerd/runc"];
    let all = |chain: &[Value]| subjects.iter().all(|subject| chain.iter().any(|link| link["row"]["subject"] == *subject));
    let told = || health.text("/metrics").is_ok_and(|text| text.contains("holdfast_agent_unsent 0\n"));
    let mut judged = Vec::new();
    let waited = api.wait("every part is judged", PATIENCE, |api| {
        // A snapshot comes in parts, and each of them is judged.
        let (nothing_left, before) = (told(), chain(api));
        pause(Duration::from_secs(2));
        judged = chain(api);
        let same_parts = subjects_of(&before) == subjects_of(&judged);
        nothing_left && told() && all(&before) && same_parts && changed(&before, &judged).is_empty()
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{judged:#?}\n{}\n{}", site.log("host.log"), site.log("collector.log")));
    judged
}

fn verdict_of_this_machine(site: &Site, health: &Api) {
    let api = site.api();
    let before = judged(site, health);
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    assert_eq!(link(&before, "kernel")["row"]["running"], release.as_str());
    let (containerd, _) = dpkg("containerd");
    let (runc, source) = dpkg("runc");
    for (subject, package) in [("containerd", &containerd), ("containerd/runc", &runc)] {
        let link = link(&before, subject);
        assert_eq!(link["link"]["package"]["known"]["value"], package.as_str(), "{link:#}");
        assert!(link["row"]["running"].as_str().is_some_and(|running| package.starts_with(running)), "{link:#}");
    }

    // Nothing is made known-exploited by a list of CVEs alone, and the export alone exploits nothing.
    import(site, "known_exploited_vulnerabilities.json", &kev());
    import(site, "record.json", &osv(&source, &runc));
    let mut after = Vec::new();
    let waited = api.wait("runc is judged by what was imported", PATIENCE, |api| {
        after = chain(api);
        after.iter().any(|link| link["row"]["subject"] == "containerd/runc" && link["row"]["headline"] == "known_exploited")
    });
    waited.unwrap_or_else(|error| panic!("{error}\n{after:#?}\n{}", site.log("collector.log")));
    assert_eq!(changed(&before, &after), ["containerd/runc"]);
    let runc_now = link(&after, "containerd/runc");
    assert_eq!(runc_now["row"]["fixed_in"], format!("{runc}.1"), "{runc_now:#}");
    let compared = format!("{runc} < {runc}.1");
    assert!(runc_now.to_string().contains(&compared), "the compared pair is shown, {compared}: {runc_now:#}");
}

async fn shown_to_a_person(site: &Site) {
    let browser = Browser::open(Window { width: 1280, script: true }).await.unwrap();
    for (path, wanted) in
        [("/kernels?component=runc", vec!["Known exploited"]), ("/nodes/test/host?tab=chain", vec!["Known exploited", CVE, "containerd"])]
    {
        browser.client.goto(&site.api().url(path)).await.unwrap();
        let text = browser.text().await.unwrap();
        for words in wanted {
            assert!(text.to_lowercase().contains(&words.to_lowercase()), "{path}: no `{words}` in {text}");
        }
    }
    assert_eq!(browser.console_errors().await.unwrap(), Vec::<String>::new());
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_judged_by_its_packages_and_an_import_changes_the_matching_link_alone() {
    let _kubelet = KUBELET.lock().await;
    let mut host = RuntimeHost::start().await.unwrap();
    host.run(&Pod::named("root")).await.unwrap();
    // Entering a network is for a thread, and for good.
    let test = move || {
        let here = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let site = Site::new(BINARIES).unwrap();
        host.space.enter_network().unwrap();
        let _collector = site.collector(&[]).unwrap();
        let health = format!("127.0.0.1:{}", port::reserve().unwrap());
        let _agent = site.agent_in(&host.space, "host", &["--no-probe", "--health", &health]).unwrap();
        verdict_of_this_machine(&site, &Api::new(format!("http://{health}")));
        here.block_on(shown_to_a_person(&site));
    };
    std::thread::spawn(test).join().unwrap();
}
