//! The dashboard in a real Chromium: what a person sees, and that nothing is broken or blocked on the way.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use fantoccini::Locator;
use holdfast_tests::browser::{Browser, Window};
use holdfast_tests::process::{PATIENCE, Process, pause};
use holdfast_tests::site::{Site, recorded};

use crate::{BINARIES, KUBELET, READ_ONLY_PORT};

const PAGES: [&str; 12] = [
    "/",
    "/nodes",
    "/nodes/test/open",
    "/nodes/test/open?tab=containers",
    "/nodes/test/open?tab=runtimes",
    "/findings",
    "/checks",
    "/alerts",
    "/exposure",
    "/root-processes",
    "/expectations",
    "/coverage",
];

/// A collector with an open and a hardened recorded node.
fn fleet() -> (Site, Vec<Process>) {
    let site = Site::new(BINARIES).unwrap();
    site.token("open").unwrap();
    site.token("hard").unwrap();
    let mut processes = vec![site.collector(&[]).unwrap()];
    for (node, tree) in [("open", "misconfigured"), ("hard", "hardened")] {
        let (host, proc) = recorded(tree);
        processes.push(site.agent(node, &["--host-root", &host, "--proc", &proc]).unwrap());
    }
    // All of them: a snapshot comes in parts, and what the collector judges comes after it.
    let whole = |api: &holdfast_tests::api::Api| {
        let count = || ["open", "hard"].map(|node| api.findings(&format!("node={node}&verdict=any")).map_or(0, |found| found.len()));
        let fails = || api.findings("node=open&check=kubelet-read-only-port&verdict=fail").is_ok_and(|found| !found.is_empty());
        let before = count();
        pause(Duration::from_secs(1));
        before == count() && before.iter().all(|count| *count > 100) && fails()
    };
    site.api()
        .wait("both nodes are stored", PATIENCE, whole)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", site.log("collector.log"), site.log("open.log")));
    (site, processes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_drills_down_from_the_fleet_to_the_fix_without_a_console_error() {
    let (site, _processes) = fleet();
    let browser = Browser::open(Window { width: 1280, script: true }).await.unwrap();
    let client = &browser.client;
    client.goto(&site.api().url("/")).await.unwrap();
    let text = browser.text().await.unwrap();
    assert!(text.contains("Failing") && text.contains("Unknown"), "{text}");

    // Fleet → check → a finding: why, fix and evidence.
    client.goto(&site.api().url("/findings")).await.unwrap();
    browser.click("main a[href^='/checks/kubelet-read-only-port'], main a[href*='check=kubelet-read-only-port']").await.unwrap();
    client.goto(&site.api().url("/findings?group=none&check=kubelet-read-only-port&verdict=fail")).await.unwrap();
    browser.follow("main a[href^='/findings/']", "/findings/").await.unwrap();
    let finding = browser.text().await.unwrap();
    let position = |part: &str| finding.find(part).unwrap_or_else(|| panic!("no `{part}` in {finding}"));
    assert!(position("Why it matters") < position("What to do") && position("What to do") < position("Evidence"), "{finding}");
    assert!(finding.contains("10255"), "{finding}");

    // A filter narrows the list, and the URL carries it.
    let started = Instant::now();
    loop {
        client.goto(&site.api().url("/findings?severity=critical&verdict=fail&group=none")).await.unwrap();
        let rows = client.find_all(Locator::Css("main tbody tr")).await.unwrap().len();
        let listed = site.api().findings("severity=critical&verdict=fail").unwrap().len();
        if rows == listed {
            break;
        }
        // What the collector judges may come in between.
        assert!(started.elapsed() < PATIENCE, "the page lists {rows}, the API {listed}");
    }

    for page in PAGES {
        client.goto(&site.api().url(page)).await.unwrap();
        assert_eq!(client.find_all(Locator::Css("h1")).await.unwrap().len(), 1, "{page} has one h1");
    }
    assert_eq!(browser.console_errors().await.unwrap(), Vec::<String>::new());
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_appears_on_the_open_page_and_goes_without_a_reload() {
    let _none = KUBELET.lock().await;
    let site = Site::new(BINARIES).unwrap();
    site.token("host").unwrap();
    let _collector = site.collector(&[]).unwrap();
    let _agent = site.agent("host", &["--no-probe"]).unwrap();
    site.api()
        .wait("the host is stored", PATIENCE, |api| api.findings("node=host").is_ok_and(|found| found.len() > 20))
        .unwrap_or_else(|error| panic!("{error}\n{}", site.log("host.log")));
    let browser = Browser::open(Window { width: 1280, script: true }).await.unwrap();
    browser.client.goto(&site.api().url("/nodes/test/host?tab=failing")).await.unwrap();
    // Set on the page: a reload would lose it.
    browser.client.execute("window.notReloaded = true", Vec::new()).await.unwrap();
    // The live connection is up before the change.
    browser.until("the page is live", PATIENCE, "return document.body.innerText.includes('Live')", |live| live == true).await.unwrap();
    let listening = "return document.querySelector('main').innerText.includes('10255')";
    let _port = READ_ONLY_PORT.lock().await;
    let socket = TcpListener::bind("0.0.0.0:10255").expect("port 10255 is free on this machine");
    let opened = browser.until("the finding is shown", PATIENCE, listening, |shown| shown == true).await.unwrap();
    drop(socket);
    let closed = browser.until("the finding is gone", PATIENCE, listening, |shown| shown == false).await.unwrap();
    println!("open to seen {opened:?}, close to gone {closed:?}");
    assert_eq!(browser.client.execute("return window.notReloaded", Vec::new()).await.unwrap(), true);
    assert_eq!(browser.console_errors().await.unwrap(), Vec::<String>::new());
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dark_theme_is_chosen_without_script_and_kept() {
    let (site, _processes) = fleet();
    let browser = Browser::open(Window { width: 1280, script: true }).await.unwrap();
    let client = &browser.client;
    let background = "return getComputedStyle(document.body).backgroundColor";
    client.goto(&site.api().url("/")).await.unwrap();
    browser.click("form[action='/prefs'] button[formaction*='theme=dark']").await.unwrap();
    browser.until("the dark surface", PATIENCE, background, |colour| colour == "rgb(17, 21, 27)").await.unwrap();
    client.goto(&site.api().url("/nodes")).await.unwrap();
    assert_eq!(client.execute(background, Vec::new()).await.unwrap(), "rgb(17, 21, 27)");
    assert_eq!(browser.console_errors().await.unwrap(), Vec::<String>::new());
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn at_320_pixels_no_page_scrolls_sideways() {
    let (site, _processes) = fleet();
    let browser = Browser::open(Window { width: 320, script: true }).await.unwrap();
    for page in PAGES {
        browser.client.goto(&site.api().url(page)).await.unwrap();
        let sizes = browser.client.execute("return [document.documentElement.scrollWidth, window.innerWidth]", Vec::new()).await.unwrap();
        assert!(sizes[0].as_u64() <= sizes[1].as_u64(), "{page} is {sizes}");
    }
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_works_with_script_off() {
    let (site, _processes) = fleet();
    let browser = Browser::open(Window { width: 1280, script: false }).await.unwrap();
    let client = &browser.client;
    for page in PAGES {
        client.goto(&site.api().url(page)).await.unwrap();
        let text = browser.text().await.unwrap();
        assert!(text.len() > 40, "{page}: {text}");
    }
    client.goto(&site.api().url("/findings?group=none&verdict=fail")).await.unwrap();
    browser.follow("main a[href^='/findings/']", "/findings/").await.unwrap();
    assert!(browser.text().await.unwrap().contains("Evidence"));
    browser.close().await.unwrap();
}
