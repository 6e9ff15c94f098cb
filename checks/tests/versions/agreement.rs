//! The comparators against the programs whose orders they are: dpkg and rpm say the same of ten thousand pairs each.

#![allow(clippy::disallowed_methods, reason = "a test may run programs")]

use std::cmp::Ordering;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use holdfast_checks::versions::compare::{dpkg, rpm};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

const PAIRS: usize = 10_000;

/// Versions as each system's rules allow them; the same in every run. One of a pair is often the other with a part exchanged, so that
/// what decides lies anywhere in it.
fn pairs(version: &'static str, part: &'static str) -> Vec<(String, String)> {
    let mut runner = TestRunner::deterministic();
    let mut draw = |pattern: &str| {
        let strategy = proptest::string::string_regex(pattern).expect("a pattern");
        strategy.new_tree(&mut runner).expect("a value").current()
    };
    let mut made = Vec::with_capacity(PAIRS);
    while made.len() < PAIRS {
        let (a, b) = (draw(version), draw(version));
        if made.len() % 2 == 0 {
            made.push((a, b));
            continue;
        }
        // Kept before the revision, which may not begin with anything.
        let (one, other) = (draw(part), draw(part));
        let (head, tail) = a.rsplit_once('-').map_or((a.as_str(), String::new()), |(head, tail)| (head, format!("-{tail}")));
        made.push((format!("{head}{one}{tail}"), format!("{head}{other}{tail}")));
    }
    made
}

fn installed(program: &str) -> Command {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    assert!(found.is_ok_and(|status| status.success()), "{program} is not installed: run scripts/setup test");
    Command::new(program)
}

/// What a program says to these lines.
fn answers(mut program: Command, lines: &str) -> String {
    let mut running = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let (mut questions, mut answers) = (running.stdin.take().expect("its input"), running.stdout.take().expect("its output"));
    let mut said = String::new();
    std::thread::scope(|scope| {
        scope.spawn(move || questions.write_all(lines.as_bytes()).expect("written"));
        answers.read_to_string(&mut said).expect("answers");
    });
    assert!(running.wait().expect("it ends").success());
    said
}

#[test]
fn dpkg_agrees_with_dpkg() {
    drop(installed("dpkg"));
    let pairs = pairs("([0-2]:)?[0-9][0-9a-bA.+~]{0,7}(-[0-9a-b.+~]{1,6})?", "[0-9a-b.+~]{0,3}");
    let mut orders = [0; 3];
    let lines = pairs.iter().map(|(a, b)| {
        let (at, relation) = match dpkg(a, b) {
            Ordering::Less => (0, "lt"),
            Ordering::Equal => (1, "eq"),
            Ordering::Greater => (2, "gt"),
        };
        orders[at] += 1;
        format!("{a} {relation} {b}\n")
    });
    let lines: Vec<String> = lines.collect();
    assert!(orders.iter().all(|count| *count > PAIRS / 50), "the pairs are one-sided: {orders:?}");
    // The shell names the pairs that dpkg does not agree with.
    let script = r#"while read -r a relation b; do dpkg --compare-versions "$a" "$relation" "$b" || echo "$a $relation $b"; done"#;
    let (first, second) = lines.split_at(PAIRS / 2);
    let refuted = |lines: &[String]| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]);
        answers(shell, &lines.concat())
    };
    let wrong = std::thread::scope(|scope| {
        let other = scope.spawn(|| refuted(second));
        refuted(first) + &other.join().expect("it ends")
    });
    assert_eq!(wrong, "", "dpkg says otherwise");
}

#[test]
fn rpm_agrees_with_rpm() {
    let pairs = pairs("([0-2]:)?[0-9a-b][0-9a-bA._+~^]{0,7}-[0-9a-b][0-9a-b._+~^]{0,5}", "[0-9a-b._+~^]{0,3}");
    let lua = "%{lua: for line in io.lines() do local a, b = line:match('(%S+) (%S+)'); print(rpm.vercmp(a, b)..' ') end}";
    let mut program = installed("rpm");
    program.args(["--eval", lua]);
    let lines: Vec<String> = pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect();
    let said = answers(program, &lines.concat());
    let rpms: Vec<Ordering> = said.split_whitespace().map(|answer| answer.parse::<i32>().expect("a number").cmp(&0)).collect();
    assert_eq!(rpms.len(), PAIRS);
    for order in [Ordering::Less, Ordering::Equal, Ordering::Greater] {
        assert!(rpms.iter().filter(|answer| **answer == order).count() > PAIRS / 50, "the pairs are one-sided");
    }
    let wrong: Vec<_> = pairs.iter().zip(&rpms).filter(|((a, b), answer)| rpm(a, b) != **answer).collect();
    assert!(wrong.is_empty(), "rpm says otherwise of {}: {:?}", wrong.len(), wrong.iter().take(5).collect::<Vec<_>>());
}
