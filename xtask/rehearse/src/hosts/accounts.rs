//! The account files of a fresh image: of this machine's accounts, only the system's.

use std::collections::HashSet;

/// Accounts of people start here, and end before the overflow ids.
const PEOPLE: std::ops::Range<u32> = 1000..60_000;

/// One of passwd, group, shadow, gshadow, subuid and subgid without the accounts of people. `passwd` tells, by their
/// ids, who is one.
pub(super) fn of_the_system(file: &str, text: &str, passwd: &str) -> String {
    let people: HashSet<&str> = passwd.lines().filter(|line| is_person(line)).filter_map(name).collect();
    let mut kept = String::new();
    for line in text.lines() {
        let drop = match file {
            "passwd" | "group" => is_person(line),
            "subuid" | "subgid" => true,
            _ => name(line).is_some_and(|name| people.contains(name)),
        };
        if drop {
            continue;
        }
        // People leave the groups of the system too.
        match line.rsplit_once(':') {
            Some((head, members)) if file == "group" || file == "gshadow" => {
                let members: Vec<&str> = members.split(',').filter(|member| !people.contains(member)).collect();
                kept.push_str(&format!("{head}:{}", members.join(",")));
            }
            _ => kept.push_str(line),
        }
        kept.push('\n');
    }
    kept
}

/// passwd and group both have the id third.
fn is_person(line: &str) -> bool {
    line.split(':')
        .nth(2)
        .and_then(|id| id.parse().ok())
        .is_some_and(|id: u32| PEOPLE.contains(&id))
}

fn name(line: &str) -> Option<&str> {
    line.split(':').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_go_and_the_system_stays() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\njane:x:1000:1000::/home/jane:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n";
        let cases = [
            (
                "passwd",
                passwd,
                "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n",
            ),
            ("shadow", "root:*:1::::::\njane:$6$secret:1::::::\n", "root:*:1::::::\n"),
            (
                "group",
                "root:x:0:\nadm:x:4:jane,syslog\njane:x:1000:\n",
                "root:x:0:\nadm:x:4:syslog\n",
            ),
            ("gshadow", "adm:*::jane\njane:!::\n", "adm:*::\n"),
            ("subuid", "jane:100000:65536\n", ""),
        ];
        for (file, text, expected) in cases {
            assert_eq!(of_the_system(file, text, passwd), expected, "{file}");
        }
    }
}
