//! Precedence, and what is refused.

use clap::{CommandFactory, FromArgMatches};
use expect_test::expect;

use super::*;

/// As the command line reads it, but without the environment, which tests share.
fn flags(args: &[&str]) -> Given {
    let command = clap::Command::new("serve").no_binary_name(true);
    let command = Given::augment_args(command).mut_args(|arg| arg.env(None::<&str>));
    let matches = command.try_get_matches_from(args).unwrap();
    Given::from_arg_matches(&matches).unwrap()
}

fn resolve(args: &[&str], yaml: &str) -> Result<Settings, ConfigError> {
    flags(args).or(Given::from_yaml(yaml)?).or_defaults()?.check()
}

fn error(args: &[&str], yaml: &str) -> String {
    match resolve(args, yaml) {
        Ok(settings) => panic!("no error: {settings:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn defaults() {
    let settings = resolve(&["--users", "u.yaml"], "").unwrap();
    assert_eq!(settings.listen, "127.0.0.1:50051".parse().unwrap());
    assert_eq!(settings.token_idle_timeout, Duration::from_secs(12 * 3600));
    assert_eq!(settings.max_message_size, 1 << 20);
    assert_eq!(settings.tls, None);
    // Contract: "silent to keepalive for 10 s".
    assert_eq!(
        settings.keepalive_interval + settings.keepalive_timeout,
        Duration::from_secs(10)
    );
    assert!(settings.shutdown_grace < Duration::from_secs(5));
}

#[test]
fn the_whole_journal_stays_unless_told_otherwise() {
    let kept = |args: &[&str], yaml: &str| Retention::from(resolve(args, yaml).unwrap().journal_keep);
    assert_eq!(kept(&["--users", "u.yaml"], ""), Retention::All);
    assert_eq!(
        kept(&["--users", "u.yaml"], "journal_keep: needed"),
        Retention::BehindSnapshot
    );
    let args = ["--users", "u.yaml", "--journal-keep", "all"];
    assert_eq!(kept(&args, "journal_keep: needed"), Retention::All);
    let told = error(&[], "journal_keep: some");
    assert_eq!(told, "journal_keep: \"some\": all or needed");
}

#[test]
fn flags_come_before_the_file_and_the_file_before_defaults() {
    let yaml = "users: from-file\nlisten: 127.0.0.1:2\nmax_connections: 7\nkeepalive_interval: 2s\ndemo: false\n";
    let settings = resolve(&["--listen", "127.0.0.1:1"], yaml).unwrap();
    assert_eq!(settings.listen.port(), 1);
    assert_eq!(settings.max_connections, 7);
    assert_eq!(settings.keepalive_interval, Duration::from_secs(2));
    assert_eq!(settings.users, Users::File("from-file".into()));
}

#[test]
fn every_setting_has_a_flag_a_variable_and_a_key() {
    let command = Given::augment_args(clap::Command::new("serve"));
    for key in KEYS {
        let flag = key.replace('_', "-");
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(&flag))
            .expect(key);
        let variable = format!("OPTIVEX_{}", key.to_uppercase());
        assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(variable.as_str()));
        assert!(arg.get_help().is_some_and(|help| help.to_string().len() > 10), "{key}");
    }
    let readme = include_str!("../../README.md");
    for arg in command.get_arguments().filter(|arg| arg.get_id() != "config") {
        let flag = arg.get_long().unwrap();
        let help = arg.get_help().unwrap().to_string();
        let default = help
            .split_once("[default: ")
            .map(|(_, rest)| rest.trim_end_matches(']'));
        let row = readme.lines().find(|line| line.starts_with(&format!("| `--{flag}` |")));
        let row = row.unwrap_or_else(|| panic!("README.md lacks --{flag}"));
        assert!(
            default.is_none_or(|default| row.contains(&format!("| `{default}` |"))),
            "{row}"
        );
    }
    // All but --config.
    assert_eq!(command.get_arguments().count(), KEYS.len() + 1);
    let _ = crate::cli::Cli::command();
}

