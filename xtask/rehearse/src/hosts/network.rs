//! The hosts' network: a bridge in the rehearsal's own network namespace, and a cable from it to each host.
//!
//! The kernel removes a cable with the host at its end, and the bridge with the namespace.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::machine::{MANAGER, PRIVATE};

const NAME: &str = "optivex";

/// The bridge. There is one, in a namespace that has no other interface but loopback.
#[derive(Clone, Debug)]
pub struct Bridge(());

impl Bridge {
    /// Builds it. Refuses in a network namespace that knows any interface but loopback: that is not our own.
    pub fn build() -> Result<Self> {
        let others: Vec<String> = interfaces()?.into_iter().filter(|name| name != "lo").collect();
        if !others.is_empty() {
            bail!(
                "this is no network namespace of the rehearsal's own: it has {}",
                others.join(", ")
            );
        }
        let manager = format!("{MANAGER}/32");
        ip(["link", "set", "lo", "up"])?;
        ip(["link", "add", NAME, "type", "bridge", "forward_delay", "0"])?;
        ip(["address", "add", &manager, "dev", NAME])?;
        ip(["link", "set", NAME, "up"])?;
        for range in PRIVATE {
            ip(["route", "add", range, "dev", NAME, "src", &MANAGER.to_string()])?;
        }
        Ok(Self(()))
    }

    /// A cable to the network namespace of that process, where it is `eth0`.
    pub(crate) fn plug_in(&self, process: u32, address: Ipv4Addr) -> Result<()> {
        let cable = cable(address);
        // The kernel takes its time to remove the cable of a host that was turned off a moment ago.
        if self.cables()?.contains(&cable)
            && let Err(error) = ip(["link", "delete", &cable])
            && self.cables()?.contains(&cable)
        {
            return Err(error);
        }
        let process = process.to_string();
        ip([
            "link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &process,
        ])?;
        ip(["link", "set", &cable, "master", NAME, "up"])
    }

    /// The cables that are plugged in.
    pub fn cables(&self) -> Result<Vec<String>> {
        let names = interfaces()?;
        Ok(names.into_iter().filter(|name| name != NAME && name != "lo").collect())
    }
}

/// An interface's name has at most 15 bytes; an address in hex has 8.
fn cable(address: Ipv4Addr) -> String {
    format!("optx{:08x}", address.to_bits())
}

fn interfaces() -> Result<Vec<String>> {
    // By the process, not by /sys: that shows the namespace in which it was mounted.
    let text = fs::read_to_string("/proc/self/net/dev").context("cannot read the interfaces")?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .collect())
}

/// Runs `ip`, of iproute2.
pub(crate) fn ip<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let arguments: Vec<&str> = arguments.into_iter().collect();
    let output = Command::new("ip")
        .args(&arguments)
        .output()
        .context("cannot start ip, of iproute2")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", arguments.join(" "), stderr.trim_end());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cables_are_named_by_address() {
        let name = cable(Ipv4Addr::new(10, 205, 91, 214));
        assert_eq!(name, "optx0acd5bd6");
        assert!(name.len() < 16);
    }
}
