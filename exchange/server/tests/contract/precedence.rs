//! Where several reasons apply, the first in the contract's order tells: requests that break two
//! neighbouring rules at once.

use optivex_proto::v1::{self, SelfTradePrevention, Side, TimeInForce, TradingPhase};

use crate::call::{Call, amend_client_id, amend_id, instrument_limits, phase, suspend, user_limits, window};
use crate::venue::{Client, Venue, buy, instrument, sell};

/// An insert of alice: a buy of 1 at 10,000, changed.
fn insert(change: impl FnOnce(&mut v1::InsertOrderRequest)) -> Call {
    let mut request = buy("ABC", 10_000, 1);
    change(&mut request);
    Call::Insert(request)
}

fn fill_or_kill(request: &mut v1::InsertOrderRequest) {
    request.set_time_in_force(TimeInForce::FillOrKill);
}

/// Says what comes first, told as `first`, and that without it `second` is told.
async fn pair(client: &Client, name: &str, both: Call, first: &str, alone: Call, second: &str) {
    for (call, expected) in [(both, first), (alone, second)] {
        let said = call.said(client).await;
        let reason = said.split_whitespace().nth(1).unwrap_or(&said);
        // A limit is told by its name too.
        let matches = match expected.split_once(' ') {
            Some((of, limit)) => reason == of && said.contains(&format!("\"limit_name\": \"{limit}\"")),
            None => reason == expected,
        };
        assert!(matches, "{name}: {expected} before others, but: {said}");
    }
}

pub(crate) async fn of_neighbours() {
    let venue = Venue::start([]);
    let mut admin = venue.list_abc().await;
    admin.create("HALT").await;
    admin.create("AUC").await;
    let mut alice = venue.login("alice").await;
    let mut bob = venue.login("bob").await;
    token_role_form(&venue).await;

    // Something to trade with, something of one's own, and something that is done.
    bob.insert(sell("ABC", 10_000, 5)).await;
    bob.insert(sell("HALT", 10_000, 5)).await;
    let mut request = buy("ABC", 9_000, 2);
    request.client_order_id = "open".to_owned();
    let open = alice.insert(request.clone()).await;
    let mut done = buy("ABC", 9_000, 1);
    done.client_order_id = "done".to_owned();
    alice.insert(done).await;
    assert_eq!(crate::call::cancel_client_id("done").said(&alice).await, "ok");
    admin.phase("HALT", TradingPhase::Halted).await;
    admin.phase("AUC", TradingPhase::Auction).await;

    let form_objects = [
        (
            "form, instrument",
            insert(|r| {
                r.symbol = "XYZ".to_owned();
                r.quantity = 0;
            }),
            insert(|r| r.symbol = "XYZ".to_owned()),
            "UNKNOWN_INSTRUMENT",
        ),
        (
            "form, order",
            amend_id(7, None, Some(-1)),
            amend_id(7, None, Some(1)),
            "UNKNOWN_ORDER",
        ),
        (
            "form, done order",
            amend_client_id("done", None, Some(-1)),
            amend_client_id("done", None, Some(1)),
            "ORDER_DONE",
        ),
    ];
    for (name, both, alone, second) in form_objects {
        pair(&alice, name, both, "INVALID_FIELD", alone, second).await;
    }
    pair(
        &alice,
        "instrument, tick",
        insert(|r| {
            r.symbol = "XYZ".to_owned();
            r.price_e4 = 10_001;
        }),
        "UNKNOWN_INSTRUMENT",
        insert(|r| r.price_e4 = 10_001),
        "INVALID_TICK",
    )
    .await;
    pair(
        &alice,
        "done order, tick",
        amend_client_id("done", Some(10_001), None),
        "ORDER_DONE",
        amend_id(open.order_id, Some(10_001), None),
        "INVALID_TICK",
    )
    .await;
    let huge = 10_000_000_000_000;
    pair(
        &alice,
        "tick, notional",
        insert(|r| {
            r.price_e4 = huge - 1;
            r.quantity = 1_000;
        }),
        "INVALID_TICK",
        insert(|r| {
            r.price_e4 = huge;
            r.quantity = 1_000;
        }),
        "NOTIONAL_TOO_LARGE",
    )
    .await;
    pair(
        &alice,
        "notional, client id",
        insert(|r| {
            r.client_order_id = "open".to_owned();
            r.price_e4 = huge;
            r.quantity = 1_000;
        }),
        "NOTIONAL_TOO_LARGE",
        insert(|r| r.client_order_id = "open".to_owned()),
        "CLIENT_ID_REUSED",
    )
    .await;

    // A suspension cancels what is open; the ids stay known.
    assert_eq!(suspend("alice", "lunch").said(&admin).await, "ok");
    assert_eq!(
        alice.insert(request).await,
        open,
        "a first answer is given to the suspended too"
    );
    pair(
        &alice,
        "client id, suspension",
        insert(|r| r.client_order_id = "open".to_owned()),
        "CLIENT_ID_REUSED",
        insert(|_| ()),
        "USER_SUSPENDED",
    )
    .await;
    let halted = || insert(|r| r.symbol = "HALT".to_owned());
    assert!(
        halted().said(&alice).await.contains(" USER_SUSPENDED "),
        "suspension, phase"
    );
    let resume = Call::Resume(v1::ResumeUserRequest {
        username: "alice".to_owned(),
    });
    assert_eq!(resume.said(&admin).await, "ok");
    pair(
        &alice,
        "phase, post-only",
        insert(|r| {
            r.symbol = "HALT".to_owned();
            r.post_only = true;
        }),
        "PHASE_FORBIDS",
        insert(|r| r.post_only = true),
        "WOULD_CROSS",
    )
    .await;
    pair(
        &alice,
        "phase, fill or kill",
        insert(|r| {
            r.symbol = "AUC".to_owned();
            fill_or_kill(r);
        }),
        "PHASE_FORBIDS",
        insert(|r| {
            r.quantity = 6;
            fill_or_kill(r);
        }),
        "CANNOT_FILL",
    )
    .await;
    limits(&admin, &alice).await;
    administration(&admin).await;
}

