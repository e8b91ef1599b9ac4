//! Stage 3: instruments are created, listed and followed.

use std::collections::HashSet;

use optivex_proto::v1::{
    CreateInstrumentRequest, ErrorReason, GetOrderBookRequest, Instrument, TradingPhase,
    subscribe_instruments_response::Event,
};

use crate::case::{Case, Stage};
use crate::context::Context;
use crate::run;
use crate::stages::login::THIS_CENTURY_UNIX_NS;
use crate::verdict::{Stop, Verdict};

/// The stage.
pub const STAGE: Stage = Stage {
    slug: "instruments",
    title: "Instruments",
    number: 3,
    core: true,
    builds_on: &["login"],
    cases: &[
        Case::new(
            "create",
            "A created instrument is answered as every client now sees it, open for CONTINUOUS trading.",
            "admin.proto CreateInstrumentResponse",
            run!(create),
        )
        .base(),
        Case::new(
            "list",
            "All instruments are listed by symbol, page by page, each once.",
            "info.proto InfoService.ListInstruments",
            run!(list),
        ),
        Case::new(
            "phases",
            "An instrument opens in the phase asked for, but not CLOSED.",
            "admin.proto CreateInstrumentRequest.initial_phase",
            run!(phases),
        ),
        Case::new(
            "identity",
            "Each instrument has an order_book_id and an event_seq of its own, later ones a later event_seq.",
            "common.proto Instrument.order_book_id, event_seq",
            run!(identity),
        ),
        Case::new(
            "duplicate",
            "A symbol that is taken is DUPLICATE_SYMBOL, and the instrument stays as it is.",
            "common.proto ERROR_REASON_DUPLICATE_SYMBOL",
            run!(duplicate),
        ),
        Case::new(
            "malformed",
            "A field that is missing, malformed or out of range is INVALID_FIELD, and nothing is created.",
            "common.proto ERROR_REASON_INVALID_FIELD, Instrument",
            run!(malformed),
        ),
        Case::new(
            "edges",
            "A field at the edge of its range is taken.",
            "common.proto Instrument",
            run!(edges),
        ),
        Case::new(
            "retry",
            "The same client_request_id and content answer as the first time, defaults filled in.",
            "admin.proto CreateInstrumentRequest.client_request_id",
            run!(retry),
        ),
        Case::new(
            "retry-other-content",
            "The same client_request_id with another content is CLIENT_ID_REUSED.",
            "common.proto ERROR_REASON_CLIENT_ID_REUSED",
            run!(retry_other_content),
        ),
        Case::new(
            "retry-of-another-user",
            "A client_request_id is of its user: another user's is another.",
            "admin.proto CreateInstrumentRequest.client_request_id",
            run!(retry_of_another_user),
        ),
        Case::new(
            "book-exists",
            "An instrument that any client can see has its order book: empty, at book_seq 0.",
            "common.proto Instrument, book_seq",
            run!(book_exists),
        )
        .base(),
        Case::new(
            "unknown",
            "An instrument that is not there is UNKNOWN_INSTRUMENT.",
            "common.proto ERROR_REASON_UNKNOWN_INSTRUMENT",
            run!(unknown),
        ),
        Case::new(
            "follow",
            "SubscribeInstruments sends all instruments, then the mark, then every new one.",
            "info.proto InfoService.SubscribeInstruments",
            run!(follow),
        )
        .base(),
        Case::new(
            "follow-heartbeat",
            "When nothing was sent for a second, SubscribeInstruments says up to where everything was.",
            "info.proto SubscribeInstrumentsResponse.heartbeat_event_seq",
            run!(follow_heartbeat),
        )
        .alone(),
        Case::new(
            "random",
            "Any well-formed instrument comes back as it was sent.",
            "admin.proto CreateInstrumentRequest",
            run!(random),
        )
        .hidden(),
    ],
};

/// Characters of a symbol.
const SYMBOL: &[u8] = b"ABCXYZ0189._-";
/// Some of ISO 4217: an exchange may know them all.
const CURRENCIES: [&str; 5] = ["CHF", "EUR", "GBP", "JPY", "USD"];

