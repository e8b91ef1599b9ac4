//! Who may deploy: on UAT, each participant's key, and what it may start. Whoever is not named here is not admitted.

use std::collections::BTreeMap;

use optivex_bundle::digest::Digest;
use optivex_bundle::names::Name;

use super::{Operation, Plan};
use crate::facts::{Asks, Base, Facts};
use crate::keys::PublicKey;
use crate::spec::{Participant, paths};
use crate::step::{Content, Step};

pub(crate) struct Admitted {
    account: String,
    /// None of them: as it is there.
    keys: BTreeMap<Name, Vec<PublicKey>>,
}

const MODE: u32 = 0o600;

impl Admitted {
    pub(crate) fn new(account: &str, participants: &BTreeMap<Name, Participant>) -> Self {
        Self {
            account: account.to_owned(),
            keys: participants
                .iter()
                .map(|(name, participant)| {
                    let keys = participant.key.iter().chain(&participant.next_key);
                    (name.clone(), keys.cloned().collect())
                })
                .collect(),
        }
    }

    fn path(&self, base: &Base) -> String {
        format!("{}/.ssh/authorized_keys", base.home(&self.account))
    }

    fn text(&self, before: &str) -> String {
        let mut text = String::from("# Written by cargo xtask provision: other lines do not stay.\n");
        for (name, keys) in &self.keys {
            let start = format!("restrict,command=\"{}/uat-gate --participant {name}\" ", paths::BIN);
            let mut admit = |key: &PublicKey| text.push_str(&format!("{start}{key}\n"));
            if keys.is_empty() {
                // Of what is there only what is a line of ours to the letter.
                let there = before
                    .lines()
                    .filter_map(|line| line.strip_prefix(&start)?.parse().ok());
                there.for_each(|key| admit(&key));
            }
            keys.iter().for_each(admit);
        }
        text
    }
}

impl Operation for Admitted {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        asks.text(&base.user(&self.account), &self.path(base));
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        let (who, path) = (facts.base.user(&self.account), self.path(&facts.base));
        let text = self.text(facts.text(&path));
        if !facts.is_file(&path, &who, MODE, &Digest::of(text.as_bytes())) {
            plan.steps.push(Step::put(
                "admitting participants",
                &who,
                &path,
                Content::Text(text),
                MODE,
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, key, table, with};
    use super::*;
    use expect_test::expect;

    #[test]
    fn participants() {
        let participant = |name: &str, key| {
            let participant = Participant {
                machine: None,
                key,
                next_key: None,
            };
            (name.parse().expect("a name"), participant)
        };
        let mut participants = BTreeMap::from([participant("bob", Some(key("bob1"))), participant("carol", None)]);
        let admitted = Admitted::new("alice", &participants);
        let path = "/home/alice/.ssh/authorized_keys";
        let has = |text: &str| with(debian(), |facts| facts.file(path, "alice", 0o600, text));
        let line = |name, key: PublicKey| {
            format!("restrict,command=\"/opt/optivex/bin/uat-gate --participant {name}\" {key}\n")
        };
        let carol = line("carol", key("car1"));
        let right = admitted.text(&carol);
        expect![[r#"
            none:
            alice$ put /home/alice/.ssh/authorized_keys 600
                | # Written by cargo xtask provision: other lines do not stay.
                | restrict,command="/opt/optivex/bin/uat-gate --participant bob" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqbob1
            right:
            nothing
            another key of bob's:
            alice$ put /home/alice/.ssh/authorized_keys 600
                | # Written by cargo xtask provision: other lines do not stay.
                | restrict,command="/opt/optivex/bin/uat-gate --participant bob" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqbob1
                | restrict,command="/opt/optivex/bin/uat-gate --participant carol" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqcar1
            one who left, and one who let themselves in:
            alice$ put /home/alice/.ssh/authorized_keys 600
                | # Written by cargo xtask provision: other lines do not stay.
                | restrict,command="/opt/optivex/bin/uat-gate --participant bob" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqbob1
                | restrict,command="/opt/optivex/bin/uat-gate --participant carol" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqcar1
            carol's line with more in it:
            alice$ put /home/alice/.ssh/authorized_keys 600
                | # Written by cargo xtask provision: other lines do not stay.
                | restrict,command="/opt/optivex/bin/uat-gate --participant bob" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqbob1
        "#]].assert_eq(&table(
            &admitted,
            [
                ("none", debian()),
                ("right", has(&right)),
                (
                    "another key of bob's",
                    has(&format!("{}{carol}", line("bob", key("bob0")))),
                ),
                (
                    "one who left, and one who let themselves in",
                    has(&format!("{right}{}{}\n", line("dave", key("dav1")), key("eve1"))),
                ),
                ("carol's line with more in it", has(&carol.replace("restrict,", ""))),
            ],
        ));
        // While a key is being replaced, both are good.
        let bob = participants.get_mut(&"bob".parse().expect("a name")).expect("bob");
        bob.next_key = Some(key("bob2"));
        let both = Admitted::new("alice", &participants).text("");
        assert!(
            both.ends_with(&(line("bob", key("bob1")) + &line("bob", key("bob2")))),
            "{both}"
        );
    }
}
