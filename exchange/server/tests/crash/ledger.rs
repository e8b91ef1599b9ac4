//! What an honest exchange must still say after a kill.

use std::collections::{BTreeMap, HashMap, HashSet};

use optivex_proto::v1::{
    ExecutionKind, ExecutionReport, Fill, GetOrderBookRequest, InsertOrderRequest, InsertOrderResponse,
    ListOrdersRequest, ListPositionsRequest, ListTradesRequest, Order, OrderStatus, PriceLevel, Side,
    SubscribeExecutionReportsRequest, SubscribeTradesRequest, Trade, subscribe_execution_reports_response,
};
use tokio::task::JoinHandle;

use crate::load::{Record, Session};

/// Everything that the exchange told so far.
pub(crate) struct Ledger {
    traders: Vec<Trader>,
    symbols: Vec<String>,
    tape: Vec<Trade>,
    /// Highest event that was ever told of.
    event_seq: u64,
}

struct Trader {
    name: String,
    reports: Vec<ExecutionReport>,
    /// Told before the kill, after the last check.
    heard: Vec<ExecutionReport>,
    /// By client id.
    orders: HashMap<String, Order>,
    /// Where in `reports` an event begins.
    events: BTreeMap<u64, usize>,
    positions: HashMap<String, (i64, i64)>,
}

/// Streams that listen until the kill.
pub(crate) struct Live {
    reports: Vec<JoinHandle<Vec<ExecutionReport>>>,
    trades: JoinHandle<Vec<Trade>>,
}

const MULTIPLIER: i64 = 3;

impl Ledger {
    pub(crate) fn new(traders: &[&str], symbols: &[&str]) -> Self {
        Self {
            traders: traders.iter().map(|name| Trader::new(name)).collect(),
            symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
            tape: Vec::new(),
            event_seq: 0,
        }
    }

    /// One line about a round.
    pub(crate) fn said(&self, records: &[Vec<Record>]) -> String {
        let records: Vec<&Record> = records.iter().flatten().collect();
        let unanswered = records
            .iter()
            .filter(|record| {
                matches!(
                    record,
                    Record::Insert(_, None) | Record::Cancel(None) | Record::Amend(_, None)
                )
            })
            .count();
        format!(
            "{} commands, {unanswered} of them unanswered; event {}, {} trades",
            records.len(),
            self.event_seq,
            self.tape.len()
        )
    }