/// The instrument that a request asks for, where the exchange chose the rest as here.
fn asked(request: &CreateInstrumentRequest, came: &Instrument) -> Instrument {
    let phase = match request.initial_phase() {
        TradingPhase::Unspecified => TradingPhase::Continuous,
        phase => phase,
    };
    Instrument {
        symbol: request.symbol.clone(),
        description: request.description.clone(),
        currency: request.currency.clone(),
        multiplier: request.multiplier,
        tick_size_e4: request.tick_size_e4,
        order_book_id: came.order_book_id,
        phase: phase.into(),
        created_unix_ns: came.created_unix_ns,
    }
}

/// Creates it, and expects that it is answered and listed as asked for.
async fn check_created(context: &Context, request: CreateInstrumentRequest) -> Verdict<Instrument> {
    let reply = context.admin().await?.create_instrument(request.clone()).await?;
    let came = reply
        .instrument
        .clone()
        .ok_or_else(|| reply.fail("instrument is absent", "the instrument"))?;
    reply
        .has("instrument", |_| came.clone(), asked(&request, &came))?
        .shows("event_seq from 1 on", |reply| reply.event_seq > 0)?
        .shows("created_unix_ns in nanoseconds, of this century", |_| {
            came.created_unix_ns > THIS_CENTURY_UNIX_NS
        })?;
    let listed = context.viewer().await?.all_instruments(0).await?;
    match listed.iter().find(|listed| listed.symbol == came.symbol) {
        Some(listed) if *listed == came => Ok(came),
        Some(listed) => Err(Stop::failed(
            format!("ListInstruments shows {listed:?}"),
            format!("{came:?}"),
        )),
        None => Err(Stop::failed(
            format!("ListInstruments lacks {}", came.symbol),
            "the instrument that was created",
        )),
    }
}

async fn create(context: Context) -> Verdict {
    let request = CreateInstrumentRequest {
        description: "Bücher & Söhne \"A\" 株".to_owned(),
        multiplier: 25,
        tick_size_e4: 250,
        ..context.instrument_request()
    };
    check_created(&context, request).await.map(drop)
}

async fn list(context: Context) -> Verdict {
    let mut created = HashSet::new();
    // Not in the order of their symbols.
    for first in ["M", "C", "X", "0", "K", "A", "Z"] {
        let instrument = context
            .instrument_with(|request| request.symbol.insert_str(0, first))
            .await?;
        created.insert(instrument.symbol);
    }
    let viewer = context.viewer().await?;
    for page_size in [2, 0, 1_000, i32::MAX] {
        // One page of 2 each would be long where many instruments are: other sizes see all anyway.
        let listed = if page_size == 2 && viewer.all_instruments(0).await?.len() > 2_000 {
            continue;
        } else {
            viewer.all_instruments(page_size).await?
        };
        for pair in listed.windows(2) {
            if pair[0].symbol >= pair[1].symbol {
                return Err(Stop::failed(
                    format!("{} comes before {}", pair[0].symbol, pair[1].symbol),
                    "instruments by symbol, each once",
                ));
            }
        }
        if let Some(missing) = created
            .iter()
            .find(|symbol| !listed.iter().any(|listed| listed.symbol == **symbol))
        {
            return Err(Stop::failed(
                format!("{missing} is missing"),
                "all instruments, over all pages",
            ));
        }
    }
    Ok(())
}

async fn phases(context: Context) -> Verdict {
    for phase in [TradingPhase::Continuous, TradingPhase::Auction, TradingPhase::Halted] {
        let mut request = context.instrument_request();
        request.initial_phase = phase.into();
        check_created(&context, request).await?;
    }
    for phase in [TradingPhase::Closed as i32, 99] {
        let mut request = context.instrument_request();
        request.initial_phase = phase;
        context
            .admin()
            .await?
            .try_create_instrument(request)
            .await
            .refused(ErrorReason::InvalidField, &[("field", "initial_phase")])?;
    }
    Ok(())
}

