//! `optivex serve`.
use crate::config::Settings;
/// x
pub fn run(_settings: Settings) -> anyhow::Result<()> {
    Ok(())
}
