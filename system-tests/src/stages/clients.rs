//! Stage 14: clients that are slow, broken or hostile disturb nobody but themselves.

use std::time::Duration;

use optivex_proto::v1::{
    self, BookView, CancelOrderRequest, CancelReason, CreateInstrumentRequest, Delivery, ErrorReason,
    InsertOrderRequest, OrderStatus, SubscribeExecutionReportsRequest, SubscribeOrderBooksRequest,
    SubscribeOrderBooksResponse, cancel_order_request, subscribe_order_books_response::Event,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::case::{Case, Stage};
use crate::client::{Next, Session, Stream};
use crate::context::Context;
use crate::market::{Applied, Mirror};
use crate::order::{buy, sell};
use crate::proxy::Proxy;
use crate::run;
use crate::verdict::{Stop, Verdict};

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "clients",
    title: "Slow and broken clients",
    number: 14,
    core: false,
    builds_on: &["orders", "depth"],
    cases: &[
        Case::new(
            "stalled-lossless",
            "A lossless subscriber that does not read slows nobody down, and misses nothing or is ended with TOO_SLOW.",
            "info.proto DELIVERY_LOSSLESS",
            run!(stalled_lossless),
        )
        .alone()
        .within(300),
        Case::new(
            "stalled-conflated",
            "A conflated subscriber that did not read gets the newest state when it does.",
            "info.proto DELIVERY_CONFLATED",
            run!(stalled_conflated),
        )
        .alone()
        .within(300),
        Case::new(
            "half-open",
            "A report stream whose client is silent to keepalive for 10 s is broken: orders since it began are cancelled.",
            "execution.proto SubscribeExecutionReportsRequest.cancel_on_disconnect",
            run!(half_open),
        ),
        Case::new(
            "cut",
            "A report stream whose connection is closed is broken: orders since it began are cancelled.",
            "execution.proto SubscribeExecutionReportsRequest.cancel_on_disconnect",
            run!(cut),
        ),
        Case::new(
            "many-subscribers",
            "A thousand subscribers of one book all get its changes.",
            "info.proto InfoService.SubscribeOrderBooks",
            run!(many_subscribers),
        )
        .alone()
        .within(300),
        Case::new(
            "come-and-go",
            "Subscriptions that ended do not count: they can be opened again and again.",
            "common.proto ERROR_REASON_CAPACITY; info.proto InfoService.SubscribeOrderBooks",
            run!(come_and_go),
        )
        .within(300),
        Case::new(
            "garbage-bytes",
            "Bytes that are no gRPC, on connections of their own, disturb nobody.",
            "gRPC over HTTP/2; common.proto, errors are gRPC statuses",
            run!(garbage_bytes),
        ),
        Case::new(
            "idle-connections",
            "A hundred connections that say nothing disturb nobody.",
            "gRPC over HTTP/2",
            run!(idle_connections),
        ),
        Case::new(
            "oversized",
            "A message of 16 MiB is refused, and disturbs nobody.",
            "common.proto ERROR_REASON_INVALID_FIELD, client ids are bounded",
            run!(oversized),
        ),
        Case::new(
            "abandoned",
            "An insert that its client gave up happened once or not at all, and its retry answers for it.",
            "execution.proto InsertOrderRequest.client_order_id",
            run!(abandoned),
        ),
    ],
};

/// Clients that trade while somebody does not read.
const BUSY: usize = 6;
/// Orders that each of them inserts and cancels.
const ORDERS: usize = 600;

fn depth(symbol: &str, delivery: Delivery) -> SubscribeOrderBooksRequest {
    SubscribeOrderBooksRequest {
        symbols: vec![symbol.to_owned()],
        view: BookView::PriceDepth.into(),
        delivery: delivery.into(),
        ..SubscribeOrderBooksRequest::default()
    }
}

/// A viewer that takes no more than HTTP/2 lets every client send ahead: what it does not read, waits at the
/// exchange.
async fn narrow(context: &Context) -> Verdict<Session> {
    let viewer = context.viewer().await?;
    Session::connect_narrow(context.url(), viewer.username(), context.log(), context.patience())
        .await?
        .with_token(viewer.token())
}

