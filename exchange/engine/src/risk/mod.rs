//! Risk limits: what a command would add, judged before it changes anything.

mod check;
mod window;

pub(crate) use check::Added;
pub(crate) use window::RollingWindow;
