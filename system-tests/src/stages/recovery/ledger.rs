//! What the clients of a killed exchange remember, held against what it says when it is back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use optivex_proto::v1::{
    self, CancelOrderRequest, ErrorReason, ExecutionKind, InsertOrderRequest, InsertOrderResponse, OrderStatus,
    cancel_order_request,
};
use prost::Message;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::client::Session;
use crate::context::{Context, Exchange};
use crate::json;
use crate::order::{ioc, limit};
use crate::users::User;
use crate::verdict::{Stop, Verdict};

/// Users, each with one client.
const CLIENTS: usize = 4;
/// Prices around which they trade.
const PRICES: std::ops::RangeInclusive<i64> = 995..=1_005;

/// Between two looks at views that do not agree yet.
const PAUSE: Duration = Duration::from_millis(500);

/// An insert that was sent.
#[derive(Clone, Debug)]
struct Sent {
    request: InsertOrderRequest,
    /// None: the exchange died before it answered.
    reply: Option<InsertOrderResponse>,
    /// A cancel of it was sent.
    cancel_sent: bool,
    /// A cancel of it was acknowledged, in this event.
    cancelled: Option<u64>,
}

/// An exchange of its own, its clients, and what they know.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) exchange: Exchange,
    symbol: String,
    users: Vec<User>,
    sent: Vec<Vec<Sent>>,
}

/// Counts acknowledgements, and says when there are enough.
#[derive(Debug)]
struct Enough {
    count: AtomicUsize,
    wanted: usize,
    reached: Notify,
}

impl Ledger {
    /// Starts the exchange.
    pub(super) async fn open(context: &Context) -> Verdict<Self> {
        let exchange = context.launch().await?;
        let symbol = exchange.instrument().await?.symbol;
        let mut users = Vec::new();
        for _ in 0..CLIENTS {
            users.push(exchange.trader().await?.known_user()?);
        }
        Ok(Self {
            exchange,
            symbol,
            users,
            sent: vec![Vec::new(); CLIENTS],
        })
    }

    /// All clients trade, until the exchange is killed in the midst of it.
    pub(super) async fn trade_until_killed(&mut self, random: &mut fastrand::Rng) -> Verdict {
        let enough = Arc::new(Enough {
            count: AtomicUsize::new(0),
            wanted: random.usize(50..=400),
            reached: Notify::new(),
        });
        let mut clients = Vec::new();
        for user in &self.users {
            let session = self.exchange.login(user).await?;
            let client = trade(
                session,
                self.symbol.clone(),
                self.exchange.context(),
                random.fork(),
                Arc::clone(&enough),
            );
            clients.push(tokio::spawn(client));
        }
        // A client that fails ends the wait as well: its failure is told below.
        enough.reached.notified().await;
        self.exchange.kill().await?;
        for (client, sent) in clients.into_iter().zip(&mut self.sent) {
            let result = client
                .await
                .map_err(|error| Stop::trouble(format!("a client broke: {error}")))?;
            sent.extend(result?);
        }
        Ok(())
    }

    /// Starts the exchange again.
    pub(super) async fn restart(&mut self) -> Verdict {
        self.exchange.restart().await
    }