/// Reads until the mirror has its first snapshot.
async fn begin(stream: &mut Stream<SubscribeOrderBooksResponse>, mirror: &mut Mirror) -> Verdict {
    while !mirror.known() {
        let message = stream.expecting("the first snapshot").await?;
        mirror.apply(&message)?;
    }
    Ok(())
}

/// Inserts and cancels at prices of its own. Returns the last event.
async fn flow(session: Session, symbol: String, place: usize) -> Verdict<u64> {
    let mut last = 0;
    for turn in 0..ORDERS {
        let price = 1_000 + (place * ORDERS + turn) as i64;
        let order = session.rest(sell(&symbol, price, 1)).await?;
        // Some stay, so that the book is not empty in the end.
        last = order.event_seq;
        if turn % 20 != 0 {
            let request = CancelOrderRequest {
                order: Some(cancel_order_request::Order::OrderId(order.order_id)),
            };
            last = session.cancel(request).await?.event_seq;
        }
    }
    Ok(last)
}

/// Many changes while one subscriber does not read: everybody else goes on.
async fn changes(context: &Context, symbol: &str) -> Verdict<u64> {
    let mut healthy = context.viewer().await?.follow_books(depth(symbol, Delivery::Lossless));
    let mut mirror = Mirror::new(symbol);
    begin(&mut healthy, &mut mirror).await?;
    let mut clients = Vec::new();
    for place in 0..BUSY {
        let session = context.trader().await?;
        clients.push(tokio::spawn(flow(session, symbol.to_owned(), place)));
    }
    let trading = async {
        let mut last = 0;
        for client in clients {
            let done = client
                .await
                .map_err(|error| Stop::trouble(format!("a client broke: {error}")))?;
            last = last.max(done?);
        }
        Ok::<u64, Stop>(last)
    };
    tokio::pin!(trading);
    let mut last = None;
    while last.is_none_or(|last| mirror.event_seq() < last) {
        tokio::select! {
            done = &mut trading, if last.is_none() => last = Some(done?),
            message = healthy.expecting("the changes, by a subscriber that reads") => {
                mirror.apply(&message?)?;
            }
        }
    }
    let last = last.unwrap_or_default();
    mirror.equals(&context.viewer().await?.book_at(symbol, last).await?)?;
    Ok(last)
}

async fn stalled_lossless(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let mut stalled = narrow(&context).await?.follow_books(depth(&symbol, Delivery::Lossless));
    let mut mirror = Mirror::new(&symbol);
    begin(&mut stalled, &mut mirror).await?;
    let last = changes(&context, &symbol).await?;
    // Whatever comes now is right to the end, or the stream ends with TOO_SLOW.
    while mirror.event_seq() < last {
        match stalled.read(context.patience()).await {
            Next::Message(message) => {
                if mirror.apply(&message)? == Applied::Gap {
                    return Err(message.fail("a gap", "every change, or the end with TOO_SLOW"));
                }
            }
            Next::End(Some(_)) => return stalled.refused(ErrorReason::TooSlow, &[]).await.map(drop),
            Next::End(None) => return Err(stalled.at().fail("the stream ended with OK", "TOO_SLOW")),
            Next::Silence => return Err(stalled.at().fail("nothing comes", "every change, or TOO_SLOW")),
        }
    }
    mirror.equals(&context.viewer().await?.book_at(&symbol, last).await?)
}

async fn stalled_conflated(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let mut stalled = narrow(&context)
        .await?
        .follow_books(depth(&symbol, Delivery::Conflated));
    let mut mirror = Mirror::new(&symbol);
    begin(&mut stalled, &mut mirror).await?;
    let last = changes(&context, &symbol).await?;
    while mirror.event_seq() < last {
        let message = stalled.expecting("the newest state").await?;
        mirror.apply(&message)?;
    }
    mirror.equals(&context.viewer().await?.book_at(&symbol, last).await?)
}

