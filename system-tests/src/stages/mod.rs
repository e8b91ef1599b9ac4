//! The stages: one file each, and one line each in the two lists below.

use crate::case::Stage;

pub mod boot;
pub mod clients;
pub mod depth;
pub mod instruments;
pub mod load;
pub mod login;
pub mod order_entry;
pub mod order_types;
pub mod orders;
pub mod phases;
pub mod precision;
pub mod races;
pub mod recovery;
pub mod risk;
pub mod tape;
pub mod top;

/// All stages, by number: a stage comes after those that it builds on.
#[rustfmt::skip]
pub const STAGES: &[Stage] = &[
    boot::STAGE,        // 1
    login::STAGE,       // 2
    instruments::STAGE, // 3
    orders::STAGE,      // 4
    top::STAGE,         // 5
    depth::STAGE,       // 6
    tape::STAGE,        // 7
    order_types::STAGE, // 8
    risk::STAGE,        // 9
    phases::STAGE,      // 10
    races::STAGE,       // 11
    precision::STAGE,   // 12
    order_entry::STAGE, // 13
    clients::STAGE,     // 14
    recovery::STAGE,    // 15
    load::STAGE,        // 16
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_registry_is_well_formed() {
        let slug_fits = |slug: &str| {
            slug.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        let mut before: Vec<&Stage> = Vec::new();
        for stage in STAGES {
            let name = stage.slug;
            assert!(slug_fits(name), "{name}");
            assert!(
                before.last().is_none_or(|last| last.number < stage.number),
                "{name}: stages by number"
            );
            assert_eq!(
                stage.core,
                (1..=7).contains(&stage.number) || stage.number == 9,
                "{name}: core"
            );
            assert_eq!(
                stage.builds_on.is_empty(),
                stage.number == 1,
                "{name}: builds on something"
            );
            for base in stage.builds_on {
                let base = before.iter().find(|before| before.slug == *base);
                let base = base.unwrap_or_else(|| panic!("{name} builds on a stage before it"));
                assert!(
                    base.cases.iter().any(|case| case.base),
                    "{}: has no base case",
                    base.slug
                );
            }
            let mut slugs = HashSet::new();
            for case in stage.cases {
                let name = format!("{name}/{}", case.slug);
                assert!(
                    slug_fits(case.slug) && slugs.insert(case.slug),
                    "{name}: a slug of its own"
                );
                assert!(
                    case.title.ends_with('.') && !case.title.trim_end_matches('.').contains(". "),
                    "{name}: one sentence"
                );
                assert!(!case.clause.is_empty(), "{name}: a clause");
                for wanted in case.wants {
                    let extension = STAGES.iter().find(|stage| stage.slug == *wanted && !stage.core);
                    assert!(
                        extension.is_some() && stage.slug != *wanted && !stage.builds_on.contains(wanted),
                        "{name}: wants an extension that its stage does not need anyway"
                    );
                }
            }
            assert!(!stage.cases.is_empty(), "{name}: cases");
            before.push(stage);
        }
    }
}
