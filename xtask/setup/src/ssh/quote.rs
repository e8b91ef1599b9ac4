//! The one place that writes text for a remote shell.
//!
//! `ssh HOST COMMAND` hands its command to the shell of the login user as one string, whatever the number of arguments.
//! [`Text`] is such a string, and only this module makes one: from words that are quoted, and from the few forms below.

use std::fmt;

/// What a remote shell (any POSIX shell) reads back as exactly the words it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

/// Linux takes no single argument longer than 128 KiB, and the whole text is one argument of the remote shell.
pub const MAX_TEXT: usize = 120 * 1024;

/// Words that no remote shell can be given.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum QuoteError {
    /// A process argument ends at its first NUL.
    #[error("a NUL byte cannot be part of an argument: {0:?}")]
    Nul(String),
    /// Nothing to run.
    #[error("a command without words")]
    Empty,
    /// Beyond [`MAX_TEXT`].
    #[error("a remote command of {0} bytes; at most {MAX_TEXT} can be handed over")]
    TooLong(usize),
}

impl Text {
    /// One command: its program and its arguments.
    ///
    /// # Errors
    /// No words, a NUL in one, or too many of them.
    pub fn words<W: AsRef<str>>(words: &[W]) -> Result<Self, QuoteError> {
        let mut text = String::new();
        for word in words {
            if !text.is_empty() {
                text.push(' ');
            }
            quote(word.as_ref(), &mut text)?;
        }
        if text.is_empty() {
            return Err(QuoteError::Empty);
        }
        Self(text).bounded()
    }

    /// One after the other, as long as each succeeds.
    ///
    /// # Errors
    /// Too long in sum.
    pub fn and(self, next: &Text) -> Result<Self, QuoteError> {
        Self(format!("{} && {}", self.0, next.0)).bounded()
    }

    /// The other one where this one fails.
    ///
    /// # Errors
    /// Too long in sum.
    pub fn or(self, other: &Text) -> Result<Self, QuoteError> {
        Self(format!("{{ {}; }} || {{ {}; }}", self.0, other.0)).bounded()
    }

    /// Succeeds where what this prints is `expected`.
    ///
    /// # Errors
    /// Too long, or NUL in what is expected.
    pub fn prints(&self, expected: &str) -> Result<Self, QuoteError> {
        let mut text = format!("[ \"$({})\" = ", self.0);
        quote(expected, &mut text)?;
        text.push_str(" ]");
        Self(text).bounded()
    }

    /// Runs all of them, whatever becomes of each; after the output of each, on a line of its own, `mark` and the exit
    /// status. What they say on standard error is dropped, and there is nothing for them to read.
    ///
    /// # Errors
    /// Too long in sum.
    pub fn framed(commands: &[Text], mark: &str) -> Result<Self, QuoteError> {
        let mut word = String::new();
        quote(mark, &mut word)?;
        let mut text = String::new();
        for command in commands {
            text.push_str(&format!(
                "{{ {}; }} 2>/dev/null </dev/null; printf '\\n%s %s\\n' {word} \"$?\"; ",
                command.0
            ));
        }
        text.push(':');
        Self(text).bounded()
    }

