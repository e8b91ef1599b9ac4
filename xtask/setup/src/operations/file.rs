//! A file with its text, owner and mode.

use optivex_bundle::digest::Digest;

use super::{Operation, Owner, Plan};
use crate::facts::{Asks, Base, Facts};
use crate::step::{Content, Step};

pub(crate) struct File {
    pub(crate) owner: Owner,
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) mode: u32,
}

impl File {
    pub(crate) fn new(path: &str, text: String) -> Self {
        Self {
            owner: Owner::Root,
            path: path.to_owned(),
            text,
            mode: 0o644,
        }
    }

    pub(crate) fn differs(&self, facts: &Facts) -> bool {
        let (who, path) = (self.owner.who(&facts.base), self.owner.path(&facts.base, &self.path));
        !facts.is_file(&path, &who, self.mode, &Digest::of(self.text.as_bytes()))
    }
}

impl Operation for File {
    fn asks(&self, base: &Base, asks: &mut Asks) {
        asks.path(&self.owner.who(base), &self.owner.path(base, &self.path));
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        if self.differs(facts) {
            let (who, path) = (self.owner.who(&facts.base), self.owner.path(&facts.base, &self.path));
            let content = Content::Text(self.text.clone());
            plan.steps
                .push(Step::put(&format!("writing {path}"), &who, &path, content, self.mode));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, table, with};
    use super::*;
    use expect_test::expect;

    #[test]
    fn files() {
        let file = File::new("/etc/x", "a\nb\n".to_owned());
        let has = |owner: &str, mode, text: &str| with(debian(), |facts| facts.file("/etc/x", owner, mode, text));
        expect![[r#"
            none:
            root$ put /etc/x 644
                | a
                | b
            right:
            nothing
            other text:
            root$ put /etc/x 644
                | a
                | b
            other mode:
            root$ put /etc/x 644
                | a
                | b
            other owner:
            root$ put /etc/x 644
                | a
                | b
            a directory:
            root$ put /etc/x 644
                | a
                | b
        "#]]
        .assert_eq(&table(
            &file,
            [
                ("none", debian()),
                ("right", has("root", 0o644, "a\nb\n")),
                ("other text", has("root", 0o644, "a\n")),
                ("other mode", has("root", 0o600, "a\nb\n")),
                ("other owner", has("alice", 0o644, "a\nb\n")),
                (
                    "a directory",
                    with(debian(), |facts| facts.directory("/etc/x", "root", 0o644)),
                ),
            ],
        ));
    }
}
