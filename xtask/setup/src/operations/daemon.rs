//! UAT's daemon: its settings, and its unit where there is systemd.

use std::collections::BTreeMap;

use optivex_bundle::digest::Digest;
use optivex_bundle::inventory::UatSettings;
use optivex_bundle::limits::LIMITS;
use optivex_bundle::names::Name;
use serde::Serialize;

use super::file::File;
use super::{Operation, Plan};
use crate::facts::{Asks, Base, Facts};
use crate::spec::{Participant, Spec, paths};
use crate::step::{Step, Who};

/// As the daemon reads it.
#[derive(Serialize)]
struct Settings<'a> {
    slots: u32,
    participants: BTreeMap<&'a str, Home<'a>>,
    #[serde(flatten)]
    more: &'a UatSettings,
}

#[derive(Serialize)]
struct Home<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_key: Option<String>,
}

/// `/etc/optivex/uat.yaml`.
pub(crate) fn settings(slots: u32, participants: &BTreeMap<Name, Participant>, more: &UatSettings) -> File {
    let participants = participants
        .iter()
        .map(|(name, participant)| {
            let machine = participant.machine.as_ref();
            let home = Home {
                host: machine.map(|machine| machine.address.as_str()),
                port: machine.map(|machine| machine.port),
                user: machine.map(|machine| machine.account.as_str()),
                host_key: machine.map(|machine| machine.host_key.to_string()),
            };
            (name.as_str(), home)
        })
        .collect();
    let settings = Settings {
        slots,
        participants,
        more,
    };
    let yaml = serde_yaml::to_string(&settings).expect("plain data becomes YAML");
    File::new(
        paths::UAT_YAML,
        format!("# Written by cargo xtask provision, which replaces it.\n{yaml}"),
    )
}

pub(crate) struct Daemon {
    account: String,
    /// Changes with everything that a running daemon has read: tools, settings.
    stamp: Digest,
}

impl Daemon {
    pub(crate) fn new(spec: &Spec, settings: &File) -> Self {
        let tools = serde_json::to_string(&spec.tools).expect("plain data becomes JSON");
        Self {
            account: spec.name.to_string(),
            stamp: Digest::of(format!("{tools}\n{}", settings.text).as_bytes()),
        }
    }

    fn unit(&self) -> File {
        let account = &self.account;
        let text = format!(
            "# Written by cargo xtask provision, which replaces it. Tools and settings: {}\n\
             [Unit]\n\
             Description=Judges what participants deploy\n\
             After=network-online.target\n\
             Wants=network-online.target\n\
             StartLimitIntervalSec=0\n\
             \n\
             [Service]\n\
             User={account}\n\
             Environment=CK_DEPLOYMENT_DIR={} CK_TESTS_DIR={}\n\
             ExecStart={}/uat-daemon run\n\
             # It ends well only when it was told to drain: then it stays ended.\n\
             Restart=on-failure\n\
             RestartSec=5\n\
             Delegate=yes\n\
             KillMode=mixed\n\
             TimeoutStopSec={}\n\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n",
            self.stamp,
            paths::SPOOL,
            paths::TESTS,
            paths::BIN,
            // SIGTERM drains: whoever is being judged is told, and does not wait again.
            LIMITS.drain_seconds()
        );
        File::new(&format!("{}/{}", paths::UNITS, paths::UAT_UNIT), text)
    }
}

impl Operation for Daemon {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        if base.systemd {
            self.unit().asks(base, asks);
            asks.units.insert(paths::UAT_UNIT.to_owned());
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        if !facts.base.systemd {
            plan.notes.push(format!(
                "no systemd here: start `{}/uat-daemon run` as {} by hand",
                paths::BIN,
                self.account
            ));
            return;
        }
        let unit = self.unit();
        let state = facts.units.get(paths::UAT_UNIT).copied().unwrap_or_default();
        let differs = unit.differs(facts);
        let mut run = |what: &str, argv: &[&str]| plan.steps.push(Step::run(what, &Who::Root, argv));
        if !differs && state.enabled && state.active {
            return;
        }
        if !differs {
            run(
                "starting the daemon",
                &["systemctl", "enable", "--now", "--", paths::UAT_UNIT],
            );
            return;
        }
        unit.plan(facts, plan);
        let mut run = |what: &str, argv: &[&str]| plan.steps.push(Step::run(what, &Who::Root, argv));
        run("telling systemd", &["systemctl", "daemon-reload"]);
        run(
            "starting the daemon with every boot",
            &["systemctl", "enable", "--", paths::UAT_UNIT],
        );
        // It drains first, which can take as long as a job: nobody here waits for it.
        run(
            "starting the daemon anew",
            &["systemctl", "restart", "--no-block", "--", paths::UAT_UNIT],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, key, plan, spec, table, uat, with};
    use super::*;
    use crate::facts::Unit;
    use crate::spec::Peer;
    use expect_test::expect;

    fn participants() -> BTreeMap<Name, Participant> {
        let machine = Peer {
            account: "bob".parse().expect("a name"),
            address: "10.0.0.7".to_owned(),
            port: 22,
            host_key: key("bob1"),
            next_host_key: None,
        };
        let participant = |machine| Participant {
            machine,
            key: None,
            next_key: None,
        };
        BTreeMap::from([
            ("bob".parse().expect("a name"), participant(Some(machine))),
            ("carol".parse().expect("a name"), participant(None)),
        ])
    }

