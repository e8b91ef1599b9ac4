//! From a participant's repository through a real sshd to the spool, and the way of the result back.

mod first_day;
mod hand_off;
mod hostile;
mod machine;
mod results;
