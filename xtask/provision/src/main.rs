//! `cargo xtask provision`.

fn main() -> std::process::ExitCode {
    optivex_provision::cli::main()
}
