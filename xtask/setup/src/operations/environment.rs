//! The environment that the program's commands go by. It must hold in login shells, in `ssh host command` and under
//! cargo, wherever that is started from; so it is in four places:
//! - `/etc/environment`, which PAM gives to whoever logs in, by whatever way;
//! - `/etc/profile.d`, for login shells that do not come by PAM's environment, such as those of `sudo -i`;
//! - sshd's own settings, which hold where there is no PAM;
//! - the account's cargo configuration, which holds for `cargo xtask` and `cargo test` even from an editor or a timer
//!   that knows neither.

use super::file::File;
use super::{Operation, Owner, Plan, block::Block, clone};
use crate::facts::{Asks, Base, Facts, Family, Kind};
use crate::spec::{Peer, Role, Spec, paths};
use crate::step::{PATH, Step, Who};

pub(crate) struct Environment {
    account: String,
    variables: Vec<(&'static str, String)>,
}

const SSHD_FILE: &str = "/etc/ssh/sshd_config.d/10-optivex.conf";
const SSHD_DIRECTORY: &str = "/etc/ssh/sshd_config.d";
const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";
const PROFILE_FILE: &str = "/etc/profile.d/optivex.sh";
const CARGO_FILE: &str = ".cargo/config.toml";
const CARGO_MARK: &str =
    "# Written by cargo xtask provision, which replaces the file as long as this line is its first.";

/// As the deploy command reads it.
fn place(peer: &Peer) -> String {
    match (peer.port, peer.address.contains(':')) {
        (22, _) => peer.address.clone(),
        (port, false) => format!("{}:{port}", peer.address),
        (port, true) => format!("[{}]:{port}", peer.address),
    }
}

impl Environment {
    pub(crate) fn dev(spec: &Spec, uat: &Peer) -> Self {
        let mut variables = vec![
            ("CK_UAT_USER", uat.account.to_string()),
            ("CK_UAT_HOST", place(uat)),
            ("CK_UAT_DEPLOYMENT_DIR", paths::SPOOL.to_owned()),
        ];
        if let Role::Dev { template, .. } = &spec.role {
            variables.push(("CK_TEMPLATE_REPO_URL", clone::url(template).to_owned()));
        }
        Self {
            account: spec.name.to_string(),
            variables,
        }
    }

    pub(crate) fn uat(spec: &Spec) -> Self {
        Self {
            account: spec.name.to_string(),
            variables: vec![
                ("CK_DEPLOYMENT_DIR", paths::SPOOL.to_owned()),
                ("CK_TESTS_DIR", paths::TESTS.to_owned()),
            ],
        }
    }

    fn everywhere(&self) -> Block {
        let lines = self.variables.iter().map(|(name, value)| format!("{name}={value}"));
        Block::new(Owner::Root, "/etc/environment", 0o644, "environment", lines.collect())
    }

    fn profile(&self) -> File {
        let lines = self
            .variables
            .iter()
            .map(|(name, value)| format!("export {name}='{value}'\n"));
        let text = format!(
            "# Written by cargo xtask provision, which replaces it.\n{}",
            lines.collect::<String>()
        );
        File::new(PROFILE_FILE, text)
    }

    fn sshd(&self, base: &Base) -> File {
        let mut words: Vec<String> = self
            .variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        // What rustup adds to a shell's start is for people's shells: `ssh host cargo` would not find it.
        words.push(format!("PATH={PATH}:{}/.cargo/bin", base.home(&self.account)));
        let text = format!(
            "# Written by cargo xtask provision, which replaces it.\nMatch User {}\n    SetEnv {}\n",
            self.account,
            words.join(" ")
        );
        File::new(SSHD_FILE, text)
    }

    fn cargo(&self) -> File {
        let lines = self
            .variables
            .iter()
            .map(|(name, value)| format!("{name} = \"{value}\"\n"));
        File {
            owner: Owner::Account(self.account.clone()),
            path: CARGO_FILE.to_owned(),
            text: format!("{CARGO_MARK}\n[env]\n{}", lines.collect::<String>()),
            mode: 0o644,
        }
    }

