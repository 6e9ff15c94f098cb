//! Every string an agent controls, on every page, in every export, in every message that leaves the collector and in its log: inert.
//!
//! A hand-driven agent says what [`holdfast_tests::hostile`] makes of a real node. Pages are found by following links and held against the
//! list of routes in the source, so that one that is added cannot be forgotten; a real browser parses each of them and runs the main ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_checks::entries::{Body, Entry, State};
use holdfast_proto::v1;
use holdfast_proto::v1::agent_message::Message;
use holdfast_tests::browser::{Browser, Window};
use holdfast_tests::hostile::{MARK, Poison, entries, facts};
use holdfast_tests::peer::{Peer, hello, wire};
use holdfast_tests::process::{Process, output};
use holdfast_tests::site::Site;
use serde_json::{Value, json};

use crate::BINARIES;

const WITHIN: Duration = holdfast_tests::process::PATIENCE;
/// Pages and exports, as the router has them.
const PAGES: &str = include_str!("../../../collector/src/dashboard/pages.rs");
const ROUTES: &str = include_str!("../../../collector/src/dashboard/mod.rs");
/// Pages of one shape that are opened.
const OF_A_SHAPE: usize = 4;

/// A server that says 200 to everything and keeps what it was sent.
struct Sink {
    address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Sink {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, heard) = (listener.local_addr().unwrap().to_string(), Arc::<Mutex<Vec<String>>>::default());
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || take(stream, &kept));
            }
        });
        Self { address, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn take(mut stream: TcpStream, kept: &Mutex<Vec<String>>) {
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    let (mut request, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    while !is_whole(&String::from_utf8_lossy(&request)) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => request.extend_from_slice(&buffer[..n]),
        }
    }
    kept.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").ok();
}

/// Is it all of a request: whoever gives up in the middle tells it again.
fn is_whole(request: &str) -> bool {
    request.split_once("\r\n\r\n").is_some_and(|(head, body)| {
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        body.len() >= length.unwrap_or(0)
    })
}

/// Head and body of `path`; an answer that does not end is cut after `within`.
pub(crate) fn fetch(port: u16, path: &str, within: Duration) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(within)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n").unwrap();
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..n]);
    }
    // A stream that was cut may end within a character.
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path} has no head: {answer}"));
    (head.to_owned(), body.to_owned())
}

/// The hash of the policy that a session is told, after its Welcome.
async fn policy_of(peer: &mut Peer) -> Vec<u8> {
    loop {
        if let Some(v1::collector_message::Message::Policy(policy)) = peer.hear().await.unwrap().message {
            return policy.hash;
        }
    }
}

/// A Hello in which every string is an attack.
fn greeting(canary: &str, last_acked: u64, state: &State) -> v1::Hello {
    let mut poison = Poison::new(canary);
    let mut word = || poison.draw().chars().take(40).collect::<String>();
    let (agent_version, boot_id, node_name) = (word(), word(), word());
    let sent_seq = last_acked;
    v1::Hello { agent_version, boot_id, node_name, sent_seq, capabilities: u64::MAX, ..hello(1, last_acked, state).unwrap() }
}

/// Collector, hostile agent, and those who hear of it.
struct Scene {
    site: Site,
    _collector: Process,
    peer: Peer,
    state: State,
    seq: u64,
    canary: Sink,
    webhook: Sink,
    alertmanager: Sink,
}

