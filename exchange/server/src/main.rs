//! The exchange: optivex serve, and tools over its journals.

fn main() -> std::process::ExitCode {
    optivex_server::cli::main()
}