    fn plan_sshd(&self, facts: &Facts, plan: &mut Plan) {
        let reads = facts.text(SSHD_CONFIG).lines().any(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next().is_some_and(|word| word.eq_ignore_ascii_case("include"))
                && words.any(|word| word.contains("sshd_config.d/"))
        });
        let directory = facts
            .paths
            .get(SSHD_DIRECTORY)
            .is_some_and(|found| found.kind == Kind::Directory);
        if !reads || !directory {
            plan.notes.push(format!(
                "sshd reads no {SSHD_DIRECTORY} here: the environment comes by PAM alone"
            ));
            return;
        }
        let file = self.sshd(&facts.base);
        if !file.differs(facts) {
            return;
        }
        file.plan(facts, plan);
        plan.steps
            .push(Step::run("checking sshd's settings", &Who::Root, &["sshd", "-t"]));
        plan.steps.extend(reload(facts));
        if reload(facts).is_none() {
            plan.notes
                .push("sshd was not told of its new settings: they hold from its next start on".to_owned());
        }
    }
}

/// Has sshd read its settings and host keys anew; connections that stand go on.
pub(crate) fn reload(facts: &Facts) -> Option<Step> {
    let step = |argv: &[&str]| Some(Step::run("having sshd read its settings", &Who::Root, argv));
    if facts.base.systemd {
        let unit = match facts.base.family {
            Some(Family::Apt) => "ssh.service",
            _ => "sshd.service",
        };
        return step(&["systemctl", "reload-or-restart", "--", unit]);
    }
    step(&["kill", "-HUP", &facts.base.sshd?.to_string()])
}

