//! Asks a machine.

use std::collections::BTreeMap;

use super::base::{self, Answer, Base};
use super::{Asks, Facts, Found, Kind, MAX_TEXT, Unit};
use crate::ssh::quote::{self, Text};
use crate::ssh::{Connection, Error};
use crate::step::{Command, LONG, SHORT, Who};

/// Reads what `asks` says, of whom it is by then known what the machine is.
pub(crate) fn read(connection: &Connection<'_>, asks: impl FnOnce(&Base) -> Asks) -> Result<Facts, Error> {
    let base = base::parse(&ask(connection, "what it is", &base::questions())?);
    let asks = asks(&base);
    // Nobody there has nothing.
    let there = |who: &Who| match who {
        Who::Root => true,
        Who::User { name, .. } => base.homes.contains_key(name),
    };
    let mut questions = Vec::new();
    let mut meanings = Vec::new();
    let mut question = |meaning: Meaning, command: Command| {
        meanings.push(meaning);
        questions.push(command);
    };
    let mut by_owner: BTreeMap<&Who, Vec<&str>> = BTreeMap::new();
    for (who, path) in asks.paths.iter().filter(|(who, _)| there(who)) {
        by_owner.entry(who).or_default().push(path);
    }
    for (who, paths) in by_owner {
        // Both fail where one path is not there, and tell of the others.
        let words = |first: &[&str]| Command::new(who, &[first, &paths].concat());
        question(
            Meaning::Stat,
            words(&["stat", "--printf", "%n\\0%F\\0%a\\0%U\\0", "--"]),
        );
        question(Meaning::Hash, words(&["sha256sum", "--zero", "--"]));
    }
    let most = MAX_TEXT.to_string();
    for (who, path) in asks.texts.iter().filter(|(who, _)| there(who)) {
        question(
            Meaning::Text(path.clone()),
            Command::new(who, &["head", "-c", &most, "--", path]),
        );
    }
    for package in &asks.packages {
        let argv: &[&str] = match base.family {
            Some(super::Family::Dnf) => &["rpm", "--quiet", "--query", "--whatprovides", "--", package],
            _ => &[
                "dpkg-query",
                "--show",
                "--showformat",
                "${db:Status-Status}\\n",
                "--",
                package,
            ],
        };
        question(Meaning::Package(package.clone()), Command::new(&Who::Root, argv));
    }
    for unit in &asks.units {
        let argv = [
            "systemctl",
            "show",
            "--property",
            "UnitFileState,ActiveState",
            "--",
            unit,
        ];
        question(Meaning::Unit(unit.clone()), Command::new(&Who::Root, &argv));
    }
    for (name, command) in asks.answers.iter().filter(|(_, command)| there(&command.who)) {
        question(Meaning::Answer(name.clone()), command.clone());
    }
    let answers = ask(connection, "what it has", &questions)?;
    let mut facts = Facts {
        base,
        ..Facts::default()
    };
    for (meaning, answer) in meanings.into_iter().zip(&answers) {
        understand(&mut facts, meaning, answer);
    }
    Ok(facts)
}

enum Meaning {
    Stat,
    Hash,
    Text(String),
    Package(String),
    Unit(String),
    Answer(String),
}

fn understand(facts: &mut Facts, meaning: Meaning, answer: &Answer) {
    match meaning {
        Meaning::Stat => {
            let fields: Vec<&str> = answer.text.split('\0').collect();
            for entry in fields.chunks_exact(4) {
                let [path, kind, mode, owner] = entry else { continue };
                let found = Found {
                    kind: match *kind {
                        "regular file" | "regular empty file" => Kind::File,
                        "directory" => Kind::Directory,
                        _ => Kind::Other,
                    },
                    mode: u32::from_str_radix(mode, 8).unwrap_or_default(),
                    owner: (*owner).to_owned(),
                    sha256: None,
                };
                facts.paths.insert((*path).to_owned(), found);
            }
        }
        // After the paths, which it adds to.
        Meaning::Hash => {
            for entry in answer.text.split('\0') {
                let Some((hash, path)) = entry.split_once("  ") else {
                    continue;
                };
                if let Some(found) = facts.paths.get_mut(path) {
                    found.sha256 = hash.parse().ok();
                }
            }
        }
        Meaning::Text(path) => {
            if answer.status == 0 {
                facts.texts.insert(path, answer.text.clone());
            }
        }
        Meaning::Package(package) => {
            if answer.status == 0 && (answer.text.is_empty() || answer.text.lines().any(|line| line == "installed")) {
                facts.packages.insert(package);
            }
        }
        Meaning::Unit(unit) => {
            let says = |line: &str| answer.text.lines().any(|said| said == line);
            let state = Unit {
                enabled: says("UnitFileState=enabled"),
                // Who drains before a restart is not stopped: a restart that was asked for comes by itself.
                active: says("ActiveState=active") || says("ActiveState=deactivating"),
            };
            facts.units.insert(unit, state);
        }
        Meaning::Answer(name) => {
            if let Some(text) = answer.ok() {
                facts.answers.insert(name, text.to_owned());
            }
        }
    }
}

