//! What a machine must have for its role before we can install the rest ourselves, and how its package
//! manager gives it. Facts in, commands out.

use std::fmt;

use anyhow::Result;
use xshell::{Shell, cmd};

use optivex_exit::{Exit, Failure};

/// What a machine is for; each role has what the ones before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Role {
    /// Builds and runs the exchange.
    Exchange,
    /// Runs all tests.
    Tests,
    /// Runs every check.
    Ci,
    /// Rehearses the program, as root on Linux.
    Rehearsal,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Exchange => "exchange",
            Role::Tests => "tests",
            Role::Ci => "ci",
            Role::Rehearsal => "rehearsal",
        })
    }
}

/// Who installs a need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    System {
        apt: &'static str,
        dnf: &'static str,
    },
    /// A component of the toolchain that rust-toolchain.toml names.
    Rustup(&'static str),
}

/// One thing that only a package manager can give.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) name: &'static str,
    pub(crate) what_for: &'static str,
    role: Role,
    /// Succeeds where the need is met.
    check: &'static [&'static str],
    from: From,
}

const NEEDS: [Need; 12] = [
    Need {
        name: "C compiler",
        what_for: "links every program",
        role: Role::Exchange,
        check: &["cc", "--version"],
        from: From::System {
            apt: "gcc libc6-dev",
            dnf: "gcc",
        },
    },
    Need {
        name: "Python 3.10 with venv",
        what_for: "grpcurl, and the client and the exchange in Python that tests use",
        role: Role::Tests,
        check: &[
            "python3",
            "-c",
            "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))",
        ],
        from: From::System {
            apt: "python3-venv",
            dnf: "python3 python3-pip",
        },
    },
    Need {
        name: "npm",
        what_for: "buf: contract checks and the client of reflection v1",
        role: Role::Tests,
        check: &["npm", "--version"],
        from: From::System {
            apt: "nodejs npm",
            dnf: "nodejs npm",
        },
    },
    Need {
        name: "sshd",
        what_for: "machines to set up, and hosts of the rehearsal",
        role: Role::Tests,
        // It lies where a plain user's PATH has nothing, and says its version nowhere: -V came late.
        check: &["test", "-x", "/usr/sbin/sshd"],
        from: From::System {
            apt: "openssh-server",
            dnf: "openssh-server",
        },
    },
    Need {
        name: "bubblewrap",
        what_for: "the sandbox that submissions run in",
        role: Role::Tests,
        check: &["bwrap", "--version"],
        from: From::System {
            apt: "bubblewrap",
            dnf: "bubblewrap",
        },
    },
    Need {
        name: "git",
        what_for: "the contract as it was, the files of the repository",
        role: Role::Ci,
        check: &["git", "--version"],
        from: From::System { apt: "git", dnf: "git" },
    },
    Need {
        name: "rustfmt",
        what_for: "format",
        role: Role::Ci,
        check: &["cargo", "fmt", "--version"],
        from: From::Rustup("rustfmt"),
    },
    Need {
        name: "clippy",
        what_for: "lints",
        role: Role::Ci,
        check: &["cargo", "clippy", "--version"],
        from: From::Rustup("clippy"),
    },
    Need {
        name: "util-linux",
        what_for: "namespaces of the rehearsal and its hosts",
        role: Role::Rehearsal,
        check: &["unshare", "--version"],
        from: From::System {
            apt: "util-linux",
            dnf: "util-linux",
        },
    },
    Need {
        name: "iproute2",
        what_for: "the hosts' network",
        role: Role::Rehearsal,
        check: &["ip", "-V"],
        from: From::System {
            apt: "iproute2",
            dnf: "iproute",
        },
    },
    Need {
        name: "OpenSSH's client",
        what_for: "provisioning",
        role: Role::Rehearsal,
        check: &["ssh", "-V"],
        from: From::System {
            apt: "openssh-client",
            dnf: "openssh-clients",
        },
    },
    Need {
        name: "sudo",
        what_for: "the hosts' login user",
        role: Role::Rehearsal,
        check: &["sudo", "--version"],
        from: From::System {
            apt: "sudo",
            dnf: "sudo",
        },
    },
];

