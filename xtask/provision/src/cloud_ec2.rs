//! The cloud that EC2 is.

use std::time::Duration;

use anyhow::{Context, Result};
use optivex_bundle::inventory::{Ami, Aws, Connect, RoleName};
use optivex_bundle::names::Name;
use optivex_bundle::ssh_key::PublicKey;
use optivex_exit::{Exit, Failure};
use tokio::runtime::Runtime;

use crate::cloud::{Addresses, Cloud, Launch};
use crate::ec2::{self, Ec2, Ec2Error, InstanceId};
use crate::plan::{Instance, State, World};
