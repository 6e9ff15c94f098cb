//! The patch chain as readers meet it: the same numbers everywhere, evidence whole, old data said, unknown never a tick.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_checks::facts::{Listing, Observed, Reason, Source, SourceKind};
use holdfast_checks::versions::knowledge::{Builder, FeedInfo};
use holdfast_checks::versions::{
    Activation, ActivationState, Confidence, Exploitation, Exposure, FleetPlace, Headline, Link, Match, Patch, PatchState, Support,
    SupportState, Vulnerability, VulnerabilityState,
};
use holdfast_collector::feeds::{FeedStatus, Library, Refused};
use serde_json::{Value, json};

use crate::fleet::{Fleet, NOW, attributes, unescape};
use crate::pages::shown;

fn known<T>(value: T) -> Observed<T> {
    Observed::known(value, Source::new(SourceKind::Derived, "version knowledge"), NOW)
}

fn support(state: SupportState, ends: &str, left: i64, row: &str, data: &str) -> Observed<Support> {
    known(Support {
        state,
        ends: Some(ends.to_owned()),
        extended_ends: None,
        days_left: Some(left),
        judged_by: row.to_owned(),
        upstream_says: String::new(),
        data_date: data.to_owned(),
        source: "https://endoflife.date/".to_owned(),
    })
}

fn patch(state: PatchState, days: Option<i64>, newest: &str, data: &str) -> Observed<Patch> {
    known(Patch {
        state,
        days,
        releases: days.map(|days| days / 20),
        newest: newest.to_owned(),
        newest_date: Some("2026-11-10".to_owned()),
        data_date: data.to_owned(),
        source: "OSV, AlmaLinux".to_owned(),
    })
}

fn copy_fail(exposure: Exposure) -> Match {
    Match {
        id: "CVE-2026-31431".to_owned(),
        title: "Copy Fail".to_owned(),
        confidence: Confidence::Confirmed,
        fixed_in: Some("5.14.0-611.54.1.el9_7".to_owned()),
        compared: "5.14.0-611.20.1.el9_7 < 5.14.0-611.54.1.el9_7 (rpm)".to_owned(),
        record: "ALSA-2026:13565".to_owned(),
        source: "OSV, AlmaLinux".to_owned(),
        exploited: Some(Exploitation { added: "2026-05-01".to_owned(), due: "2026-05-15".to_owned(), ransomware: false }),
        public_exploit: true,
        exposure,
        exposure_because: "kernel.features.algif_aead = built in".to_owned(),
        subscription: false,
    }
}

fn vulnerable(matches: Vec<Match>, fixed_in: Option<&str>) -> Observed<Vulnerability> {
    let of = |fits: fn(&Match) -> bool| i64::try_from(matches.iter().filter(|found| fits(found)).count()).expect("few");
    let affecting = of(|found| found.confidence != Confidence::Possible);
    known(Vulnerability {
        undecided: 0,
        state: if affecting > 0 { VulnerabilityState::KnownExploited } else { VulnerabilityState::NoneKnown },
        affecting,
        exploited: affecting,
        public_exploits: affecting,
        unreachable: 0,
        possible: of(|found| found.confidence == Confidence::Possible),
        fixed: 40,
        fixed_in: fixed_in.map(str::to_owned),
        matches: Listing { items: matches, skipped: Vec::new() },
        judged_by: "AlmaLinux:9 (OSV, 2026-11-18)".to_owned(),
        data_date: "2026-11-18".to_owned(),
    })
}

fn active() -> Observed<Activation> {
    known(Activation { state: ActivationState::Active, since: None, because: "nothing newer is installed".to_owned(), security: None })
}

/// Alma's kernel, known to be exploited; a fixed one waits.
pub fn exploited() -> Link {
    Link {
        vendor: "enterprise-linux".to_owned(),
        series: "5.14".to_owned(),
        package: known("5.14.0-611.20.1.el9_7".to_owned()),
        installed: known("5.14.0-687.10.1.el9_8".to_owned()),
        support: support(SupportState::Supported, "2032-05-31", 2019, "almalinux 9", "2026-11-15"),
        patch: patch(PatchState::Behind, Some(104), "5.14.0-687.10.1.el9_8", "2026-11-18"),
        vulnerability: vulnerable(vec![copy_fail(Exposure::Exposed)], Some("5.14.0-611.54.1.el9_7")),
        activation: known(Activation {
            state: ActivationState::RebootPending,
            since: Some(NOW / 1000 - 9 * 3600),
            because: "5.14.0-687.10.1.el9_8 is installed, 5.14.0-611.20.1.el9_7 runs".to_owned(),
            security: Some(true),
        }),
        fleet: known(FleetPlace { newest: "5.14.0-687.10.1.el9_8".to_owned(), nodes: 3, behind: true }),
        headline: Headline::KnownExploited,
        because: "CVE-2026-31431 is known to be exploited, and 5.14.0-611.20.1.el9_7 < 5.14.0-611.54.1.el9_7".to_owned(),
        action: "Reboot: the fixed 5.14.0-687.10.1.el9_8 is installed.".to_owned(),
        settles: "A reboot.".to_owned(),
        ..Link::unread("kernel", "kernel", "5.14.0-611.20.1.el9_7.x86_64")
    }
}

