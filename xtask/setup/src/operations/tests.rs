//! The system tests that submissions are judged by: packed by the daemon's own command, with the contract that they go
//! by.

use std::collections::BTreeSet;

use optivex_bundle::digest::Digest;

use super::directory::Directory;
use super::{Operation, Operations, Owner, Plan};
use crate::facts::{Asks, Base, Facts};
use crate::spec::{Spec, Tests, paths};
use crate::step::{Command, Content, LONG, Step, Who};

/// Says which tests are installed: written last.
const STAMP: &str = "/var/lib/optivex/tests/.installed";

pub(super) fn all(spec: &Spec, tests: &Tests) -> Operations {
    let installed = Installed::new(spec, tests);
    // One place for each contract: a file that it no longer has would count.
    let mut folders = BTreeSet::from([paths::PROTO.to_owned(), installed.proto()]);
    for path in tests.proto.keys() {
        for (slash, _) in path.match_indices('/') {
            folders.insert(format!("{}/{}", installed.proto(), &path[..slash]));
        }
    }
    let mut all: Operations = Vec::new();
    for folder in folders {
        all.push(Box::new(Directory::new(Owner::Root, &folder, 0o755)));
    }
    all.push(Box::new(installed));
    all
}

struct Installed {
    account: String,
    tests: Tests,
    /// Of all that the archive is made of.
    stamp: Digest,
}

impl Installed {
    fn new(spec: &Spec, tests: &Tests) -> Self {
        let parts = serde_json::to_vec(&(&spec.tools, tests)).expect("plain data becomes JSON");
        Self {
            account: spec.name.to_string(),
            tests: tests.clone(),
            stamp: Digest::of(&parts),
        }
    }

    fn proto(&self) -> String {
        let proto = serde_json::to_vec(&self.tests.proto).expect("plain data becomes JSON");
        format!("{}/{}", paths::PROTO, &Digest::of(&proto).to_string()[..16])
    }

    fn text(&self) -> String {
        format!("{}\n", self.stamp)
    }
}

impl Operation for Installed {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        asks.path(&base.user(&self.account), STAMP);
        for path in self.tests.proto.keys() {
            asks.path(&Who::Root, &format!("{}/{path}", self.proto()));
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        let who = facts.base.user(&self.account);
        for (path, file) in &self.tests.proto {
            let place = format!("{}/{path}", self.proto());
            if facts.is_file(&place, &Who::Root, 0o644, &file.sha256) {
                continue;
            }
            match std::fs::metadata(&file.file) {
                Ok(metadata) => {
                    let content = Content::Local {
                        file: file.file.clone(),
                        size: metadata.len(),
                    };
                    plan.steps.push(Step::put(
                        &format!("bringing {path}"),
                        &Who::Root,
                        &place,
                        content,
                        0o644,
                    ));
                }
                Err(error) => plan.blocked.push(format!("{}: {error}", file.file.display())),
            }
        }
        if facts.is_file(STAMP, &who, 0o644, &Digest::of(self.text().as_bytes())) {
            return;
        }
        let (program, tests) = (
            format!("{}/uat-daemon", paths::BIN),
            format!("{}/system-tests", paths::BIN),
        );
        let argv = [
            &program,
            "install-tests",
            "--commit",
            &self.tests.commit,
            "--proto",
            &self.proto(),
            &tests,
        ];
        let command = Command::new(&who, &argv)
            .env("CK_TESTS_DIR", paths::TESTS)
            .env("CK_DEPLOYMENT_DIR", paths::SPOOL);
        plan.steps
            .push(Step::command("installing the system tests", command).within(LONG));
        let content = Content::Text(self.text());
        plan.steps
            .push(Step::put("noting which tests these are", &who, STAMP, content, 0o644));
    }
}

#[cfg(test)]
mod cases {
    use super::super::testing::{debian, spec, table, uat, with};
    use super::*;
    use crate::spec::Tool;
    use expect_test::expect;

    #[test]
    fn system_tests() {
        let here = tempfile::tempdir().expect("a directory");
        let file = here.path().join("a.proto");
        std::fs::write(&file, "syntax").expect("written");
        let sha256 = Digest::of(b"syntax");
        let tests = Tests {
            commit: "c0ffee".to_owned(),
            proto: [("optivex/v1/a.proto".to_owned(), Tool { file, sha256 })].into(),
        };
        let installed = Installed::new(&spec(uat()), &tests);
        let place = format!("{}/optivex/v1/a.proto", installed.proto());
        let proto = |facts: &mut Facts| facts.file(&place, "root", 0o644, "syntax");
        let right = |facts: &mut Facts| {
            proto(facts);
            facts.file(STAMP, "alice", 0o644, &installed.text());
        };
        let said = table(
            &installed,
            [
                ("none", debian()),
                ("the contract alone", with(debian(), proto)),
                ("right", with(debian(), right)),
            ],
        );
        expect![[r#"
            none:
            root$ put /opt/optivex/proto/98e230e822645583/optivex/v1/a.proto 644 < HERE/a.proto
            alice$ CK_TESTS_DIR=/var/lib/optivex/tests CK_DEPLOYMENT_DIR=/var/lib/optivex/spool /opt/optivex/bin/uat-daemon install-tests --commit c0ffee --proto /opt/optivex/proto/98e230e822645583 /opt/optivex/bin/system-tests
            alice$ put /var/lib/optivex/tests/.installed 644
                | 3607ea7e076f2630ad194e48224f76486d84e55c5105c46a8848658119edfe23
            the contract alone:
            alice$ CK_TESTS_DIR=/var/lib/optivex/tests CK_DEPLOYMENT_DIR=/var/lib/optivex/spool /opt/optivex/bin/uat-daemon install-tests --commit c0ffee --proto /opt/optivex/proto/98e230e822645583 /opt/optivex/bin/system-tests
            alice$ put /var/lib/optivex/tests/.installed 644
                | 3607ea7e076f2630ad194e48224f76486d84e55c5105c46a8848658119edfe23
            right:
            nothing
        "#]].assert_eq(&said.replace(&here.path().display().to_string(), "HERE"));
    }

    #[test]
    fn folders_of_the_contract_are_made() {
        let tool = |name: &str| Tool {
            file: name.into(),
            sha256: Digest::of(b""),
        };
        let tests = Tests {
            commit: String::new(),
            proto: ["optivex/v1/a.proto", "optivex/v1/b.proto", "c.proto"]
                .map(|name| (name.to_owned(), tool(name)))
                .into(),
        };
        let operations = all(&spec(uat()), &tests);
        // proto, its own, optivex, optivex/v1, and the tests.
        assert_eq!(operations.len(), 5);
    }
}
