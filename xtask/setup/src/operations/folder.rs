//! The folder of a file that the daemon writes where the inventory says: made for the account where it is missing, and
//! never taken from somebody else.

use std::path::Path;

use optivex_bundle::inventory::AbsolutePath;

use super::{Operation, Plan};
use crate::facts::{Asks, Base, Facts, Kind};
use crate::step::{Step, Who};

pub(crate) struct Folder {
    account: String,
    file: String,
    path: String,
}

impl Folder {
    pub(crate) fn of(account: &str, file: &AbsolutePath) -> Self {
        let parent = Path::new(file.as_str()).parent().unwrap_or(Path::new("/"));
        Self {
            account: account.to_owned(),
            file: file.to_string(),
            path: parent.display().to_string(),
        }
    }
}

impl Operation for Folder {
    fn asks(&self, _: &Base, asks: &mut Asks) {
        asks.path(&Who::Root, &self.path);
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        let Self { account, file, path } = self;
        match facts.paths.get(path) {
            None => {
                let argv = ["install", "-d", "-m", "755", "-o", account, "-g", account, "--", path];
                plan.steps.push(Step::run(&format!("making {path}"), &Who::Root, &argv));
            }
            Some(found) if found.kind == Kind::Directory && found.owner == *account => {}
            Some(found) => plan.notes.push(format!(
                "{path} is of {}, and left as it is: see to it that {account} may write {file} there",
                found.owner
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{debian, table, with};
    use super::*;
    use expect_test::expect;

    #[test]
    fn folders() {
        let folder = Folder::of("alice", &"/var/www/optivex/index.html".parse().expect("a path"));
        let has = |owner: &str| with(debian(), |facts| facts.directory("/var/www/optivex", owner, 0o755));
        expect![[r#"
            none:
            root$ install -d -m 755 -o alice -g alice -- /var/www/optivex
            right:
            nothing
            another's:
            note: /var/www/optivex is of root, and left as it is: see to it that alice may write /var/www/optivex/index.html there
        "#]]
        .assert_eq(&table(
            &folder,
            [("none", debian()), ("right", has("alice")), ("another's", has("root"))],
        ));
    }
}