/// Debian's kernel, maintained and current by data of a day.
pub fn supported(data: &str) -> Link {
    Link {
        vendor: "debian".to_owned(),
        series: "6.1".to_owned(),
        upstream: known("6.1.183".to_owned()),
        package: known("6.1.183-1".to_owned()),
        installed: known("6.1.183-1".to_owned()),
        support: support(SupportState::Supported, "2028-06-30", 588, "debian 12", data),
        patch: patch(PatchState::Current, Some(0), "6.1.183-1", data),
        vulnerability: vulnerable(Vec::new(), None),
        activation: active(),
        headline: Headline::Supported,
        because: "Debian 12 is maintained until 2028-06-30, and nothing newer is known".to_owned(),
        ..Link::unread("kernel", "kernel", "6.1.0-40-amd64")
    }
}

/// A kernel of nobody's, of which only the series is known.
pub fn unlisted() -> Link {
    let possible =
        Match { confidence: Confidence::Possible, fixed_in: None, record: "CVE-2026-31431".to_owned(), ..copy_fail(Exposure::Unknown) };
    Link {
        series: "6.6".to_owned(),
        vulnerability: vulnerable(vec![possible], None),
        because: "nothing tells who maintains 6.6.8-custom".to_owned(),
        settles: "No feed covers this build: judge it by hand.".to_owned(),
        ..Link::unread("kernel", "kernel", "6.6.8-custom")
    }
}

fn plain(subject: &str, component: &str, running: &str, headline: Headline, support: Observed<Support>) -> Link {
    let because = format!("{component} {running}");
    Link { vendor: "upstream".to_owned(), tracks_upstream: true, headline, support, because, ..Link::unread(subject, component, running) }
}

/// A link with as many matches as one keeps.
pub fn heavy() -> Link {
    let found = |n: usize| Match { id: format!("CVE-2026-{n}"), ..copy_fail(Exposure::Exposed) };
    Link { vulnerability: vulnerable((0..20).map(found).collect(), Some("5.14.0-611.54.1.el9_7")), ..exploited() }
}

/// A link in which every text is `name`.
pub fn hostile(subject: &str, name: &str) -> Link {
    let text = || name.to_owned();
    let found = Match {
        id: text(),
        title: text(),
        confidence: Confidence::Confirmed,
        fixed_in: Some(text()),
        compared: text(),
        record: text(),
        source: text(),
        exploited: Some(Exploitation { added: text(), due: text(), ransomware: true }),
        public_exploit: true,
        exposure: Exposure::Exposed,
        exposure_because: text(),
        subscription: true,
    };
    let possible = Match { confidence: Confidence::Possible, ..found.clone() };
    let mut support = support(SupportState::Eol, name, i64::MIN, name, name);
    if let Some(support) = support.value_mut() {
        (support.source, support.upstream_says, support.extended_ends) = (text(), text(), Some(text()));
    }
    let mut patch = patch(PatchState::Behind, Some(i64::MAX), name, name);
    if let Some(patch) = patch.value_mut() {
        (patch.source, patch.newest_date, patch.releases) = (text(), Some(text()), Some(i64::MIN));
    }
    let mut vulnerability = vulnerable(vec![found, possible], Some(name));
    if let Some(known) = vulnerability.value_mut() {
        (known.judged_by, known.data_date) = (text(), text());
    }
    let (state, since) = (ActivationState::RebootPending, Some(i64::MAX));
    Link {
        vendor: text(),
        series: text(),
        upstream: known(text()),
        package: known(text()),
        installed: known(text()),
        support,
        patch,
        vulnerability,
        activation: known(Activation { state, since, because: text(), security: None }),
        fleet: known(FleetPlace { newest: text(), nodes: i64::MIN, behind: true }),
        headline: Headline::KnownExploited,
        because: text(),
        action: text(),
        settles: text(),
        ..Link::unread(subject, subject, name)
    }
}

