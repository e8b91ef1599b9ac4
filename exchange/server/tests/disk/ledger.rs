//! What a client was told, to be compared with what the exchange holds.

use std::collections::{BTreeMap, BTreeSet};

use optivex_proto::v1::admin_service_client::AdminServiceClient;
use optivex_proto::v1::execution_service_client::ExecutionServiceClient;
use optivex_proto::v1::order_entry_request::Command;
use optivex_proto::v1::order_entry_response::Result as Outcome;
use optivex_proto::v1::{self, ErrorReason, Side};
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::process::{Exchange, Token, login};

/// Commands in flight at a time.
const BATCH: u64 = 500;

/// The orders of one trader, by their client ids.
#[derive(Default)]
pub(crate) struct Ledger {
    acknowledged: BTreeMap<String, u64>,
    /// Nobody can know, says the exchange.
    unknown: BTreeSet<String>,
    /// Not taken, says the exchange.
    refused: BTreeSet<String>,
    next: u64,
}

/// A session of alice.
pub(crate) struct Trader {
    pub(crate) channel: Channel,
    pub(crate) execution: ExecutionServiceClient<Channel>,
    pub(crate) token: Token,
}

impl Trader {
    pub(crate) async fn login(exchange: &Exchange) -> Self {
        let channel = exchange.connect().await;
        Self {
            execution: ExecutionServiceClient::new(channel.clone()),
            token: login(&channel, "alice").await,
            channel,
        }
    }

    /// All open orders, client ids by order ids.
    async fn open_orders(&mut self) -> BTreeMap<u64, String> {
        let mut all = BTreeMap::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListOrdersRequest {
                page_token,
                ..Default::default()
            };
            let answer = self.execution.list_orders(self.token.with(request)).await;
            let page = answer.expect("queries go on").into_inner();
            for order in page.orders {
                assert!(
                    all.insert(order.order_id, order.client_order_id).is_none(),
                    "listed once"
                );
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return all;
            }
        }
    }
}

fn order(client_order_id: String) -> v1::InsertOrderRequest {
    v1::InsertOrderRequest {
        symbol: "ABC".to_owned(),
        side: Side::Buy.into(),
        price_e4: 10_000,
        quantity: 1,
        client_order_id,
        ..Default::default()
    }
}

pub(crate) async fn list_abc(exchange: &Exchange) {
    let channel = exchange.connect().await;
    let admin = login(&channel, "admin").await;
    let request = v1::CreateInstrumentRequest {
        symbol: "ABC".to_owned(),
        currency: "EUR".to_owned(),
        multiplier: 1,
        tick_size_e4: 100,
        ..Default::default()
    };
    let answer = AdminServiceClient::new(channel)
        .create_instrument(admin.with(request))
        .await;
    answer.expect("a new instrument");
}

impl Ledger {
    pub(crate) fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// Inserts so many orders, all in flight at a time; how many were taken.
    pub(crate) async fn insert(&mut self, trader: &mut Trader, count: u64) -> u64 {
        let ids: Vec<_> = (self.next..self.next + count)
            .map(|number| format!("order-{number}"))
            .collect();
        self.next += count;
        self.send(trader, ids).await
    }

    async fn send(&mut self, trader: &mut Trader, ids: Vec<String>) -> u64 {
        let inserts = ids.clone().into_iter().map(|id| v1::OrderEntryRequest {
            request_id: 0,
            command: Some(Command::Insert(order(id))),
        });
        let request = trader.token.with(tokio_stream::iter(inserts.collect::<Vec<_>>()));
        let mut answers = trader
            .execution
            .order_entry(request)
            .await
            .expect("a trader")
            .into_inner();
        let mut taken = 0;
        for id in ids {
            let answer = answers.message().await.expect("no error").expect("an answer to each");
            match answer.result.expect("a result") {
                Outcome::Insert(insert) => {
                    self.unknown.remove(&id);
                    if let Some(first) = self.acknowledged.insert(id, insert.order_id) {
                        assert_eq!(first, insert.order_id, "the first answer again");
                    }
                    taken += 1;
                }
                Outcome::Error(error) => {
                    assert_eq!(error.reason(), ErrorReason::NotReady, "{error:?}");
                    assert_eq!(error.code, tonic::Code::Unavailable as i32);
                    if error
                        .metadata
                        .get("outcome")
                        .is_some_and(|outcome| outcome == "unknown")
                    {
                        self.unknown.insert(id);
                    } else {
                        self.refused.insert(id);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        taken
    }

    /// Inserts until nothing is taken any more.
    pub(crate) async fn insert_until_refused(&mut self, trader: &mut Trader) {
        while self.insert(trader, BATCH).await > 0 {
            assert!(self.next < 1_000_000, "the disk does not get full");
        }
    }

    /// Whether what is there is what was acknowledged, and at most what nobody can know.
    pub(crate) async fn check(&self, trader: &mut Trader) {
        let open = trader.open_orders().await;
        let mut by_client_id = BTreeMap::new();
        for (order_id, id) in open {
            assert!(
                by_client_id.insert(id.clone(), order_id).is_none(),
                "{id} is there twice"
            );
        }
        for (id, order_id) in &self.acknowledged {
            assert_eq!(by_client_id.remove(id), Some(*order_id), "{id} was acknowledged");
        }
        for id in by_client_id.keys() {
            assert!(self.unknown.contains(id), "{id} was refused, and is there");
        }
    }

    /// Sends everything again: what is there is answered as the first time, what is not is inserted; then
    /// everything is there once.
    pub(crate) async fn retry_all(&mut self, trader: &mut Trader) {
        let ids: Vec<_> = (0..self.next).map(|number| format!("order-{number}")).collect();
        for batch in ids.chunks(2_000) {
            assert_eq!(self.send(trader, batch.to_vec()).await, batch.len() as u64);
        }
        self.unknown.clear();
        self.refused.clear();
        assert_eq!(self.acknowledged.len() as u64, self.next);
        self.check(trader).await;
    }
}

/// The health of the exchange as it changes.
pub(crate) struct Health(tonic::Streaming<HealthCheckResponse>);

impl Health {
    pub(crate) async fn watch(channel: &Channel) -> Self {
        let request = HealthCheckRequest {
            service: "optivex.v1.ExecutionService".to_owned(),
        };
        let stream = HealthClient::new(channel.clone()).watch(request).await;
        Self(stream.expect("health is always told").into_inner())
    }

    pub(crate) async fn becomes(&mut self, status: ServingStatus) {
        while self.0.message().await.expect("no error").expect("no end").status() != status {}
    }
}
