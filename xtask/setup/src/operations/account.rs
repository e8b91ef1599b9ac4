//! The machine's user account.

use super::{Operation, Plan};
use crate::facts::{Asks, Base, Facts};
use crate::step::{Step, Who};

pub(crate) struct Account {
    pub(crate) name: String,
}

impl Operation for Account {
    fn asks(&self, _: &Base, _: &mut Asks) {}

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        if facts.base.homes.contains_key(&self.name) {
            return;
        }
        // No password, yet not locked: sshd without PAM refuses locked accounts.
        let argv = [
            "useradd",
            "--create-home",
            "--user-group",
            "--shell",
            "/bin/bash",
            "--password",
            "*",
            "--",
            &self.name,
        ];
        plan.steps.push(Step::run("making the account", &Who::Root, &argv));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, plan};
    use super::*;
    use expect_test::expect;

    #[test]
    fn accounts() {
        for (name, expected) in [
            (
                "alice",
                expect![[r#"
            nothing
        "#]],
            ),
            (
                "bob-2",
                expect![[r#"
            root$ useradd --create-home --user-group --shell /bin/bash --password '*' -- bob-2
        "#]],
            ),
        ] {
            let account = Account { name: name.to_owned() };
            expected.assert_eq(&plan(&account, &debian()));
        }
    }
}