/// What three feeds know, and a file that was refused.
pub fn library() -> Library {
    let mut builder = Builder::new().expect("built-in data");
    let feed = |name: &str, as_of: &str| FeedStatus {
        name: name.to_owned(),
        file: format!("{}.json", name.replace('/', "-")),
        sha256: "ab".repeat(32),
        as_of: as_of.to_owned(),
        imported_at: NOW - 3_600_000,
        records: 1662,
        ignored: BTreeMap::from([("withdrawn".to_owned(), 12)]),
    };
    let feeds = vec![feed("endoflife/debian", "2026-09-15"), feed("kev", "2026-11-19"), feed("osv/AlmaLinux", "2026-11-18")];
    for feed in &feeds {
        let as_of = feed.as_of.parse().expect("a date");
        builder
            .feed(FeedInfo { name: feed.name.clone(), as_of, source: feed.name.clone(), digest: feed.sha256.clone(), complete: true }, []);
    }
    let refused = vec![Refused { file: "all.zip".to_owned(), at: NOW - 60_000, reason: "record 17: `events` is missing".to_owned() }];
    Library { knowledge: Arc::new(builder.build()), feeds, refused }
}

/// Kernels of every kind and some more of the chain, on the seeded fleet: node 6 says nothing of its kernel.
pub async fn fleet() -> Fleet {
    let fleet = Fleet::seeded_by(library()).await;
    let alma = ("alma 9", "5.14.0-611.20.1.el9_7.x86_64");
    fleet.link(1, alma.0, alma.1, &exploited()).await;
    let selected = Activation {
        state: ActivationState::NewerNotSelected,
        since: None,
        because: "the boot loader starts 5.14.0-611.20.1.el9_7".to_owned(),
        security: Some(true),
    };
    let other = Link { activation: known(selected), action: "Select the newest kernel, then reboot.".to_owned(), ..exploited() };
    fleet.link(3, alma.0, alma.1, &other).await;
    fleet.link(2, "debian 12", "6.1.0-40-amd64", &supported("2026-09-15")).await;
    fleet.link(4, "", "6.6.8-custom", &unlisted()).await;
    fleet.link(5, "debian 12", "6.1.0-40-amd64", &supported("2026-09-15")).await;
    let life = |state, ends: &str, left, row: &str| support(state, ends, left, row, "2026-11-15");
    let os = |node: i64| if node == 2 { ("debian 12", "Debian 12") } else { ("alma 9", "AlmaLinux 9.7") };
    for node in [1, 2, 3] {
        let (image, running) = os(node);
        let ends = if node == 2 {
            life(SupportState::Supported, "2028-06-30", 588, "debian 12")
        } else {
            life(SupportState::Supported, "2032-05-31", 2019, "almalinux 9")
        };
        fleet.link(node, image, "k", &plain("os", "os", running, Headline::Supported, ends)).await;
    }
    // Two of one version on one node are one node.
    for subject in ["kubelet", "kubelet:second"] {
        let ended = life(SupportState::Eol, "2026-10-27", -24, "kubernetes 1.34");
        fleet.link(1, alma.0, alma.1, &plain(subject, "kubelet", "v1.34.2", Headline::EndOfLife, ended)).await;
    }
    let soon = life(SupportState::EolSoon, "2026-12-31", 41, "containerd 2.3");
    fleet.link(1, alma.0, alma.1, &plain("containerd", "containerd", "2.3.2", Headline::Supported, soon)).await;
    let unread = Observed::unavailable_because(Reason::PermissionDenied, "open /usr/sbin/runc");
    fleet.link(1, alma.0, alma.1, &plain("containerd/runc", "runc", "1.4.3", Headline::Unknown, unread)).await;
    let kernel = json!({"release": alma.1, "version": "#1 SMP", "boot_default": {"release": "5.14.0-687.10.1.el9_8.x86_64", "title": "Alma", "path": "/boot/loader/entries/x.conf"}});
    fleet.sql("delete from inventory where node_id = 1 and kind = 'kernel'").await;
    fleet.inventory(1, "kernel", "self", kernel).await;
    fleet
}

const RELEASE: &str = "/kernels/kernel/5.14.0-611.20.1.el9_7.x86_64";

