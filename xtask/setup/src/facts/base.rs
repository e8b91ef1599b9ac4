//! What every machine is asked.

use std::collections::BTreeMap;

use crate::step::{Command, Who};

/// How packages come to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Apt,
    Dnf,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base {
    /// As os-release names it to people.
    pub(crate) os: String,
    pub(crate) family: Option<Family>,
    /// Such as x86_64.
    pub(crate) arch: String,
    /// Such as `glibc 2.36`; none where it is another libc.
    pub(crate) libc: Option<String>,
    pub(crate) systemd: bool,
    /// Root can be had without a password.
    pub(crate) root: bool,
    /// Home directories by user.
    pub(crate) homes: BTreeMap<String, String>,
    /// sshd's process, where it wrote it down.
    pub(crate) sshd: Option<u32>,
    /// Settings of the kernel, by name, where it has them.
    pub(crate) sysctl: BTreeMap<String, String>,
    /// cloud-init's state, where the machine has it: `status: done`.
    pub(crate) cloud_init: Option<String>,
}

pub(crate) const SYSCTLS: [&str; 3] = [
    "kernel.unprivileged_userns_clone",
    "kernel.apparmor_restrict_unprivileged_userns",
    "user.max_user_namespaces",
];

fn sysctl_file(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

/// An answer: its exit status and its text.
pub(crate) struct Answer {
    pub(crate) status: u8,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn ok(&self) -> Option<&str> {
        (self.status == 0).then(|| self.text.trim_end_matches('\n'))
    }
}

/// The questions, in the order of their answers. As root, so that whether we can be it is an answer, too.
pub(crate) fn questions() -> Vec<Command> {
    let root = |argv: &[&str]| Command::new(&Who::Root, argv);
    let mut questions = vec![
        root(&["id", "-u"]),
        root(&["cat", "/etc/os-release"]),
        root(&["uname", "-m"]),
        root(&["getconf", "GNU_LIBC_VERSION"]),
        root(&["test", "-d", "/run/systemd/system"]),
        root(&["getent", "passwd"]),
        root(&["cat", "/run/sshd.pid"]),
        root(&["cloud-init", "status"]),
    ];
    questions.extend(SYSCTLS.iter().map(|name| root(&["cat", &sysctl_file(name)])));
    questions
}

pub(crate) fn parse(answers: &[Answer]) -> Base {
    let answer = |index: usize| answers.get(index).and_then(Answer::ok);
    let release = os_release(answer(1).unwrap_or_default());
    let field = |name: &str| release.get(name).map_or("", String::as_str);
    let likes: Vec<&str> = field("ID").split(' ').chain(field("ID_LIKE").split(' ')).collect();
    let like = |names: &[&str]| names.iter().any(|name| likes.contains(name));
    let family = if like(&["debian", "ubuntu"]) {
        Some(Family::Apt)
    } else if like(&["fedora", "rhel", "centos", "amzn"]) {
        Some(Family::Dnf)
    } else {
        None
    };
    let homes = answer(5).unwrap_or_default().lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[..] {
            [name, _, _, _, _, home, _] => Some((name.to_owned(), home.to_owned())),
            _ => None,
        }
    });
    // It tells its state and fails where the boot had a fault, which is ours to meet as it comes.
    let cloud_init = answers
        .get(7)
        .map(|answer| answer.text.trim().to_owned())
        .filter(|text| text.contains("status:"));
    let sysctl = SYSCTLS
        .iter()
        .enumerate()
        .filter_map(|(index, name)| answer(8 + index).map(|value| ((*name).to_owned(), value.trim().to_owned())));
    Base {
        os: match field("PRETTY_NAME") {
            "" => "an unknown system".to_owned(),
            name => name.to_owned(),
        },
        family,
        arch: answer(2).unwrap_or_default().to_owned(),
        libc: answer(3).map(str::to_owned),
        systemd: answer(4).is_some(),
        root: answer(0) == Some("0"),
        homes: homes.collect(),
        sshd: answer(6).and_then(|text| text.trim().parse().ok()),
        sysctl: sysctl.collect(),
        cloud_init,
    }
}

fn os_release(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        .collect()
}

impl Base {
    /// Of an account, or where it will be once there is one.
    pub(crate) fn home(&self, user: &str) -> String {
        self.homes.get(user).cloned().unwrap_or_else(|| format!("/home/{user}"))
    }

    /// A user as whom commands run.
    pub(crate) fn user(&self, name: &str) -> Who {
        Who::user(name, &self.home(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn answers(texts: [(u8, &str); 11]) -> Vec<Answer> {
        texts
            .into_iter()
            .map(|(status, text)| Answer {
                status,
                text: text.to_owned(),
            })
            .collect()
    }

    #[test]
    fn machines() {
        let debian = answers([
            (0, "0\n"),
            (
                0,
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nID=debian\n",
            ),
            (0, "x86_64\n"),
            (0, "glibc 2.36\n"),
            (0, ""),
            (
                0,
                "root:x:0:0:root:/root:/bin/bash\nadmin:x:1000:1000:,,,:/home/admin:/bin/bash\nodd line\n",
            ),
            (0, "812\n"),
            (0, "status: running\n"),
            (0, "1\n"),
            (1, ""),
            (0, "63432\n"),
        ]);
        expect![[r#"
            Base {
                os: "Debian GNU/Linux 12 (bookworm)",
                family: Some(
                    Apt,
                ),
                arch: "x86_64",
                libc: Some(
                    "glibc 2.36",
                ),
                systemd: true,
                root: true,
                homes: {
                    "admin": "/home/admin",
                    "root": "/root",
                },
                sshd: Some(
                    812,
                ),
                sysctl: {
                    "kernel.unprivileged_userns_clone": "1",
                    "user.max_user_namespaces": "63432",
                },
                cloud_init: Some(
                    "status: running",
                ),
            }
        "#]]
        .assert_debug_eq(&parse(&debian));
    }

    #[test]
    fn families() {
        let family = |release| {
            let mut all = answers([(1, ""); 11]);
            all[1] = Answer {
                status: 0,
                text: release,
            };
            parse(&all).family
        };
        for (release, expected) in [
            ("ID=debian", Some(Family::Apt)),
            ("ID=ubuntu\nID_LIKE=debian", Some(Family::Apt)),
            ("ID=\"amzn\"\nID_LIKE=\"fedora\"", Some(Family::Dnf)),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"", Some(Family::Dnf)),
            ("ID=alpine", None),
            ("", None),
        ] {
            assert_eq!(family(release.to_owned()), expected, "{release}");
        }
    }

    #[test]
    fn a_machine_that_answers_nothing_is_one_without_anything() {
        assert_eq!(
            parse(&[]),
            Base {
                os: "an unknown system".to_owned(),
                ..Base::default()
            }
        );
    }
}