    /// As it goes to the shell.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn bounded(self) -> Result<Self, QuoteError> {
        if self.0.len() > MAX_TEXT {
            return Err(QuoteError::TooLong(self.0.len()));
        }
        Ok(self)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Between single quotes a POSIX shell reads every byte as it is, but for the quote itself.
fn quote(word: &str, to: &mut String) -> Result<(), QuoteError> {
    if word.contains('\0') {
        return Err(QuoteError::Nul(word.to_owned()));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    // Plain words stay readable in logs. `=` is quoted: at the start of a command it would be an assignment.
    if !word.is_empty() && word.chars().all(plain) {
        to.push_str(word);
        return Ok(());
    }
    to.push('\'');
    to.push_str(&word.replace('\'', r"'\''"));
    to.push('\'');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    /// What the text is for; nothing but a shell can tell whether it is right.
    const REAL_SHELL: &str = "/bin/sh";

    /// What a real shell makes of it: the words that a program gets.
    fn through_sh(text: &Text) -> Vec<String> {
        let output = Command::new(REAL_SHELL)
            .arg("-c")
            .arg(text.as_str())
            .output()
            .expect("sh runs");
        assert!(
            output.status.success(),
            "{text}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let stdout = String::from_utf8(output.stdout).expect("what went in was UTF-8");
        stdout.split_terminator('\0').map(str::to_owned).collect()
    }

    fn arrives(words: &[&str]) {
        let mut command = vec!["printf", "%s\\0"];
        command.extend(words);
        assert_eq!(through_sh(&Text::words(&command).expect("can be quoted")), words);
    }

    #[test]
    fn hostile_names_arrive_as_they_are() {
        for hostile in [
            "",
            " ",
            "two words",
            "'",
            "''",
            "it's",
            "'; touch /tmp/owned; '",
            "$(touch /tmp/owned)",
            "`touch /tmp/owned`",
            "$HOME",
            "${IFS}",
            "a\nb",
            "\n",
            "\\",
            "\\'",
            "\"",
            "!!",
            "*",
            "?",
            "[a-z]",
            "~",
            "~root",
            "#",
            "a#b",
            "&",
            "| cat",
            ">x",
            "<x",
            "&& false",
            "-n",
            "--",
            "A=b",
            "{a,b}",
            "(",
            "\t",
            "\r",
            "\u{7f}\u{1b}[31m",
            "naïve 取引所 🦀",
            "%s\\n",
        ] {
            arrives(&[hostile]);
            arrives(&["before", hostile, "after"]);
        }
    }

    proptest! {
        #[test]
        fn any_words_arrive(words in prop::collection::vec("[^\u{0}]{0,24}", 1..6)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            arrives(&words);
        }
    }

    #[test]
    fn forms() {
        let words = |words: &[&str]| Text::words(words).expect("can be quoted");
        let say = |what: &str| words(&["printf", "%s\\0", what]);
        assert_eq!(through_sh(&say("a'").and(&say("b;")).expect("short")), ["a'", "b;"]);
        assert_eq!(
            through_sh(
                &words(&["false"])
                    .and(&say("never"))
                    .expect("short")
                    .or(&say("else"))
                    .expect("short")
            ),
            ["else"]
        );
        assert_eq!(through_sh(&say("a").or(&say("never")).expect("short")), ["a"]);
        let asks = |expected| {
            words(&["printf", "it's"])
                .prints(expected)
                .expect("short")
                .and(&say("yes"))
                .expect("short")
        };
        assert_eq!(through_sh(&asks("it's")), ["yes"]);
        assert_eq!(through_sh(&asks("other").or(&say("no")).expect("short")), ["no"]);
        let framed = Text::framed(&[words(&["printf", "x"]), words(&["false"])], "MARK").expect("short");
        assert_eq!(through_sh(&framed), ["x\nMARK 0\n\nMARK 1\n"]);
    }

    #[test]
    fn what_cannot_be_quoted_is_refused() {
        assert_eq!(Text::words::<&str>(&[]), Err(QuoteError::Empty));
        assert_eq!(Text::words(&["a\0b"]), Err(QuoteError::Nul("a\0b".to_owned())));
        let long = "x".repeat(MAX_TEXT + 1);
        assert_eq!(Text::words(&[long]), Err(QuoteError::TooLong(MAX_TEXT + 1)));
    }

    #[test]
    fn an_assignment_is_a_word() {
        assert_eq!(
            Text::words(&["env", "A=b"]).expect("can be quoted").as_str(),
            "env 'A=b'"
        );
        assert_eq!(
            Text::words(&["touch", "/a-b_c.d"]).expect("can be quoted").as_str(),
            "touch /a-b_c.d"
        );
    }
}
