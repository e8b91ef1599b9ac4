//! Inserts that are sent more than once.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use optivex_proto::v1::{ErrorReason, InsertOrderRequest};

use super::{only, sessions, taken};
use crate::context::Context;
use crate::order::{buy, sell};
use crate::verdict::Verdict;

/// Catches a retry that inserts again, answers without the fills of the first time, or is taken for
/// another because the first one's client has gone.
pub(super) async fn lost_answer(context: Context) -> Verdict {
    const ROUNDS: i64 = 24;
    let symbol = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let again = sessions(&context, &alice, 3).await?;
    let mut random = context.random();
    let mut ids = BTreeSet::new();
    for round in 1..=ROUNDS {
        // Every other one trades at once.
        let trades = round % 2 == 0;
        if trades {
            bob.rest(sell(&symbol, round, 1)).await?;
        }
        let order = InsertOrderRequest {
            client_order_id: context.unique(),
            ..buy(&symbol, round, 3)
        };
        // The client goes away: before it sent, while it waits, or after the answer came.
        let patience = Duration::from_micros(random.u64(0..4_000));
        let lost = tokio::time::timeout(patience, alice.try_insert(order.clone())).await;
        let mut first = match lost {
            Ok(answer) => Some(answer.accepted()?.into_inner()),
            Err(_) => None,
        };
        let retries = again.iter().map(|session| session.insert(order.clone()));
        for answer in join_all(retries.collect::<Vec<_>>()).await {
            let answer = answer?;
            let first = first.get_or_insert_with(|| (*answer).clone());
            answer.has("the answer to the retry", Clone::clone, first.clone())?;
            answer.has("filled_quantity", |reply| reply.filled_quantity, i64::from(trades))?;
            ids.insert(answer.order_id);
        }
    }
    let open = alice.open_orders_with(&symbol, ids.last().copied()).await?;
    let told: BTreeSet<u64> = open.iter().map(|order| order.order_id).collect();
    let at = alice.whole_book(&symbol).await?;
    at.at().same("open orders", open.len(), ROUNDS as usize)?;
    at.at().same("their ids", told, ids)
}

/// Catches a client id that is looked up before the first order is noted.
pub(super) async fn one_id_at_once(context: Context) -> Verdict {
    let symbol = context.instrument().await?.symbol;
    let trader = context.trader().await?;
    let clients = sessions(&context, &trader, 12).await?;
    let mut ids = BTreeSet::new();
    for round in 1..=10 {
        let order = InsertOrderRequest {
            client_order_id: context.unique(),
            ..buy(&symbol, round, 100)
        };
        let same = clients.iter().map(|client| client.insert(order.clone()));
        let mut first = None;
        for answer in join_all(same.collect::<Vec<_>>()).await {
            let answer = answer?;
            let first = first.get_or_insert_with(|| (*answer).clone());
            answer.has("the answer", Clone::clone, first.clone())?;
            ids.insert(answer.order_id);
        }
        let other = context.unique();
        let differing = clients.iter().enumerate().map(|(number, client)| {
            client.try_insert(InsertOrderRequest {
                client_order_id: other.clone(),
                ..buy(&symbol, round, 1 + number as i64)
            })
        });
        let answers = join_all(differing.collect::<Vec<_>>()).await;
        let one = only(
            taken(answers, ErrorReason::ClientIdReused, &[])?,
            "order of a client id",
        )?;
        ids.insert(one.order_id);
    }
    let open = trader.open_orders_with(&symbol, ids.last().copied()).await?;
    let told: BTreeSet<u64> = open.iter().map(|order| order.order_id).collect();
    let at = trader.whole_book(&symbol).await?;
    at.at().same("open orders", open.len(), 20)?;
    at.at().same("their ids", told, ids)
}
