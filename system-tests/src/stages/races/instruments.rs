//! Instruments that are created while others look.

use futures_util::future::{join, join_all, try_join5};
use optivex_proto::v1::subscribe_instruments_response::Event;
use optivex_proto::v1::subscribe_order_books_response::Event as BookEvent;
use optivex_proto::v1::{
    BookView, CreateInstrumentRequest, Delivery, ErrorReason, GetOrderBookRequest, ListTradesRequest,
    SubscribeOrderBooksRequest,
};

use super::{catch_up, depth_of, only, sessions, taken};
use crate::context::Context;
use crate::market::Mirror;
use crate::order::{buy, sell};
use crate::verdict::Verdict;

/// Catches an instrument that is told before its book is there, in any of the services.
pub(super) async fn seen_is_tradable(context: Context) -> Verdict {
    let (admin, viewer) = (context.admin().await?, context.viewer().await?);
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let mut news = viewer.follow_instruments();
    news.until("the mark that all instruments were sent", |message| {
        Ok(matches!(message.event, Some(Event::SnapshotCompleteEventSeq(_))).then_some(()))
    })
    .await?;
    for _ in 0..15 {
        let request = context.instrument_request();
        let symbol = request.symbol.clone();
        let creating = admin.create_instrument(request);
        let using = async {
            news.until("the new instrument", |message| {
                Ok(match &message.event {
                    Some(Event::Instrument(instrument)) if instrument.symbol == symbol => Some(()),
                    _ => None,
                })
            })
            .await?;
            let mut books = depth_of(&viewer, &symbol);
            let subscribing = books.until("the answer to the subscription", |message| {
                Ok(match &message.event {
                    Some(BookEvent::Subscribed(subscribed)) => {
                        let reasons = subscribed.statuses.iter().map(|status| status.reason());
                        let told: Vec<ErrorReason> = reasons.collect();
                        message
                            .at()
                            .same("reasons of the statuses", told, vec![ErrorReason::Unspecified])?;
                        Some(())
                    }
                    _ => None,
                })
            });
            let book = GetOrderBookRequest {
                symbol: symbol.clone(),
                depth: 0,
            };
            let tape = ListTradesRequest {
                symbol: symbol.clone(),
                ..ListTradesRequest::default()
            };
            let (sold, bought, ..) = try_join5(
                alice.insert(sell(&symbol, 10, 2)),
                bob.insert(buy(&symbol, 10, 1)),
                viewer.book(book),
                viewer.trades(tape),
                subscribing,
            )
            .await?;
            let filled = sold.filled_quantity + bought.filled_quantity;
            bought.at().same("lots filled at once, of both", filled, 1)?;
            let last = sold.event_seq.max(bought.event_seq);
            let mut mirror = Mirror::new(&symbol);
            catch_up(&mut books, &mut mirror, last).await?;
            mirror.equals(&viewer.book_at(&symbol, last).await?)?;
            Ok(sold.event_seq.min(bought.event_seq))
        };
        let (created, used) = join(creating, using).await;
        let (created, first) = (created?, used?);
        created.shows("an event_seq before that of the first order", |reply| {
            reply.event_seq < first
        })?;
    }
    Ok(())
}

/// Catches a subscription of all books that forgets those to come, or starts them with an update.
pub(super) async fn books_to_come(context: Context) -> Verdict {
    let (admin, viewer) = (context.admin().await?, context.viewer().await?);
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    // Conflated: other cases trade at the same time, and this is no test of who reads fast.
    let mut stream = viewer.follow_books(SubscribeOrderBooksRequest {
        view: BookView::PriceDepth.into(),
        delivery: Delivery::Conflated.into(),
        ..SubscribeOrderBooksRequest::default()
    });
    stream
        .until("the answer to the subscription", |message| {
            Ok(matches!(message.event, Some(BookEvent::Subscribed(_))).then_some(()))
        })
        .await?;
    for _ in 0..5 {
        let symbol = admin.create_instrument(context.instrument_request()).await?;
        let symbol = symbol
            .instrument
            .as_ref()
            .map(|instrument| instrument.symbol.clone())
            .unwrap_or_default();
        let (one, two) = join(alice.insert(sell(&symbol, 10, 3)), bob.insert(buy(&symbol, 9, 2))).await;
        let last = one?.event_seq.max(two?.event_seq);
        let mut mirror = Mirror::new(&symbol);
        catch_up(&mut stream, &mut mirror, last).await?;
        mirror.equals(&viewer.book_at(&symbol, last).await?)?;
    }
    Ok(())
}

/// Catches a check and an insertion that are two steps: two instruments of one symbol, or none.
pub(super) async fn one_symbol_once(context: Context) -> Verdict {
    let admin = context.admin().await?;
    let clients = sessions(&context, &admin, 16).await?;
    for _ in 0..4 {
        let request = context.instrument_request();
        let symbol = request.symbol.clone();
        let creating = clients.iter().enumerate().map(|(number, client)| {
            client.try_create_instrument(CreateInstrumentRequest {
                description: format!("made by {number}"),
                ..request.clone()
            })
        });
        let answers = join_all(creating.collect::<Vec<_>>()).await;
        let created = only(
            taken(answers, ErrorReason::DuplicateSymbol, &[])?,
            "instrument of a symbol",
        )?;
        let mut listed = admin.all_instruments(0).await?;
        listed.retain(|instrument| instrument.symbol == symbol);
        let expected: Vec<_> = created.instrument.clone().into_iter().collect();
        created
            .at()
            .same("the instruments of that symbol in the list", listed, expected)?;
    }
    Ok(())
}

/// Catches a retry that is checked before the first one is noted.
pub(super) async fn one_creation(context: Context) -> Verdict {
    let admin = context.admin().await?;
    let clients = sessions(&context, &admin, 16).await?;
    for _ in 0..4 {
        let request = CreateInstrumentRequest {
            client_request_id: context.unique(),
            ..context.instrument_request()
        };
        let creating = clients.iter().map(|client| client.create_instrument(request.clone()));
        let mut first = None;
        for answer in join_all(creating.collect::<Vec<_>>()).await {
            let answer = answer?;
            let first = first.get_or_insert_with(|| (*answer).clone());
            answer.has("the answer", Clone::clone, first.clone())?;
        }
    }
    Ok(())
}
