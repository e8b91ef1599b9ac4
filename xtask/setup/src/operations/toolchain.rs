//! A Rust toolchain for the account: whatever cargo is found, else rustup's.

use super::{Operation, Plan};
use crate::facts::{Asks, Base, Facts};
use crate::step::{BUILD, Command, LONG, Step, Who};

pub(crate) struct Toolchain {
    pub(crate) account: String,
}

const ANSWER: &str = "cargo";
/// Of a machine-wide one, for an account that is yet to be made.
const ANSWER_OF_ALL: &str = "cargo of all";

/// Whether the account has one, or will have from the moment that there is an account.
pub(super) fn is_there(facts: &Facts, account: &str) -> bool {
    let has_account = facts.base.homes.contains_key(account);
    facts
        .answers
        .contains_key(if has_account { ANSWER } else { ANSWER_OF_ALL })
}

impl Operation for Toolchain {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        let command = Command::new(&base.user(&self.account), &["cargo", "--version"]);
        asks.answers.insert(ANSWER.to_owned(), command);
        let command = Command::new(&Who::Root, &["cargo", "--version"]);
        asks.answers.insert(ANSWER_OF_ALL.to_owned(), command);
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        if is_there(facts, &self.account) {
            return;
        }
        let (base, who) = (&facts.base, facts.base.user(&self.account));
        let libc = if base.libc.is_some() { "gnu" } else { "musl" };
        if !["x86_64", "aarch64"].contains(&base.arch.as_str()) {
            plan.blocked.push(format!(
                "no Rust toolchain is known to us for the processor {:?}",
                base.arch
            ));
            return;
        }
        let url = format!(
            "https://static.rust-lang.org/rustup/dist/{}-unknown-linux-{libc}/rustup-init",
            base.arch
        );
        // It is what its name says: under another one it is no installer.
        let file = format!("{}/rustup-init", base.home(&self.account));
        let download = [
            "curl",
            "--proto",
            "=https",
            "--tlsv1.2",
            "-sSf",
            "--retry",
            "5",
            "--retry-connrefused",
            "-o",
            &file,
            &url,
        ];
        let mut run = |what: &str, argv: &[&str], limit| {
            plan.steps.push(Step::run(what, &who, argv).within(limit));
        };
        run("downloading rustup", &download, LONG);
        run("making rustup a program", &["chmod", "700", &file], LONG);
        // The repository says which toolchain it wants; that one comes with the first use.
        run(
            "installing Rust",
            &[&file, "-y", "--quiet", "--profile", "minimal"],
            BUILD,
        );
        run("removing rustup's installer", &["rm", "-f", &file], LONG);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, table, with};
    use super::*;
    use expect_test::expect;

    #[test]
    fn toolchains() {
        let toolchain = Toolchain {
            account: "alice".to_owned(),
        };
        let there = |facts: &mut Facts| {
            facts.answers.insert(ANSWER.to_owned(), "cargo 1.95.0".to_owned());
        };
        expect![[r#"
            none:
            alice$ curl --proto '=https' --tlsv1.2 -sSf --retry 5 --retry-connrefused -o /home/alice/rustup-init https://static.rust-lang.org/rustup/dist/x86_64-unknown-linux-gnu/rustup-init
            alice$ chmod 700 /home/alice/rustup-init
            alice$ /home/alice/rustup-init -y --quiet --profile minimal
            alice$ rm -f /home/alice/rustup-init
            there:
            nothing
            for all, and an account that has another idea:
            alice$ curl --proto '=https' --tlsv1.2 -sSf --retry 5 --retry-connrefused -o /home/alice/rustup-init https://static.rust-lang.org/rustup/dist/x86_64-unknown-linux-gnu/rustup-init
            alice$ chmod 700 /home/alice/rustup-init
            alice$ /home/alice/rustup-init -y --quiet --profile minimal
            alice$ rm -f /home/alice/rustup-init
            for all, and no account yet:
            nothing
            another processor:
            blocked: no Rust toolchain is known to us for the processor "sparc64"
        "#]].assert_eq(&table(
            &toolchain,
            [
                ("none", debian()),
                ("there", with(debian(), there)),
                (
                    "for all, and an account that has another idea",
                    with(debian(), |facts| {
                        facts.answers.insert(ANSWER_OF_ALL.to_owned(), "cargo 1.95.0".to_owned());
                    }),
                ),
                (
                    "for all, and no account yet",
                    with(debian(), |facts| {
                        facts.base.homes.clear();
                        facts.answers.insert(ANSWER_OF_ALL.to_owned(), "cargo 1.95.0".to_owned());
                    }),
                ),
                (
                    "another processor",
                    with(debian(), |facts| facts.base.arch = "sparc64".to_owned()),
                ),
            ],
        ));
    }
}