    #[test]
    fn settings_as_the_daemon_reads_them() {
        expect![[r#"
            root$ put /etc/optivex/uat.yaml 644
                | # Written by cargo xtask provision, which replaces it.
                | slots: 2
                | participants:
                |   bob:
                |     host: 10.0.0.7
                |     port: 22
                |     user: bob
                |     host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmjWCJ3ZnV2ZzVqZ3F3ZXJ0eXVpb3Bhc2RmZ2hqbob1
                |   carol: {}
        "#]]
        .assert_eq(&plan(&settings(2, &participants(), &Default::default()), &debian()));
        let more = "{limits: {wall_seconds: 600}, tests: {arguments: [--stage, boot]}, scoreboard: /srv/board.html}";
        let more: UatSettings = serde_yaml::from_str(more).expect("settings");
        expect![[r#"
            root$ put /etc/optivex/uat.yaml 644
                | # Written by cargo xtask provision, which replaces it.
                | slots: 1
                | participants: {}
                | limits:
                |   wall_seconds: 600
                | tests:
                |   arguments:
                |   - --stage
                |   - boot
                | scoreboard: /srv/board.html
        "#]]
        .assert_eq(&plan(&settings(1, &BTreeMap::new(), &more), &debian()));
    }

    #[test]
    fn units() {
        let daemon = Daemon::new(&spec(uat()), &settings(2, &participants(), &Default::default()));
        let unit = daemon.unit();
        let has = |text: &str, enabled, active| {
            with(debian(), |facts| {
                facts.file(&unit.path, "root", 0o644, text);
                facts.units.insert(paths::UAT_UNIT.to_owned(), Unit { enabled, active });
            })
        };
        expect![[r#"
            none:
            root$ put /etc/systemd/system/optivex-uat.service 644
                | # Written by cargo xtask provision, which replaces it. Tools and settings: b33c6dcc9db7fbdd8a1348f894f595cc758bad47247d1970af57c58227d1cb69
                | [Unit]
                | Description=Judges what participants deploy
                | After=network-online.target
                | Wants=network-online.target
                | StartLimitIntervalSec=0
                | 
                | [Service]
                | User=alice
                | Environment=CK_DEPLOYMENT_DIR=/var/lib/optivex/spool CK_TESTS_DIR=/var/lib/optivex/tests
                | ExecStart=/opt/optivex/bin/uat-daemon run
                | # It ends well only when it was told to drain: then it stays ended.
                | Restart=on-failure
                | RestartSec=5
                | Delegate=yes
                | KillMode=mixed
                | TimeoutStopSec=1140
                | 
                | [Install]
                | WantedBy=multi-user.target
            root$ systemctl daemon-reload
            root$ systemctl enable -- optivex-uat.service
            root$ systemctl restart --no-block -- optivex-uat.service
            right:
            nothing
            ended:
            root$ systemctl enable --now -- optivex-uat.service
            of other tools:
            root$ put /etc/systemd/system/optivex-uat.service 644
                | # Written by cargo xtask provision, which replaces it. Tools and settings: b33c6dcc9db7fbdd8a1348f894f595cc758bad47247d1970af57c58227d1cb69
                | [Unit]
                | Description=Judges what participants deploy
                | After=network-online.target
                | Wants=network-online.target
                | StartLimitIntervalSec=0
                | 
                | [Service]
                | User=alice
                | Environment=CK_DEPLOYMENT_DIR=/var/lib/optivex/spool CK_TESTS_DIR=/var/lib/optivex/tests
                | ExecStart=/opt/optivex/bin/uat-daemon run
                | # It ends well only when it was told to drain: then it stays ended.
                | Restart=on-failure
                | RestartSec=5
                | Delegate=yes
                | KillMode=mixed
                | TimeoutStopSec=1140
                | 
                | [Install]
                | WantedBy=multi-user.target
            root$ systemctl daemon-reload
            root$ systemctl enable -- optivex-uat.service
            root$ systemctl restart --no-block -- optivex-uat.service
            no systemd:
            note: no systemd here: start `/opt/optivex/bin/uat-daemon run` as alice by hand
        "#]].assert_eq(&table(
            &daemon,
            [
                ("none", debian()),
                ("right", has(&unit.text, true, true)),
                ("ended", has(&unit.text, true, false)),
                ("of other tools", has("older", true, true)),
                ("no systemd", with(debian(), |facts| facts.base.systemd = false)),
            ],
        ));
    }

    #[test]
    fn what_a_running_daemon_has_read_starts_it_anew() {
        let spec = spec(uat());
        let stamp = |slots, participants: &BTreeMap<_, _>| {
            Daemon::new(&spec, &settings(slots, participants, &Default::default())).stamp
        };
        assert_eq!(stamp(2, &participants()), stamp(2, &participants()));
        assert_ne!(stamp(2, &participants()), stamp(3, &participants()));
        assert_ne!(stamp(2, &participants()), stamp(2, &BTreeMap::new()));
    }
}
