//! How far a replay is: a bar on a terminal, plain lines otherwise.

use indicatif::{ProgressBar, ProgressStyle};

/// Told to a person who waits.
#[derive(Debug)]
pub struct Progress {
    shown: Shown,
    total: u64,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    /// The next tenth to tell.
    Lines(u64),
    Nothing,
}

impl Progress {
    /// A bar if standard error is a terminal, lines on it otherwise.
    pub fn on_stderr(terminal: bool) -> Self {
        Self {
            shown: if terminal {
                Shown::Bar(ProgressBar::new(0))
            } else {
                Shown::Lines(1)
            },
            total: 0,
        }
    }

    /// For tests.
    pub fn silent() -> Self {
        Self {
            shown: Shown::Nothing,
            total: 0,
        }
    }

    pub(super) fn start(&mut self, total: u64) {
        self.total = total;
        if let Shown::Bar(bar) = &self.shown {
            bar.set_length(total);
            let template = "{elapsed_precise} [{wide_bar}] {human_pos} of {human_len} messages, {per_sec}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
        }
    }

    pub(super) fn step(&mut self, done: u64) {
        match &mut self.shown {
            Shown::Bar(bar) => bar.set_position(done),
            Shown::Lines(tenth) => {
                while *tenth <= 10 && done * 10 >= self.total * *tenth {
                    if done * 10 < self.total * (*tenth + 1) || *tenth == 10 {
                        eprintln!("{done} of {} messages", self.total);
                    }
                    *tenth += 1;
                }
            }
            Shown::Nothing => {}
        }
    }

    pub(super) fn say(&mut self, line: &str) {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
            Shown::Lines(_) | Shown::Nothing => eprintln!("{line}"),
        }
    }

    pub(super) fn finish(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
