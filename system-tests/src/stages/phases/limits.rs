//! What leaves the book otherwise than by its user gives the limits back.

use optivex_proto::v1::{ResumeUserRequest, Side, SuspendUserRequest, TradingPhase, UserRiskLimits};

use crate::check::Over;
use crate::client::Session;
use crate::context::Context;
use crate::order::{buy, limit, sell};
use crate::verdict::Verdict;

const LOTS: i64 = 10;
const PRICE: i64 = 100;

/// A limit over all instruments, and what a lot at [`PRICE`] counts for it.
struct Kind {
    name: &'static str,
    limits: UserRiskLimits,
    lot: i64,
}

fn kinds() -> [Kind; 2] {
    [
        Kind {
            name: "max_outstanding_quantity",
            limits: UserRiskLimits {
                max_outstanding_quantity: Some(LOTS),
                ..UserRiskLimits::default()
            },
            lot: 1,
        },
        Kind {
            name: "max_outstanding_amount_e4",
            limits: UserRiskLimits {
                max_outstanding_amount_e4: Some(LOTS * PRICE),
                ..UserRiskLimits::default()
            },
            lot: PRICE,
        },
    ]
}

/// Exactly so many lots count: the others fit, and not one more. Nothing is left behind.
async fn open_is(user: &Session, symbol: &str, kind: &Kind, open: i64) -> Verdict {
    for side in [Side::Buy, Side::Sell] {
        let over = Over {
            name: kind.name,
            symbol: "",
            limit: LOTS * kind.lot,
            current: Some(open * kind.lot),
            attempted: (LOTS - open + 1) * kind.lot,
        };
        user.try_insert(limit(symbol, side, PRICE, LOTS - open + 1))
            .await
            .over(over)?;
        if open < LOTS {
            let rests = user.rest(limit(symbol, side, PRICE, LOTS - open)).await?;
            user.cancel_id(rests.order_id).await?;
        }
    }
    Ok(())
}

/// Catches: what an uncross filled, or the exchange itself cancelled, outstanding for ever, released
/// twice, for one side only, or for the wrong user.
pub(super) async fn released(context: Context) -> Verdict {
    let admin = context.admin().await?;
    for kind in kinds() {
        // Only looks: no order of another user is ever in this book.
        let other = context.instrument().await?.symbol;
        let (acme, coal) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
        let (alice, bob) = (context.trader().await?, context.trader().await?);
        for user in [&alice, &bob] {
            admin.limit_user(user, kind.limits).await?;
        }
        admin.phase(&acme, TradingPhase::Auction).await?;
        alice.rest(buy(&acme, PRICE, 7)).await?;
        alice.rest(sell(&coal, PRICE, 1)).await?;
        bob.rest(sell(&acme, PRICE, 3)).await?;
        bob.rest(sell(&acme, PRICE, 1)).await?;
        open_is(&alice, &other, &kind, 8).await?;
        open_is(&bob, &other, &kind, 4).await?;

        let uncross = admin.phase(&acme, TradingPhase::Continuous).await?;
        let lots = uncross.trades.iter().map(|trade| trade.quantity).sum();
        uncross.has("lots of the uncross", |_| lots, 4)?;
        open_is(&alice, &other, &kind, 4).await?;
        open_is(&bob, &other, &kind, 0).await?;

        bob.rest(buy(&acme, PRICE, 2)).await?;
        admin.phase(&acme, TradingPhase::Closed).await?;
        open_is(&alice, &other, &kind, 1).await?;
        open_is(&bob, &other, &kind, 0).await?;

        let suspension = SuspendUserRequest {
            username: alice.username().to_owned(),
            comment: String::new(),
        };
        let suspended = admin.suspend(suspension).await?;
        suspended.has("cancelled_orders", |reply| reply.cancelled_orders, 1)?;
        let username = alice.username().to_owned();
        admin.resume(ResumeUserRequest { username }).await?;
        open_is(&alice, &other, &kind, 0).await?;
    }
    Ok(())
}
