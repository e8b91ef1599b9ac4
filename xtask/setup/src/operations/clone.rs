//! The template, cloned to `~/optivex` on the participant's branch. Once something is there it is theirs: nothing of
//! it is ever touched.

use std::path::Path;

use optivex_bundle::digest::Digest;

use super::{Operation, Plan};
use crate::facts::{Asks, Base, Facts, Kind};
use crate::spec::{Template, paths};
use crate::step::{Action, Command, Content, LONG, Step, Who};

pub(crate) struct Clone {
    account: String,
    branch: String,
    template: Template,
}

impl Clone {
    pub(crate) fn new(account: &str, branch: &str, template: &Template) -> Self {
        Self {
            account: account.to_owned(),
            branch: branch.to_owned(),
            template: template.clone(),
        }
    }

    fn place(&self, base: &Base) -> String {
        format!("{}/optivex", base.home(&self.account))
    }

    fn put_bundle(file: &Path, facts: &Facts, plan: &mut Plan) {
        let content = std::fs::File::open(file).and_then(Digest::of_reader);
        match content {
            Ok((sha256, size)) => {
                if !facts.is_file(paths::TEMPLATE, &Who::Root, 0o644, &sha256) {
                    let content = Content::Local {
                        file: file.to_owned(),
                        size,
                    };
                    plan.steps.push(Step::put(
                        "bringing the template",
                        &Who::Root,
                        paths::TEMPLATE,
                        content,
                        0o644,
                    ));
                }
            }
            Err(error) => plan.blocked.push(format!("{}: {error}", file.display())),
        }
    }
}

/// Where it is cloned from.
pub(crate) fn url(template: &Template) -> &str {
    match template {
        Template::Url(url) => url,
        Template::Bundle { .. } => paths::TEMPLATE,
    }
}

impl Operation for Clone {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        let who = base.user(&self.account);
        asks.path(&who, &self.place(base));
        asks.path(&who, &format!("{}/.git", self.place(base)));
        asks.path(&Who::Root, paths::TEMPLATE);
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        if let Template::Bundle { file, .. } = &self.template {
            Self::put_bundle(file, facts, plan);
        }
        let (who, place) = (facts.base.user(&self.account), self.place(&facts.base));
        if let Some(found) = facts.paths.get(&place) {
            if found.kind != Kind::Directory || !facts.paths.contains_key(&format!("{place}/.git")) {
                plan.notes.push(format!(
                    "{place} is there and no git repository: it is theirs, and left alone"
                ));
            }
            return;
        }
        let beside = format!("{}/.optivex-clone", facts.base.home(&self.account));
        let git = |argv: &[&str]| {
            Command::new(&who, &[&["git"], argv].concat())
                .env("GIT_TERMINAL_PROMPT", "0")
                .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
        };
        let mut add = |what: &str, action| {
            plan.steps.push(Step {
                what: what.to_owned(),
                action,
                limit: LONG,
            });
        };
        add(
            "removing what is left of a clone that was cut off",
            Action::Run(Command::new(&who, &["rm", "-rf", "--", &beside])),
        );
        add(
            "cloning the template",
            Action::Run(git(&["clone", "--quiet", "--", url(&self.template), &beside])),
        );
        // Their branch may be at the origin already, from a machine before this one.
        add(
            "switching to the participant's branch",
            Action::Either(
                git(&["-C", &beside, "switch", "--quiet", &self.branch]),
                git(&["-C", &beside, "switch", "--quiet", "--create", &self.branch]),
            ),
        );
        // Fails where something has appeared there meanwhile.
        add(
            "putting it in its place",
            Action::Run(Command::new(&who, &["mv", "-T", "--", &beside, &place])),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, plan, table, with};
    use super::*;
    use expect_test::expect;

    #[test]
    fn clones() {
        let clone = Clone::new(
            "alice",
            "alice-2",
            &Template::Url("https://example.org/t.git".to_owned()),
        );
        let there = |facts: &mut Facts| facts.directory("/home/alice/optivex", "alice", 0o755);
        let repository = |facts: &mut Facts| {
            there(facts);
            facts.directory("/home/alice/optivex/.git", "alice", 0o755);
        };
        expect![[r#"
            none:
            alice$ rm -rf -- /home/alice/.optivex-clone
            alice$ GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND=ssh -o BatchMode=yes git clone --quiet -- https://example.org/t.git /home/alice/.optivex-clone
            alice$ GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND=ssh -o BatchMode=yes git -C /home/alice/.optivex-clone switch --quiet alice-2 || alice$ GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND=ssh -o BatchMode=yes git -C /home/alice/.optivex-clone switch --quiet --create alice-2
            alice$ mv -T -- /home/alice/.optivex-clone /home/alice/optivex
            a repository:
            nothing
            a directory:
            note: /home/alice/optivex is there and no git repository: it is theirs, and left alone
            a file:
            note: /home/alice/optivex is there and no git repository: it is theirs, and left alone
        "#]].assert_eq(&table(
            &clone,
            [
                ("none", debian()),
                ("a repository", with(debian(), repository)),
                ("a directory", with(debian(), there)),
                (
                    "a file",
                    with(debian(), |facts| facts.file("/home/alice/optivex", "alice", 0o644, "")),
                ),
            ],
        ));
    }

    #[test]
    fn our_own_template() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("bundle");
        let commit = "0123".to_owned();
        let template = Template::Bundle {
            file: file.clone(),
            commit,
        };
        let clone = Clone::new("alice", "alice", &template);
        let repository = |facts: &mut Facts| {
            facts.directory("/home/alice/optivex", "alice", 0o755);
            facts.directory("/home/alice/optivex/.git", "alice", 0o755);
        };
        let said = |facts: &Facts| plan(&clone, facts).replace(&directory.path().display().to_string(), "HERE");
        expect![[r#"
            blocked: HERE/bundle: No such file or directory (os error 2)
        "#]]
        .assert_eq(&said(&with(debian(), repository)));
        std::fs::write(&file, "bundle").expect("written");
        expect![[r#"
            root$ put /opt/optivex/template.bundle 644 < HERE/bundle
            alice$ rm -rf -- /home/alice/.optivex-clone
            alice$ GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND=ssh -o BatchMode=yes git clone --quiet -- /opt/optivex/template.bundle /home/alice/.optivex-clone
            alice$ GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND=ssh -o BatchMode=yes git -C /home/alice/.optivex-clone switch --quiet alice || alice$ GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND=ssh -o BatchMode=yes git -C /home/alice/.optivex-clone switch --quiet --create alice
            alice$ mv -T -- /home/alice/.optivex-clone /home/alice/optivex
        "#]].assert_eq(&said(&debian()));
        let up_to_date = with(debian(), |facts| {
            repository(facts);
            facts.file(paths::TEMPLATE, "root", 0o644, "bundle");
        });
        expect![[r#"
            nothing
        "#]]
        .assert_eq(&said(&up_to_date));
        let older = with(debian(), |facts| {
            repository(facts);
            facts.file(paths::TEMPLATE, "root", 0o644, "older");
        });
        expect![[r#"
            root$ put /opt/optivex/template.bundle 644 < HERE/bundle
        "#]]
        .assert_eq(&said(&older));
    }
}
