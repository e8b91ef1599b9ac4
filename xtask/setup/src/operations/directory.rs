//! A directory with its owner and mode.

use super::{Operation, Owner, Plan};
use crate::facts::{Asks, Base, Facts};
use crate::step::Step;

pub(crate) struct Directory {
    owner: Owner,
    path: String,
    mode: u32,
    given_to: Option<String>,
}

impl Directory {
    pub(crate) fn new(owner: Owner, path: &str, mode: u32) -> Self {
        Self {
            owner,
            path: path.to_owned(),
            mode,
            given_to: None,
        }
    }

    /// Root makes it for an account, in a place that is root's.
    pub(crate) fn given_to(mut self, account: &str) -> Self {
        self.given_to = Some(account.to_owned());
        self
    }
}

impl Operation for Directory {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        asks.path(&self.owner.who(base), &self.owner.path(base, &self.path));
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        let (who, path) = (self.owner.who(&facts.base), self.owner.path(&facts.base, &self.path));
        let meant = self
            .given_to
            .as_ref()
            .map_or_else(|| who.clone(), |name| facts.base.user(name));
        if facts.is_directory(&path, &meant, self.mode) {
            return;
        }
        let mode = format!("{:o}", self.mode);
        let mut argv = vec!["install", "-d", "-m", &mode];
        if let Some(name) = &self.given_to {
            argv.extend(["-o", name, "-g", name]);
        }
        argv.extend(["--", &path]);
        plan.steps.push(Step::run(&format!("making {path}"), &who, &argv));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, table, with};
    use super::*;
    use expect_test::expect;

    #[test]
    fn directories() {
        let spool = Directory::new(Owner::Root, "/var/spool", 0o700).given_to("alice");
        let has = |owner: &str, mode| with(debian(), |facts| facts.directory("/var/spool", owner, mode));
        expect![[r#"
            none:
            root$ install -d -m 700 -o alice -g alice -- /var/spool
            right:
            nothing
            open:
            root$ install -d -m 700 -o alice -g alice -- /var/spool
            another's:
            root$ install -d -m 700 -o alice -g alice -- /var/spool
        "#]]
        .assert_eq(&table(
            &spool,
            [
                ("none", debian()),
                ("right", has("alice", 0o700)),
                ("open", has("alice", 0o755)),
                ("another's", has("root", 0o700)),
            ],
        ));
        let home = Directory::new(Owner::Account("alice".to_owned()), ".ssh", 0o700);
        expect![[r#"
            none:
            alice$ install -d -m 700 -- /home/alice/.ssh
            right:
            nothing
        "#]]
        .assert_eq(&table(
            &home,
            [
                ("none", debian()),
                (
                    "right",
                    with(debian(), |facts| facts.directory("/home/alice/.ssh", "alice", 0o700)),
                ),
            ],
        ));
    }
}
