//! The collector's binary.

fn main() -> std::process::ExitCode {
    holdfast_collector::cli::main()
}
