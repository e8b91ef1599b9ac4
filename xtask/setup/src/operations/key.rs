//! A key that a machine makes for itself; the private part never leaves it.

use super::{Operation, Plan};
use crate::facts::{Asks, Base, Facts};
use crate::spec::{Role, Spec};
use crate::step::{Command, Step};

/// What a dev machine deploys with.
pub(crate) const UAT: &str = ".ssh/id_uat";
/// What UAT sends results with.
pub(crate) const RESULTS: &str = ".ssh/id_results";

pub(crate) struct Key {
    account: String,
    path: String,
    comment: String,
}

impl Key {
    pub(crate) fn new(account: &str, path: &str, comment: &str) -> Self {
        Self {
            account: account.to_owned(),
            path: path.to_owned(),
            comment: comment.to_owned(),
        }
    }

    fn file(&self, base: &Base) -> String {
        format!("{}/{}", base.home(&self.account), self.path)
    }
}

/// The question for a machine's own key, whatever else it is asked.
pub(crate) fn ask(spec: &Spec, base: &Base, asks: &mut Asks) {
    let path = match spec.role {
        Role::Dev { .. } => UAT,
        Role::Uat { .. } => RESULTS,
    };
    Key::new(spec.name.as_str(), path, "").asks(base, asks);
}

/// The name of the answer that is the public part.
pub(crate) fn answer(path: &str) -> String {
    format!("public part of {path}")
}

impl Operation for Key {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        let (who, file) = (base.user(&self.account), self.file(base));
        asks.path(&who, &file);
        // Of the private part itself: a .pub may be gone, or another's.
        let command = Command::new(&who, &["ssh-keygen", "-y", "-P", "", "-f", &file]);
        asks.answers.insert(answer(&self.path), command);
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        if facts.answers.contains_key(&answer(&self.path)) {
            return;
        }
        let (who, file) = (facts.base.user(&self.account), self.file(&facts.base));
        if facts.paths.contains_key(&file) {
            // One that was cut off while it was made, or that somebody put there: kept, should it be missed.
            let argv = ["mv", "-f", "-T", "--", &file, &format!("{file}.unusable")];
            plan.steps.push(Step::run("putting an unusable key aside", &who, &argv));
        }
        let argv = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            &self.comment,
            "-f",
            &file,
        ];
        plan.steps.push(Step::run(&format!("making {file}"), &who, &argv));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, table, with};
    use super::*;
    use expect_test::expect;

    #[test]
    fn keys() {
        let key = Key::new("alice", UAT, "alice to uat");
        let file = "/home/alice/.ssh/id_uat";
        let there = |facts: &mut Facts| {
            facts.file(file, "alice", 0o600, "private");
            facts.answers.insert(answer(UAT), "ssh-ed25519 AAAA".to_owned());
        };
        expect![[r#"
            none:
            alice$ ssh-keygen -q -t ed25519 -N '' -C 'alice to uat' -f /home/alice/.ssh/id_uat
            there:
            nothing
            half of one:
            alice$ mv -f -T -- /home/alice/.ssh/id_uat /home/alice/.ssh/id_uat.unusable
            alice$ ssh-keygen -q -t ed25519 -N '' -C 'alice to uat' -f /home/alice/.ssh/id_uat
        "#]]
        .assert_eq(&table(
            &key,
            [
                ("none", debian()),
                ("there", with(debian(), there)),
                (
                    "half of one",
                    with(debian(), |facts| facts.file(file, "alice", 0o600, "")),
                ),
            ],
        ));
    }
}