async fn identity(context: Context) -> Verdict {
    let (mut ids, mut last) = (HashSet::new(), 0);
    let admins = [context.admin().await?, context.admin().await?];
    for admin in admins.iter().cycle().take(6) {
        let reply = admin.create_instrument(context.instrument_request()).await?;
        reply.shows("an event_seq after that of the instrument before", |reply| {
            reply.event_seq > last
        })?;
        last = reply.event_seq;
        let id = reply.instrument.as_ref().map(|instrument| instrument.order_book_id);
        reply.shows("an order_book_id that no other instrument has", |_| ids.insert(id))?;
    }
    Ok(())
}

async fn duplicate(context: Context) -> Verdict {
    let first = check_created(&context, context.instrument_request()).await?;
    let request = CreateInstrumentRequest {
        symbol: first.symbol.clone(),
        multiplier: 7,
        ..context.instrument_request()
    };
    for request in [
        request,
        CreateInstrumentRequest {
            symbol: first.symbol.clone(),
            ..context.instrument_request()
        },
    ] {
        let admin = context.admin().await?;
        admin
            .try_create_instrument(request)
            .await
            .refused(ErrorReason::DuplicateSymbol, &[])?;
    }
    let listed = context.viewer().await?.all_instruments(0).await?;
    let now: Vec<&Instrument> = listed.iter().filter(|listed| listed.symbol == first.symbol).collect();
    match now == [&first] {
        true => Ok(()),
        false => Err(Stop::failed(
            format!("ListInstruments shows {now:?}"),
            format!("{first:?} alone"),
        )),
    }
}

async fn malformed(context: Context) -> Verdict {
    type Change = fn(&mut CreateInstrumentRequest);
    let wrong: [(&str, Change); 21] = [
        ("symbol", |request| request.symbol.clear()),
        ("symbol", |request| request.symbol = format!("{:A<17}", request.symbol)),
        ("symbol", |request| {
            request.symbol = request.symbol.to_lowercase().replace('t', "x")
        }),
        ("symbol", |request| request.symbol.push(' ')),
        ("symbol", |request| request.symbol.insert(0, ' ')),
        ("symbol", |request| request.symbol.push('/')),
        ("symbol", |request| request.symbol.push('É')),
        ("symbol", |request| request.symbol.push('\0')),
        ("description", |request| request.description = "d".repeat(257)),
        ("description", |request| request.description = "é".repeat(129)),
        ("currency", |request| request.currency.clear()),
        ("currency", |request| request.currency = "EU".to_owned()),
        ("currency", |request| request.currency = "EURO".to_owned()),
        ("currency", |request| request.currency = "E1R".to_owned()),
        ("multiplier", |request| request.multiplier = 0),
        ("multiplier", |request| request.multiplier = -1),
        ("multiplier", |request| request.multiplier = 1_000_001),
        ("tick_size_e4", |request| request.tick_size_e4 = 0),
        ("tick_size_e4", |request| request.tick_size_e4 = -100),
        ("tick_size_e4", |request| request.tick_size_e4 = 10_000_000_000_001),
        ("client_request_id", |request| {
            request.client_request_id = "c".repeat(65)
        }),
    ];
    let admin = context.admin().await?;
    let mut refused = HashSet::new();
    for (field, change) in wrong {
        let mut request = context.instrument_request();
        change(&mut request);
        refused.insert(request.symbol.clone());
        admin
            .try_create_instrument(request)
            .await
            .refused(ErrorReason::InvalidField, &[("field", field)])?;
    }
    let listed = context.viewer().await?.all_instruments(0).await?;
    match listed.iter().find(|listed| refused.contains(&listed.symbol)) {
        None => Ok(()),
        Some(listed) => Err(Stop::failed(
            format!("ListInstruments shows {:?}", listed.symbol),
            "a refused instrument leaves no trace",
        )),
    }
}

async fn edges(context: Context) -> Verdict {
    type Change = fn(&mut CreateInstrumentRequest);
    let right: [Change; 8] = [
        |request| request.symbol = format!("{:Z<16}", request.symbol),
        |request| request.symbol = format!("{}_-", request.symbol.split_off(1)),
        |request| request.description.clear(),
        |request| request.description = "d".repeat(256),
        |request| request.description = "é".repeat(128),
        |request| request.multiplier = 1_000_000,
        |request| request.tick_size_e4 = 10_000_000_000_000,
        |request| request.client_request_id = format!("{:c<64}", request.symbol),
    ];
    for change in right {
        let mut request = context.instrument_request();
        change(&mut request);
        check_created(&context, request).await?;
    }
    // Somebody may have taken a symbol that short.
    let mut request = context.instrument_request();
    request.symbol = "X".to_owned();
    match context.admin().await?.try_create_instrument(request).await.either() {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.names(ErrorReason::DuplicateSymbol) => Ok(()),
        Err(refusal) => Err(refusal.fail(refusal.to_string(), "a symbol of one character to be taken")),
    }
}

