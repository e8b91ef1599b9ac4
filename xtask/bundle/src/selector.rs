//! `--on alice,team-*`: which machines a command is about.

use std::str::FromStr;

use crate::digest::NotThat;
use crate::inventory::{Inventory, Machine, RoleName};
use crate::names::Name;

/// Names, or patterns of them with `*` for any text and `?` for one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<String>);

/// What is chosen is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no machine {0}; there are: {1}")]
pub struct NoSuchMachine(String, String);

impl FromStr for Selector {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        let right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-*?".contains(&byte);
        let patterns: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
        let fits = |pattern: &String| (1..=64).contains(&pattern.len()) && pattern.bytes().all(right);
        match patterns.iter().all(fits) {
            true => Ok(Self(patterns)),
            false => Err(NotThat(
                "machines: names with commas between them, * and ? for parts of names",
            )),
        }
    }
}

impl Selector {
    /// Whether a name is meant.
    pub fn fits(&self, name: &Name) -> bool {
        self.0
            .iter()
            .any(|pattern| fits(pattern.as_bytes(), name.as_str().as_bytes()))
    }
}

/// In time of the product of both lengths, however many stars there are.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    // fitting[n]: the pattern so far fits the first n letters.
    let mut fitting = vec![false; name.len() + 1];
    fitting[0] = true;
    for &wanted in pattern {
        if wanted == b'*' {
            let mut any = false;
            for fits in &mut fitting {
                any |= *fits;
                *fits = any;
            }
        } else {
            for n in (1..fitting.len()).rev() {
                fitting[n] = fitting[n - 1] && (wanted == b'?' || wanted == name[n - 1]);
            }
            fitting[0] = false;
        }
    }
    fitting[name.len()]
}

/// The machines that are meant, in the inventory's order.
///
/// # Errors
/// A pattern that fits none: most likely mistyped.
pub fn choose<'a>(
    inventory: &'a Inventory,
    on: Option<&Selector>,
    role: Option<RoleName>,
) -> Result<Vec<Machine<'a>>, NoSuchMachine> {
    let names = || {
        let names: Vec<_> = inventory.machines().map(|machine| machine.id.as_str()).collect();
        names.join(", ")
    };
    for pattern in on.iter().flat_map(|selector| &selector.0) {
        let any = |machine: Machine<'_>| fits(pattern.as_bytes(), machine.id.as_str().as_bytes());
        if !inventory.machines().any(any) {
            return Err(NoSuchMachine(pattern.clone(), names()));
        }
    }
    let is_meant = |machine: &Machine<'_>| {
        on.is_none_or(|selector| selector.fits(machine.id)) && role.is_none_or(|role| role == machine.role)
    };
    Ok(inventory.machines().filter(is_meant).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn stars_are_no_work() {
        let selector: Selector = "*a".repeat(31).parse().expect("a selector");
        let [all, one_less] = [31, 30].map(|length| "a".repeat(length).parse::<Name>().expect("a name"));
        assert!(selector.fits(&all) && !selector.fits(&one_less));
        let never: Selector = format!("{}b", "*a".repeat(15)).parse().expect("a selector");
        assert!(!never.fits(&all));
    }

    #[test]
    fn machines_are_chosen() {
        let text = include_str!("../../../infra/inventory.example.yaml");
        let inventory = Inventory::parse(text, Path::new("x")).expect("an inventory");
        let cases: [(Option<&str>, Option<RoleName>, &[&str]); 7] = [
            (None, None, &["uat", "alice", "bob"]),
            (Some("*"), Some(RoleName::Dev), &["alice", "bob"]),
            (Some("a*"), None, &["alice"]),
            (Some("*l*c?"), None, &["alice"]),
            (Some("bob, uat"), None, &["uat", "bob"]),
            (Some("b?b"), Some(RoleName::Uat), &[]),
            (None, Some(RoleName::Uat), &["uat"]),
        ];
        for (on, role, expected) in cases {
            let on = on.map(|on| on.parse().expect("a selector"));
            let chosen = choose(&inventory, on.as_ref(), role).expect("chosen");
            let names: Vec<_> = chosen.iter().map(|machine| machine.id.as_str()).collect();
            assert_eq!(names, expected, "{on:?} {role:?}");
        }
        let nobody = choose(&inventory, Some(&"alice,carol".parse().expect("a selector")), None).expect_err("no carol");
        assert_eq!(nobody.to_string(), "no machine carol; there are: uat, alice, bob");
        for wrong in ["", "a,,b", "A", "a/b", "$(id)"] {
            assert!(wrong.parse::<Selector>().is_err(), "{wrong:?}");
        }
    }
}
