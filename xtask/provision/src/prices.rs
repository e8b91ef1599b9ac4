//! What machines cost: `infra/prices.yaml`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use optivex_bundle::inventory::{Connect, InstanceType, Inventory, Machine, Region};
use serde::Deserialize;

/// Hours of a month, as disks are charged.
const HOURS_OF_A_MONTH: f64 = 730.0;

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Of when the prices are, as in `2026-11-22`.
    pub date: String,
    regions: BTreeMap<Region, Regional>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Regional {
    disk_gib_month: f64,
    public_address_hour: f64,
    instance_hour: BTreeMap<InstanceType, f64>,
}

/// A price is not in the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPrice {
    /// The whole region.
    #[error("no prices of {0} in infra/prices.yaml: add the region, with the prices of its types")]
    Region(Region),
    /// A type.
    #[error("no price of {0} in {1} in infra/prices.yaml: add it under instance_hour, from the EC2 price list")]
    Type(InstanceType, Region),
}

impl Prices {
    /// Reads the table.
    ///
    /// # Errors
    /// It cannot be read, or makes no sense.
    pub fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let prices: Self = serde_yaml::from_str(&text).with_context(|| file.display().to_string())?;
        for (region, regional) in &prices.regions {
            let others = [regional.disk_gib_month, regional.public_address_hour];
            let odd = |price: &f64| !(price.is_finite() && *price >= 0.0);
            if let Some(odd) = regional.instance_hour.values().chain(&others).find(|price| odd(price)) {
                bail!("{}: {odd} is no price (region {region})", file.display());
            }
        }
        Ok(prices)
    }

    /// Dollars that all machines of an inventory that are made on EC2 cost in an hour, each of its type and with its disk
    /// (GiB).
    ///
    /// # Errors
    /// A type or the region is not in the table.
    pub fn per_hour<'a>(
        &self,
        inventory: &'a Inventory,
        hardware_of: impl Fn(&Machine<'a>) -> (&'a InstanceType, u32),
    ) -> Result<f64, NoPrice> {
        let Some(aws) = &inventory.aws else { return Ok(0.0) };
        let made = || inventory.machines().filter(|machine| machine.standing.is_none());
        if made().next().is_none() {
            return Ok(0.0);
        }
        let regional = self
            .regions
            .get(&aws.region)
            .ok_or_else(|| NoPrice::Region(aws.region.clone()))?;
        made()
            .map(|machine| {
                let (kind, disk_gib) = hardware_of(&machine);
                let instance = regional
                    .instance_hour
                    .get(kind)
                    .ok_or_else(|| NoPrice::Type(kind.clone(), aws.region.clone()))?;
                let address = match aws.connect {
                    Connect::Public => regional.public_address_hour,
                    Connect::Private => 0.0,
                };
                Ok(instance + address + f64::from(disk_gib) * regional.disk_gib_month / HOURS_OF_A_MONTH)
            })
            .sum()
    }
}