/// The needs of a role.
pub(crate) fn of(role: Role) -> impl Iterator<Item = &'static Need> {
    NEEDS.iter().filter(move |need| need.role <= role)
}

impl Need {
    /// Whether this machine has it.
    pub(crate) fn is_met(&self, sh: &Shell) -> bool {
        let [program, args @ ..] = self.check else { return false };
        cmd!(sh, "{program} {args...}")
            .quiet()
            .ignore_stdout()
            .ignore_stderr()
            .run()
            .is_ok()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packager {
    Apt,
    Dnf,
}

/// What a plan depends on.
#[derive(Debug)]
pub(crate) struct Facts {
    root: bool,
    packager: Option<Packager>,
}

impl Facts {
    /// Of this machine.
    pub(crate) fn gather(sh: &Shell) -> Self {
        let answers = |program: &str| cmd!(sh, "{program} --version").quiet().ignore_stderr().read().is_ok();
        Self {
            root: cmd!(sh, "id -u")
                .quiet()
                .ignore_stderr()
                .read()
                .is_ok_and(|id| id == "0"),
            packager: if answers("apt-get") {
                Some(Packager::Apt)
            } else if answers("dnf") {
                Some(Packager::Dnf)
            } else {
                None
            },
        }
    }
}

type Command = Vec<String>;

/// How what is missing comes to the machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing is missing.
    Nothing,
    /// We may run these.
    Run(Vec<Command>),
    /// A person must paste this line.
    Paste(String),
    /// No package manager that we know.
    ByHand(String),
}

/// The plan for what is missing.
pub(crate) fn plan(missing: &[&Need], facts: &Facts) -> Plan {
    let mut packages = Vec::new();
    let mut components = Vec::new();
    for need in missing {
        match need.from {
            From::System { apt, dnf } => packages.extend(
                match facts.packager {
                    Some(Packager::Apt) => apt,
                    Some(Packager::Dnf) => dnf,
                    None => need.name,
                }
                .split(' '),
            ),
            From::Rustup(component) => components.push(component),
        }
    }
    let mut commands: Vec<Command> = Vec::new();
    if !components.is_empty() {
        commands.push(command("rustup component add", &components));
    }
    if packages.is_empty() {
        return if commands.is_empty() {
            Plan::Nothing
        } else {
            Plan::Run(commands)
        };
    }
    let system = match facts.packager {
        Some(Packager::Apt) => vec![
            command("apt-get update", &[]),
            command("apt-get install --yes --no-install-recommends", &packages),
        ],
        Some(Packager::Dnf) => vec![command("dnf install --assumeyes", &packages)],
        None => {
            let names: Vec<_> = missing.iter().map(|need| need.name).collect();
            return Plan::ByHand(format!("install {}", names.join(", ")));
        }
    };
    if facts.root {
        commands.extend(system);
        return Plan::Run(commands);
    }
    commands.extend(system.into_iter().map(|mut command| {
        command.insert(0, "sudo".to_owned());
        command
    }));
    let lines: Vec<String> = commands.iter().map(|command| command.join(" ")).collect();
    Plan::Paste(lines.join(" && "))
}

fn command(start: &str, rest: &[&str]) -> Command {
    start
        .split(' ')
        .chain(rest.iter().copied())
        .map(str::to_owned)
        .collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Plan::Nothing => f.write_str("nothing"),
            Plan::Run(commands) => {
                let lines: Vec<String> = commands.iter().map(|command| command.join(" ")).collect();
                f.write_str(&lines.join(" && "))
            }
            Plan::Paste(line) | Plan::ByHand(line) => f.write_str(line),
        }
    }
}