/// All in one round trip, or as few as a remote shell takes.
fn ask(connection: &Connection<'_>, what: &str, questions: &[Command]) -> Result<Vec<Answer>, Error> {
    // No output can foresee it.
    let mark = format!("optivex-{:032x}", fastrand::u128(..));
    let login = &connection.host().login;
    let texts = questions
        .iter()
        .map(|question| question.text(login, SHORT))
        .collect::<Result<Vec<Text>, _>>()?;
    let mut answers = Vec::new();
    let mut rest = texts.as_slice();
    while !rest.is_empty() {
        let mut size = 0;
        let fits = rest.iter().take_while(|text| {
            size += text.as_str().len() + 128;
            size < quote::MAX_TEXT
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        let bytes = connection.read(what, &Text::framed(now, &mark)?, LONG)?;
        let got = unframe(&String::from_utf8_lossy(&bytes), &mark);
        if got.len() != now.len() {
            return Err(Error::Failed {
                name: connection.host().name.clone(),
                what: what.to_owned(),
                status: format!("{} of {} answers came", got.len(), now.len()),
                code: None,
                said: "is the shell of the login user a POSIX shell?".to_owned(),
            });
        }
        answers.extend(got);
        rest = later;
    }
    Ok(answers)
}

fn unframe(text: &str, mark: &str) -> Vec<Answer> {
    let frame = format!("\n{mark} ");
    let mut answers = Vec::new();
    let mut rest = text;
    while let Some((answer, after)) = rest.split_once(&frame) {
        let (status, after) = after.split_once('\n').unwrap_or((after, ""));
        let Ok(status) = status.parse() else { break };
        answers.push(Answer {
            status,
            text: answer.to_owned(),
        });
        rest = after;
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn frames() {
        let text = "one\n\nMARK 0\n\nMARK 1\nMARK 7\nx\nMARK 127\n";
        let answers: Vec<(u8, String)> = unframe(text, "MARK").into_iter().map(|a| (a.status, a.text)).collect();
        let expected = [(0, "one\n"), (1, ""), (127, "MARK 7\nx")];
        assert_eq!(answers, expected.map(|(status, text)| (status, text.to_owned())));
        assert!(unframe("cut off", "MARK").is_empty());
    }

    #[test]
    fn meanings() {
        let mut facts = Facts::default();
        let mut hear = |meaning, status, text: &str| {
            let text = text.to_owned();
            understand(&mut facts, meaning, &Answer { status, text });
        };
        hear(
            Meaning::Stat,
            1,
            &"/a|regular file|600|alice|/b|directory|755|root|/c|symbolic link|777|root|".replace('|', "\0"),
        );
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        hear(Meaning::Hash, 1, &format!("{hash}  /a\0odd"));
        hear(Meaning::Text("/a".to_owned()), 0, "text\n");
        hear(Meaning::Text("/z".to_owned()), 1, "");
        hear(Meaning::Package("git".to_owned()), 0, "installed\n");
        hear(Meaning::Package("gone".to_owned()), 0, "config-files\n");
        hear(Meaning::Package("none".to_owned()), 1, "");
        hear(Meaning::Package("rpm".to_owned()), 0, "");
        hear(
            Meaning::Unit("u".to_owned()),
            0,
            "UnitFileState=enabled\nActiveState=inactive\n",
        );
        hear(
            Meaning::Unit("v".to_owned()),
            0,
            "UnitFileState=enabled\nActiveState=deactivating\n",
        );
        hear(Meaning::Answer("cargo".to_owned()), 0, "cargo 1.95.0\n");
        hear(Meaning::Answer("none".to_owned()), 127, "");
        expect![[r#"
            ["/a File 600 alice Some(ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad)", "/b Directory 755 root None", "/c Other 777 root None"]
            {"/a": "text\n"}
            {"git", "rpm"}
            {"u": Unit { enabled: true, active: false }, "v": Unit { enabled: true, active: true }}
            {"cargo": "cargo 1.95.0"}
        "#]]
        .assert_eq(&format!(
            "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n",
            facts
                .paths
                .iter()
                .map(|(path, f)| format!("{path} {:?} {:o} {} {:?}", f.kind, f.mode, f.owner, f.sha256))
                .collect::<Vec<_>>(),
            facts.texts,
            facts.packages,
            facts.units,
            facts.answers
        ));
    }
}
