//! Lines of ours in a file that others write to, too: between two lines that say so. What is around them stays.

use super::{Operation, Owner, Plan};
use crate::facts::{Asks, Base, Facts, Kind, MAX_TEXT};
use crate::spec::Peer;
use crate::step::{Content, Step};

pub(crate) struct Block {
    owner: Owner,
    path: String,
    mode: u32,
    /// What the lines are, in words; no two blocks of a file have the same.
    about: String,
    lines: Vec<String>,
}

impl Block {
    pub(crate) fn new(owner: Owner, path: &str, mode: u32, about: &str, lines: Vec<String>) -> Self {
        Self {
            owner,
            path: path.to_owned(),
            mode,
            about: about.to_owned(),
            lines,
        }
    }

    /// Keys that may log in to an account.
    pub(crate) fn authorized_keys(owner: Owner, about: &str, lines: Vec<String>) -> Self {
        Self::new(owner, ".ssh/authorized_keys", 0o600, about, lines)
    }

    /// A machine that everybody on this one may trust to be itself, by each of its keys.
    pub(crate) fn known_hosts(peer: &Peer) -> Self {
        let host = match peer.port {
            22 => peer.address.clone(),
            port => format!("[{}]:{port}", peer.address),
        };
        let keys = [Some(&peer.host_key), peer.next_host_key.as_ref()];
        let lines = keys.into_iter().flatten().map(|key| format!("{host} {key}"));
        Self::new(Owner::Root, "/etc/ssh/ssh_known_hosts", 0o644, "UAT", lines.collect())
    }
}

/// The text with the lines of that block, at its place if there is one, else at the end; without it, if there are no
/// lines.
pub(crate) fn replaced(text: &str, about: &str, lines: &[String]) -> String {
    let begin = format!("# optivex begin: {about}");
    let end = format!("# optivex end: {about}");
    let mut before = Vec::new();
    let mut after = Vec::new();
    let mut inside = false;
    let mut found = false;
    for line in text.lines() {
        if line == begin {
            (inside, found) = (true, true);
        } else if line == end && inside {
            inside = false;
        } else if !inside {
            if found { &mut after } else { &mut before }.push(line);
        }
    }
    let mut all: Vec<&str> = before;
    if !lines.is_empty() {
        all.push(&begin);
        all.extend(lines.iter().map(String::as_str));
        all.push(&end);
    }
    all.extend(after);
    all.iter().map(|line| format!("{line}\n")).collect()
}

impl Operation for Block {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        asks.text(&self.owner.who(base), &self.owner.path(base, &self.path));
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        let (who, path) = (self.owner.who(&facts.base), self.owner.path(&facts.base, &self.path));
        let text = facts.text(&path);
        if text.len() >= MAX_TEXT {
            plan.blocked.push(format!(
                "{path} has more than {MAX_TEXT} bytes: too many to be changed by us"
            ));
            return;
        }
        let new = replaced(text, &self.about, &self.lines);
        let right = match facts.paths.get(&path) {
            None => new.is_empty(),
            // The mode is theirs to choose, unless others could write.
            Some(found) => found.kind == Kind::File && found.mode & 0o022 & !self.mode == 0 && new == text,
        };
        if !right {
            let what = format!("writing {} to {path}", self.about);
            plan.steps
                .push(Step::put(&what, &who, &path, Content::Text(new), self.mode));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, key, table, with};
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    #[test]
    fn blocks() {
        let lines = vec!["one".to_owned(), "two".to_owned()];
        let block = Block::authorized_keys(Owner::Account("alice".to_owned()), "keys", lines.clone());
        let path = "/home/alice/.ssh/authorized_keys";
        let has = |mode, text: &str| with(debian(), |facts| facts.file(path, "alice", mode, text));
        let right = replaced("theirs\n", "keys", &lines);
        expect![[r#"
            none:
            alice$ put /home/alice/.ssh/authorized_keys 600
                | # optivex begin: keys
                | one
                | two
                | # optivex end: keys
            theirs, without an end of line:
            alice$ put /home/alice/.ssh/authorized_keys 600
                | theirs
                | # optivex begin: keys
                | one
                | two
                | # optivex end: keys
            right:
            nothing
            right, and readable:
            nothing
            right, but writable:
            alice$ put /home/alice/.ssh/authorized_keys 600
                | theirs
                | # optivex begin: keys
                | one
                | two
                | # optivex end: keys
            changed:
            alice$ put /home/alice/.ssh/authorized_keys 600
                | a
                | # optivex begin: keys
                | one
                | two
                | # optivex end: keys
                | z
            another block:
            alice$ put /home/alice/.ssh/authorized_keys 600
                | # optivex begin: results
                | r
                | # optivex end: results
                | # optivex begin: keys
                | one
                | two
                | # optivex end: keys
        "#]]
        .assert_eq(&table(
            &block,
            [
                ("none", debian()),
                ("theirs, without an end of line", has(0o600, "theirs")),
                ("right", has(0o600, &right)),
                ("right, and readable", has(0o644, &right)),
                ("right, but writable", has(0o664, &right)),
                (
                    "changed",
                    has(0o600, "a\n# optivex begin: keys\nwrong\n# optivex end: keys\nz\n"),
                ),
                (
                    "another block",
                    has(0o600, "# optivex begin: results\nr\n# optivex end: results\n"),
                ),
            ],
        ));
    }

    #[test]
    fn no_lines_no_block() {
        let block = Block::new(Owner::Root, "/etc/x", 0o644, "keys", Vec::new());
        let had = replaced("theirs\n", "keys", &["k".to_owned()]);
        expect![[r#"
            none:
            nothing
            had some:
            root$ put /etc/x 644
                | theirs
        "#]]
        .assert_eq(&table(
            &block,
            [
                ("none", debian()),
                (
                    "had some",
                    with(debian(), |facts| facts.file("/etc/x", "root", 0o644, &had)),
                ),
            ],
        ));
    }

    #[test]
    fn hosts_by_port() {
        let peer = |port| Peer {
            account: "uat".parse().expect("a name"),
            address: "10.0.0.9".to_owned(),
            port,
            host_key: key("hk"),
            next_host_key: (port == 22).then(|| key("nx")),
        };
        let lines = [22, 2222].map(|port| Block::known_hosts(&peer(port)).lines.join("\n"));
        assert_eq!(
            lines,
            [
                format!("10.0.0.9 {}\n10.0.0.9 {}", key("hk"), key("nx")),
                format!("[10.0.0.9]:2222 {}", key("hk"))
            ]
        );
    }

    proptest! {
        #[test]
        fn the_second_time_there_is_nothing_to_do(
            text in "([a-z# :]{0,12}\n|# optivex begin: keys\n|# optivex end: keys\n){0,8}",
            lines in prop::collection::vec("[a-z ]{1,9}", 0..4),
        ) {
            let once = replaced(&text, "keys", &lines);
            prop_assert_eq!(replaced(&once, "keys", &lines), once);
        }
    }
}