async fn retry(context: Context) -> Verdict {
    let request = CreateInstrumentRequest {
        client_request_id: context.unique(),
        ..context.instrument_request()
    };
    let admin = context.admin().await?;
    let first = admin.create_instrument(request.clone()).await?.into_inner();
    let user = admin.known_user()?;
    let defaults = CreateInstrumentRequest {
        initial_phase: TradingPhase::Continuous.into(),
        ..request.clone()
    };
    for (session, request) in [
        (&admin, request.clone()),
        (&admin, defaults.clone()),
        (&context.login(&user).await?, request),
        (&context.login(&user).await?, defaults),
    ] {
        session
            .create_instrument(request)
            .await?
            .has("the answer", Clone::clone, first.clone())?;
    }
    Ok(())
}

async fn retry_other_content(context: Context) -> Verdict {
    let request = CreateInstrumentRequest {
        client_request_id: context.unique(),
        ..context.instrument_request()
    };
    let admin = context.admin().await?;
    let first = admin.create_instrument(request.clone()).await?.into_inner();
    type Change = fn(&mut CreateInstrumentRequest);
    let changes: [Change; 6] = [
        |request| request.symbol.push('X'),
        |request| request.description.push('x'),
        |request| request.currency = "USD".to_owned(),
        |request| request.multiplier = 2,
        |request| request.tick_size_e4 = 2,
        |request| request.initial_phase = TradingPhase::Auction.into(),
    ];
    for change in changes {
        let mut other = request.clone();
        change(&mut other);
        admin
            .try_create_instrument(other)
            .await
            .refused(ErrorReason::ClientIdReused, &[])?;
    }
    admin
        .create_instrument(request)
        .await?
        .has("the answer", Clone::clone, first)?;
    Ok(())
}

async fn retry_of_another_user(context: Context) -> Verdict {
    let (one, two) = (context.admin().await?, context.admin().await?);
    if one.username() == two.username() {
        return Err(Stop::skipped("needs two administrators in the users file"));
    }
    let client_request_id = context.unique();
    for session in [&one, &two] {
        let request = CreateInstrumentRequest {
            client_request_id: client_request_id.clone(),
            ..context.instrument_request()
        };
        let symbol = request.symbol.clone();
        session.create_instrument(request).await?.has(
            "symbol",
            |reply| reply.instrument.clone().map(|instrument| instrument.symbol),
            Some(symbol),
        )?;
    }
    Ok(())
}

async fn book_exists(context: Context) -> Verdict {
    let instrument = context.instrument().await?;
    let book = context.trader().await?.whole_book(&instrument.symbol).await?;
    book.has("symbol", |book| book.symbol.clone(), instrument.symbol.clone())?
        .has("book_seq", |book| book.book_seq, 0)?
        .has("phase", |book| book.phase(), TradingPhase::Continuous)?
        .has("bids", |book| book.bids.clone(), Vec::new())?
        .has("asks", |book| book.asks.clone(), Vec::new())?
        .has("checksum", |book| book.checksum, 0)?;
    Ok(())
}

async fn unknown(context: Context) -> Verdict {
    let viewer = context.viewer().await?;
    viewer
        .try_book(GetOrderBookRequest {
            symbol: context.unique(),
            depth: 0,
        })
        .await
        .refused(ErrorReason::UnknownInstrument, &[])?;
    Ok(())
}