    /// Listens to reports and tape while the load runs.
    pub(crate) async fn follow(&mut self, sessions: &[Session]) -> Live {
        let mut reports = Vec::new();
        for (trader, session) in self.traders.iter().zip(sessions) {
            let request = session.with(SubscribeExecutionReportsRequest {
                after_report_seq: Some(trader.reports.len() as u64),
                cancel_on_disconnect: false,
            });
            let mut stream = session
                .execution
                .clone()
                .subscribe_execution_reports(request)
                .await
                .expect("can subscribe")
                .into_inner();
            reports.push(tokio::spawn(async move {
                let mut heard = Vec::new();
                while let Ok(Some(message)) = stream.message().await {
                    if let Some(subscribe_execution_reports_response::Event::Report(report)) = message.event {
                        heard.push(report);
                    }
                }
                heard
            }));
        }
        let session = &sessions[0];
        let request = session.with(SubscribeTradesRequest {
            symbols: Vec::new(),
            after_trade_id: Some(self.last_trade_id()),
        });
        let mut stream = session
            .info
            .clone()
            .subscribe_trades(request)
            .await
            .expect("can subscribe")
            .into_inner();
        let trades = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Ok(Some(message)) = stream.message().await {
                heard.extend(message.trades);
            }
            heard
        });
        Live { reports, trades }
    }

    /// What the streams had told when the kill came; it must stay true.
    pub(crate) async fn hear(&mut self, live: Live) {
        for (trader, reports) in self.traders.iter_mut().zip(live.reports) {
            trader.heard = reports.await.expect("a listener does not panic");
        }
        self.tape.extend(live.trades.await.expect("a listener does not panic"));
    }

    /// Everything that was answered or told before the kill is so after it; what was not answered can be
    /// sent again, and is there once.
    pub(crate) async fn check(&mut self, sessions: &mut [Session], records: &[Vec<Record>]) {
        self.check_event_seq(sessions, records).await;
        self.read_reports(sessions).await;
        for trader in &mut self.traders {
            let heard = std::mem::take(&mut trader.heard);
            assert!(
                contains(&trader.reports, &heard),
                "{}: told before the kill, not after it",
                trader.name
            );
        }
        for ((trader, session), records) in self.traders.iter().zip(sessions.iter_mut()).zip(records) {
            for record in records {
                trader.check_record(record);
            }
            trader.retry_unanswered(session, records).await;
        }
        self.read_reports(sessions).await;
        for (trader, records) in self.traders.iter().zip(records) {
            trader.check_once(records);
        }
        for ((trader, session), records) in self.traders.iter().zip(sessions.iter_mut()).zip(records) {
            trader.check_by_name(session, records).await;
        }
        self.check_tape(&mut sessions[0]).await;
        self.check_positions(sessions).await;
        self.check_orders(sessions).await;
        self.check_books(&mut sessions[0]).await;
    }

    /// The history from its first report and trade on is what it was when it was read bit by bit.
    pub(crate) async fn check_from_the_beginning(&mut self, sessions: &mut [Session]) {
        self.read_reports(sessions).await;
        for (trader, session) in self.traders.iter().zip(sessions.iter()) {
            let all = read_reports(session, 0).await;
            assert!(all == trader.reports, "{}: the history changed", trader.name);
        }
        let told = std::mem::take(&mut self.tape);
        self.check_tape(&mut sessions[0]).await;
        assert!(self.tape == told, "the tape changed");
    }

    async fn check_event_seq(&mut self, sessions: &mut [Session], records: &[Vec<Record>]) {
        for record in records.iter().flatten() {
            let event_seq = match record {
                Record::Insert(_, Some(answer)) => answer.event_seq,
                Record::Cancel(Some(answer)) => answer.event_seq,
                Record::Amend(_, Some(answer)) => answer.event_seq,
                _ => 0,
            };
            self.event_seq = self.event_seq.max(event_seq);
        }
        let session = &mut sessions[0];
        let now = session
            .execution
            .list_positions(session.with(ListPositionsRequest {}))
            .await
            .expect("can list")
            .into_inner()
            .event_seq;
        assert!(
            now >= self.event_seq,
            "event {} was told, the exchange is at {now}",
            self.event_seq
        );
        self.event_seq = now;
    }

    async fn read_reports(&mut self, sessions: &[Session]) {
        for (trader, session) in self.traders.iter_mut().zip(sessions) {
            let reports = read_reports(session, trader.reports.len() as u64).await;
            for report in reports {
                trader.add(report);
            }
        }
    }

    /// The tape has each trade once, and each trade has its two reports.
    async fn check_tape(&mut self, session: &mut Session) {
        let told = std::mem::take(&mut self.tape);
        loop {
            let request = session.with(ListTradesRequest {
                symbol: String::new(),
                after_trade_id: self.last_trade_id(),
                page_size: 0,
            });
            let page = session.info.list_trades(request).await.expect("can list").into_inner();
            self.tape.extend(page.trades);
            if !page.has_more {
                break;
            }
        }
        assert!(self.tape.is_sorted_by(|a, b| a.trade_id < b.trade_id), "trade ids grow");
        assert!(
            contains(&self.tape, &told),
            "told on the tape before the kill, not after it"
        );
        let mut sides: HashMap<u64, Vec<(Side, &Fill, u64)>> = HashMap::new();
        for report in self.traders.iter().flat_map(|trader| &trader.reports) {
            if let (Some(fill), Some(order)) = (&report.fill, &report.order) {
                sides
                    .entry(fill.trade_id)
                    .or_default()
                    .push((order.side(), fill, report.event_seq));
            }
        }
        assert_eq!(sides.len(), self.tape.len(), "trades in reports and on the tape");
        for trade in &self.tape {
            let mut sides = sides.remove(&trade.trade_id).unwrap_or_default();
            sides.sort_by_key(|(side, ..)| *side as i32);
            assert!(
                matches!(&sides[..], [(Side::Buy, ..), (Side::Sell, ..)]),
                "a trade has a buyer and a seller: {trade:?} {sides:?}"
            );
            for (_, fill, event_seq) in sides {
                assert_eq!(
                    (fill.price_e4, fill.quantity, event_seq),
                    (trade.price_e4, trade.quantity, trade.event_seq)
                );
            }
        }
    }

    fn last_trade_id(&self) -> u64 {
        self.tape.last().map_or(0, |trade| trade.trade_id)
    }

    async fn check_positions(&self, sessions: &mut [Session]) {
        let mut sums: HashMap<String, (i64, i64)> = HashMap::new();
        for (trader, session) in self.traders.iter().zip(sessions) {
            let request = session.with(ListPositionsRequest {});
            let answer = session
                .execution
                .list_positions(request)
                .await
                .expect("can list")
                .into_inner();
            for position in answer.positions {
                let told = (position.quantity, position.cash_e4);
                let from_reports = trader.positions.get(&position.symbol).copied().unwrap_or_default();
                assert_eq!(told, from_reports, "{} in {}", trader.name, position.symbol);
                let sum = sums.entry(position.symbol).or_default();
                *sum = (sum.0 + told.0, sum.1 + told.1);
            }
        }
        for (symbol, sum) in sums {
            assert_eq!(sum, (0, 0), "positions in {symbol}");
        }
    }

    /// The open orders, page by page, are those of the reports.
    async fn check_orders(&self, sessions: &mut [Session]) {
        for (trader, session) in self.traders.iter().zip(sessions) {
            let mut open = HashMap::new();
            let mut page_token = String::new();
            loop {
                let request = session.with(ListOrdersRequest {
                    page_token,
                    ..ListOrdersRequest::default()
                });
                let page = session
                    .execution
                    .list_orders(request)
                    .await
                    .expect("can list")
                    .into_inner();
                for order in page.orders {
                    let again = open.insert(order.client_order_id.clone(), order);
                    assert!(again.is_none(), "listed twice: {again:?}");
                }
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            let from_reports: HashMap<String, Order> = trader
                .orders
                .iter()
                .filter(|(_, order)| order.status() == OrderStatus::Open)
                .map(|(id, order)| (id.clone(), order.clone()))
                .collect();
            assert!(open == from_reports, "{}: open orders and reports differ", trader.name);
        }
    }

    async fn check_books(&self, session: &mut Session) {
        for symbol in &self.symbols {
            let mut sides: [BTreeMap<i64, PriceLevel>; 2] = Default::default();
            let orders = self.traders.iter().flat_map(|trader| trader.orders.values());
            for order in orders.filter(|order| order.symbol == *symbol && order.status() == OrderStatus::Open) {
                let levels = &mut sides[usize::from(order.side() == Side::Sell)];
                let level = levels.entry(order.price_e4).or_insert(PriceLevel {
                    price_e4: order.price_e4,
                    quantity: 0,
                    order_count: 0,
                });
                level.quantity += order.quantity - order.filled_quantity;
                level.order_count += 1;
            }
            let request = session.with(GetOrderBookRequest {
                symbol: symbol.clone(),
                depth: 0,
            });
            let answer = session
                .info
                .get_order_book(request)
                .await
                .expect("can get")
                .into_inner();
            let book = answer.book.expect("a book");
            let [bids, asks] = sides;
            assert_eq!(book.bids, bids.into_values().rev().collect::<Vec<_>>(), "{symbol}");
            assert_eq!(book.asks, asks.into_values().collect::<Vec<_>>(), "{symbol}");
        }
    }
}

