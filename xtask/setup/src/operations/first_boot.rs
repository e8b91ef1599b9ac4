//! A machine that still boots for the first time is waited for: cloud-init holds the package manager's lock, and
//! brings users and keys.

use super::{Operation, Plan};
use crate::facts::{Asks, Base, Facts};
use crate::step::{Action, Command, LONG, Step, Who};

pub(crate) struct FirstBoot;

impl Operation for FirstBoot {
    fn asks(&self, _: &Base, _: &mut Asks) {}

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        if !facts.base.root {
            plan.blocked.push(
                "the login user is neither root nor may it run everything by sudo without a password (sudo -n)"
                    .to_owned(),
            );
        }
        let state = facts.base.cloud_init.as_deref().unwrap_or_default();
        if ["status: running", "status: not started", "status: not run"]
            .iter()
            .any(|busy| state.contains(busy))
        {
            let wait = Command::new(&Who::Root, &["cloud-init", "status", "--wait"]);
            plan.steps.push(Step {
                what: "waiting for the first boot".to_owned(),
                // It fails where the boot had a fault, which is ours to meet as it comes.
                action: Action::Either(wait, Command::new(&Who::Root, &["true"])),
                limit: LONG,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, table, with};
    use super::*;
    use expect_test::expect;

    #[test]
    fn first_boots() {
        let state = |state: &str| with(debian(), |facts| facts.base.cloud_init = Some(state.to_owned()));
        expect![[r#"
            no cloud-init:
            nothing
            done:
            nothing
            failed in part:
            nothing
            running:
            root$ cloud-init status --wait || root$ true
            not started:
            root$ cloud-init status --wait || root$ true
            no root:
            blocked: the login user is neither root nor may it run everything by sudo without a password (sudo -n)
        "#]]
        .assert_eq(&table(
            &FirstBoot,
            [
                ("no cloud-init", debian()),
                ("done", state("status: done")),
                ("failed in part", state("status: error")),
                ("running", state("status: running")),
                ("not started", state("status: not started")),
                ("no root", with(debian(), |facts| facts.base.root = false)),
            ],
        ));
    }
}
