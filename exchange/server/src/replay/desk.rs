//! The replay's side of the exchange: sessions of two traders and an administrator, commands, the maker's
//! reports, and the book as a subscriber sees it.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use optivex_proto::v1::admin_service_client::AdminServiceClient;
use optivex_proto::v1::auth_service_client::AuthServiceClient;
use optivex_proto::v1::execution_service_client::ExecutionServiceClient;
use optivex_proto::v1::info_service_client::InfoServiceClient;
use optivex_proto::v1::{
    AmendOrderRequest, BookView, CancelOrderRequest, CreateInstrumentRequest, Delivery, ExecutionKind, ExecutionReport,
    GetOrderBookRequest, InsertOrderRequest, LoginRequest, OrderStatus, PriceLevel, Role, SetTradingPhaseRequest, Side,
    SubscribeExecutionReportsRequest, SubscribeExecutionReportsResponse, SubscribeOrderBooksRequest,
    SubscribeOrderBooksResponse, TimeInForce, TradingPhase, amend_order_request, cancel_order_request,
    subscribe_execution_reports_response, subscribe_order_books_response,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use super::replica::{Action, Hit, Key, Levels};
use super::{Error, Login};

/// How long an answer or a message of a stream may take.
const PATIENCE: Duration = Duration::from_secs(30);

type Token = MetadataValue<Ascii>;

/// Everything that a replay holds of an exchange.
pub(super) struct Desk {
    symbol: String,
    /// Makes client ids of one replay differ from those of another.
    book_id: u64,
    maker: Token,
    taker: Token,
    admin: Option<Token>,
    admin_service: AdminServiceClient<Channel>,
    execution: ExecutionServiceClient<Channel>,
    info: InfoServiceClient<Channel>,
    reports: Streaming<SubscribeExecutionReportsResponse>,
    updates: Streaming<SubscribeOrderBooksResponse>,
    book: Book,
    /// Commands that were answered.
    pub(super) commands: u64,
}

/// The book as the subscription tells it.
#[derive(Default)]
struct Book {
    bids: BTreeMap<i64, PriceLevel>,
    asks: BTreeMap<i64, PriceLevel>,
    book_seq: u64,
    event_seq: u64,
}

impl Desk {
    /// Logs in, makes the instrument if it is not there, and subscribes. A book that is not empty is
    /// refused: what rests there would trade with the replay.
    pub(super) async fn open(channel: Channel, logins: &[Login], symbol: Option<&str>) -> Result<Self, Error> {
        let Sessions { traders, admin } = Sessions::open(&channel, logins).await?;
        let [maker, taker] = traders;
        let mut execution = ExecutionServiceClient::new(channel.clone());
        let mut info = InfoServiceClient::new(channel.clone());
        let mut admin_service = AdminServiceClient::new(channel);

        let (symbol, book_id) = match symbol {
            Some(symbol) => {
                let id = instrument(&mut admin_service, &mut info, admin.as_ref(), &maker, symbol).await?;
                (symbol.to_owned(), id)
            }
            None => fresh_instrument(&mut admin_service, admin.as_ref()).await?,
        };
        let reports = SubscribeExecutionReportsRequest {
            after_report_seq: None,
            cancel_on_disconnect: false,
        };
        let mut reports = call(
            "SubscribeExecutionReports",
            execution.subscribe_execution_reports(with(&maker, reports)),
        )
        .await?;
        match next("execution reports", &mut reports).await?.event {
            Some(subscribe_execution_reports_response::Event::SubscribedReportSeq(_)) => {}
            other => return Err(Error::broken("execution reports", format!("began with {other:?}"))),
        }
        let updates = SubscribeOrderBooksRequest {
            symbols: vec![symbol.clone()],
            view: BookView::PriceDepth.into(),
            delivery: Delivery::Lossless.into(),
            ..SubscribeOrderBooksRequest::default()
        };
        let updates = call("SubscribeOrderBooks", info.subscribe_order_books(with(&maker, updates))).await?;
        let mut desk = Self {
            symbol,
            book_id,
            maker,
            taker,
            admin,
            admin_service,
            execution,
            info,
            reports,
            updates,
            book: Book::default(),
            commands: 0,
        };
        while desk.book.event_seq == 0 {
            desk.read_book().await?;
        }
        if !desk.book.bids.is_empty() || !desk.book.asks.is_empty() {
            return Err(Error::Setup(format!(
                "the book of {} is not empty: name another --symbol, or none for a new one",
                desk.symbol
            )));
        }
        Ok(desk)
    }

    /// The instrument's symbol.
    pub(super) fn symbol(&self) -> &str {
        &self.symbol
    }

    /// Carries out one action and waits until the book shows it. The text tells what was not as it must be.
    pub(super) async fn carry_out(&mut self, action: &Action) -> Result<Vec<String>, Error> {
        let mut wrong = Vec::new();
        let event_seq = match action {
            Action::Insert {
                key,
                side,
                price_e4,
                quantity,
            } => {
                let insert = self.insert(*side, *price_e4, *quantity, Some(*key));
                let answer = call("InsertOrder", self.execution.insert_order(with(&self.maker, insert))).await?;
                if answer.status() != OrderStatus::Open || !answer.fills.is_empty() {
                    wrong.push(format!("{key:?} does not rest: {answer:?}"));
                }
                self.report(answer.event_seq, ExecutionKind::Accepted, *key, &mut wrong)
                    .await?;
                (answer.open_quantity > 0).then_some(answer.event_seq)
            }
            Action::Amend { key, quantity } => {
                let amend = AmendOrderRequest {
                    order: Some(amend_order_request::Order::ClientOrderId(self.client_order_id(*key))),
                    price_e4: None,
                    quantity: Some(*quantity),
                };
                let answer = call("AmendOrder", self.execution.amend_order(with(&self.maker, amend))).await?;
                if answer.status() != OrderStatus::Open || !answer.fills.is_empty() {
                    wrong.push(format!("{key:?} made smaller is not open: {answer:?}"));
                }
                self.report(answer.event_seq, ExecutionKind::Amended, *key, &mut wrong)
                    .await?;
                Some(answer.event_seq)
            }
            Action::Cancel { key } => {
                let cancel = CancelOrderRequest {
                    order: Some(cancel_order_request::Order::ClientOrderId(self.client_order_id(*key))),
                };
                let answer = call("CancelOrder", self.execution.cancel_order(with(&self.maker, cancel))).await?;
                self.report(answer.event_seq, ExecutionKind::Cancelled, *key, &mut wrong)
                    .await?;
                Some(answer.event_seq)
            }
            Action::Execute {
                side,
                price_e4,
                quantity,
                hits,
            } => self.execute(*side, *price_e4, *quantity, hits, &mut wrong).await?,
            Action::Phase(phase) => {
                let Some(admin) = &self.admin else {
                    return Err(Error::Setup("a halt needs a user with the role admin".to_owned()));
                };
                let set = SetTradingPhaseRequest {
                    symbol: self.symbol.clone(),
                    phase: (*phase).into(),
                };
                let answer = call(
                    "SetTradingPhase",
                    self.admin_service.set_trading_phase(with(admin, set)),
                )
                .await?;
                if answer.trade_count != 0 {
                    wrong.push(format!("{phase:?} made {} trades", answer.trade_count));
                }
                // The phase may be the current one: then the book says nothing.
                None
            }
        };
        self.commands += 1;
        if let Some(event_seq) = event_seq {
            while self.book.event_seq < event_seq {
                self.read_book().await?;
            }
        }
        Ok(wrong)
    }

    /// The book as the subscription tells it, after everything that was carried out.
    pub(super) fn levels(&self) -> Levels {
        let lots =
            |levels: &BTreeMap<i64, PriceLevel>| levels.iter().map(|(price, level)| (*price, level.quantity)).collect();
        Levels {
            bids: lots(&self.book.bids),
            asks: lots(&self.book.asks),
        }
    }

    /// The whole book as the exchange tells it when asked, against what the subscription added up to.
    pub(super) async fn check_book(&mut self) -> Result<Option<String>, Error> {
        let get = GetOrderBookRequest {
            symbol: self.symbol.clone(),
            depth: 0,
        };
        let answer = call("GetOrderBook", self.info.get_order_book(with(&self.maker, get))).await?;
        let snapshot = answer
            .book
            .ok_or_else(|| Error::broken("GetOrderBook", "no book in the answer".to_owned()))?;
        while self.book.event_seq < snapshot.event_seq && self.book.book_seq < snapshot.book_seq {
            self.read_book().await?;
        }
        let bids: Vec<PriceLevel> = self.book.bids.values().rev().copied().collect();
        let asks: Vec<PriceLevel> = self.book.asks.values().copied().collect();
        if (snapshot.book_seq, &snapshot.bids, &snapshot.asks) == (self.book.book_seq, &bids, &asks) {
            return Ok(None);
        }
        Ok(Some(format!(
            "GetOrderBook at book_seq {} and the subscription at {} do not show the same book",
            snapshot.book_seq, self.book.book_seq
        )))
    }

    async fn execute(
        &mut self,
        side: Side,
        price_e4: i64,
        quantity: i64,
        hits: &[Hit],
        wrong: &mut Vec<String>,
    ) -> Result<Option<u64>, Error> {
        let mut insert = self.insert(side, price_e4, quantity, None);
        insert.time_in_force = TimeInForce::ImmediateOrCancel.into();
        let answer = call("InsertOrder", self.execution.insert_order(with(&self.taker, insert))).await?;
        let told: Vec<(i64, i64)> = answer.fills.iter().map(|fill| (fill.price_e4, fill.quantity)).collect();
        let wanted: Vec<(i64, i64)> = hits.iter().map(|hit| (hit.price_e4, hit.quantity)).collect();
        if told != wanted || answer.filled_quantity != quantity || answer.status() != OrderStatus::Filled {
            wrong.push(format!("an execution must trade {wanted:?}: {answer:?}"));
        }
        for (index, fill) in answer.fills.iter().enumerate() {
            let report = self.next_report(answer.event_seq).await?;
            let order = report.order.as_ref().map_or("", |order| order.client_order_id.as_str());
            let wanted = hits
                .get(index)
                .map(|hit| self.client_order_id(hit.key))
                .unwrap_or_default();
            if report.kind() != ExecutionKind::Fill || report.fill.as_ref() != Some(fill) || order != wanted {
                wrong.push(format!("{fill:?} must be with {wanted}: {report:?}"));
            }
        }
        Ok((!answer.fills.is_empty()).then_some(answer.event_seq))
    }

    fn insert(&self, side: Side, price_e4: i64, quantity: i64, key: Option<Key>) -> InsertOrderRequest {
        InsertOrderRequest {
            symbol: self.symbol.clone(),
            side: side.into(),
            price_e4,
            quantity,
            client_order_id: key.map_or(String::new(), |key| self.client_order_id(key)),
            ..InsertOrderRequest::default()
        }
    }

    /// At most 36 bytes: two numbers in hexadecimal.
    fn client_order_id(&self, key: Key) -> String {
        let book = self.book_id;
        match key {
            Key::Recorded(id) => format!("{book:x}-{id:x}"),
            Key::Seed(number) => format!("{book:x}-s{number:x}"),
        }
    }

    async fn report(
        &mut self,
        event_seq: u64,
        kind: ExecutionKind,
        key: Key,
        wrong: &mut Vec<String>,
    ) -> Result<(), Error> {
        let report = self.next_report(event_seq).await?;
        let order = report.order.as_ref().map_or("", |order| order.client_order_id.as_str());
        if report.kind() != kind || order != self.client_order_id(key) {
            wrong.push(format!("{key:?} must be reported as {kind:?}: {report:?}"));
        }
        Ok(())
    }

    /// The next of the maker's reports of an event.
    async fn next_report(&mut self, event_seq: u64) -> Result<ExecutionReport, Error> {
        loop {
            match next("execution reports", &mut self.reports).await?.event {
                Some(subscribe_execution_reports_response::Event::Report(report)) => {
                    if report.event_seq == event_seq {
                        return Ok(report);
                    }
                    if report.event_seq > event_seq {
                        return Err(Error::broken(
                            "execution reports",
                            format!("event {event_seq} has too few: {report:?}"),
                        ));
                    }
                }
                Some(subscribe_execution_reports_response::Event::HeartbeatReportSeq(_)) => {}
                other => return Err(Error::broken("execution reports", format!("{other:?}"))),
            }
        }
    }

    async fn read_book(&mut self) -> Result<(), Error> {
        use subscribe_order_books_response::Event;
        let broken = |what: String| Err(Error::broken("the book's subscription", what));
        let book = &mut self.book;
        match next("the book's subscription", &mut self.updates).await?.event {
            Some(Event::Subscribed(subscribed)) => {
                if let Some(status) = subscribed.statuses.iter().find(|status| status.reason != 0) {
                    return broken(format!("{status:?}"));
                }
            }
            Some(Event::Snapshot(snapshot)) => {
                let by_price =
                    |levels: Vec<PriceLevel>| levels.into_iter().map(|level| (level.price_e4, level)).collect();
                book.bids = by_price(snapshot.bids);
                book.asks = by_price(snapshot.asks);
                book.book_seq = snapshot.book_seq;
                book.event_seq = snapshot.event_seq.max(1);
            }
            Some(Event::Update(update)) => {
                if update.prev_book_seq != book.book_seq {
                    return broken(format!("book_seq {} is followed by {update:?}", book.book_seq));
                }
                for (levels, changed) in [(&mut book.bids, update.bids), (&mut book.asks, update.asks)] {
                    for level in changed {
                        match level.quantity {
                            0 => levels.remove(&level.price_e4),
                            _ => levels.insert(level.price_e4, level),
                        };
                    }
                }
                book.book_seq = update.book_seq;
                book.event_seq = update.event_seq;
            }
            Some(Event::Heartbeat(heartbeat)) => {
                book.event_seq = book.event_seq.max(heartbeat.event_seq);
            }
            other => return broken(format!("{other:?}")),
        }
        Ok(())
    }
}

struct Sessions {
    traders: [Token; 2],
    admin: Option<Token>,
}

impl Sessions {
    /// The first two traders and the first administrator.
    async fn open(channel: &Channel, logins: &[Login]) -> Result<Self, Error> {
        let mut auth = AuthServiceClient::new(channel.clone());
        let mut traders = Vec::new();
        let mut admin = None;
        for login in logins {
            let request = LoginRequest {
                username: login.username.clone(),
                password: login.password.clone(),
            };
            let answer = call("Login", auth.login(request)).await?;
            let token: Token = format!("Bearer {}", answer.token)
                .parse()
                .map_err(|_| Error::broken("Login", "the token is not ASCII".to_owned()))?;
            let has = |role: Role| answer.roles.contains(&i32::from(role));
            if has(Role::Admin) && admin.is_none() {
                admin = Some(token.clone());
            }
            if has(Role::Trader) {
                traders.push(token);
            }
            if let (Some(_), Ok(traders)) = (&admin, <[Token; 2]>::try_from(traders.clone())) {
                return Ok(Self { traders, admin });
            }
        }
        traders.truncate(2);
        let traders = traders.try_into().map_err(|_| {
            Error::Setup(
                "a replay needs two users with the role trader: one for the book, one to trade with it".to_owned(),
            )
        })?;
        Ok(Self { traders, admin })
    }
}

/// A connection to the exchange at a URL; one with `https` needs the authority of its certificate.
pub(super) async fn connect(target: &str, ca: Option<&[u8]>) -> Result<Channel, Error> {
    let failed = |source| Error::Connect {
        target: target.to_owned(),
        source,
    };
    let mut endpoint = Endpoint::from_shared(target.to_owned()).map_err(|error| {
        Error::Setup(format!(
            "the target {target:?} is not a URL such as http://127.0.0.1:50051: {error}"
        ))
    })?;
    match (endpoint.uri().scheme_str(), ca) {
        (Some("http"), None) => {}
        (Some("https"), Some(ca)) => {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
            endpoint = endpoint.tls_config(tls).map_err(failed)?;
        }
        (Some("https"), None) => {
            return Err(Error::Setup(
                "a target with https needs --ca: who signed its certificate".to_owned(),
            ));
        }
        _ => {
            return Err(Error::Setup(format!(
                "the target {target:?} is no URL with http, or https and --ca"
            )));
        }
    }
    endpoint
        .connect_timeout(PATIENCE)
        .tcp_nodelay(true)
        .connect()
        .await
        .map_err(failed)
}

/// The instrument of this symbol: the one that is there, or a new one.
async fn instrument(
    admin_service: &mut AdminServiceClient<Channel>,
    info: &mut InfoServiceClient<Channel>,
    admin: Option<&Token>,
    trader: &Token,
    symbol: &str,
) -> Result<u64, Error> {
    let get = GetOrderBookRequest {
        symbol: symbol.to_owned(),
        depth: 1,
    };
    match info.get_order_book(with(trader, get)).await {
        Ok(answer) => {
            let phase = answer.into_inner().book.map(|book| book.phase());
            if phase != Some(TradingPhase::Continuous) {
                return Err(Error::Setup(format!("{symbol} is not in continuous trading")));
            }
            // Its own number is told by the list only; the time of this replay serves as well.
            Ok(now_ns())
        }
        Err(status) if status.code() == Code::NotFound => match create(admin_service, admin, symbol).await? {
            Some(id) => Ok(id),
            None => Err(Error::Setup(format!("{symbol} appeared this very moment"))),
        },
        Err(status) => Err(Error::refused("GetOrderBook", status)),
    }
}

/// The first of LOBSTER, LOBSTER-2, … that is not there yet.
async fn fresh_instrument(
    admin_service: &mut AdminServiceClient<Channel>,
    admin: Option<&Token>,
) -> Result<(String, u64), Error> {
    for number in 1..=9_999 {
        let symbol = match number {
            1 => "LOBSTER".to_owned(),
            _ => format!("LOBSTER-{number}"),
        };
        if let Some(id) = create(admin_service, admin, &symbol).await? {
            return Ok((symbol, id));
        }
    }
    Err(Error::Setup(
        "LOBSTER to LOBSTER-9999 are all there: name another --symbol".to_owned(),
    ))
}

/// A new instrument; `None` if the symbol is taken.
async fn create(
    admin_service: &mut AdminServiceClient<Channel>,
    admin: Option<&Token>,
    symbol: &str,
) -> Result<Option<u64>, Error> {
    let Some(admin) = admin else {
        return Err(Error::Setup(format!(
            "to make the instrument {symbol}, a replay needs a user with the role admin; or name one that is there with --symbol"
        )));
    };
    let create = CreateInstrumentRequest {
        symbol: symbol.to_owned(),
        description: "recorded order flow".to_owned(),
        currency: "USD".to_owned(),
        multiplier: 1,
        tick_size_e4: 1,
        ..CreateInstrumentRequest::default()
    };
    match admin_service.create_instrument(with(admin, create)).await {
        Ok(answer) => Ok(Some(
            answer
                .into_inner()
                .instrument
                .map_or(0, |instrument| instrument.order_book_id),
        )),
        Err(status) if status.code() == Code::AlreadyExists => Ok(None),
        Err(status) => Err(Error::refused("CreateInstrument", status)),
    }
}

fn now_ns() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .unwrap_or(0)
}

fn with<T>(token: &Token, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", token.clone());
    request
}

async fn call<T>(
    what: &'static str,
    answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Error::refused(what, status)),
        Err(_) => Err(Error::broken(what, format!("no answer for {} s", PATIENCE.as_secs()))),
    }
}

async fn next<T>(what: &'static str, stream: &mut Streaming<T>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, stream.message()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err(Error::broken(what, "the stream ended".to_owned())),
        Ok(Err(status)) => Err(Error::refused(what, status)),
        Err(_) => Err(Error::broken(what, format!("silent for {} s", PATIENCE.as_secs()))),
    }
}