/// Makes the machine have what the role needs, or fails with what a person must do.
pub(crate) fn ensure(sh: &Shell, role: Role) -> Result<()> {
    let missing: Vec<&Need> = of(role).filter(|need| !need.is_met(sh)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|need| need.name).collect();
    let names = names.join(", ");
    match plan(&missing, &Facts::gather(sh)) {
        Plan::Nothing => {}
        Plan::Run(commands) => {
            println!("installing {names}, which this machine lacks");
            for command in commands {
                let [program, args @ ..] = command.as_slice() else {
                    continue;
                };
                cmd!(sh, "{program} {args...}")
                    .env("DEBIAN_FRONTEND", "noninteractive")
                    .run()
                    .map_err(|error| Failure::new(Exit::Infrastructure, format!("missing: {names}; {error}")))?;
            }
        }
        Plan::Paste(line) => {
            return Err(Failure::new(
                Exit::Infrastructure,
                format!("this machine lacks {names}; paste this line:\n\n    {line}\n"),
            )
            .into());
        }
        Plan::ByHand(line) => return Err(Failure::new(Exit::Infrastructure, line).into()),
    }
    match missing.iter().find(|need| !need.is_met(sh)) {
        None => Ok(()),
        Some(need) => Err(Failure::new(
            Exit::Infrastructure,
            format!("{} still does not work: {}", need.name, need.check.join(" ")),
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<&'static Need> {
        names
            .iter()
            .map(|name| {
                NEEDS
                    .iter()
                    .find(|need| need.name == *name)
                    .expect("a need of the table")
            })
            .collect()
    }

    #[test]
    fn plans() {
        const PYTHON: &str = "Python 3.10 with venv";
        let apt = Some(Packager::Apt);
        let dnf = Some(Packager::Dnf);
        let cases = [
            (vec![], true, apt, "run: nothing"),
            (
                vec![PYTHON, "npm"],
                true,
                apt,
                "run: apt-get update && apt-get install --yes --no-install-recommends python3-venv nodejs npm",
            ),
            (
                vec![PYTHON, "npm"],
                false,
                apt,
                "paste: sudo apt-get update && sudo apt-get install --yes --no-install-recommends python3-venv nodejs npm",
            ),
            (
                vec![PYTHON, "C compiler"],
                true,
                dnf,
                "run: dnf install --assumeyes python3 python3-pip gcc",
            ),
            (
                vec!["sshd", "bubblewrap"],
                true,
                apt,
                "run: apt-get update && apt-get install --yes --no-install-recommends openssh-server bubblewrap",
            ),
            (
                vec!["npm"],
                false,
                dnf,
                "paste: sudo dnf install --assumeyes nodejs npm",
            ),
            (
                vec!["npm", PYTHON],
                true,
                None,
                "by hand: install npm, Python 3.10 with venv",
            ),
            // Rustup belongs to the user: no root is needed.
            (
                vec!["rustfmt", "clippy"],
                false,
                apt,
                "run: rustup component add rustfmt clippy",
            ),
            (vec!["clippy"], false, None, "run: rustup component add clippy"),
            (
                vec!["clippy", "git"],
                false,
                apt,
                "paste: rustup component add clippy && sudo apt-get update && sudo apt-get install --yes --no-install-recommends git",
            ),
        ];
        for (missing, root, packager, expected) in cases {
            let facts = Facts { root, packager };
            let plan = plan(&named(&missing), &facts);
            let kind = match plan {
                Plan::Nothing | Plan::Run(_) => "run",
                Plan::Paste(_) => "paste",
                Plan::ByHand(_) => "by hand",
            };
            assert_eq!(format!("{kind}: {plan}"), expected, "{missing:?} {facts:?}");
        }
    }

    #[test]
    fn roles_grow() {
        let names = |role| of(role).map(|need| need.name).collect::<Vec<_>>();
        assert_eq!(names(Role::Exchange), ["C compiler"]);
        assert_eq!(
            names(Role::Tests),
            ["C compiler", "Python 3.10 with venv", "npm", "sshd", "bubblewrap"]
        );
        assert_eq!(names(Role::Ci).last(), Some(&"clippy"));
        assert_eq!(names(Role::Rehearsal).len(), NEEDS.len());
    }
}
