//! A node: its state, its results by tab, its facts and why some are missing, its ports and root processes, its containers and runtimes,
//! and how delivery from it goes.

use askama::Template;
use axum::http::StatusCode;
use holdfast_checks::entries::{Severity, Verdict};
use holdfast_checks::facts::SpoolKind;
use holdfast_checks::inventory::kinds;

use super::certificates::{self, Certificate, Tls};
use super::kernels::link::Shown;
use super::knowledge::Known;
use super::pages::{Ask, Rendered};
use super::score::Score;
use super::{marks, words};
use crate::http::Failure;
use crate::policy::{PolicyShown, Standing};
use crate::store::views::{
    ChainFilter, ChainLink, ContainerRow, Containers, ExposedOn, Filter, FindingRow, Group, InventoryRow, KubeletRow, Kubelets,
    NodeDelivery, NodeRow, NodeState, Page, Problem, Reach, Runtimes, SettingRow, Side, System, TransitionRow, is_kubelet, is_runtime,
    other_setting,
};

struct Tab {
    word: &'static str,
    n: Option<i64>,
    href: String,
    here: bool,
}

/// One fact group.
struct FactGroup {
    name: String,
    known: bool,
    reason: String,
    detail: String,
    items: String,
    left_out: String,
    skipped: String,
}

struct Port {
    reach: Reach,
    number: String,
    owner: String,
    on: ExposedOn,
}

/// A link of the patch chain.
struct Part {
    subject: String,
    running: String,
    boot_default: Option<String>,
    shown: Option<Shown>,
    /// The nodes that run the same.
    others: String,
}