/// An order guarded over a proxy, and what comes of it when the proxy does this.
async fn guarded(context: Context, what: &str, breaks: impl FnOnce(&Proxy)) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let older = trader.rest(buy(&symbol, 99, 2)).await?;
    let proxy = Proxy::before(context.url()).await?;
    let far = Session::connect(proxy.url(), "guard", context.log(), context.patience())
        .await?
        .with_token(trader.token())?;
    let mut guard = far.follow_reports(SubscribeExecutionReportsRequest {
        after_report_seq: None,
        cancel_on_disconnect: true,
    });
    guard.expecting("subscribed_report_seq").await?;
    let mut reports = trader.follow_reports(SubscribeExecutionReportsRequest::default());
    reports.expecting("subscribed_report_seq").await?;
    let order = trader.rest(buy(&symbol, 100, 3)).await?;
    context.log().note(what);
    breaks(&proxy);
    let cancelled = reports
        .until("a CANCELLED report with reason DISCONNECT", |message| {
            use v1::subscribe_execution_reports_response::Event as Report;
            match &message.event {
                Some(Report::Report(report)) if report.kind() == v1::ExecutionKind::Cancelled => {
                    message.has("cancel_reason", |_| report.cancel_reason(), CancelReason::Disconnect)?;
                    Ok(Some(report.order.clone().unwrap_or_default().order_id))
                }
                _ => Ok(None),
            }
        })
        .await?;
    reports.at().same("order_id of the report", cancelled, order.order_id)?;
    trader.is_cancelled(order.order_id, CancelReason::Disconnect).await?;
    drop(guard);
    trader.order(older.order_id).await?.has(
        "status of the order that was there before the stream",
        |order| order.status(),
        OrderStatus::Open,
    )?;
    Ok(())
}

async fn half_open(context: Context) -> Verdict {
    guarded(
        context,
        "the guard's connection falls silent and stays open",
        Proxy::fall_silent,
    )
    .await
}

async fn cut(context: Context) -> Verdict {
    guarded(context, "the guard's connection is closed", Proxy::cut).await
}

async fn many_subscribers(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    // Over several users and connections: an exchange may bound what one of them has.
    let mut users = vec![
        context.viewer().await?.known_user()?,
        context.admin().await?.known_user()?,
    ];
    for _ in 0..5 {
        users.push(context.trader().await?.known_user()?);
    }
    let mut streams = Vec::new();
    for user in users.iter().cycle().take(20) {
        let session = context.login(user).await?;
        let open = (0..50).map(|_| session.follow_books(depth(&symbol, Delivery::Conflated)));
        streams.extend(open.map(|stream| (stream, Mirror::new(&symbol))));
    }
    for (stream, mirror) in &mut streams {
        begin(stream, mirror).await?;
    }
    let trader = context.trader().await?;
    trader.rest(buy(&symbol, 100, 3)).await?;
    let last = trader.rest(buy(&symbol, 99, 2)).await?.event_seq;
    let book = trader.book_at(&symbol, last).await?;
    for (stream, mirror) in &mut streams {
        while mirror.event_seq() < last {
            let message = stream.expecting("the changes of the book").await?;
            mirror.apply(&message)?;
        }
        mirror.equals(&book)?;
    }
    Ok(())
}

async fn come_and_go(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let session = context.trader().await?;
    for _ in 0..30 {
        let mut streams: Vec<_> = (0..50)
            .map(|_| session.follow_books(depth(&symbol, Delivery::Lossless)))
            .collect();
        for stream in &mut streams {
            let message = stream.expecting("subscribed").await?;
            match &message.event {
                Some(Event::Subscribed(subscribed)) => message.has(
                    "reason",
                    |_| subscribed.statuses.first().map(|status| status.reason()),
                    Some(ErrorReason::Unspecified),
                )?,
                _ => return Err(message.fail("another message", "subscribed, first")),
            };
        }
    }
    Ok(())
}

/// The address of the exchange for raw connections.
async fn raw(context: &Context) -> Verdict<TcpStream> {
    let address = context
        .url()
        .split_once("://")
        .map_or(context.url(), |(_, rest)| rest)
        .trim_end_matches('/');
    TcpStream::connect(address).await.map_err(|error| {
        Stop::failed(
            format!("no connection to {address}: {error}"),
            "an exchange that takes connections",
        )
    })
}

/// Somebody else's business goes on.
async fn goes_on(trader: &Session, symbol: &str) -> Verdict {
    let order = trader.rest(buy(symbol, 100, 1)).await?;
    trader.cancel_id(order.order_id).await.map(drop)
}

