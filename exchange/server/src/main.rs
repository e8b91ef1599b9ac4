//! The exchange: optivex serve, and tools over its journals.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    optivex_server::cli::main()
}
