//! A wrong tape.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use optivex_engine::Event as Done;
use optivex_engine::types::InstrumentId;
use optivex_proto::v1 as pb;

use super::{Call, Lens};

/// Faults of requests.
pub(super) fn request(call: &Call) -> Option<Lens> {
    match call.rpc.as_str() {
        "SubscribeTrades" => subscription(),
        "ListTrades" if fault!(ListRepeatsOne) => Some(Lens::each(|request: &mut pb::ListTradesRequest| {
            request.after_trade_id = request.after_trade_id.saturating_sub(1);
        })),
        _ => None,
    }
}

fn subscription() -> Option<Lens> {
    let change: fn(&mut pb::SubscribeTradesRequest) = if fault!(TapeBeginsWithThePast) {
        |request| {
            request.after_trade_id.get_or_insert(0);
        }
    } else if fault!(TapeRepeatsOne) {
        |request| request.after_trade_id = request.after_trade_id.map(|after| after.saturating_sub(1))
    } else if fault!(TapeOfFirstSymbol) {
        |request| request.symbols.truncate(1)
    } else if fault!(TapeOfAllSymbols) {
        |request| request.symbols.clear()
    } else {
        return None;
    };
    Some(Lens::each(change))
}

/// Faults of answers.
pub(super) fn response(call: &Call) -> Option<Lens> {
    match call.rpc.as_str() {
        "SubscribeTrades" => stream(call),
        "ListTrades" if fault!(HasMoreWhenFull) => {
            let asked = call.asked::<pb::ListTradesRequest>().page_size;
            Some(Lens::each(move |page: &mut pb::ListTradesResponse| {
                page.has_more = asked > 0 && page.trades.len() == asked.unsigned_abs() as usize;
            }))
        }
        "ListTrades" if renumbers() => Some(Lens::each(|page: &mut pb::ListTradesResponse| {
            for trade in &mut page.trades {
                trade.trade_id = renumbered(trade.trade_id);
            }
        })),
        "InsertOrder" if renumbers() => Some(Lens::each(|answer: &mut pb::InsertOrderResponse| {
            for fill in &mut answer.fills {
                fill.trade_id = renumbered(fill.trade_id);
            }
        })),
        _ => None,
    }
}

fn stream(call: &Call) -> Option<Lens> {
    if fault!(TapeTellsBothSides) {
        return Some(batches(|batch| {
            batch.trades = batch
                .trades
                .drain(..)
                .flat_map(|trade| [trade.clone(), trade])
                .collect();
            true
        }));
    }
    if fault!(TapeTellsRestingSide) {
        return Some(batches(|batch| {
            for trade in &mut batch.trades {
                trade.set_aggressor_side(match trade.aggressor_side() {
                    pb::Side::Buy => pb::Side::Sell,
                    pb::Side::Sell => pb::Side::Buy,
                    pb::Side::Unspecified => pb::Side::Unspecified,
                });
            }
            true
        }));
    }
    if renumbers() {
        return Some(batches(|batch| {
            for trade in &mut batch.trades {
                trade.trade_id = renumbered(trade.trade_id);
            }
            true
        }));
    }
    if fault!(TapeOfOneAnEvent) {
        let mut last = 0;
        return Some(batches(move |batch| {
            batch.trades.retain(|trade| {
                let is_first = trade.event_seq != last;
                last = trade.event_seq;
                is_first
            });
            true
        }));
    }
    if fault!(TapeKnowsNoStart) {
        let mut is_first = true;
        return Some(batches(move |batch| {
            if std::mem::take(&mut is_first) {
                batch.through_trade_id = 0;
            }
            true
        }));
    }
    if fault!(TapeLosesTheSeam) && call.asked::<pb::SubscribeTradesRequest>().after_trade_id.is_some() {
        let past = last_trade_id();
        let mut lost = false;
        return Some(batches(move |batch| {
            if !lost && let Some(at) = batch.trades.iter().position(|trade| trade.trade_id > past) {
                batch.trades.remove(at);
                lost = true;
            }
            true
        }));
    }
    if fault!(SilentTape) {
        let mut is_first = true;
        return Some(batches(move |batch| {
            std::mem::take(&mut is_first) || !batch.trades.is_empty()
        }));
    }
    None
}

/// Changes each batch; false drops it.
fn batches(mut change: impl FnMut(&mut pb::SubscribeTradesResponse) -> bool + Send + 'static) -> Lens {
    Lens::flat(move |mut batch, out| {
        if change(&mut batch) {
            out.push(batch);
        }
    })
}

#[derive(Default)]
struct Ids {
    /// How many trades an instrument had.
    counts: HashMap<InstrumentId, u64>,
    /// By trade_id: which of its instrument's it is.
    ids: HashMap<u64, u64>,
    last: u64,
}

static IDS: LazyLock<Mutex<Ids>> = LazyLock::new(Mutex::default);

/// Learns of trades before anybody is told.
pub(super) fn learn(event: &Done) {
    let mut ids = IDS.lock().unwrap_or_else(PoisonError::into_inner);
    let ids = &mut *ids;
    // All together where it is not by instrument.
    let of = |instrument| {
        if fault!(TradeIdsFromOne) {
            InstrumentId(0)
        } else {
            instrument
        }
    };
    for trade in &event.trades {
        let count = ids.counts.entry(of(trade.instrument)).or_default();
        *count += 1;
        ids.ids.insert(trade.trade_id.0, *count);
        ids.last = trade.trade_id.0;
    }
}

fn renumbers() -> bool {
    fault!(TradeIdsByInstrument) || fault!(TradeIdsFromOne)
}

fn renumbered(trade_id: u64) -> u64 {
    let ids = IDS.lock().unwrap_or_else(PoisonError::into_inner);
    ids.ids.get(&trade_id).copied().unwrap_or(trade_id)
}

fn last_trade_id() -> u64 {
    IDS.lock().unwrap_or_else(PoisonError::into_inner).last
}