async fn follow(context: Context) -> Verdict {
    let before = check_created(&context, context.instrument_request()).await?;
    let viewer = context.viewer().await?;
    let all = viewer.all_instruments(0).await?;
    let mut stream = viewer.follow_instruments();
    let mut seen = Vec::new();
    let mark = stream
        .until(
            "all instruments, then snapshot_complete_event_seq",
            |message| match &message.event {
                Some(Event::Instrument(instrument)) => {
                    seen.push(instrument.clone());
                    Ok(None)
                }
                Some(Event::SnapshotCompleteEventSeq(event_seq)) => Ok(Some(*event_seq)),
                Some(Event::HeartbeatEventSeq(_)) => Ok(None),
                None => Err(message.fail("an empty message", "an instrument or the mark")),
            },
        )
        .await?;
    let at = stream.at().clone();
    at.holds(
        seen.contains(&before),
        format!("{} was not sent before the mark", before.symbol),
        "all instruments before the mark",
    )?;
    if let Some(missing) = all
        .iter()
        .find(|one| !seen.iter().any(|seen| seen.symbol == one.symbol))
    {
        return Err(at.fail(
            format!("{} was not sent before the mark", missing.symbol),
            "all instruments before the mark",
        ));
    }
    let admin = context.admin().await?;
    for _ in 0..3 {
        let reply = admin.create_instrument(context.instrument_request()).await?;
        let created = reply.instrument.clone().unwrap_or_default();
        reply.shows("an event after the mark", |reply| reply.event_seq > mark)?;
        let news = stream
            .until(
                &format!("the new instrument {}", created.symbol),
                |message| match &message.event {
                    Some(Event::Instrument(instrument)) if instrument.symbol == created.symbol => {
                        Ok(Some(instrument.clone()))
                    }
                    Some(Event::HeartbeatEventSeq(event_seq)) if *event_seq >= reply.event_seq => Err(message.fail(
                        "a heartbeat that says that everything up to it was sent",
                        format!("the new instrument {} before it", created.symbol),
                    )),
                    Some(Event::SnapshotCompleteEventSeq(_)) => Err(message.fail("the mark again", "news")),
                    _ => Ok(None),
                },
            )
            .await?;
        at.same("the new instrument", news, created.clone())?;
        // Who sees it can use it.
        viewer.whole_book(&created.symbol).await?;
    }
    Ok(())
}

async fn follow_heartbeat(context: Context) -> Verdict {
    let created = context
        .admin()
        .await?
        .create_instrument(context.instrument_request())
        .await?
        .event_seq;
    let mut stream = context.viewer().await?.follow_instruments();
    let mut last = 0;
    for _ in 0..2 {
        last = stream
            .until(
                "a heartbeat when nothing was sent for a second",
                |message| match &message.event {
                    Some(Event::HeartbeatEventSeq(event_seq)) => Ok(Some(*event_seq)),
                    Some(Event::SnapshotCompleteEventSeq(event_seq)) => {
                        message.shows("a mark at or after the last instrument's event", |_| {
                            *event_seq >= created
                        })?;
                        Ok(None)
                    }
                    _ => Ok(None),
                },
            )
            .await
            .and_then(|event_seq| match event_seq >= last.max(created) {
                true => Ok(event_seq),
                false => Err(Stop::failed(
                    format!("the heartbeat says {event_seq}"),
                    format!("an event_seq of at least {}, which was sent", last.max(created)),
                )),
            })?;
    }
    Ok(())
}

async fn random(context: Context) -> Verdict {
    let mut random = context.random();
    for _ in 0..20 {
        let mut request = context.instrument_request();
        let room = 16 - request.symbol.len();
        let more = random.usize(..=room);
        let letters = std::iter::repeat_with(|| char::from(SYMBOL[random.usize(..SYMBOL.len())]));
        request.symbol.extend(letters.take(more));
        request.description = std::iter::repeat_with(|| random.char('\u{a1}'..='\u{2fff}'))
            .take(random_length(more))
            .collect();
        request.currency = CURRENCIES[random.usize(..CURRENCIES.len())].to_owned();
        request.multiplier = random.i64(1..=1_000_000);
        request.tick_size_e4 = random.i64(1..=10_000_000_000_000);
        request.initial_phase = random.i32(0..=3);
        check_created(&context, request).await?;
    }
    Ok(())
}

/// Characters of a description: at most 3 bytes each.
fn random_length(more: usize) -> usize {
    (more * 17).min(80)
}
