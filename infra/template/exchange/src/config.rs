//! Settings: each is a flag, and an environment variable of the same meaning. The flag wins.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// The exchange. The system tests and the acceptance start it with nothing but the first three, in the environment.
#[derive(Clone, Debug, Parser)]
// The last of several wins: `cargo xtask run -- --listen …` changes what it gives itself.
#[command(version, args_override_self = true)]
pub struct Settings {
    /// Address to serve on
    #[arg(long, env = "OPTIVEX_LISTEN", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Users file (YAML, so JSON too): names, passwords, roles
    #[arg(long, env = "OPTIVEX_USERS", value_name = "FILE")]
    pub users: PathBuf,
    /// Directory for all that must outlive the process; made if it is not there
    #[arg(long, env = "OPTIVEX_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// What to log, on standard error: `info`, `info,exchange=debug`, `trace` for every frame
    #[arg(long, env = "OPTIVEX_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// Seconds that open calls have to end when the exchange is asked to stop
    #[arg(long, env = "OPTIVEX_SHUTDOWN_GRACE", value_name = "SECONDS", default_value_t = 5)]
    pub shutdown_grace: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_of_the_launch_convention_are_enough() {
        let flags = ["--listen", "127.0.0.1:0", "--users", "users.yaml", "--data-dir", "data"];
        let settings = Settings::try_parse_from(std::iter::once("exchange").chain(flags)).expect("settings");
        assert_eq!(settings.users, PathBuf::from("users.yaml"));
        assert_eq!(settings.data_dir, PathBuf::from("data"));
    }
}
