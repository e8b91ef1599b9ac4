//! Our own programs on a machine: brought from the manager's machine, or built there from the manager's sources.

use std::collections::BTreeMap;
use std::path::PathBuf;

use optivex_bundle::digest::Digest;

use super::directory::Directory;
use super::file::File;
use super::{Operation, Operations, Owner, Plan};
use crate::facts::{Asks, Base, Facts, Kind};
use crate::spec::{Role, Spec, Tool, Tools, paths};
use crate::step::{BUILD, Command, Content, LONG, Step, Who};

/// A program: its crate, its name, where it goes.
struct Program {
    package: &'static str,
    name: &'static str,
    directory: &'static str,
    features: Option<&'static str>,
}

const fn program(package: &'static str, name: &'static str) -> Program {
    Program {
        package,
        name,
        directory: paths::BIN,
        features: None,
    }
}

const DEV: [Program; 1] = [Program {
    package: "optivex-deploy",
    name: "optivex-receive",
    directory: "/usr/local/bin",
    features: None,
}];
const UAT: [Program; 5] = [
    program("optivex-uat", "uat-daemon"),
    program("optivex-uat", "uat-gate"),
    program("optivex-system-tests", "system-tests"),
    program("optivex-server", "optivex"),
    Program {
        package: "optivex-server",
        name: "optivex-faulty",
        directory: paths::BIN,
        features: Some("faults"),
    },
];

fn of(role: &Role) -> &'static [Program] {
    match role {
        Role::Dev { .. } => &DEV,
        Role::Uat { .. } => &UAT,
    }
}

/// What a role's machines need: crate, program and features of each, for whoever builds them.
pub fn needed(role: &Role) -> impl Iterator<Item = (&'static str, &'static str, Option<&'static str>)> {
    of(role)
        .iter()
        .map(|program| (program.package, program.name, program.features))
}

impl Program {
    fn path(&self) -> String {
        format!("{}/{}", self.directory, self.name)
    }
}

pub(super) fn all(spec: &Spec) -> Operations {
    let programs = of(&spec.role);
    match &spec.tools {
        Tools::Manager(tools) => vec![Box::new(Brought {
            programs,
            tools: tools.clone(),
        })],
        Tools::Sources { file, sha256 } => {
            let account = spec.name.to_string();
            let directory = Directory::new(Owner::Root, paths::BUILD, 0o755).given_to(&account);
            vec![
                Box::new(directory),
                Box::new(Built {
                    programs,
                    account,
                    file: file.clone(),
                    sha256: *sha256,
                }),
            ]
        }
    }
}

struct Brought {
    programs: &'static [Program],
    tools: BTreeMap<String, Tool>,
}

impl Operation for Brought {
    fn asks(&self, _: &Base, asks: &mut Asks) {
        self.programs
            .iter()
            .for_each(|program| asks.path(&Who::Root, &program.path()));
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        for program in self.programs {
            let Some(tool) = self.tools.get(program.name) else {
                plan.blocked
                    .push(format!("{} was not built on the manager's machine", program.name));
                continue;
            };
            let path = program.path();
            if facts.is_file(&path, &Who::Root, 0o755, &tool.sha256) {
                continue;
            }
            match std::fs::metadata(&tool.file) {
                Ok(metadata) => {
                    let content = Content::Local {
                        file: tool.file.clone(),
                        size: metadata.len(),
                    };
                    plan.steps.push(Step::put(
                        &format!("bringing {}", program.name),
                        &Who::Root,
                        &path,
                        content,
                        0o755,
                    ));
                }
                Err(error) => plan.blocked.push(format!("{}: {error}", tool.file.display())),
            }
        }
    }
}

struct Built {
    programs: &'static [Program],
    account: String,
    file: PathBuf,
    sha256: Digest,
}

impl Built {
    /// Says which sources the programs are of: written last.
    fn stamp(&self) -> File {
        File::new("/opt/optivex/sources", format!("{}\n", self.sha256))
    }
}