impl Operation for Environment {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        self.everywhere().asks(base, asks);
        self.profile().asks(base, asks);
        self.sshd(base).asks(base, asks);
        asks.path(&Who::Root, SSHD_DIRECTORY);
        asks.text(&Who::Root, SSHD_CONFIG);
        let who = base.user(&self.account);
        asks.path(&who, &format!("{}/.cargo", base.home(&self.account)));
        asks.text(&who, &format!("{}/{CARGO_FILE}", base.home(&self.account)));
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        // One word each in all places, of which each has its own idea of quotes.
        let odd = |value: &str| {
            value.is_empty()
                || value
                    .chars()
                    .any(|c| c.is_control() || c.is_whitespace() || "\"'\\#$%`".contains(c))
        };
        if let Some((name, value)) = self.variables.iter().find(|(_, value)| odd(value)) {
            plan.blocked.push(format!(
                "{name}={value:?} cannot be told to every program: choose another"
            ));
            return;
        }
        self.everywhere().plan(facts, plan);
        self.profile().plan(facts, plan);
        self.plan_sshd(facts, plan);
        let (who, home) = (facts.base.user(&self.account), facts.base.home(&self.account));
        let path = format!("{home}/{CARGO_FILE}");
        let text = facts.text(&path);
        if facts.paths.contains_key(&path) && text.lines().next() != Some(CARGO_MARK) {
            plan.notes.push(format!(
                "{path} is theirs, and left alone: cargo has its environment from the login"
            ));
            return;
        }
        if !facts.paths.contains_key(&format!("{home}/.cargo")) {
            let argv = ["install", "-d", "-m", "755", "--", &format!("{home}/.cargo")];
            plan.steps.push(Step::run("making .cargo", &who, &argv));
        }
        self.cargo().plan(facts, plan);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, key, plan, spec, table, with};
    use super::*;
    use crate::spec::Template;
    use expect_test::expect;

    fn environment(url: &str) -> Environment {
        let spec = spec(Role::Dev {
            keys: Vec::new(),
            branch: "alice".to_owned(),
            template: Template::Url(url.to_owned()),
        });
        let uat = Peer {
            account: "uat".parse().expect("a name"),
            address: "10.0.0.9".to_owned(),
            port: 22,
            host_key: key("uat1"),
            next_host_key: None,
        };
        Environment::dev(&spec, &uat)
    }

    #[test]
    fn environments() {
        let environment = environment("https://example.org/t.git");
        let sshd = |facts: &mut Facts| {
            facts.directory(SSHD_DIRECTORY, "root", 0o755);
            facts.file(
                SSHD_CONFIG,
                "root",
                0o644,
                "# x\nInclude /etc/ssh/sshd_config.d/*.conf\n",
            );
        };
        let right = |facts: &mut Facts| {
            sshd(facts);
            facts.file(SSHD_FILE, "root", 0o644, &environment.sshd(&facts.base).text);
            facts.file(PROFILE_FILE, "root", 0o644, &environment.profile().text);
            facts.directory("/home/alice/.cargo", "alice", 0o755);
            facts.file(
                "/home/alice/.cargo/config.toml",
                "alice",
                0o644,
                &environment.cargo().text,
            );
            let lines: Vec<String> = environment.variables.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let text = super::super::block::replaced("LANG=C\n", "environment", &lines);
            facts.file("/etc/environment", "root", 0o644, &text);
        };
        expect![[r#"
            none:
            root$ put /etc/environment 644
                | # optivex begin: environment
                | CK_UAT_USER=uat
                | CK_UAT_HOST=10.0.0.9
                | CK_UAT_DEPLOYMENT_DIR=/var/lib/optivex/spool
                | CK_TEMPLATE_REPO_URL=https://example.org/t.git
                | # optivex end: environment
            root$ put /etc/profile.d/optivex.sh 644
                | # Written by cargo xtask provision, which replaces it.
                | export CK_UAT_USER='uat'
                | export CK_UAT_HOST='10.0.0.9'
                | export CK_UAT_DEPLOYMENT_DIR='/var/lib/optivex/spool'
                | export CK_TEMPLATE_REPO_URL='https://example.org/t.git'
            root$ put /etc/ssh/sshd_config.d/10-optivex.conf 644
                | # Written by cargo xtask provision, which replaces it.
                | Match User alice
                |     SetEnv CK_UAT_USER=uat CK_UAT_HOST=10.0.0.9 CK_UAT_DEPLOYMENT_DIR=/var/lib/optivex/spool CK_TEMPLATE_REPO_URL=https://example.org/t.git PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/home/alice/.cargo/bin
            root$ sshd -t
            root$ systemctl reload-or-restart -- ssh.service
            alice$ install -d -m 755 -- /home/alice/.cargo
            alice$ put /home/alice/.cargo/config.toml 644
                | # Written by cargo xtask provision, which replaces the file as long as this line is its first.
                | [env]
                | CK_UAT_USER = "uat"
                | CK_UAT_HOST = "10.0.0.9"
                | CK_UAT_DEPLOYMENT_DIR = "/var/lib/optivex/spool"
                | CK_TEMPLATE_REPO_URL = "https://example.org/t.git"
            right:
            nothing
            another UAT before, and no systemd:
            root$ put /etc/ssh/sshd_config.d/10-optivex.conf 644
                | # Written by cargo xtask provision, which replaces it.
                | Match User alice
                |     SetEnv CK_UAT_USER=uat CK_UAT_HOST=10.0.0.9 CK_UAT_DEPLOYMENT_DIR=/var/lib/optivex/spool CK_TEMPLATE_REPO_URL=https://example.org/t.git PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/home/alice/.cargo/bin
            root$ sshd -t
            root$ kill -HUP 812
            their own cargo configuration, an old sshd:
            note: sshd reads no /etc/ssh/sshd_config.d here: the environment comes by PAM alone
            note: /home/alice/.cargo/config.toml is theirs, and left alone: cargo has its environment from the login
        "#]].assert_eq(&table(
            &environment,
            [
                ("none", with(debian(), sshd)),
                ("right", with(debian(), right)),
                (
                    "another UAT before, and no systemd",
                    with(with(debian(), right), |facts| {
                        facts.base.systemd = false;
                        facts.base.sshd = Some(812);
                        facts.file(SSHD_FILE, "root", 0o644, "older");
                    }),
                ),
                (
                    "their own cargo configuration, an old sshd",
                    with(with(debian(), right), |facts| {
                        facts.file("/home/alice/.cargo/config.toml", "alice", 0o644, "[build]\n");
                        facts.paths.remove(SSHD_DIRECTORY);
                    }),
                ),
            ],
        ));
    }

    #[test]
    fn what_not_every_program_reads_alike_is_refused() {
        for url in ["", "a b", "https://example.org/#x", "$(id)", "a\nb", "\"x\"", "%d"] {
            let said = plan(&environment(url), &debian());
            assert!(said.starts_with("blocked: CK_TEMPLATE_REPO_URL="), "{url:?}: {said}");
        }
    }

    #[test]
    fn sshd_is_told_by_whoever_runs_it() {
        let said = |facts: Facts| reload(&facts).map_or("nothing".to_owned(), |step| step.to_string());
        let without = |facts: &mut Facts| facts.base.systemd = false;
        expect![[r#"
            root$ systemctl reload-or-restart -- ssh.service
            root$ systemctl reload-or-restart -- sshd.service
            root$ kill -HUP 812
            nothing
        "#]]
        .assert_eq(&format!(
            "{}\n{}\n{}\n{}\n",
            said(debian()),
            said(with(debian(), |facts| facts.base.family = Some(Family::Dnf))),
            said(with(with(debian(), without), |facts| facts.base.sshd = Some(812))),
            said(with(debian(), without)),
        ));
    }
}
