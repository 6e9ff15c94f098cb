//! The guide's tables of privileges, held to the manifests: nothing is granted that they do not name, nothing named that is not granted,
//! and of everything it is said what is missing without it. That this is so is tried by `e2e privileges`.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{NAMESPACE, agent, base, of_kind, strings};

fn guide() -> String {
    fs::read_to_string(base().join("../../README.md")).unwrap()
}

/// The rows of the table that begins with this line: cells.
fn table(head: &str) -> Vec<Vec<String>> {
    let guide = guide();
    let (_, rest) = guide.split_once(head).unwrap_or_else(|| panic!("no table {head} in deploy/README.md any more"));
    let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

const GRANTED: &str = "| who | what | why |";
const UNKNOWN: &str = "| without | the finding's reason says |";
const NEEDED: &str = "| without | what happens | where it is said |";

fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// Words that are a capability's name.
fn capabilities(text: &str) -> BTreeSet<String> {
    let known = ["SYS_PTRACE", "DAC_READ_SEARCH", "SETUID", "SETGID", "CHOWN", "NET_ADMIN", "SYS_ADMIN", "DAC_OVERRIDE"];
    let words = text.split(|character: char| !(character.is_ascii_uppercase() || character == '_'));
    words.filter(|word| known.contains(word)).map(str::to_owned).collect()
}

/// `hostPID` and its like, as far as the pod is given them.
fn shared(pod: &Value) -> BTreeSet<String> {
    let fields = pod.as_object().unwrap().iter().filter(|(name, value)| name.starts_with("host") && *value == true);
    fields.map(|(name, _)| name.clone()).collect()
}

fn paths(pod: &Value) -> BTreeSet<String> {
    pod["volumes"].as_array().unwrap().iter().filter_map(|volume| volume["hostPath"]["path"].as_str()).map(str::to_owned).collect()
}

#[test]
fn the_agent_is_granted_what_the_guide_names() {
    let (pod, container) = agent();
    let added = strings(&container["securityContext"]["capabilities"]["add"]);
    let rows: Vec<String> = table(GRANTED).into_iter().filter(|row| row[0] == "agent").map(|row| row[1].clone()).collect();
    let granted = || rows.iter().filter(|what| !what.starts_with("no "));
    let named: BTreeSet<String> = granted().flat_map(|what| capabilities(what)).collect();
    assert_eq!(named, added);
    let words: BTreeSet<String> = granted().flat_map(|what| quoted(what)).collect();
    let expected: BTreeSet<String> = shared(&pod).into_iter().chain(paths(&pod)).collect();
    assert_eq!(words, expected);
}

#[test]
fn of_all_that_the_agent_is_granted_the_guide_says_what_is_missing_without() {
    let (pod, container) = agent();
    let rows: Vec<String> = [UNKNOWN, NEEDED].into_iter().flat_map(table).map(|row| row[0].clone()).collect();
    let given = strings(&container["securityContext"]["capabilities"]["add"]);
    let said: BTreeSet<String> = rows.iter().flat_map(|row| capabilities(row)).collect();
    assert_eq!(said, given);
    for shared in shared(&pod) {
        assert!(rows.contains(&shared), "no row {shared}");
    }
    for path in paths(&pod) {
        assert!(rows.iter().any(|row| row.starts_with(&format!("`{path}`"))), "no row {path}");
    }
    // What the code calls them: every reason that the table quotes is one that a sensor gives.
    let sensors = ["sensors/sight.rs", "sensors/listeners.rs", "host/error.rs"];
    let code = sensors.map(|file| fs::read_to_string(base().join("../../../agent/src").join(file)).unwrap()).concat();
    for reason in table(UNKNOWN).iter().flat_map(|row| quoted(&row[1]).collect::<Vec<_>>()) {
        assert!(code.contains(&reason), "deploy/README.md quotes `{reason}`, which no sensor says");
    }
}

/// Verbs and resources of all rules; what binds them, namespace and name.
fn rights() -> BTreeSet<String> {
    let all = ["Role", "ClusterRole"].into_iter().flat_map(of_kind);
    let rules: Vec<Value> = all.flat_map(|role| role["rules"].as_array().unwrap().clone()).collect();
    let words = rules.iter().flat_map(|rule| {
        ["verbs", "resources", "resourceNames"]
            .into_iter()
            .filter(|field| rule.get(field).is_some())
            .flat_map(|field| strings(&rule[field]))
    });
    words.chain([NAMESPACE.to_owned()]).collect()
}

#[test]
fn the_collector_is_granted_what_the_guide_names() {
    let rows: Vec<String> = table(GRANTED).into_iter().filter(|row| row[0] == "collector").map(|row| row[1].clone()).collect();
    let words: BTreeSet<String> = rows.iter().flat_map(|what| quoted(what)).collect();
    assert_eq!(words, rights());
    let missing: Vec<String> = table(NEEDED).into_iter().map(|row| row[0].clone()).filter(|row| row.starts_with("collector: ")).collect();
    let missing: BTreeSet<String> = missing.iter().flat_map(|what| quoted(what)).collect();
    let bound = [NAMESPACE.to_owned(), "holdfast-agent".to_owned()];
    assert_eq!(missing, rights().into_iter().filter(|word| !bound.contains(word)).collect());
}
