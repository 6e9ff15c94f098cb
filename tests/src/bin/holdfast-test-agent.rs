//! The agent's own main, in a binary that tests can start and kill.

fn main() -> std::process::ExitCode {
    holdfast_agent::cli::main()
}
