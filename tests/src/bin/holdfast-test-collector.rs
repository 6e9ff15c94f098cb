//! The collector's own main, in a binary that tests can start and kill.

fn main() -> std::process::ExitCode {
    holdfast_collector::cli::main()
}
