//! The only program in the containers of the tests: sleeps, as itself or as another program that it starts first.
//!
//! `inmate` sleeps; `inmate start PROGRAM` starts PROGRAM, which may be setuid, and sleeps beside it.

use std::process::{Command, ExitCode};
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, program] = arguments.as_slice()
        && word == "start"
        && let Err(error) = Command::new(program).spawn()
    {
        eprintln!("cannot start {program}: {error}");
        return ExitCode::FAILURE;
    }
    // SIGTERM does not end the first process of a container: it ends with its host.
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