#[tokio::test]
async fn what_runs_by_version_and_node_by_node() {
    let fleet = fleet().await;
    insta::assert_snapshot!("kernels_page", shown(&fleet, "/kernels").await);
    insta::assert_snapshot!("kernels_page_everything", shown(&fleet, "/kernels?component=any&state=current").await);
    insta::assert_snapshot!("kernels_page_ungrouped", shown(&fleet, "/kernels?group=none&headline=known_exploited").await);
    insta::assert_snapshot!("release_page", shown(&fleet, RELEASE).await);
    insta::assert_snapshot!("node_page_chain", shown(&fleet, "/nodes/prod-eu/ip-10-0-9-3?tab=chain").await);
}

#[tokio::test]
async fn files_and_the_api_tell_the_same() {
    let fleet = fleet().await;
    insta::assert_snapshot!("kernels_csv", fleet.get("/kernels.csv").await.body);
    insta::assert_json_snapshot!("kernels_json", fleet.get("/kernels.json?component=kubelet").await.json());
    insta::assert_json_snapshot!("chain", fleet.get("/api/v1/chain").await.json());
    insta::assert_json_snapshot!("chain_links", fleet.get("/api/v1/chain?group=none&component=runc").await.json());
    insta::assert_json_snapshot!("node_chain", fleet.get("/api/v1/nodes/prod-eu/ip-10-0-4-17/chain").await.json());
    let queries = [
        "",
        "component=any",
        "component=kubelet",
        "component=os",
        "component=docker",
        "headline=known_exploited",
        "headline=unknown,supported",
        "image=alma%209",
        "image=-",
        "kernel=6.1.0-40-amd64&component=any",
        "running=6.6.8-custom",
        "cluster=prod-eu",
        "state=current",
        "state=last_known",
        "node=ip-10-0-9-3&component=any",
        "behind=91-180",
        "behind=0,unknown",
        "waiting=yes",
        "possible=yes",
        "judged_by=kubernetes%201.34&component=any",
        "ends=2026-10-27&component=any",
        "q=EL9",
        "q=100%25",
    ];
    for query in queries {
        let page = fleet.get(&format!("/kernels?{query}")).await.total();
        let single = fleet.get(&format!("/kernels?group=none&{query}")).await.total();
        let api = fleet.get(&format!("/api/v1/chain?{query}")).await.json();
        let links = fleet.get(&format!("/api/v1/chain?group=none&{query}")).await.json();
        let file = fleet.get(&format!("/kernels.json?{query}")).await.json();
        let csv = fleet.get(&format!("/kernels.csv?{query}")).await.body;
        assert_eq!((api["total"].as_i64(), single), (page, page), "{query}");
        let rows = links["links"].as_array().expect("rows");
        let nodes: BTreeSet<&str> = rows.iter().filter_map(|row| row["node"].as_str()).collect();
        assert_eq!(i64::try_from(nodes.len()).ok(), page, "{query}");
        assert_eq!(api["totals"]["links"].as_u64(), u64::try_from(rows.len()).ok(), "{query}");
        assert_eq!((file["rows"].as_array().map(Vec::len), file["chain"]["nodes"].as_i64()), (Some(rows.len()), page), "{query}");
        assert_eq!(csv.lines().count() - 1, rows.len(), "{query}");
        let grouped: i64 = api["groups"].as_array().expect("groups").iter().filter_map(|group| group["links"].as_i64()).sum();
        assert_eq!(u64::try_from(grouped).ok(), u64::try_from(rows.len()).ok(), "{query}");
    }
}

#[tokio::test]
async fn an_unknown_filter_is_named_on_the_pages_and_refused_elsewhere() {
    let fleet = fleet().await;
    for path in ["/kernels", RELEASE] {
        let page = fleet.get(&format!("{path}?foo=1&headline=bad")).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.body.contains("Ignored: <code>foo</code>") && page.body.contains("Ignored: <code>headline</code>"), "{}", page.main());
    }
    for path in ["/kernels.csv", "/kernels.json", "/api/v1/chain"] {
        for wrong in ["foo=1", "headline=bad", "behind=7", "severity=high", "group=node", "waiting=1"] {
            assert_eq!(fleet.get(&format!("{path}?{wrong}")).await.status, 400, "{path}?{wrong}");
        }
    }
    for forged in ["/kernels?after=x", "/kernels?group=none&after=x", "/api/v1/chain?after=00.00"] {
        assert_eq!(fleet.get(forged).await.status, 400, "{forged}");
    }
    assert_eq!(fleet.get("/kernels/kernel").await.status, 404);
}