impl Operation for Built {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        self.stamp().asks(base, asks);
        self.programs
            .iter()
            .for_each(|program| asks.path(&Who::Root, &program.path()));
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        let there = |program: &Program| {
            let found = facts.paths.get(&program.path());
            found.is_some_and(|found| found.kind == Kind::File && found.owner == "root")
        };
        if !self.stamp().differs(facts) && self.programs.iter().all(there) {
            return;
        }
        let size = match std::fs::metadata(&self.file) {
            Ok(metadata) => metadata.len(),
            Err(error) => {
                plan.blocked.push(format!("{}: {error}", self.file.display()));
                return;
            }
        };
        let who = facts.base.user(&self.account);
        let at = |name: &str| format!("{}/{name}", paths::BUILD);
        let (archive, sources, target) = (at("sources.tar"), at("sources"), at("target"));
        let content = Content::Local {
            file: self.file.clone(),
            size,
        };
        plan.steps
            .push(Step::put("bringing sources", &who, &archive, content, 0o644));
        let mut run = |what: &str, who: &Who, argv: &[&str], limit| {
            plan.steps.push(Step::run(what, who, argv).within(limit));
        };
        run("removing older sources", &who, &["rm", "-rf", "--", &sources], LONG);
        run("making a place for sources", &who, &["mkdir", "--", &sources], LONG);
        run(
            "unpacking sources",
            &who,
            &["tar", "-xf", &archive, "-C", &sources],
            LONG,
        );
        for program in self.programs {
            let manifest = format!("{sources}/Cargo.toml");
            let (package, name) = (program.package, program.name);
            let mut argv = vec![
                "cargo",
                "build",
                "--quiet",
                "--release",
                "--locked",
                "--manifest-path",
                &manifest,
                "-p",
                package,
                "--bin",
                name,
            ];
            argv.extend(program.features.iter().flat_map(|features| ["--features", features]));
            // In the sources, where the toolchain that they want is written.
            let command = Command::new(&who, &[&["env", "-C", &sources], argv.as_slice()].concat());
            let command = command.env("CARGO_TARGET_DIR", &target);
            plan.steps
                .push(Step::command(&format!("building {name}"), command).within(BUILD));
        }
        let mut run = |what: &str, argv: &[&str]| plan.steps.push(Step::run(what, &Who::Root, argv));
        for program in self.programs {
            let path = program.path();
            let beside = format!("{}/.{}.optivex-new", program.directory, program.name);
            let what = format!("installing {}", program.name);
            let built = format!("{target}/release/{}", program.name);
            // The account could have put a link there, which root must not follow.
            run(&what, &["cp", "-P", "--remove-destination", "--", &built, &beside]);
            // It may be running: its file is not written to, but replaced.
            run(&what, &["mv", "-f", "-T", "--", &beside, &path]);
        }
        let stamp = self.stamp();
        plan.steps.push(Step::put(
            "noting whose programs these are",
            &Who::Root,
            &stamp.path,
            Content::Text(stamp.text),
            0o644,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, with};
    use super::*;
    use expect_test::expect;

    fn table(
        operation: &dyn Operation,
        here: &std::path::Path,
        cases: impl IntoIterator<Item = (&'static str, Facts)>,
    ) -> String {
        super::super::testing::table(operation, cases).replace(&here.display().to_string(), "HERE")
    }

    #[test]
    fn brought() {
        let here = tempfile::tempdir().expect("a directory");
        let file = here.path().join("optivex-receive");
        std::fs::write(&file, "program").expect("written");
        let sha256 = Digest::of(b"program");
        let mut brought = Brought {
            programs: &DEV,
            tools: BTreeMap::from([("optivex-receive".to_owned(), Tool { file, sha256 })]),
        };
        let has = |text: &str| with(debian(), |facts| facts.file(paths::RECEIVE, "root", 0o755, text));
        expect![[r#"
            none:
            root$ put /usr/local/bin/optivex-receive 755 < HERE/optivex-receive
            right:
            nothing
            older:
            root$ put /usr/local/bin/optivex-receive 755 < HERE/optivex-receive
        "#]]
        .assert_eq(&table(
            &brought,
            here.path(),
            [("none", debian()), ("right", has("program")), ("older", has("older"))],
        ));
        brought.tools.clear();
        expect![[r#"
            not built:
            blocked: optivex-receive was not built on the manager's machine
        "#]]
        .assert_eq(&table(&brought, here.path(), [("not built", debian())]));
    }

    #[test]
    fn built() {
        let here = tempfile::tempdir().expect("a directory");
        let file = here.path().join("sources.tar");
        let built = Built {
            programs: &UAT[3..],
            account: "alice".to_owned(),
            file: file.clone(),
            sha256: Digest::of(b"sources"),
        };
        let has = |stamp: &str| {
            with(debian(), |facts| {
                facts.file("/opt/optivex/sources", "root", 0o644, stamp);
                UAT.iter()
                    .for_each(|program| facts.file(&program.path(), "root", 0o755, "program"));
            })
        };
        let right = has(&built.stamp().text);
        expect![[r#"
            no sources here:
            blocked: HERE/sources.tar: No such file or directory (os error 2)
        "#]]
        .assert_eq(&table(&built, here.path(), [("no sources here", debian())]));
        std::fs::write(&file, "sources").expect("written");
        expect![[r#"
            none:
            alice$ put /var/lib/optivex/build/sources.tar 644 < HERE/sources.tar
            alice$ rm -rf -- /var/lib/optivex/build/sources
            alice$ mkdir -- /var/lib/optivex/build/sources
            alice$ tar -xf /var/lib/optivex/build/sources.tar -C /var/lib/optivex/build/sources
            alice$ CARGO_TARGET_DIR=/var/lib/optivex/build/target env -C /var/lib/optivex/build/sources cargo build --quiet --release --locked --manifest-path /var/lib/optivex/build/sources/Cargo.toml -p optivex-server --bin optivex
            alice$ CARGO_TARGET_DIR=/var/lib/optivex/build/target env -C /var/lib/optivex/build/sources cargo build --quiet --release --locked --manifest-path /var/lib/optivex/build/sources/Cargo.toml -p optivex-server --bin optivex-faulty --features faults
            root$ cp -P --remove-destination -- /var/lib/optivex/build/target/release/optivex /opt/optivex/bin/.optivex.optivex-new
            root$ mv -f -T -- /opt/optivex/bin/.optivex.optivex-new /opt/optivex/bin/optivex
            root$ cp -P --remove-destination -- /var/lib/optivex/build/target/release/optivex-faulty /opt/optivex/bin/.optivex-faulty.optivex-new
            root$ mv -f -T -- /opt/optivex/bin/.optivex-faulty.optivex-new /opt/optivex/bin/optivex-faulty
            root$ put /opt/optivex/sources 644
                | 878a52fc5ff6a57d50b7b870aa51637a3dfd38fc22352a39f95a3c292eb976d5
            right:
            nothing
        "#]].assert_eq(&table(
            &built,
            here.path(),
            [("none", debian()), ("right", right.clone())],
        ));
        let missing = with(right, |facts| {
            facts.paths.remove("/opt/optivex/bin/optivex");
        });
        for facts in [missing, has("older\n")] {
            assert_ne!(table(&built, here.path(), [("", facts)]), ":\nnothing\n");
        }
    }
}
