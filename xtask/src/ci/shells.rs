//! No shell scripts: what the repository automates is Rust, in xtask.

use std::fs;

use anyhow::{Result, bail};
use xshell::cmd;

use super::{Ctx, Outcome};

const SHELLS: [&str; 6] = ["sh", "bash", "dash", "fish", "ksh", "zsh"];

/// The one file that must be shell, and all that may be in it.
const CI_RUN: (&str, &str) = (".ci/run", "cargo xtask ci");

pub(super) fn check(ctx: &mut Ctx<'_>) -> Result<Outcome> {
    let sh = &ctx.sh;
    let files = cmd!(sh, "git ls-files -z --cached --others --exclude-standard")
        .quiet()
        .read()?;
    let mut found = Vec::new();
    for path in files.split('\0').filter(|path| !path.is_empty()) {
        // A file that is deleted but not committed so, or a link to nowhere.
        let Ok(bytes) = fs::read(ctx.ws.root.join(path)) else {
            continue;
        };
        if let Some(why) = shell_in(path, &String::from_utf8_lossy(&bytes)) {
            found.push(format!("{path}: {why}"));
        }
    }
    if !found.is_empty() {
        bail!("shell in the tree:\n{}", found.join("\n"));
    }
    Ok(Outcome::Ok(String::new()))
}

/// What makes a file shell, or start one.
fn shell_in(path: &str, text: &str) -> Option<String> {
    if path == CI_RUN.0 {
        return (text.trim_end() != CI_RUN.1).then(|| format!("holds more than {:?}", CI_RUN.1));
    }
    if let Some((_, ext)) = path.rsplit_once('.')
        && SHELLS.contains(&ext)
    {
        return Some("a shell script by its name".to_owned());
    }
    if let Some(interpreter) = text.lines().next().and_then(|line| line.strip_prefix("#!"))
        && interpreter.split([' ', '/']).any(|word| SHELLS.contains(&word))
    {
        return Some("a shell script by its first line".to_owned());
    }
    if path.ends_with(".rs") {
        return SHELLS.iter().find_map(|shell| {
            let starts = [
                format!("Command::new(\"{shell}\")"),
                format!("cmd(\"{shell}\""),
                format!("cmd!(sh, \"{shell} "),
                format!("\"{shell}\", \"-c\""),
                format!("\"{shell} -c"),
            ];
            let start = starts.into_iter().find(|start| text.contains(start))?;
            Some(format!("starts a shell: {start}"))
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells() {
        let start = |shell: &str| format!("std::process::Command::new(\"{shell}\").arg(\"-c\")");
        let cases = [
            (".ci/run", "cargo xtask ci\n".to_owned(), false),
            (".ci/run", "cargo fmt\ncargo xtask ci\n".to_owned(), true),
            ("setup.sh", String::new(), true),
            ("tools/setup", "#!/usr/bin/env bash\nls\n".to_owned(), true),
            ("tools/setup", "#!/bin/sh -e\n".to_owned(), true),
            ("client.py", "#!/usr/bin/env python3\n".to_owned(), false),
            ("src/push.rs", "fn push() {}".to_owned(), false),
            ("src/a.rs", start("sh"), true),
            ("src/a.rs", start("bash"), true),
            ("src/a.rs", start("sshd"), false),
            ("src/a.rs", format!("duct::cmd!(\"{}\", \"-{}\", x)", "sh", "c"), true),
            (
                "src/a.rs",
                "let sh = Shell::new()?; cmd!(sh, \"git status\")".to_owned(),
                false,
            ),
        ];
        for (path, text, expected) in cases {
            assert_eq!(shell_in(path, &text).is_some(), expected, "{path}: {text}");
        }
    }
}
