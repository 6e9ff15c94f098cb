//! Prints wall and CPU time of `holdfast-agent scan` on this host with N more processes. `make bench` runs it.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark prints and may fail"
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_tests::figures::{Figures, children_cpu};
use holdfast_tests::process::{output, pause};

const AGENT: &str = env!("CARGO_BIN_EXE_holdfast-test-agent");
const TRIALS: usize = 20;

fn processes() -> usize {
    let is_pid = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    std::fs::read_dir("/proc")
        .expect("list /proc")
        .filter_map(Result::ok)
        .filter(|entry| is_pid(&entry.file_name().to_string_lossy()))
        .count()
}

fn main() {
    println!("scan of this host, {TRIALS} trials each: starting the program, reading, judging, printing JSON");
    for more in [0, 100, 500, 1000] {
        let sleeper = || Command::new("sleep").arg("600").stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("start sleep");
        let mut sleepers: Vec<Child> = (0..more).map(|_| sleeper()).collect();
        pause(Duration::from_millis(300));
        let (mut wall, mut cpu) = (Figures::default(), Figures::default());
        for _ in 0..TRIALS {
            let (start, before) = (Instant::now(), children_cpu());
            let (code, out, errors) = output(Path::new(AGENT), &["scan", "-o", "json", "--no-probe"]).expect("scan runs");
            assert!(code == 0 && !out.is_empty(), "{errors}");
            wall.add(start.elapsed());
            cpu.add(children_cpu().saturating_sub(before));
        }
        println!("{:>5} processes   wall {wall}   CPU {cpu}", processes());
        for child in &mut sleepers {
            child.kill().expect("stop sleep");
            child.wait().expect("sleep ends");
        }
    }
}