async fn garbage_bytes(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let mut random = context.random();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let noise = |random: &mut fastrand::Rng, length: usize| -> Vec<u8> {
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    };
    let mut garbage = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        // A frame that says that it is 16 MiB long.
        [preface.clone(), b"\xff\xff\xff\x00\x00\x00\x00\x00\x01".to_vec()].concat(),
        // A HEADERS frame of noise.
        [
            preface.clone(),
            b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x40\x01\x05\x00\x00\x00\x01".to_vec(),
            noise(&mut random, 64),
        ]
        .concat(),
    ];
    for _ in 0..20 {
        let length = random.usize(1..=4_096);
        let more = noise(&mut random, length);
        garbage.push(more.clone());
        garbage.push([preface.clone(), more].concat());
    }
    for (number, bytes) in garbage.iter().enumerate() {
        let mut connection = raw(&context).await?;
        context
            .log()
            .note(&format!("{} bytes of garbage, number {number}", bytes.len()));
        // The exchange may close at once.
        let _ = connection.write_all(bytes).await;
        let mut answer = [0; 64];
        let _ = tokio::time::timeout(Duration::from_millis(20), connection.read(&mut answer)).await;
        goes_on(&trader, &symbol).await?;
    }
    // New connections are accepted, too.
    let late = context.login(&trader.known_user()?).await?;
    goes_on(&late, &symbol).await
}

async fn idle_connections(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let mut idle = Vec::new();
    for number in 0..100 {
        let mut connection = raw(&context).await?;
        if number % 2 == 0 {
            // A greeting, and no word more.
            let _ = connection
                .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
                .await;
        }
        idle.push(connection);
    }
    for _ in 0..20 {
        goes_on(&trader, &symbol).await?;
    }
    let late = context.login(&trader.known_user()?).await?;
    goes_on(&late, &symbol).await
}

async fn oversized(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let admin = context.admin().await?;
    let text = "x".repeat(16 << 20);
    let order = InsertOrderRequest {
        client_order_id: text.clone(),
        ..buy(&symbol, 100, 1)
    };
    let instrument = CreateInstrumentRequest {
        description: text,
        ..context.instrument_request()
    };
    // How it is refused is the transport's choice, too: a status, or the end of that stream.
    let again = context.login(&trader.known_user()?).await?;
    if let Ok(reply) = again.try_insert(order).await.either() {
        return Err(reply.fail("the insert succeeded", "a refusal: a client id is at most 36 bytes"));
    }
    if let Ok(reply) = admin.try_create_instrument(instrument).await.either() {
        return Err(reply.fail(
            "the instrument was created",
            "a refusal: a description is at most 256 bytes",
        ));
    }
    goes_on(&trader, &symbol).await?;
    let open = trader.open_orders(&symbol).await?;
    match open.is_empty() {
        true => Ok(()),
        false => Err(Stop::failed(
            format!("{} open orders", open.len()),
            "none: the insert was refused",
        )),
    }
}

async fn abandoned(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let mut random = context.random();
    let mut requests = Vec::new();
    for price in 0..60 {
        let request = InsertOrderRequest {
            client_order_id: context.unique(),
            ..buy(&symbol, 100 + price, 1)
        };
        let call = trader.try_insert(request.clone());
        // Dropped in the midst of it, if it is not over by then.
        let _ = tokio::time::timeout(Duration::from_micros(random.u64(1..=2_000)), call).await;
        requests.push(request);
    }
    let mut newest = None;
    for request in &requests {
        let first = trader.insert(request.clone()).await?;
        newest = newest.max(Some(first.order_id));
        trader
            .insert(request.clone())
            .await?
            .has("the answer to the retry", Clone::clone, first.into_inner())?;
    }
    let open = trader.open_orders_with(&symbol, newest).await?;
    let mut ids: Vec<&str> = open.iter().map(|order| order.client_order_id.as_str()).collect();
    let mut expected: Vec<&str> = requests
        .iter()
        .map(|request| request.client_order_id.as_str())
        .collect();
    ids.sort_unstable();
    expected.sort_unstable();
    match ids == expected {
        true => Ok(()),
        false => Err(Stop::failed(
            format!("{} open orders: {ids:?}", ids.len()),
            "each of the 60 orders, once",
        )),
    }
}