#[derive(Default)]
struct Facts {
    identity: Vec<(&'static str, String)>,
    groups: Vec<FactGroup>,
    system: Option<System>,
    settings: Vec<SettingRow>,
    components: Vec<InventoryRow>,
    certificates: Vec<Certificate>,
    tls: Vec<Tls>,
}

#[derive(Template)]
#[template(path = "node.html")]
struct NodePage {
    now: i64,
    problems: Vec<Problem>,
    node: NodeRow,
    profile: (String, String, String),
    score: Score,
    not_applicable: i64,
    tabs: Vec<Tab>,
    tab: &'static str,
    page: Page<FindingRow>,
    next: Option<String>,
    first: String,
    known: Known,
    chain: Vec<Part>,
    kubelets: Kubelets,
    containers: Containers,
    /// The page of them that is shown.
    boxes: Page<ContainerRow>,
    runtimes: Runtimes,
    /// How the agent hears of processes; empty when it does not say.
    hears: String,
    facts: Facts,
    ports: Vec<Port>,
    processes: Vec<InventoryRow>,
    history: Vec<TransitionRow>,
    /// On its tab only.
    delivery: Option<NodeDelivery>,
    missing: i64,
    /// Entries of a kind this version does not know.
    opaque: i64,
    reasons: String,
    policy: PolicyShown,
}

const TABS: [(&str, &str); 13] = [
    ("failing", "Failing"),
    ("unknown", "Unknown"),
    ("manual", "Manual"),
    ("all", "All"),
    ("chain", "Patch chain"),
    ("kubelet", "Kubelet"),
    ("containers", "Containers"),
    ("runtimes", "Runtimes"),
    ("facts", "Facts"),
    ("listeners", "Listeners"),
    ("processes", "Root processes"),
    ("timeline", "Timeline"),
    ("delivery", "Delivery"),
];

pub(super) async fn page(ask: &Ask<'_>, cluster: &str, name: &str) -> Result<Rendered, Failure> {
    let views = &ask.site.views;
    let (filter, problems) = ask.filter(&["refresh", "tab"]);
    let Some(node) = views.node(cluster, name).await? else {
        return Err(Failure::NotFound(format!("No node called `{name}` in cluster `{cluster}` has ever reported.")));
    };
    let asked = ask.own("tab");
    let tab = TABS.iter().map(|(tab, _)| *tab).find(|tab| *tab == asked).unwrap_or("failing");
    let only = Filter { cluster: vec![node.cluster.clone()], node: vec![node.name.clone()], state: vec![node.state], ..Filter::default() };
    let verdicts = match tab {
        "failing" => vec![Verdict::Fail],
        "unknown" => vec![Verdict::Unknown],
        "manual" => vec![Verdict::Manual],
        _ => Vec::new(),
    };
    let results = only.with(|only| {
        only.verdict = verdicts;
        only.expected = (tab == "failing").then_some(false);
        only.sort = filter.sort;
        only.limit = filter.limit;
    });
    let results = Filter { after: filter.after.clone(), ..results };
    let shows_results = matches!(tab, "failing" | "unknown" | "manual" | "all");
    let page = if shows_results { views.findings(&ask.select(&results)).await? } else { nothing() };
    let tally = views.tally(&ask.select(&only)).await?;
    let of = |verdict: Verdict| tally.count(|_, found, _| found == verdict);
    let ports = ports(views.exposure(&ask.select(&only)).await?.groups);
    let processes = views.inventory(&node, kinds::ROOT_PROCESS).await?;
    let counts = [
        Some(node.fail - node.expected),
        Some(of(Verdict::Unknown)),
        Some(of(Verdict::Manual)),
        Some(tally.count(|_, _, _| true)),
        None,
        None,
        Some(views.count_containers(&node).await?),
        None,
        None,
        i64::try_from(ports.len()).ok(),
        i64::try_from(processes.len()).ok(),
        None,
        None,
    ];
    let base = super::nodes::href(&node.cluster, &node.name);
    let link =
        |(name, word): (&'static str, &'static str), n: Option<i64>| Tab { word, n, href: format!("{base}?tab={name}"), here: name == tab };
    let groups = groups(views.inventory(&node, kinds::GROUP).await?);
    let self_of = views.inventory(&node, kinds::NODE).await?;
    let field = |field: &str| self_of.first().map(|row| row.text(field)).unwrap_or_default();
    let missing = groups.iter().filter(|group| !group.known).count();
    let chain =
        if tab == "chain" { views.node_chain(&node).await?.into_iter().map(|link| part(link, ask.now)).collect() } else { Vec::new() };
    let kubelets = if tab == "kubelet" { views.kubelets(&node, ask.now).await? } else { Kubelets::default() };
    let containers = if tab == "containers" { views.containers(&node, ask.now).await? } else { Containers::default() };
    let boxes = if tab == "containers" { views.containers_page(&containers.containers, &filter)? } else { nothing() };
    let runtimes = if tab == "runtimes" { views.runtimes(&node, ask.now).await? } else { Runtimes::default() };
    let facts = if tab == "facts" { facts(ask, &node, groups).await? } else { Facts::default() };
    let history = if tab == "timeline" { views.node_history(&node).await? } else { Vec::new() };
    let delivery = if tab == "delivery" { Some(views.delivery(&node).await?) } else { None };
    let next = page.next.as_ref().or(boxes.next.as_ref()).map(|after| format!("{base}?tab={tab}&after={after}"));
    let current = i64::from(node.state.current());
    let score = Score::new(&tally, current, 1);
    let policy = PolicyShown::of(&ask.site.app.policies.policies(), &node.cluster, views.node_policy(&node).await?);
    let view = NodePage {
        now: ask.now,
        policy,
        problems,
        profile: (field("role"), field("profile"), field("profile_because")),
        not_applicable: of(Verdict::NotApplicable),
        tabs: TABS.into_iter().zip(counts).map(|(tab, n)| link(tab, n)).collect(),
        tab,
        first: format!("{base}?tab={tab}"),
        page,
        next,
        known: Known::of(ask.site, ask.now),
        chain,
        kubelets,
        containers,
        boxes,
        runtimes,
        hears: hears(self_of.first()),
        facts,
        ports,
        processes,
        history,
        delivery,
        reasons: Filter { state: Vec::new(), ..only.clone() }.link("/coverage"),
        missing: i64::try_from(missing).unwrap_or(i64::MAX),
        opaque: views.opaque_entries(&node).await?,
        score,
        node,
    };
    let mut rendered =
        Rendered::new(format!("{} failing · {}", marks::number(view.node.fail - view.node.expected), view.node.name), &view)?;
    if view.node.state == NodeState::Gone {
        rendered.status = StatusCode::GONE;
    }
    Ok(rendered)
}

impl NodePage {
    /// What fails on this node, as expected or not.
    fn failing(&self, expected: bool, severity: Option<Severity>) -> Filter {
        Filter { expected: Some(expected), ..self.of(Verdict::Fail, severity) }
    }

    /// The results of this node with a verdict, and a severity when one is given.
    fn of(&self, verdict: Verdict, severity: Option<Severity>) -> Filter {
        Filter {
            cluster: vec![self.node.cluster.clone()],
            node: vec![self.node.name.clone()],
            verdict: vec![verdict],
            severity: severity.into_iter().collect(),
            state: vec![self.node.state],
            group: Some(Group::None),
            ..Filter::default()
        }
    }

    /// The list of all verdicts about a container.
    fn findings_of(&self, row: &ContainerRow) -> String {
        let all = Filter { subject: vec![row.subject.clone()], any_verdict: true, verdict: Vec::new(), ..self.of(Verdict::Fail, None) };
        all.link("/findings")
    }

