//! Suspension of a user.

use optivex_proto::v1::{
    CancelReason, ErrorReason, InsertOrderRequest, ListPositionsRequest, ResumeUserRequest, SuspendUserRequest,
    TradingPhase,
};

use crate::check::{Outcome, amend};
use crate::client::Session;
use crate::context::Context;
use crate::order::{buy, sell};
use crate::verdict::Verdict;

fn suspension(user: &Session, comment: &str) -> SuspendUserRequest {
    SuspendUserRequest {
        username: user.username().to_owned(),
        comment: comment.to_owned(),
    }
}

fn resumption(user: &Session) -> ResumeUserRequest {
    ResumeUserRequest {
        username: user.username().to_owned(),
    }
}

/// Catches: orders left open in some books; orders taken meanwhile; orders back after; limits or client ids stuck.
pub(super) async fn suspend(context: Context) -> Verdict {
    let (acme, coal) = (context.instrument().await?.symbol, context.instrument().await?.symbol);
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let admin = context.admin().await?;
    let named = InsertOrderRequest {
        client_order_id: context.unique(),
        ..buy(&acme, 100, 5)
    };
    let first = alice.rest(named.clone()).await?;
    let second = alice.rest(sell(&acme, 200, 5)).await?.order_id;
    let third = alice.rest(buy(&coal, 100, 5)).await?.order_id;
    bob.rest(buy(&acme, 100, 1)).await?;
    admin.phase(&coal, TradingPhase::Halted).await?;
    let comment = "fat fingers";
    let suspended = admin.suspend(suspension(&alice, comment)).await?;
    suspended.has("cancelled_orders", |reply| reply.cancelled_orders, 3)?;
    for order in [first.order_id, second, third] {
        alice.is_cancelled(order, CancelReason::Suspended).await?;
    }
    bob.book_shows(&acme, suspended.event_seq, &[(100, 1, 1)], &[]).await?;
    bob.book_shows(&coal, suspended.event_seq, &[], &[]).await?;
    let told = [("comment", comment)];
    alice
        .try_insert(buy(&acme, 100, 1))
        .await
        .refused(ErrorReason::UserSuspended, &told)?;
    // Suspension comes before phase, and after a client id's first answer and a done order.
    alice
        .try_insert(buy(&coal, 100, 1))
        .await
        .refused(ErrorReason::UserSuspended, &told)?;
    let again = alice.insert(named).await?;
    again.at().same("the answer to the retry", &*again, &*first)?;
    alice
        .try_amend(amend(second, None, Some(1)))
        .await
        .refused(ErrorReason::OrderDone, &[])?;
    admin.resume(resumption(&alice)).await?;
    let last = alice.rest(sell(&acme, 200, 2)).await?;
    bob.book_shows(&acme, last.event_seq, &[(100, 1, 1)], &[(200, 2, 1)])
        .await?;
    Ok(())
}

/// Catches: everybody suspended; a session ended; reading refused.
pub(super) async fn others(context: Context) -> Verdict {
    let acme = context.instrument().await?.symbol;
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let admin = context.admin().await?;
    alice.rest(buy(&acme, 100, 5)).await?;
    let of_bob = bob.rest(sell(&acme, 101, 5)).await?;
    let suspended = admin.suspend(suspension(&alice, "")).await?;
    bob.book_shows(&acme, suspended.event_seq, &[], &[(101, 5, 1)]).await?;
    bob.amend(amend(of_bob.order_id, Some(100), None))
        .await?
        .came_to(Outcome::open(5, &[]))?;
    alice.positions(ListPositionsRequest {}).await?;
    alice.open_orders(&acme).await?;
    let book = alice.whole_book(&acme).await?;
    book.has("symbol", |book| book.symbol.clone(), acme.clone())?;
    alice
        .try_insert(buy(&acme, 100, 5))
        .await
        .refused(ErrorReason::UserSuspended, &[])?;
    let carol = context.trader().await?;
    carol
        .insert(buy(&acme, 100, 5))
        .await?
        .came_to(Outcome::filled(&[(100, 5)]))?;
    admin.resume(resumption(&alice)).await?;
    alice.rest(buy(&acme, 90, 5)).await?;
    Ok(())
}

/// Catches: suspensions by traders; of nobody; endless comments.
pub(super) async fn refusals(context: Context) -> Verdict {
    let (alice, bob) = (context.trader().await?, context.trader().await?);
    let admin = context.admin().await?;
    let admin_only = [("role", "ROLE_ADMIN")];
    alice
        .try_suspend(suspension(&bob, "rival"))
        .await
        .refused(ErrorReason::MissingRole, &admin_only)?;
    alice
        .try_resume(resumption(&alice))
        .await
        .refused(ErrorReason::MissingRole, &admin_only)?;
    admin
        .try_suspend(suspension(&bob, &"x".repeat(257)))
        .await
        .refused(ErrorReason::InvalidField, &[("field", "comment")])?;
    let nobody = context.unique();
    admin
        .try_suspend(SuspendUserRequest {
            username: nobody.clone(),
            comment: String::new(),
        })
        .await
        .refused(ErrorReason::UnknownUser, &[])?;
    admin
        .try_resume(ResumeUserRequest { username: nobody })
        .await
        .refused(ErrorReason::UnknownUser, &[])?;
    let acme = context.instrument().await?.symbol;
    bob.rest(buy(&acme, 100, 1)).await?;
    Ok(())
}