impl Trader {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            reports: Vec::new(),
            heard: Vec::new(),
            orders: HashMap::new(),
            events: BTreeMap::new(),
            positions: HashMap::new(),
        }
    }

    /// Takes the next report, which must follow from those before.
    fn add(&mut self, report: ExecutionReport) {
        let name = &self.name;
        assert_eq!(report.report_seq, self.reports.len() as u64 + 1, "{name}: {report:?}");
        let order = report.order.clone().expect("a report has its order");
        let id = order.client_order_id.clone();
        let before = self.orders.get(&id);
        let filled = before.map_or(0, |order| order.filled_quantity);
        match report.kind() {
            ExecutionKind::Accepted => assert!(before.is_none(), "{name}: accepted twice: {report:?}"),
            ExecutionKind::Fill => {
                let fill = report.fill.as_ref().expect("a fill");
                assert_eq!(order.filled_quantity, filled + fill.quantity, "{name}: {report:?}");
                let sign = if order.side() == Side::Buy { 1 } else { -1 };
                let position = self.positions.entry(order.symbol.clone()).or_default();
                position.0 += sign * fill.quantity;
                position.1 -= sign * fill.quantity * fill.price_e4 * MULTIPLIER;
            }
            _ => assert_eq!(order.filled_quantity, filled, "{name}: {report:?}"),
        }
        if let Some(before) = before {
            assert_eq!(before.order_id, order.order_id, "{name}: {report:?}");
            assert_eq!(before.status(), OrderStatus::Open, "{name}: after its end: {report:?}");
        }
        if let Some((last, _)) = self.events.last_key_value() {
            assert!(report.event_seq >= *last, "{name}: goes back: {report:?}");
        }
        self.events.entry(report.event_seq).or_insert(self.reports.len());
        self.orders.insert(id, order);
        self.reports.push(report);
    }

    fn of_event(&self, event_seq: u64) -> impl Iterator<Item = &ExecutionReport> {
        let start = self.events.get(&event_seq).copied().unwrap_or(self.reports.len());
        self.reports[start..]
            .iter()
            .take_while(move |report| report.event_seq == event_seq)
    }

    /// What was answered is in the reports of its event.
    fn check_record(&self, record: &Record) {
        let name = &self.name;
        match record {
            Record::Insert(insert, Some(answer)) => self.check_insert(insert, answer),
            Record::Cancel(Some(answer)) => {
                let found = self.of_event(answer.event_seq).any(|report| {
                    let order = report.order.as_ref();
                    report.kind() == ExecutionKind::Cancelled
                        && order.is_some_and(|order| {
                            order.order_id == answer.order_id
                                && order.quantity - order.filled_quantity == answer.cancelled_quantity
                        })
                });
                assert!(found, "{name}: a cancel was lost: {answer:?}");
            }
            Record::Amend(amend, Some(answer)) => {
                let fills: Vec<Fill> = self.fills_of(answer.event_seq, answer.order_id);
                assert_eq!(fills, answer.fills, "{name}: {amend:?}");
                let found = self.of_event(answer.event_seq).any(|report| {
                    matches!(report.kind(), ExecutionKind::Amended | ExecutionKind::Cancelled)
                        && report
                            .order
                            .as_ref()
                            .is_some_and(|order| order.order_id == answer.order_id)
                });
                assert!(found, "{name}: an amend was lost: {amend:?} {answer:?}");
            }
            Record::Insert(_, None) | Record::Cancel(None) | Record::Amend(_, None) | Record::Refused => {}
        }
    }

    fn check_insert(&self, insert: &InsertOrderRequest, answer: &InsertOrderResponse) {
        let name = &self.name;
        let accepted = self
            .of_event(answer.event_seq)
            .find(|report| report.kind() == ExecutionKind::Accepted)
            .and_then(|report| report.order.as_ref());
        let Some(accepted) = accepted else {
            panic!("{name}: an order was lost: {insert:?} {answer:?}")
        };
        assert_eq!(
            (
                accepted.order_id,
                &accepted.client_order_id,
                accepted.quantity,
                &accepted.symbol
            ),
            (
                answer.order_id,
                &insert.client_order_id,
                insert.quantity,
                &insert.symbol
            ),
            "{name}"
        );
        assert_eq!(
            self.fills_of(answer.event_seq, answer.order_id),
            answer.fills,
            "{name}: {insert:?}"
        );
    }

    fn fills_of(&self, event_seq: u64, order_id: u64) -> Vec<Fill> {
        self.of_event(event_seq)
            .filter(|report| report.order.as_ref().is_some_and(|order| order.order_id == order_id))
            .filter_map(|report| report.fill)
            .collect()
    }

    /// Sends again what was not answered: an order that was taken answers as it would have the first
    /// time, another is taken now.
    async fn retry_unanswered(&self, session: &mut Session, records: &[Record]) {
        for record in records {
            let Record::Insert(insert, None) = record else { continue };
            let request = session.with(insert.clone());
            let answer = session
                .execution
                .insert_order(request)
                .await
                .expect("a retry is taken")
                .into_inner();
            if let Some(order) = self.orders.get(&insert.client_order_id) {
                assert_eq!(
                    answer.order_id, order.order_id,
                    "{}: a retry made another order",
                    self.name
                );
                self.check_insert(insert, &answer);
            }
        }
    }

    /// The round's last orders, asked for by name: also those that are done.
    async fn check_by_name(&self, session: &mut Session, records: &[Record]) {
        let inserts = records.iter().rev().filter_map(|record| match record {
            Record::Insert(insert, _) => Some(insert),
            _ => None,
        });
        for insert in inserts.take(40) {
            let request = session.with(ListOrdersRequest {
                client_order_id: insert.client_order_id.clone(),
                ..ListOrdersRequest::default()
            });
            let page = session
                .execution
                .list_orders(request)
                .await
                .expect("can list")
                .into_inner();
            let order = self.orders.get(&insert.client_order_id);
            assert_eq!(
                page.orders.iter().collect::<Vec<_>>(),
                Vec::from_iter(order),
                "{}",
                self.name
            );
        }
    }

    /// After the retries every client id has its one order, also by name.
    fn check_once(&self, records: &[Record]) {
        let mut ids = HashSet::new();
        for record in records {
            if let Record::Insert(insert, _) = record {
                assert!(ids.insert(&insert.client_order_id), "the load's own ids are unique");
                assert!(
                    self.orders.contains_key(&insert.client_order_id),
                    "{}: {insert:?} is not there",
                    self.name
                );
            }
        }
    }
}

/// Whether `part` stands in `all` as it is, at one place.
fn contains<T: PartialEq>(all: &[T], part: &[T]) -> bool {
    let Some(first) = part.first() else { return true };
    all.iter()
        .position(|item| item == first)
        .is_some_and(|start| all[start..].starts_with(part))
}

/// All reports after this one, up to the last that there is.
async fn read_reports(session: &Session, after: u64) -> Vec<ExecutionReport> {
    let request = session.with(SubscribeExecutionReportsRequest {
        after_report_seq: Some(after),
        cancel_on_disconnect: false,
    });
    let mut stream = session
        .execution
        .clone()
        .subscribe_execution_reports(request)
        .await
        .expect("can subscribe")
        .into_inner();
    let mut last = None;
    let mut reports: Vec<ExecutionReport> = Vec::new();
    while last.is_none_or(|last| after + (reports.len() as u64) < last) {
        let message = stream
            .message()
            .await
            .expect("the stream goes on")
            .expect("the stream goes on");
        match message.event {
            Some(subscribe_execution_reports_response::Event::SubscribedReportSeq(seq)) => last = Some(seq),
            Some(subscribe_execution_reports_response::Event::Report(report)) => reports.push(report),
            _ => {}
        }
    }
    reports
}