    /// `64 settings, 2 disagree, 1 unknown`.
    #[expect(clippy::unused_self, reason = "called from the template")]
    fn settings_in_words(&self, kubelet: &KubeletRow) -> String {
        let count =
            |fits: fn(&SettingRow) -> bool| i64::try_from(kubelet.settings.iter().filter(|row| fits(row)).count()).unwrap_or(i64::MAX);
        let disagree = count(|row| !row.disagreements.is_empty());
        format!(
            "{}, {}, {} unknown",
            marks::counted(count(|_| true), "setting", "settings"),
            marks::counted(disagree, "disagrees", "disagree"),
            marks::number(count(|row| matches!(row.effective, Side::Unknown { .. })))
        )
    }
}

fn part(of: ChainLink, now: i64) -> Part {
    let ChainLink { row, link } = of;
    let alike = ChainFilter { image: row.image.clone().into_iter().collect(), ..ChainFilter::default() };
    Part {
        others: alike.link_to(&row.component, row.running.as_deref().unwrap_or_default()),
        running: row.running.unwrap_or_else(|| "version not known".to_owned()),
        subject: row.subject,
        boot_default: row.boot_default,
        shown: link.map(|link| Shown::new(link, now)),
    }
}

/// A page without rows.
fn nothing<T>() -> Page<T> {
    Page { rows: Vec::new(), total: 0, offset: 0, next: None }
}

/// How the agent hears of new processes, by the node's document; empty when an older agent does not say.
fn hears(node: Option<&InventoryRow>) -> String {
    let Some(node) = node else { return String::new() };
    let why = node.text("process_events_unknown");
    match node.document.get("process_events").and_then(serde_json::Value::as_bool) {
        Some(true) => "hears of processes from the kernel".to_owned(),
        None if why.is_empty() => String::new(),
        Some(false) | None if why.is_empty() => "looks for processes every second".to_owned(),
        Some(false) | None => format!("looks for processes every second: {}", words::reasoned(&why)),
    }
}

fn ports(groups: Vec<crate::store::views::Exposed>) -> Vec<Port> {
    let port = |group: crate::store::views::Exposed| {
        let (reach, port, owner) = (group.reach, format!("{}/{}", group.protocol, group.port), group.owner.clone());
        group.on.into_iter().map(move |on| Port { reach, number: port.clone(), owner: owner.clone(), on })
    };
    groups.into_iter().flat_map(port).collect()
}

fn groups(rows: Vec<InventoryRow>) -> Vec<FactGroup> {
    let group = |row: InventoryRow| FactGroup {
        known: row.text("state") == "known",
        reason: words::reason(&row.text("reason")).to_owned(),
        detail: row.text("detail"),
        items: row.text("items"),
        left_out: row.text("left_out"),
        skipped: skipped(&row),
        name: row.name,
    };
    rows.into_iter().map(group).collect()
}

/// How many items were skipped; the document gives a number or the list of them.
fn skipped(row: &InventoryRow) -> String {
    match row.document.get("skipped") {
        Some(serde_json::Value::Array(items)) if items.is_empty() => String::new(),
        Some(serde_json::Value::Array(items)) => {
            let name = |item: &serde_json::Value| item.get("what").and_then(|what| what.as_str()).unwrap_or("?").to_owned();
            format!("{}: {}", items.len(), items.iter().take(5).map(name).collect::<Vec<_>>().join(", "))
        }
        Some(serde_json::Value::Number(number)) if number.as_i64() == Some(0) => String::new(),
        Some(serde_json::Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

async fn facts(ask: &Ask<'_>, node: &NodeRow, groups: Vec<FactGroup>) -> Result<Facts, Failure> {
    let views = &ask.site.views;
    let kernel = views.inventory(node, kinds::KERNEL).await?;
    let os = views.inventory(node, kinds::OS).await?;
    let first = |rows: &[InventoryRow], fields: &[&str]| {
        let row = rows.first();
        fields
            .iter()
            .filter_map(|field| row.map(|row| row.text(field)))
            .find(|text| !text.is_empty())
            .unwrap_or_else(|| "unknown".to_owned())
    };
    Ok(Facts {
        identity: vec![
            ("Operating system", first(&os, &["pretty_name", "name", "id"])),
            ("Kernel release", first(&kernel, &["release"])),
            ("Kernel version", first(&kernel, &["version"])),
            ("Security modules", first(&kernel, &["lsms"])),
            ("Lockdown", first(&kernel, &["lockdown"])),
        ],
        groups,
        system: Some(views.system(node).await?),
        settings: views.inventory(node, kinds::SETTING).await?.iter().filter(|row| !has_tab(row)).map(other_setting).collect(),
        certificates: certificates::certificates(&views.inventory(node, kinds::CERTIFICATE).await?, ask.now),
        tls: certificates::tls(&views.inventory(node, kinds::HANDSHAKE).await?, ask.now),
        components: views.inventory(node, kinds::COMPONENT).await?,
    })
}

/// Settings of kubelets and runtimes have tabs of their own.
fn has_tab(row: &InventoryRow) -> bool {
    row.name.rsplit_once('/').is_some_and(|(subject, _)| is_kubelet(subject) || is_runtime(subject))
}
