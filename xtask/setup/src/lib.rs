//! Sets a machine up over SSH: facts in, commands out.