#[tokio::test]
async fn every_number_of_the_chain_equals_the_list_behind_it() {
    let fleet = fleet().await;
    let pages = ["/", "/kernels", "/kernels?component=any", "/kernels?component=kubelet&state=current", RELEASE, "/kernels?possible=yes"];
    let mut promised = BTreeMap::<String, BTreeSet<i64>>::new();
    for path in pages {
        let page = fleet.get(path).await;
        let links: String = page.main().split('<').filter(|tag| tag.starts_with("a ")).flat_map(|tag| ["<", tag]).collect();
        for (n, href) in attributes(&links, "data-n=\"", "data-n").into_iter().zip(attributes(&links, "data-n=\"", "href")) {
            promised.entry(unescape(href)).or_default().insert(n.parse().expect("a number"));
        }
    }
    assert!(promised.len() > 60, "{}", promised.len());
    for (href, numbers) in promised {
        let total = fleet.get(&href).await.total().unwrap_or_else(|| panic!("{href} shows no total"));
        assert_eq!(numbers, BTreeSet::from([total]), "{href}");
    }
}

#[tokio::test]
async fn pages_of_groups_and_of_links_have_no_duplicate_and_no_gap() {
    let fleet = Fleet::empty().await;
    for node in 1..=60 {
        fleet.node(node, "c", &format!("n{node:02}"), "agent", "connected", 1).await;
        let link = Link { running: format!("6.1.{}", node % 23), ..supported("2026-11-15") };
        fleet.link(node, if node % 2 == 0 { "debian 12" } else { "debian 13" }, "k", &link).await;
    }
    for (group, list, expected) in [("running", "groups", 46), ("none", "links", 60)] {
        let (mut after, mut seen) = (String::new(), Vec::new());
        for page in 0.. {
            let answer = fleet.get(&format!("/api/v1/chain?group={group}&limit=7&after={after}")).await.json();
            let name = |row: &Value| format!("{} {} {}", row["running"], row["image"], row["node"]);
            seen.extend(answer[list].as_array().expect("rows").iter().map(name));
            if page == 1 && group == "none" {
                fleet.sql("delete from chain where node_id = 1").await;
                fleet.link(1, "debian 13", "k", &Link { running: "6.1.1".to_owned(), ..supported("2026-11-15") }).await;
            }
            match answer["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => break,
            }
        }
        assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (expected, expected), "{group}");
    }
    // The order is total: two requests give the same.
    let (one, two) = (fleet.get("/kernels").await, fleet.get("/kernels").await);
    assert_eq!(one.main(), two.main());
    let release = fleet.get("/kernels/kernel/6.1.1?limit=1").await;
    let next = unescape(attributes(release.main(), "rel=\"next\"", "href")[0]);
    assert!(fleet.get(&next).await.main().contains("rows 2–2 of 3"), "{next}");
}

#[tokio::test]
async fn without_nodes_and_without_verdicts_there_is_no_number_and_no_tick() {
    let fleet = Fleet::empty().await;
    let page = fleet.get("/kernels").await;
    assert!(page.main().contains("No node has reported yet"), "{}", page.main());
    assert!(!page.main().contains("data-n") && !page.main().contains("data-total") && !page.main().contains('✓'), "{}", page.main());
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    let page = fleet.get("/kernels").await;
    assert!(page.main().contains("Of 1 node nothing is judged here"), "{}", page.main());
    assert!(!page.main().contains('✓') && !page.main().contains("<svg"), "{}", page.main());
    fleet.link(1, "", "", &Link::unread("kernel", "kernel", "")).await;
    fleet.link(1, "", "", &Link::unread("os", "os", "")).await;
    for path in [
        "/",
        "/kernels",
        "/kernels?component=any",
        "/kernels?group=none",
        "/kernels/kernel/-",
        "/nodes/c/n?tab=chain",
        "/nodes?kernel=unknown",
    ] {
        let page = fleet.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.main().contains('✓') && !page.main().contains("v-pass"), "{path}: {}", page.main());
    }
    assert_eq!(fleet.get("/kernels/kernel/-").await.total(), Some(1));
    let tab = fleet.get("/nodes/c/n?tab=chain").await;
    assert!(tab.main().contains("not supported here · not judged"), "{}", tab.main());
}