impl Scene {
    async fn start() -> Self {
        let (canary, webhook, alertmanager) = (Sink::open(), Sink::open(), Sink::open());
        let site = Site::new(BINARIES).unwrap();
        let token = site.token("n1").unwrap();
        let (hook, manager) = (format!("http://{}/hook", webhook.address), format!("http://{}", alertmanager.address));
        let policy = site.path("policy.yaml");
        std::fs::write(&policy, "full_pass_seconds: 600\n").unwrap();
        let collector = site.collector(&["--webhook", &hook, "--alertmanager", &manager, "--policy", &policy]).unwrap();
        let ca = site.path("tls/ca.crt");
        let mut peer = Peer::open(site.grpc, Path::new(&ca), &token).await.unwrap();
        peer.say(Message::Hello(greeting(&canary.address, 0, &State::default()))).await.unwrap();
        let hash = policy_of(&mut peer).await;
        let mut scene = Self { site, _collector: collector, peer, state: State::default(), seq: 0, canary, webhook, alertmanager };
        let reason = "<script>window.h0ld=1</script>\"><img src=x onerror=window.h0ld=1>\u{1b}[31m\u{9b}31m\u{202e}\u{2028}\0h0ld";
        for hash in [vec![7; 16], hash] {
            let status = v1::PolicyStatus { hash, applied: false, reason: reason.to_owned() };
            scene.peer.say(Message::PolicyStatus(status)).await.unwrap();
        }
        // Nobody asked; every word of it is theirs.
        for (outcome, why) in [("<script>window.h0ld=1</script>", ""), ("\u{9b}31mh0ld", "\u{1b}[31mh0ld\0"), ("answered", "h0ld")] {
            let result =
                v1::ProbeResult { request: 1, refused_by_agent: !why.is_empty(), reason: why.into(), outcome: outcome.into(), status: 200 };
            scene.peer.say(Message::ProbeResult(result)).await.unwrap();
        }
        let refused = |api: &holdfast_tests::api::Api| {
            let policy = api.json("/api/v1/nodes/test/n1").map(|node| node["policy"].to_string()).unwrap_or_default();
            policy.contains("refused") && policy.contains(MARK)
        };
        scene.site.api().wait("its reason is shown", WITHIN, refused).unwrap();
        let all = entries("misconfigured", &scene.canary.address).unwrap();
        scene.send(&all).await;
        // Pages of it are linked once the collector has judged what was sent.
        let judged = |api: &holdfast_tests::api::Api| api.list("/api/v1/nodes/test/n1/chain", "chain").is_ok_and(|chain| !chain.is_empty());
        scene.site.api().wait("its patch chain is judged", WITHIN, judged).unwrap();
        scene
    }

    /// Comes back as the same agent in the same state: one that says nothing for three heartbeats is taken for lost, and whoever looked at
    /// pages meanwhile may have needed longer.
    async fn comes_back(&mut self) {
        let (ca, token) = (self.site.path("tls/ca.crt"), self.site.path("n1.token"));
        self.peer = Peer::open(self.site.grpc, Path::new(&ca), Path::new(&token)).await.unwrap();
        self.peer.say(Message::Hello(greeting(&self.canary.address, self.seq, &self.state))).await.unwrap();
        let welcome = self.peer.hear().await.unwrap_or_else(|error| panic!("{error:#}\n{}", self.site.log("collector.log")));
        let Some(v1::collector_message::Message::Welcome(welcome)) = welcome.message else { panic!("{welcome:?}") };
        assert_eq!(welcome.resume(), v1::welcome::Resume::InSync);
    }

    /// Stores entries, with a transition for each finding.
    async fn send(&mut self, entries: &[Entry]) {
        let mut poison = Poison::new(&self.canary.address);
        let mut batch: Vec<v1::Entry> = Vec::new();
        let mut transitions = Vec::new();
        let mut bytes = 0;
        let mut number = self.seq * 1000;
        for (index, entry) in entries.iter().enumerate() {
            self.state.upsert(entry.clone());
            let mut sent = wire(entry);
            if let (Body::Finding(finding), Some(v1::entry::Body::Finding(body))) = (&entry.body, &mut sent.body) {
                body.severity = 5;
                body.evidence = finding.evidence.iter().map(said).collect();
                number += 1;
                let (reason, because) = (poison.draw(), poison.draw());
                let key = sent.key.clone();
                transitions.push(v1::Transition { number, key, from: 1, to: body.verdict, at: 1, reason, because, severity: 5 });
            }
            bytes += prost::Message::encoded_len(&sent) + transitions.last().map_or(0, prost::Message::encoded_len);
            batch.push(sent);
            if bytes > 8 * 1024 || index + 1 == entries.len() {
                self.seq += 1;
                let delta = v1::Delta {
                    seq: self.seq,
                    upserts: std::mem::take(&mut batch),
                    transitions: std::mem::take(&mut transitions),
                    digest_after: self.state.digest().to_bytes().to_vec(),
                    ..v1::Delta::default()
                };
                bytes = 0;
                self.peer.say(Message::Delta(delta)).await.unwrap();
                let ack = self.peer.acknowledged(self.seq).await.unwrap();
                assert_eq!(ack.refused, [], "what is stored is what was sent");
            }
        }
    }

