//! The rpcs that there are, each with its counters.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use metrics::{Counter, Gauge, Histogram};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;

/// One rpc.
#[derive(Debug)]
pub(super) struct Method {
    /// `/package.Service/Method`.
    pub(super) path: String,
    /// Whether it is part of the contract, which needs the exchange; health and reflection do not.
    pub(super) contract: bool,
    /// One request, one answer.
    pub(super) unary: bool,
    /// From receipt to answer; unary only.
    pub(super) latency: Histogram,
    /// Open streams; not of unary rpcs.
    pub(super) streams: Gauge,
    outcomes: Outcomes,
}

impl Method {
    /// Counts a request that ended with this status.
    pub(super) fn count(&self, code: Code) {
        self.outcomes.count(code);
    }
}

/// All rpcs, by path.
#[derive(Debug)]
pub(super) struct Methods {
    by_path: HashMap<String, Arc<Method>>,
    services: Vec<String>,
    unknown: Counter,
}

impl Methods {
    /// From the contract's descriptors and those of the standard services.
    pub(super) fn new(contract: &[u8], standard: &[&[u8]]) -> anyhow::Result<Self> {
        let mut methods = Self {
            by_path: HashMap::new(),
            services: Vec::new(),
            unknown: metrics::counter!("optivex_rpcs_total", "method" => "unknown", "code" => "Unimplemented"),
        };
        methods.add(contract, true)?;
        for set in standard {
            methods.add(set, false)?;
        }
        Ok(methods)
    }

    fn add(&mut self, descriptors: &[u8], contract: bool) -> anyhow::Result<()> {
        let set = FileDescriptorSet::decode(descriptors).context("the contract's descriptors do not decode")?;
        for file in &set.file {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                for method in &service.method {
                    let unary = !method.client_streaming() && !method.server_streaming();
                    let path = format!("/{name}/{}", method.name());
                    let label = path.trim_start_matches('/').to_owned();
                    let method = Method {
                        latency: metrics::histogram!("optivex_rpc_seconds", "method" => label.clone()),
                        streams: metrics::gauge!("optivex_streams", "method" => label.clone()),
                        outcomes: Outcomes::new(&label),
                        path: path.clone(),
                        contract,
                        unary,
                    };
                    self.by_path.insert(path, Arc::new(method));
                }
                if contract {
                    self.services.push(name);
                }
            }
        }
        Ok(())
    }

    /// The rpc of a path; asking for another one is counted.
    pub(super) fn get(&self, path: &str) -> Option<&Arc<Method>> {
        let method = self.by_path.get(path);
        if method.is_none() {
            self.unknown.increment(1);
        }
        method
    }

    /// Full names of the contract's services.
    pub(super) fn services(&self) -> &[String] {
        &self.services
    }
}

/// A counter for each status code.
struct Outcomes([Counter; 17]);

impl std::fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outcomes")
    }
}

impl Outcomes {
    fn new(method: &str) -> Self {
        Self(std::array::from_fn(|code| {
            let code = Code::from_i32(i32::try_from(code).unwrap_or(2));
            metrics::counter!("optivex_rpcs_total", "method" => method.to_owned(), "code" => format!("{code:?}"))
        }))
    }

    fn count(&self, code: Code) {
        if let Some(counter) = self.0.get(code as usize) {
            counter.increment(1);
        }
    }
}