#[test]
fn errors() {
    let table: &[(&[&str], &str)] = &[
        (&[], ""),
        (&["--demo", "--users", "u"], ""),
        (&["--demo", "--listen", "0.0.0.0:1", "--insecure"], ""),
        (&["--users", "u", "--listen", "0.0.0.0:1"], ""),
        (&["--users", "u", "--tls-cert", "c"], ""),
        (&["--users", "u", "--tls-key", "k"], ""),
        (&["--users", "u", "--tls-client-ca", "k"], ""),
        (&["--users", "u", "--keepalive-interval", "1ms"], ""),
        (&["--users", "u", "--snapshot-every", "10"], ""),
        (&["--users", "u", "--max-connections", "0"], ""),
        (&["--users", "u", "--max-message-size", "128MiB"], ""),
        (&[], "listn: 1"),
        (&[], "data-dir: x"),
        (&[], "- listen"),
        (&[], "listen: [1]"),
        (&[], "max_connections: many"),
        (&[], "token_idle_timeout: 5"),
        (&[], "log_format: xml"),
        (&[], "insecure: perhaps"),
    ];
    let mut told = String::new();
    for (args, yaml) in table {
        let error = error(args, yaml);
        told += &format!("{args:?} {yaml:?}\n  {error}\n");
    }
    expect![[r#"
        [] ""
          users: is missing; name a users file with --users FILE or OPTIVEX_USERS, or try --demo
        ["--demo", "--users", "u"] ""
          demo: has its own users; leave out users
        ["--demo", "--listen", "0.0.0.0:1", "--insecure"] ""
          demo: its passwords are known to all, so it serves loopback only, not 0.0.0.0:1
        ["--users", "u", "--listen", "0.0.0.0:1"] ""
          listen: 0.0.0.0:1 is not loopback, and without TLS passwords would travel in the clear; give tls_cert and tls_key, or --insecure if the network is trusted
        ["--users", "u", "--tls-cert", "c"] ""
          tls_cert: needs tls_key
        ["--users", "u", "--tls-key", "k"] ""
          tls_key: needs tls_cert
        ["--users", "u", "--tls-client-ca", "k"] ""
          tls_client_ca: needs tls_cert and tls_key
        ["--users", "u", "--keepalive-interval", "1ms"] ""
          keepalive_interval: 1ms is out of range; 100ms to a year
        ["--users", "u", "--snapshot-every", "10"] ""
          snapshot_every: 10 is too little; at least 1000
        ["--users", "u", "--max-connections", "0"] ""
          max_connections: 0 is too little; at least 1
        ["--users", "u", "--max-message-size", "128MiB"] ""
          max_message_size: 128MiB is out of range; 1KiB to 64MiB
        [] "listn: 1"
          unknown setting "listn"; known are: listen, data_dir, users, metrics_listen, tls_cert, tls_key, tls_client_ca, insecure, demo, log, log_format, snapshot_every, journal_keep, token_idle_timeout, max_sessions_per_user, max_message_size, max_header_list_size, max_concurrent_streams, max_connections, max_subscriptions, keepalive_interval, keepalive_timeout, shutdown_grace
        [] "data-dir: x"
          unknown setting "data-dir"; known are: listen, data_dir, users, metrics_listen, tls_cert, tls_key, tls_client_ca, insecure, demo, log, log_format, snapshot_every, journal_keep, token_idle_timeout, max_sessions_per_user, max_message_size, max_header_list_size, max_concurrent_streams, max_connections, max_subscriptions, keepalive_interval, keepalive_timeout, shutdown_grace
        [] "- listen"
          must be a list of settings, one a line: listen: 127.0.0.1:50051
        [] "listen: [1]"
          listen: must be a single value
        [] "max_connections: many"
          max_connections: "many": invalid digit found in string
        [] "token_idle_timeout: 5"
          token_idle_timeout: "5": not a duration such as 500ms or 12h (time unit needed, for example 5sec or 5ms)
        [] "log_format: xml"
          log_format: "xml": human or json
        [] "insecure: perhaps"
          insecure: "perhaps": true or false
    "#]].assert_eq(&told);
}

#[test]
fn off_loopback_wants_tls_or_consent() {
    assert!(resolve(&["--users", "u", "--listen", "0.0.0.0:1", "--insecure"], "").is_ok());
    assert!(resolve(&["--users", "u", "--listen", "0.0.0.0:1", "--insecure=false"], "").is_err());
    let tls = [
        "--users",
        "u",
        "--listen",
        "0.0.0.0:1",
        "--tls-cert",
        "c",
        "--tls-key",
        "k",
    ];
    assert!(resolve(&tls, "").is_ok());
    assert!(resolve(&["--users", "u", "--listen", "[::1]:1"], "").is_ok());
    assert!(resolve(&["--demo", "--listen", "localhost:1"], "").is_ok());
}