    fn get(&self, path: &str) -> (String, String) {
        fetch(self.site.http, path, WITHIN)
    }
}

fn said(evidence: &holdfast_checks::entries::Evidence) -> v1::Evidence {
    let value = evidence.value.as_ref().map(ToString::to_string).unwrap_or_default();
    v1::Evidence { path: evidence.path.clone(), value, source: evidence.source.clone(), at: evidence.at }
}

/// What no reader sees, or sees as something else.
fn hidden(character: char) -> bool {
    let control = character.is_control() && !matches!(character, '\n' | '\t');
    control
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Looks at a document that was parsed as browsers do, in a page where nothing of it runs.
const AUDIT: &str = r"
const [html] = arguments, bad = [];
const parsed = new DOMParser().parseFromString(html, 'text/html');
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/u;
const known = new Set(('html head meta title link script body a header nav ul ol li form label input select option button div p span main h1 h2 h3 h4 section '
  + 'table caption thead tbody tr th td time strong em code pre dl dt dd details summary svg g rect line path text title desc defs pattern circle polyline polygon '
  + 'footer progress noscript br hr small b i template textarea fieldset legend figure figcaption kbd abbr aside article').split(' '));
const ids = new Set();
for (const e of parsed.querySelectorAll('*')) {
  const name = e.localName;
  if (!known.has(name)) bad.push('element ' + name);
  if (name === 'script' && !(/^\/assets\/[\w.-]+$/.test(e.getAttribute('src') || '') && e.textContent === '')) bad.push('script ' + e.outerHTML);
  if (name === 'link' && !/^\/assets\//.test(e.getAttribute('href'))) bad.push(e.outerHTML);
  if (name === 'meta' && e.hasAttribute('http-equiv') && !/h0ld/.test(e.outerHTML) === false) bad.push(e.outerHTML);
  if (e.id) { if (ids.has(e.id) || !/^[\w%.~,:-]+$/.test(e.id)) bad.push('id ' + e.id); ids.add(e.id); }
  for (const a of e.attributes) {
    if (!/^[a-zA-Z][a-zA-Z-]*[0-9]?$/.test(a.name) || /^on|^style$|^srcdoc$/i.test(a.name)) bad.push(name + ' has ' + a.name);
    if (/^(href|src|action|formaction|data|xlink:href|poster|ping|cite|background)$/i.test(a.name) && !/^(\/(?![\/\\])|\?|#|$)/.test(a.value)) bad.push(a.name + '=' + a.value);
    if (a.name === 'class' && !/^[a-z0-9 -]*$/.test(a.value)) bad.push('class ' + a.value);
    if (a.name !== 'value' && hidden.test(a.value)) bad.push(a.name + ' hides ' + JSON.stringify(a.value));
  }
}
const walk = parsed.createTreeWalker(parsed, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_COMMENT);
while (walk.nextNode()) {
  if (walk.currentNode.nodeType === 8) bad.push('comment ' + walk.currentNode.data);
  else if (hidden.test(walk.currentNode.data)) bad.push('text hides ' + JSON.stringify(walk.currentNode.data.slice(0, 200)));
}
return [bad.slice(0, 5), parsed.body.textContent.includes('h0ld')];
";

/// The links of a page that stay here.
fn links(html: &str) -> Vec<String> {
    let unescape = |text: &str| text.replace("&#38;", "&").replace("&amp;", "&").replace("&#39;", "'").replace("&quot;", "\"");
    let href = |part: &str| part.split_once('"').map(|(href, _)| unescape(href));
    html.split(" href=\"").skip(1).filter_map(href).collect()
}

/// What pages have in common: segments that are names become a number, and of a query only what chooses a view counts.
fn shape(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let first = segments.first().copied().unwrap_or_default();
    let view = |pair: &&str| ["tab=", "group=", "place=", "component="].iter().any(|key| pair.starts_with(*key));
    let views: BTreeSet<&str> = query.split('&').filter(view).collect();
    format!("{first}/{} {views:?}", segments.len())
}

/// The patterns of pages in the source: `["nodes", cluster, name]`.
fn patterns() -> Vec<Vec<Option<String>>> {
    let arms = PAGES.lines().filter_map(|line| line.trim().strip_prefix('[')?.split_once("] =>").map(|(arm, _)| arm.to_owned()));
    let part = |part: &str| part.trim().strip_prefix('"').map(|text| text.trim_end_matches('"').to_owned());
    arms.map(|arm| arm.split(',').filter(|part| !part.trim().is_empty()).map(part).collect()).collect()
}

fn is_of(path: &str, pattern: &[Option<String>]) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.trim_matches('/').split('/').filter(|segment| !segment.is_empty()).collect();
    let pattern: Vec<&Option<String>> = pattern.iter().filter(|part| part.as_deref() != Some("")).collect();
    segments.len() == pattern.len()
        && segments.iter().zip(pattern).all(|(segment, part)| part.as_deref().is_none_or(|part| part == *segment))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_string_of_an_agent_is_inert_on_every_page() {
    let mut scene = Scene::start().await;
    let browser = Browser::open(Window { width: 1280, script: true }).await.unwrap();
    browser.client.goto("about:blank").await.unwrap();
    scene
        .site
        .api()
        .wait("alerts fire", WITHIN, |api| api.list("/api/v1/alerts", "alerts").is_ok_and(|alerts| !alerts.is_empty()))
        .unwrap();

    let (mut todo, mut shapes, mut seen) = (
        VecDeque::from(["/".to_owned(), "/help/words".into(), "/about".into(), "/feeds".into()]),
        BTreeMap::<String, usize>::new(),
        BTreeSet::new(),
    );
    let (mut marked, mut visited, mut problems) = (0, Vec::new(), Vec::new());
    todo.extend(
        [
            "/nodes?q=%22%3E%3Cscript%3Eh0ld%3C%2Fscript%3E&foo=%1B%5B31m%E2%80%AE",
            "/no-such-page/%3Cscript%3Eh0ld",
            "/nodes/x/%E2%80%AE%3Cimg%20src%3Dx%3E",
        ]
        .map(str::to_owned),
    );
    while let Some(path) = todo.pop_front() {
        let page = !path.starts_with("/assets")
            && !path.contains(".csv")
            && !path.contains(".json")
            && !path.starts_with("/api")
            && !path.starts_with("/events");
        let local = path.starts_with('/') && page;
        let path = path.split('#').next().unwrap_or_default().to_owned();
        if !local || !seen.insert(path.clone()) {
            continue;
        }
        let opened = shapes.entry(shape(&path)).or_default();
        *opened += 1;
        if *opened > OF_A_SHAPE {
            continue;
        }
        let (head, html) = scene.get(&path);
        assert!(head.to_lowercase().contains("content-security-policy: default-src 'none'; script-src 'self'"), "{path}: {head}");
        assert!(!head.contains(MARK), "{path}: a header of theirs: {head}");
        if !head.to_lowercase().contains("content-type: text/html") {
            continue;
        }
        assert!(!html.contains('\0') && html.contains("<h1"), "{path}: {html}");
        let audit = browser.client.execute(AUDIT, vec![json!(html)]).await.unwrap();
        if audit[0] != json!([]) {
            problems.push(format!("{path}: {}", audit[0]));
        }
        marked += usize::from(audit[1] == true);
        // A relative link is to the same path.
        let own = path.split('?').next().unwrap_or_default();
        todo.extend(links(&html).into_iter().map(|href| if href.starts_with('?') { format!("{own}{href}") } else { href }));
        visited.push(path);
    }
    println!("{} pages, {marked} of them with text of the agent's", visited.len());
    assert_eq!(problems, Vec::<String>::new());
    let missing: Vec<_> = patterns().into_iter().filter(|pattern| !visited.iter().any(|path| is_of(path, pattern))).collect();
    assert!(patterns().len() > 12 && missing.is_empty(), "no page was opened of {missing:?} of {:?}", patterns());
    assert!(marked > 60, "{marked} of {}", visited.len());

    // The main ones as a reader meets them, live.
    let node = visited.iter().filter(|path| path.starts_with("/nodes/test/n1")).cloned();
    let main = [
        "/",
        "/nodes",
        "/findings?group=none",
        "/checks",
        "/kernels?component=any",
        "/exposure?group=none",
        "/root-processes?group=none",
        "/alerts",
        "/changes",
        "/coverage",
    ];
    let detail = ["/findings/", "/checks/", "/alerts/", "/kernels/"]
        .map(|start| visited.iter().find(|path| path.starts_with(start)).cloned().unwrap_or_default());
    for path in main.map(str::to_owned).into_iter().chain(node.take(20)).chain(detail) {
        browser.client.goto(&scene.site.api().url(&path)).await.unwrap();
        assert!(browser.client.get_alert_text().await.is_err(), "{path} opens a dialog");
        let ran = "return [typeof window.h0ld === 'undefined', location.host, document.title, performance.getEntriesByType('resource').map(e => new URL(e.name).host)]";
        let ran = browser.client.execute(ran, Vec::new()).await.unwrap();
        let host = json!(format!("127.0.0.1:{}", scene.site.http));
        assert_eq!((&ran[0], &ran[1]), (&json!(true), &host), "{path}: a script ran, or the page went elsewhere");
        assert!(!ran[2].as_str().unwrap_or_default().chars().any(hidden), "{path}: {}", ran[2]);
        assert!(ran[3].as_array().is_some_and(|hosts| hosts.iter().all(|other| *other == host)), "{path}: {}", ran[3]);
    }
    // What comes in later goes into an open page by script.
    browser.client.goto(&scene.site.api().url("/findings?group=none&check=late&verdict=any")).await.unwrap();
    browser.until("the page is live", WITHIN, "return document.body.innerText.includes('Live')", |live| live == true).await.unwrap();
    let mut poison = Poison::new(&scene.canary.address);
    scene.comes_back().await;
    let late: Vec<Entry> = (0..30).map(|_| poison.finding("late", None, holdfast_checks::entries::Verdict::Fail)).collect();
    scene.send(&late).await;
    let rows = "return document.querySelectorAll('main tbody tr').length";
    browser.until("they are shown", WITHIN, rows, |rows| rows.as_u64() >= Some(13)).await.unwrap();
    let html = browser.client.execute("return document.documentElement.outerHTML", Vec::new()).await.unwrap();
    assert_eq!(browser.client.execute("return typeof window.h0ld", Vec::new()).await.unwrap(), json!("undefined"));
    assert_eq!(browser.console_errors().await.unwrap(), Vec::<String>::new(), "nothing was even tried");
    browser.client.goto("about:blank").await.unwrap();
    let audit = browser.client.execute(AUDIT, vec![html]).await.unwrap();
    assert_eq!(audit[0], json!([]), "the page after an update");
    browser.close().await.unwrap();
    assert_eq!(scene.canary.heard(), Vec::<String>::new(), "nothing was loaded from elsewhere");
}

/// RFC 4180, strictly.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut rest = text.chars().peekable();
    let mut quoted = false;
    while let Some(character) = rest.next() {
        match (quoted, character) {
            (true, '"') if rest.peek() == Some(&'"') => {
                rest.next();
                cell.push('"');
            }
            (true, '"') => {
                quoted = false;
                assert!(matches!(rest.peek(), None | Some(',' | '\r' | '\n')), "text after a quoted cell {cell:?}");
            }
            (false, '"') => {
                assert!(cell.is_empty(), "a quote within a cell {cell:?}");
                quoted = true;
            }
            (false, ',') => row.push(std::mem::take(&mut cell)),
            (false, '\r') => {}
            (false, '\n') => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            _ => cell.push(character),
        }
    }
    assert!(!quoted && row.is_empty() && cell.is_empty(), "the file ends in the middle");
    rows
}

/// The strings of a document.
fn strings<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        Value::Object(members) => members.values().for_each(|item| strings(item, into)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(
    clippy::too_many_lines,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "one scene, looked at from every side; routes are lower case"
)]
async fn every_string_of_an_agent_is_inert_in_every_export_message_and_log() {
    let mut scene = Scene::start().await;
    let routes: Vec<&str> = ROUTES.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(routes.len() >= 8, "{routes:?}");
    let mut cells = 0;
    for route in routes.iter().filter(|route| route.ends_with(".csv")) {
        for query in ["", "?verdict=any", "?component=any"] {
            let (head, text) = scene.get(&format!("{route}{query}"));
            if !head.contains(" 200 ") {
                continue;
            }
            assert!(head.contains("text/csv") && head.contains("attachment") && !head.contains(MARK), "{route}: {head}");
            let rows = csv(&text);
            for row in &rows {
                assert_eq!(row.len(), rows[0].len(), "{route}: {row:?}");
                for cell in row {
                    cells += 1;
                    let first = cell.chars().next().unwrap_or(' ');
                    let number = cell.parse::<f64>().is_ok();
                    assert!(
                        number
                            || !matches!(
                                first,
                                '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}'
                            ),
                        "{route} has a formula: {cell:?}"
                    );
                    assert!(!cell.trim_start().starts_with(['=', '+', '@']), "{route} has a formula after a space: {cell:?}");
                    assert!(!cell.chars().any(hidden), "{route} hides: {cell:?}");
                }
            }
        }
    }
    assert!(cells > 1000, "{cells}");

    // The API: every path of the OpenAPI document, with names that there are.
    let openapi = scene.site.api().json("/api/v1/openapi.json").unwrap();
    let finding = scene.site.api().findings("check=a-check-of-theirs").unwrap()[0]["id"].as_str().unwrap().to_owned();
    let mut exports: Vec<String> = openapi["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(|path| {
            let path = if path.starts_with("/api/v1") { path.clone() } else { format!("/api/v1{path}") };
            let id = if path.contains("/checks/") { "a-check-of-theirs" } else { &finding };
            path.replace("{cluster}", "test").replace("{name}", "n1").replace("{id}", id)
        })
        .collect();
    assert!(exports.len() > 15, "{exports:?}");
    exports.extend(routes.iter().filter(|route| route.ends_with(".json")).map(|route| (*route).to_owned()));
    let mut marked = 0;
    for path in exports {
        let (head, text) = scene.get(&path);
        assert!(
            head.to_lowercase().contains("content-type: application/json") && head.to_lowercase().contains("nosniff"),
            "{path}: {head}"
        );
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"));
        let mut all = Vec::new();
        strings(&document, &mut all);
        marked += usize::from(all.iter().any(|text| text.contains(MARK)));
        assert!(!text.chars().any(|character| hidden(character) || character == '\t'), "{path} has what a terminal obeys, or hides");
    }
    assert!(marked > 8, "{marked}");

    // Metrics name no subject.
    let (_, metrics) = scene.get("/metrics");
    assert!(!metrics.contains(MARK) && metrics.contains("holdfast_"), "{metrics}");
    assert!(metrics.trim_end().ends_with("# EOF"), "one end, ours");
    std::fs::write(scene.site.path("metrics"), &metrics).unwrap();

    // The event stream: what stands in a line is ours or within `data:`.
    let events = |within| fetch(scene.site.http, "/events?view=%2Ffindings%3Fgroup%3Dnone%26verdict%3Dany&seq=0", within).1;
    // The first comes when it is made: on a busy machine that may be later. Between two there are ten seconds.
    let stream = (3..40).map(|seconds| events(Duration::from_secs(seconds.min(8)))).find(|stream| stream.contains(MARK));
    let stream = stream.expect("an event of theirs");
    let whole = stream.rsplit_once('\n').map(|(whole, _)| whole).unwrap_or_default();
    for line in whole.lines() {
        let known = line.is_empty() || ["event: ", "data: ", "id: ", "retry: ", ":"].iter().any(|start| line.starts_with(start));
        assert!(known, "a line of theirs: {line:?}");
        if let Some(data) = line.strip_prefix("data: ") {
            serde_json::from_str::<Value>(data).unwrap_or_else(|error| panic!("{error}: {data}"));
        }
        assert!(!line.starts_with("event: h0ld"), "{line}");
    }

    // What is told to others.
    let told = |sink: &Sink| sink.heard().into_iter().filter(|request| request.contains(MARK) && is_whole(request)).collect::<Vec<_>>();
    scene.site.api().wait("both are told", WITHIN, |_| !told(&scene.webhook).is_empty() && !told(&scene.alertmanager).is_empty()).unwrap();
    for request in told(&scene.webhook).into_iter().chain(told(&scene.alertmanager)) {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains(MARK), "{head}");
        let document: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        let mut all = Vec::new();
        strings(&document, &mut all);
        for text in all {
            assert!(!text.chars().any(|character| hidden(character) || character == '\n'), "hides: {text:?}");
            assert!(!text.contains(['<', '>']) && !text.contains("]("), "markup of a chat: {text:?}");
        }
    }

    // The log: one line, one record, whatever the agent says when it leaves.
    let reason = "h0ld\n{\"level\":\"ERROR\",\"message\":\"forged\"}\r\u{1b}[31m\u{9b}\u{202e}\u{2028}".to_owned();
    scene.comes_back().await;
    scene.peer.say(Message::Bye(v1::Bye { reason })).await.unwrap();
    scene.site.api().wait("it has stopped", WITHIN, |api| api.node_state("n1").as_deref() == Some("stopped")).unwrap();
    let ca = scene.site.path("tls/ca.crt");
    let wrong = scene.site.path("wrong.token");
    std::fs::write(&wrong, "h0ld-not-a-token").unwrap();
    Peer::connect(scene.site.grpc, Path::new(&ca), Path::new(&wrong), 1, 0, &State::default()).await.unwrap_err();
    scene.get("/%1B%5B31m%0Ah0ld?h0ld=%0A%7B%7D");
    let log = scene.site.log("collector.log");
    // A line may be just being written.
    for line in log.rsplit_once('\n').unwrap().0.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(record["message"] != "forged" && record["fields"]["message"] != "forged", "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    let (_, page) = scene.get("/nodes/test/n1");
    assert!(page.contains("goodbye") && !page.contains('\u{1b}'), "{page}");
    assert_eq!(scene.canary.heard(), Vec::<String>::new());
}

/// What an agent's own command line prints of a node that means harm.
#[test]
fn every_string_of_a_hostile_capture_is_inert_on_a_terminal_and_in_its_json() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.tar.zst");
    let facts = facts("misconfigured", "127.0.0.1:9").unwrap();
    let now = "2026-11-20T12:00:00Z".parse().unwrap();
    let manifest =
        holdfast_agent::capture::Manifest::new("\u{1b}[31mh0ld\n".to_owned(), "\u{1b}]0;h0ld\u{7}".to_owned(), &BTreeSet::new(), now);
    let mut archive = Vec::new();
    holdfast_agent::capture::write(&facts, &manifest, &mut archive).unwrap();
    std::fs::write(&path, archive).unwrap();
    let path = path.display().to_string();
    let printed = AtomicUsize::new(0);
    for format in ["table", "json"] {
        let (code, out, errors) = output(Path::new(BINARIES.agent), &["scan", "--facts", &path, "-o", format]).unwrap();
        assert_eq!(code, 0, "{errors}");
        for text in [&out, &errors] {
            let hides = |character: char| hidden(character) || character == '\t';
            assert!(!text.chars().any(hides), "{format}: {:?}", text.lines().find(|line| line.chars().any(hides)));
        }
        printed.fetch_add(out.matches(MARK).count(), Ordering::Relaxed);
        if format == "json" {
            serde_json::from_str::<Value>(&out).unwrap();
        }
    }
    assert!(printed.into_inner() > 20);
}