#[tokio::test]
async fn old_data_says_what_was() {
    let fleet = Fleet::empty().await;
    fleet.node(1, "c", "n", "agent", "connected", 1).await;
    fleet.link(1, "debian 12", "6.1.0-40-amd64", &supported("2026-10-02")).await;
    let page = fleet.get("/kernels").await;
    assert!(page.main().contains("as of <time datetime=\"2026-10-02\">2 Oct 2026</time>"), "{}", page.main());
    assert!(
        page.main().contains("No feed has been imported") && page.main().contains("holdfast-collector feeds import"),
        "{}",
        page.main()
    );
    fleet.sql("delete from chain").await;
    fleet.link(1, "debian 12", "6.1.0-40-amd64", &supported("2026-11-15")).await;
    let page = fleet.get("/kernels").await;
    assert!(!page.main().contains("class=\"was\">as of"), "{}", page.main());
}

#[tokio::test]
async fn nodes_are_found_by_the_verdict_on_their_kernel() {
    let fleet = fleet().await;
    for (headline, n) in [("known_exploited", 2), ("supported", 1), ("unknown", 1), ("known_exploited,unknown", 3), ("end_of_life", 0)] {
        assert_eq!(fleet.get(&format!("/nodes?kernel={headline}")).await.total(), Some(n), "{headline}");
        assert_eq!(fleet.get(&format!("/api/v1/nodes?kernel={headline}")).await.json()["total"].as_i64(), Some(n), "{headline}");
    }
    assert_eq!(fleet.get("/api/v1/nodes?kernel=bad").await.status, 400);
}

#[tokio::test]
async fn feeds_are_shown_with_age_counts_and_refusals() {
    let fleet = fleet().await;
    let built_in = holdfast_checks::versions::knowledge::Knowledge::built_in().expect("built-in data").as_of();
    let age = NOW / 86_400_000 - built_in.to_zoned(jiff::tz::TimeZone::UTC).expect("a day").timestamp().as_second() / 86_400;
    let anywhere = |text: String| {
        let text = text.replace(&built_in.strftime("%-d %b %Y").to_string(), "BUILT-IN").replace(&built_in.to_string(), "BUILT-IN");
        text.replace(&format!("{age} days"), "AGE days")
    };
    insta::assert_snapshot!("feeds_page", anywhere(shown(&fleet, "/feeds").await));
    insta::assert_snapshot!("feeds", anywhere(serde_json::to_string_pretty(&fleet.get("/api/v1/feeds").await.json()).expect("JSON")));
    assert!(fleet.get("/about").await.main().contains("3 imported feeds"));
    let bare = Fleet::empty().await.get("/feeds").await;
    assert!(bare.main().contains("0 imported feeds over the snapshot") && bare.main().contains("feeds import"), "{}", bare.main());
}

#[tokio::test]
async fn charts_say_what_their_tables_say() {
    let fleet = fleet().await;
    let page = fleet.get("/kernels?component=any").await;
    let main = page.main();
    for chart in main.split("<svg ").skip(1).map(|part| part.split("</svg>").next().unwrap_or_default()) {
        assert!(chart.len() <= 8 * 1024 && !chart.contains("NaN") && !chart.contains("style="), "{chart}");
        assert!(chart.contains("role=\"img\"") && chart.contains("<title ") && chart.contains("<desc "), "{chart}");
    }
    assert_eq!(main.matches("<svg class=\"chart\"").count(), 4);
    assert!(main.contains("Debian 12 · 1 supported") || main.contains("System Debian 12 · 1 supported"), "{main}");
    assert!(main.contains("kubernetes 1.34 · over since 2026-10-27</text>"), "{main}");
    assert!(main.contains("containerd 2.3 · ends 2026-12-31 · 1 node</text>"), "{main}");
}

/// A stored link of a later version, or a broken one, loses its details, not its row.
#[tokio::test]
async fn a_link_that_cannot_be_read_is_still_listed() {
    let fleet = fleet().await;
    fleet.sql("update chain set json = '{\"headline\": 7', headline = 9 where component = 'kernel' and node_id in (1, 3)").await;
    for path in ["/kernels", "/kernels?group=none", RELEASE, "/nodes/prod-eu/ip-10-0-9-3?tab=chain", "/api/v1/chain", "/kernels.csv"] {
        assert_eq!(fleet.get(path).await.status, 200, "{path}");
    }
    assert_eq!(fleet.get("/kernels").await.total(), Some(4));
    assert!(fleet.get(RELEASE).await.main().contains("cannot be read"));
}
