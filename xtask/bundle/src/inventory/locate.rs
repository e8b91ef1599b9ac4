//! Where in a YAML text something stands that the YAML library took without complaint.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Line and column of a place such as `participants[2].id`; those of the nearest around it, where there is nothing.
pub(super) fn locate(text: &str, place: &str) -> Option<(usize, usize)> {
    let steps = steps(place);
    (0..=steps.len()).rev().find_map(|length| {
        let found = Walk(&steps[..length]).deserialize(serde_yaml::Deserializer::from_str(text));
        let error = found.err().filter(|error| error.to_string().contains(HERE))?;
        error.location().map(|at| (at.line(), at.column()))
    })
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn steps(place: &str) -> Vec<Step<'_>> {
    place
        .split(['.', '['])
        .filter(|part| !part.is_empty())
        .map(|part| match part.strip_suffix(']').map(str::parse) {
            Some(Ok(index)) => Step::Index(index),
            _ => Step::Key(part),
        })
        .collect()
}

const HERE: &str = "the place looked for";

/// Goes to a place and fails there: YAML's values know where they stand only as long as they are being read, and an
/// error is how they say it.
struct Walk<'a>(&'a [Step<'a>]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HERE)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((&step, rest)) = self.0.split_first() else {
            return Err(A::Error::custom(HERE));
        };
        while let Some(key) = map.next_key::<String>()? {
            match step {
                Step::Key(wanted) if wanted == key => map.next_value_seed(Walk(rest))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Some((&step, rest)) = self.0.split_first() else {
            return Err(A::Error::custom(HERE));
        };
        for index in 0.. {
            let more = match step {
                Step::Index(wanted) if wanted == index => sequence.next_element_seed(Walk(rest))?.is_some(),
                _ => sequence.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
program:
  id: spring # id: alice
participants:
  - id: alice
    keys: [a,
      b]
  - {\"id\": bob, keys: [c]}
";

    #[test]
    fn places_have_lines_and_columns() {
        for (place, expected) in [
            ("program.id", (2, 7)),
            ("participants[0].id", (4, 9)),
            ("participants[0].keys[1]", (6, 7)),
            ("participants[1].id", (7, 12)),
            // Where there is nothing: the nearest around it.
            ("participants[1].branch", (7, 5)),
            ("participants[7].id", (4, 3)),
            ("roles.dev", (1, 1)),
            ("", (1, 1)),
        ] {
            assert_eq!(locate(TEXT, place), Some(expected), "{place}");
        }
        assert_eq!(locate("", "a"), Some((1, 1)));
        assert_eq!(locate("{a: ]", ""), Some((1, 1)), "the mapping itself begins well");
    }
}