    /// Everything that was acknowledged is there, once; everything that was not is there once or not
    /// at all, and a retry makes it once.
    pub(super) async fn audit(&mut self) -> Verdict {
        let mut sessions = Vec::new();
        for user in &self.users {
            sessions.push(self.exchange.login(user).await?);
        }
        for (session, sent) in sessions.iter().zip(&mut self.sent) {
            acknowledged(session, sent).await?;
        }
        for (session, sent) in sessions.iter().zip(&mut self.sent) {
            in_doubt(session, sent).await?;
        }
        // Views may lag behind replies: only what stays wrong is wrong.
        let quiet: Vec<Session> = sessions.iter().map(Session::quiet).collect();
        let deadline = Instant::now() + sessions[0].patience();
        while Instant::now() < deadline {
            if self.totals(&quiet).await.is_ok() {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        self.totals(&sessions).await
    }

    /// Book, tape, reports and positions tell one story.
    async fn totals(&self, sessions: &[Session]) -> Verdict {
        let trades = sessions[0].all_trades(&self.symbol).await?;
        let quantities: HashMap<u64, i64> = trades.iter().map(|trade| (trade.trade_id, trade.quantity)).collect();
        let mut fills: HashMap<u64, Vec<i64>> = HashMap::new();
        let (mut bids, mut asks) = (BTreeMap::new(), BTreeMap::new());
        let (mut lots, mut cash) = (0, 0);
        for (session, sent) in sessions.iter().zip(&self.sent) {
            for order in session.open_orders(&self.symbol).await? {
                let side = if order.side() == v1::Side::Buy {
                    &mut bids
                } else {
                    &mut asks
                };
                let level: &mut (i64, i32) = side.entry(order.price_e4).or_default();
                level.0 += order.quantity - order.filled_quantity;
                level.1 += 1;
            }
            let mut traded = (0, 0);
            let positions = session.positions(v1::ListPositionsRequest {}).await?;
            let mut held = (0, 0);
            for position in positions
                .positions
                .iter()
                .filter(|position| position.symbol == self.symbol)
            {
                held = (position.quantity, position.cash_e4);
            }
            let reports = session.all_reports().await?;
            let mut accepted = HashSet::new();
            let known: HashSet<&str> = sent.iter().map(|sent| sent.request.client_order_id.as_str()).collect();
            for report in &reports {
                let order = report.order.clone().unwrap_or_default();
                if !known.contains(order.client_order_id.as_str()) {
                    return Err(Stop::failed(
                        format!(
                            "a report of an order that nobody sent: {}",
                            json::message("optivex.v1.ExecutionReport", &report.encode_to_vec())
                        ),
                        "reports of the user's orders, each with its client_order_id",
                    ));
                }
                if report.kind() == ExecutionKind::Accepted && !accepted.insert(order.client_order_id.clone()) {
                    return Err(Stop::failed(
                        format!("two ACCEPTED reports for {:?}", order.client_order_id),
                        "every order once",
                    ));
                }
                if let Some(fill) = &report.fill {
                    fills.entry(fill.trade_id).or_default().push(fill.quantity);
                    let lots = match order.side() {
                        v1::Side::Buy => fill.quantity,
                        _ => -fill.quantity,
                    };
                    traded.0 += lots;
                    traded.1 -= lots * fill.price_e4;
                }
            }
            positions.has("lots and cash_e4 of the position", |_| held, traded)?;
            (lots, cash) = (lots + held.0, cash + held.1);
            if let Some(lost) = sent
                .iter()
                .find(|sent| !accepted.contains(&sent.request.client_order_id))
            {
                return Err(Stop::failed(
                    format!("no ACCEPTED report for {:?}", lost.request.client_order_id),
                    "every order once",
                ));
            }
        }
        let told = |quantity: &i64| vec![*quantity; 2];
        let expected: HashMap<u64, Vec<i64>> = quantities.iter().map(|(id, quantity)| (*id, told(quantity))).collect();
        if fills != expected {
            let wrong = fills
                .keys()
                .chain(expected.keys())
                .find(|id| fills.get(id) != expected.get(id));
            return Err(Stop::failed(
                format!("trade {wrong:?} has other fills in the reports than on the tape"),
                "each trade on the tape once, and in the reports of both its sides",
            ));
        }
        if (lots, cash) != (0, 0) {
            return Err(Stop::failed(
                format!("the positions of all users add up to {lots} lots and {cash} cash_e4"),
                "0 and 0: who buys, buys from somebody",
            ));
        }
        let book = sessions[0].whole_book(&self.symbol).await?;
        let levels = |levels: &[v1::PriceLevel]| -> BTreeMap<i64, (i64, i32)> {
            levels
                .iter()
                .map(|level| (level.price_e4, (level.quantity, level.order_count)))
                .collect()
        };
        book.has("bids", |book| levels(&book.bids), bids)?
            .has("asks", |book| levels(&book.asks), asks)?;
        Ok(())
    }
}

/// One client: inserts and cancels, one after the other, until the exchange is gone.
async fn trade(
    session: Session,
    symbol: String,
    context: Context,
    mut random: fastrand::Rng,
    enough: Arc<Enough>,
) -> Verdict<Vec<Sent>> {
    let mut sent: Vec<Sent> = Vec::new();
    let result = loop {
        let resting = sent.iter().rposition(|sent| {
            sent.reply
                .as_ref()
                .is_some_and(|reply| reply.status() == OrderStatus::Open)
                && !sent.cancel_sent
        });
        let step = match resting {
            Some(place) if random.u8(..) < 50 => cancel(&session, &mut sent[place]).await,
            _ => insert(&session, request(&symbol, &context, &mut random), &mut sent).await,
        };
        match step {
            Ok(true) => {
                if enough.count.fetch_add(1, Ordering::Relaxed) + 1 == enough.wanted {
                    enough.reached.notify_one();
                }
            }
            Ok(false) => break Ok(sent),
            Err(stop) => break Err(stop),
        }
    };
    enough.reached.notify_one();
    result
}

fn request(symbol: &str, context: &Context, random: &mut fastrand::Rng) -> InsertOrderRequest {
    let side = if random.bool() { v1::Side::Buy } else { v1::Side::Sell };
    let (price, quantity) = (random.i64(PRICES), random.i64(1..=5));
    let order = match random.u8(..) {
        0..=30 => ioc(symbol, side, price, quantity),
        _ => limit(symbol, side, price, quantity),
    };
    InsertOrderRequest {
        client_order_id: context.unique(),
        ..order
    }
}

/// Whether it was answered.
async fn insert(session: &Session, request: InsertOrderRequest, sent: &mut Vec<Sent>) -> Verdict<bool> {
    let (reply, answered) = match session.try_insert(request.clone()).await.either() {
        Ok(reply) => (Some(reply.into_inner()), true),
        Err(refusal) if gone(&refusal) => (None, false),
        Err(refusal) => return Err(refusal.fail(refusal.to_string(), "the insert to succeed")),
    };
    sent.push(Sent {
        request,
        reply,
        cancel_sent: false,
        cancelled: None,
    });
    Ok(answered)
}

/// The exchange died, or was about to: whether the command happened is not known.
fn gone(refusal: &crate::client::Refusal) -> bool {
    refusal.broken.is_some() || refusal.code == tonic::Code::Unavailable
}

async fn cancel(session: &Session, sent: &mut Sent) -> Verdict<bool> {
    let order_id = sent.reply.as_ref().map_or(0, |reply| reply.order_id);
    let request = CancelOrderRequest {
        order: Some(cancel_order_request::Order::OrderId(order_id)),
    };
    sent.cancel_sent = true;
    match session.try_cancel(request).await.either() {
        Ok(reply) => sent.cancelled = Some(reply.event_seq),
        // Somebody traded with it meanwhile.
        Err(refusal) if refusal.names(ErrorReason::OrderDone) => {}
        Err(refusal) if gone(&refusal) => return Ok(false),
        Err(refusal) => return Err(refusal.fail(refusal.to_string(), "the cancel to succeed, or ORDER_DONE")),
    }
    Ok(true)
}

/// Every acknowledged order is there as it was acknowledged, and a retry answers as the first time.
async fn acknowledged(session: &Session, sent: &mut [Sent]) -> Verdict {
    for sent in sent {
        let Some(reply) = &sent.reply else { continue };
        let order = session
            .order_at(reply.order_id, sent.cancelled.unwrap_or(reply.event_seq))
            .await?;
        order
            .has(
                "client_order_id",
                |order| order.client_order_id.clone(),
                sent.request.client_order_id.clone(),
            )?
            .has("price_e4", |order| order.price_e4, sent.request.price_e4)?
            .has("quantity", |order| order.quantity, sent.request.quantity)?
            .shows("at least the fills that were acknowledged", |order| {
                order.filled_quantity >= reply.filled_quantity
            })?;
        if reply.status() != OrderStatus::Open {
            order.has("status", |order| order.status(), reply.status())?.has(
                "filled_quantity",
                |order| order.filled_quantity,
                reply.filled_quantity,
            )?;
        }
        if !sent.cancel_sent && reply.status() == OrderStatus::Open {
            order.shows(
                "status open or filled: nobody cancelled this acknowledged order",
                |order| order.status() != OrderStatus::Cancelled,
            )?;
        }
        if sent.cancelled.is_some() {
            order.has("status", |order| order.status(), OrderStatus::Cancelled)?;
        }
        session
            .insert(sent.request.clone())
            .await?
            .has("the answer to the retry", Clone::clone, reply.clone())?;
    }
    Ok(())
}

/// An order whose answer was lost is sent again: after that it is there, once.
async fn in_doubt(session: &Session, sent: &mut [Sent]) -> Verdict {
    for sent in sent.iter_mut().filter(|sent| sent.reply.is_none()) {
        let request = v1::ListOrdersRequest {
            client_order_id: sent.request.client_order_id.clone(),
            ..v1::ListOrdersRequest::default()
        };
        let before = session.orders(request.clone()).await?;
        let reply = session.insert(sent.request.clone()).await?;
        if let Some(order) = before.orders.first() {
            reply.has("order_id of the retry", |reply| reply.order_id, order.order_id)?;
        }
        session.order_at(reply.order_id, reply.event_seq).await?;
        let after = session.orders(request).await?;
        after.has(
            "order ids",
            |page| page.orders.iter().map(|order| order.order_id).collect(),
            vec![reply.order_id],
        )?;
        sent.reply = Some(reply.into_inner());
    }
    Ok(())
}
