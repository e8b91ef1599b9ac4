//! `rehearse`.

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some(optivex_rehearse::hosts::BE_A_HOST) {
        return optivex_rehearse::hosts::be_a_host();
    }
    Ok(())
}
