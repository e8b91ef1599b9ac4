//! The end date: a machine that costs money turns itself off then, whatever becomes of us. EC2 removes it, for that is
//! what its instances are told to do when they shut down.

use optivex_bundle::moment::Moment;

use super::file::File;
use super::{Operation, Plan};
use crate::facts::{Asks, Base, Facts};
use crate::spec::paths;
use crate::step::{Step, Who};

pub(crate) struct End {
    /// None for machines that are not ours to turn off.
    pub(crate) at: Option<Moment>,
}

/// The unit that turns the machine off, and the timer that starts it: path and text of each.
pub(crate) fn units(at: Moment) -> [(String, String); 2] {
    // systemd writes a moment without the T and the Z of others.
    let at = at.to_string().replace('T', " ").replace('Z', "");
    let path = |unit| format!("{}/{unit}", paths::UNITS);
    [
        (
            path(paths::END_SERVICE),
            "# Written by cargo xtask provision, which replaces it.\n\
             [Unit]\n\
             Description=Ends this machine: its program is over\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             ExecStart=/usr/bin/systemctl poweroff\n"
                .to_owned(),
        ),
        (
            path(paths::END_TIMER),
            // Persistent: a machine that was off at its end ends at its next start.
            format!(
                "# Written by cargo xtask provision, which replaces it (extend moves the date).\n\
                 [Unit]\n\
                 Description=The end of this machine's program\n\
                 \n\
                 [Timer]\n\
                 OnCalendar={at} UTC\n\
                 Persistent=true\n\
                 \n\
                 [Install]\n\
                 WantedBy=timers.target\n"
            ),
        ),
    ]
}

impl End {
    fn files(&self) -> Vec<File> {
        let units = self.at.into_iter().flat_map(units);
        units.map(|(path, text)| File::new(&path, text)).collect()
    }
}

impl Operation for End {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        if base.systemd {
            self.files().iter().for_each(|file| file.asks(base, asks));
            asks.units.insert(paths::END_TIMER.to_owned());
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        let state = facts.units.get(paths::END_TIMER).copied().unwrap_or_default();
        let Some(at) = self.at else {
            // One that was given an end by mistake, or by another inventory.
            if state.enabled || state.active {
                let argv = ["systemctl", "disable", "--now", "--", paths::END_TIMER];
                plan.steps
                    .push(Step::run("taking the end date away", &Who::Root, &argv));
            }
            return;
        };
        if !facts.base.systemd {
            plan.notes
                .push(format!("no systemd here: this machine does not end by itself at {at}"));
            return;
        }
        let differs = self.files().iter().any(|file| file.differs(facts));
        if !differs && state.enabled && state.active {
            return;
        }
        for file in self.files() {
            file.plan(facts, plan);
        }
        let mut run = |what: &str, argv: &[&str]| plan.steps.push(Step::run(what, &Who::Root, argv));
        run("telling systemd", &["systemctl", "daemon-reload"]);
        run(
            "starting the end's timer with every boot",
            &["systemctl", "enable", "--", paths::END_TIMER],
        );
        run(
            &format!("ending at {at}"),
            &["systemctl", "restart", "--", paths::END_TIMER],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, table, with};
    use super::*;
    use crate::facts::Unit;
    use expect_test::expect;

    fn moment(text: &str) -> Moment {
        text.parse().expect("a moment")
    }

    #[test]
    fn ends() {
        let end = End {
            at: Some(moment("2027-03-12T18:00:00Z")),
        };
        let none = End { at: None };
        let has = |at: &str, active| {
            with(debian(), |facts| {
                for (path, text) in units(moment(at)) {
                    facts.file(&path, "root", 0o644, &text);
                }
                let enabled = true;
                facts
                    .units
                    .insert(paths::END_TIMER.to_owned(), Unit { enabled, active });
            })
        };
        expect![[r#"
            none:
            root$ put /etc/systemd/system/optivex-end.service 644
                | # Written by cargo xtask provision, which replaces it.
                | [Unit]
                | Description=Ends this machine: its program is over
                | 
                | [Service]
                | Type=oneshot
                | ExecStart=/usr/bin/systemctl poweroff
            root$ put /etc/systemd/system/optivex-end.timer 644
                | # Written by cargo xtask provision, which replaces it (extend moves the date).
                | [Unit]
                | Description=The end of this machine's program
                | 
                | [Timer]
                | OnCalendar=2027-03-12 18:00:00 UTC
                | Persistent=true
                | 
                | [Install]
                | WantedBy=timers.target
            root$ systemctl daemon-reload
            root$ systemctl enable -- optivex-end.timer
            root$ systemctl restart -- optivex-end.timer
            right:
            nothing
            stopped:
            root$ systemctl daemon-reload
            root$ systemctl enable -- optivex-end.timer
            root$ systemctl restart -- optivex-end.timer
            extended:
            root$ put /etc/systemd/system/optivex-end.timer 644
                | # Written by cargo xtask provision, which replaces it (extend moves the date).
                | [Unit]
                | Description=The end of this machine's program
                | 
                | [Timer]
                | OnCalendar=2027-03-12 18:00:00 UTC
                | Persistent=true
                | 
                | [Install]
                | WantedBy=timers.target
            root$ systemctl daemon-reload
            root$ systemctl enable -- optivex-end.timer
            root$ systemctl restart -- optivex-end.timer
            no systemd:
            note: no systemd here: this machine does not end by itself at 2027-03-12T18:00:00Z
        "#]]
        .assert_eq(&table(
            &end,
            [
                ("none", debian()),
                ("right", has("2027-03-12T18:00:00Z", true)),
                ("stopped", has("2027-03-12T18:00:00Z", false)),
                ("extended", has("2027-03-05T18:00:00Z", true)),
                ("no systemd", with(debian(), |facts| facts.base.systemd = false)),
            ],
        ));
        expect![[r#"
            none wanted, none there:
            nothing
            none wanted:
            root$ systemctl disable --now -- optivex-end.timer
        "#]]
        .assert_eq(&table(
            &none,
            [
                ("none wanted, none there", debian()),
                ("none wanted", has("2027-03-05T18:00:00Z", true)),
            ],
        ));
    }
}