async fn token_role_form(venue: &Venue) {
    let nobody = Client::new(&venue.exchange.connect().await, Some("Bearer nothing"));
    let viewer = venue.login("viewer").await;
    let alice = venue.login("alice").await;
    let without_side = || insert(|r| r.side = 0);
    // With no token there is no role; with no role the form does not matter.
    for (client, expected) in [
        (&nobody, "Unauthenticated INVALID_TOKEN {}"),
        (&viewer, "PermissionDenied MISSING_ROLE {\"role\": \"ROLE_TRADER\"}"),
        (&alice, "InvalidArgument INVALID_FIELD {\"field\": \"side\"}"),
    ] {
        assert_eq!(without_side().said(client).await, expected);
    }
}

/// The book before limits, and limits in their order: the user's, then the instrument's.
async fn limits(admin: &Client, alice: &Client) {
    // Nothing of alice is open and nothing counts yet: each of these limits refuses any order of 1 lot.
    let of_user: [(&str, fn(&mut v1::UserRiskLimits)); 3] = [
        ("RATE_LIMIT message_rate_rolling_limit", |l| {
            l.message_rate_rolling_limit = window(0, 60)
        }),
        ("RISK_LIMIT max_outstanding_quantity", |l| {
            l.max_outstanding_quantity = Some(0)
        }),
        ("RISK_LIMIT max_outstanding_amount_e4", |l| {
            l.max_outstanding_amount_e4 = Some(0)
        }),
    ];
    let of_instrument: [(&str, fn(&mut v1::InstrumentRiskLimits)); 6] = [
        ("RATE_LIMIT order_quantity_rolling_limit", |l| {
            l.order_quantity_rolling_limit = window(0, 60)
        }),
        ("RATE_LIMIT order_amount_rolling_limit", |l| {
            l.order_amount_rolling_limit = window(0, 60)
        }),
        ("RISK_LIMIT max_outstanding_quantity", |l| {
            l.max_outstanding_quantity = Some(0)
        }),
        ("RISK_LIMIT max_outstanding_amount_e4", |l| {
            l.max_outstanding_amount_e4 = Some(0)
        }),
        ("RISK_LIMIT max_order_quantity", |l| l.max_order_quantity = Some(0)),
        ("RISK_LIMIT max_position", |l| l.max_position = Some(0)),
    ];
    let names: Vec<_> = of_user
        .iter()
        .map(|l| l.0)
        .chain(of_instrument.iter().map(|l| l.0))
        .collect();
    // From the last to the first: at each step one more is broken, and it is the one that tells.
    let mut user = v1::UserRiskLimits::default();
    let mut in_abc = v1::InstrumentRiskLimits::default();
    for (index, name) in names.iter().enumerate().rev() {
        match index.checked_sub(of_user.len()) {
            Some(index) => of_instrument[index].1(&mut in_abc),
            None => of_user[index].1(&mut user),
        }
        assert_eq!(user_limits("alice", user.clone()).said(admin).await, "ok");
        assert_eq!(
            instrument_limits("alice", "ABC", in_abc.clone()).said(admin).await,
            "ok"
        );
        pair(
            alice,
            "post-only, limit",
            insert(|r| r.post_only = true),
            "WOULD_CROSS",
            insert(|_| ()),
            name,
        )
        .await;
        pair(
            alice,
            "fill or kill, limit",
            insert(|r| {
                r.set_side(Side::Sell);
                r.set_self_trade_prevention(SelfTradePrevention::CancelBoth);
                fill_or_kill(r);
            }),
            "CANNOT_FILL",
            insert(|_| ()),
            name,
        )
        .await;
        let said = insert(|_| ()).said(alice).await;
        assert_eq!(said.contains("\"symbol\": \"ABC\""), index >= of_user.len(), "{said}");
    }
}

async fn administration(admin: &Client) {
    let create = |change: fn(&mut v1::CreateInstrumentRequest)| {
        let mut request = instrument("ONE");
        request.client_request_id = "one".to_owned();
        change(&mut request);
        Call::Create(request)
    };
    assert_eq!(create(|_| ()).said(admin).await, "ok");
    pair(
        admin,
        "form, client id",
        create(|r| r.multiplier = 0),
        "INVALID_FIELD",
        create(|r| r.multiplier = 11),
        "CLIENT_ID_REUSED",
    )
    .await;
    pair(
        admin,
        "client id, symbol",
        create(|r| r.symbol = "ABC".to_owned()),
        "CLIENT_ID_REUSED",
        Call::Create(instrument("ABC")),
        "DUPLICATE_SYMBOL",
    )
    .await;
    assert_eq!(phase("ONE", TradingPhase::Closed).said(admin).await, "ok");
    pair(
        admin,
        "instrument, phase",
        phase("XYZ", TradingPhase::Auction),
        "UNKNOWN_INSTRUMENT",
        phase("ONE", TradingPhase::Auction),
        "PHASE_FORBIDS",
    )
    .await;
    pair(
        admin,
        "user, instrument",
        instrument_limits("mallory", "XYZ", v1::InstrumentRiskLimits::default()),
        "UNKNOWN_USER",
        instrument_limits("alice", "XYZ", v1::InstrumentRiskLimits::default()),
        "UNKNOWN_INSTRUMENT",
    )
    .await;
}
