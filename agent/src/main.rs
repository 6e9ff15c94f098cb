//! The agent's binary. Everything is in the library, so that tests can call it.

fn main() -> std::process::ExitCode {
    holdfast_agent::cli::main()
}
