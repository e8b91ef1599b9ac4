use expect_test::{Expect, expect};
use optivex_engine::types::{ClientOrderId, OrderType, SelfTradePrevention, Side, TimeInForce, TradingPhase, Username};
use proptest::prelude::*;

use super::*;

fn string<const N: usize>(text: &str) -> ArrayString<N> {
    ArrayString::from(text).expect("short enough")
}

fn encoded(input: &Input) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(input, &mut bytes);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One of each command. A new variant does not compile until it is added in `record.rs`.
fn one_of_each() -> Vec<Command> {
    let window = Some(RollingWindowLimit {
        limit: 100,
        window_in_seconds: 60,
    });
    vec![
        Command::InsertOrder(InsertOrder {
            user: UserId(7),
            instrument: InstrumentId(3),
            terms: OrderTerms {
                side: Side::Sell,
                price_e4: -1_012_500,
                quantity: 250,
                order_type: OrderType::Limit,
                time_in_force: TimeInForce::GoodTillCancelled,
                post_only: true,
                self_trade_prevention: SelfTradePrevention::CancelBoth,
            },
            client_order_id: string("quote-1"),
        }),
        Command::AmendOrder(AmendOrder {
            user: UserId(7),
            order: OrderRef::Id(OrderId(5 << 24 | 9)),
            price_e4: Some(0),
            quantity: None,
        }),
        Command::AmendOrder(AmendOrder {
            user: UserId(0),
            order: OrderRef::Client(string("quote-1")),
            price_e4: None,
            quantity: Some(0),
        }),
        Command::CancelOrder {
            user: UserId(7),
            order: OrderRef::Client(string("quote-1")),
        },
        Command::CancelOrder {
            user: UserId(7),
            order: OrderRef::Id(OrderId(1 << 24)),
        },
        Command::CancelAllOrders {
            user: UserId(7),
            instrument: Some(InstrumentId(0)),
            side: Some(Side::Buy),
        },
        Command::CancelAllOrders {
            user: UserId(0),
            instrument: None,
            side: None,
        },
        Command::CancelOnDisconnect {
            user: UserId(7),
            after: OrderId(0),
        },
        Command::RegisterUser {
            username: string("alice"),
        },
        Command::CreateInstrument(CreateInstrument {
            user: UserId(1),
            symbol: string("ACME"),
            description: "Acme Corporation".to_owned(),
            currency: string("USD"),
            multiplier: 1,
            tick_size_e4: 100,
            initial_phase: TradingPhase::Auction,
            client_request_id: string("c-1"),
        }),
        Command::SetTradingPhase {
            instrument: InstrumentId(3),
            phase: TradingPhase::Continuous,
        },
        Command::SuspendUser {
            user: UserId(7),
            comment: "too fast".to_owned(),
        },
        Command::ResumeUser { user: UserId(7) },
        Command::SetUserRiskLimits {
            user: UserId(7),
            limits: UserRiskLimits {
                message_rate: window,
                max_outstanding_quantity: Some(0),
                max_outstanding_amount_e4: None,
            },
        },
        Command::SetInstrumentRiskLimits {
            user: UserId(7),
            instrument: InstrumentId(3),
            limits: InstrumentRiskLimits {
                order_quantity: window,
                order_amount: None,
                max_outstanding_quantity: None,
                max_outstanding_amount_e4: Some(5),
                max_order_quantity: Some(6),
                max_position: Some(7),
            },
        },
    ]
}

/// Bytes that lie in journals: this must not change without a new [`FORMAT_VERSION`].
#[test]
fn golden_bytes() {
    let mut lines = String::new();
    for command in one_of_each() {
        let input = Input {
            time_unix_ns: 1_700_000_000_000_000_000,
            command,
        };
        let bytes = encoded(&input);
        assert_eq!(decode(&bytes).as_ref(), Ok(&input));
        lines += &hex(&bytes);
        lines += "\n";
    }
    expect![[r#"
        08011100002a36fe9c97171a1e08071003180220a7cc7b28fa013001380140014803520771756f74652d31
        08011100002a36fe9c97172209080710898080282000
        08011100002a36fe9c9717220b1a0771756f74652d312800
        08011100002a36fe9c97172a0b08071a0771756f74652d31
        08011100002a36fe9c97172a0708071080808008
        08011100002a36fe9c97173206080710001801
        08011100002a36fe9c97173200
        08011100002a36fe9c97173a020807
        08011100002a36fe9c971742070a05616c696365
        08011100002a36fe9c97174a2a0801120441434d451a1041636d6520436f72706f726174696f6e22035553442801306438014203632d31
        08011100002a36fe9c9717520408031002
        08011100002a36fe9c97175a0c08071208746f6f2066617374
        08011100002a36fe9c971762020807
        08011100002a36fe9c97176a0a080712040864103c1800
        08011100002a36fe9c97177210080710031a040864103c300538064007
    "#]]
    .assert_eq(&lines);
}

#[test]
fn golden_genesis() {
    let genesis = Genesis {
        limits: Limits::default(),
    };
    let bytes = genesis.encode();
    assert_eq!(Genesis::decode(&bytes), Ok(genesis));
    expect!["0801121d08a08d0610a09c0118ffffff0720c0843d28c0843d3080800438808004"].assert_eq(&hex(&bytes));
}

#[test]
fn what_cannot_be_read_is_named() {
    let input = Input {
        time_unix_ns: 1,
        command: Command::ResumeUser { user: UserId(7) },
    };
    let good = encoded(&input);
    let check = |bytes: &[u8], expect: Expect| {
        let error = decode(bytes).expect_err("refused");
        expect.assert_eq(&error.to_string());
    };
    check(
        &[],
        expect!["not a record: failed to decode Protobuf message: invalid varint"],
    );
    check(
        &good[..good.len() - 1],
        expect!["not a record: failed to decode Protobuf message: Record.command: buffer underflow"],
    );
    check(b"\x08\x02", expect!["version 2; this build reads version 1"]);
    check(
        b"\x10\x01",
        expect!["not a record: begins with field 2 instead of the version"],
    );
    // Field 15 of Record: a command of a later build.
    check(
        b"\x08\x01\x7a\x02\x08\x07",
        expect!["unknown command: field 15 of Record"],
    );
    check(b"\x08\x01", expect!["not a record: no command"]);
    // Field 2 of ResumeUser.
    check(
        b"\x08\x01\x62\x04\x08\x07\x10\x01",
        expect!["2 bytes of it are fields that this build does not know"],
    );
    // Field 15 of Record beside a known command.
    let mut with_more = good.clone();
    with_more.extend_from_slice(b"\x78\x01");
    check(
        &with_more,
        expect!["2 bytes of it are fields that this build does not know"],
    );
}

#[test]
fn what_no_accepted_command_can_have_is_refused() {
    let record = |command| {
        pb::Record {
            version: FORMAT_VERSION,
            time_unix_ns: 1,
            command: Some(command),
        }
        .encode_to_vec()
    };
    let insert = pb::InsertOrder {
        user: 0,
        instrument: 0,
        side: 1,
        price_e4: 100,
        quantity: 1,
        r#type: 1,
        time_in_force: 1,
        post_only: false,
        self_trade_prevention: 1,
        client_order_id: String::new(),
    };
    let change = |change: fn(&mut pb::InsertOrder)| {
        let mut insert = insert.clone();
        change(&mut insert);
        record(pb::record::Command::InsertOrder(insert))
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (change(|insert| insert.side = 0), "side"),
        (change(|insert| insert.side = 3), "side"),
        (change(|insert| insert.quantity = 0), "quantity"),
        (change(|insert| insert.price_e4 = i64::MIN), "price_e4"),
        (change(|insert| insert.r#type = 0), "type"),
        (change(|insert| insert.time_in_force = 0), "time_in_force"),
        (
            change(|insert| insert.self_trade_prevention = 4),
            "self_trade_prevention",
        ),
        (
            change(|insert| insert.client_order_id = "x".repeat(37)),
            "client_order_id",
        ),
        (
            record(pb::record::Command::RegisterUser(pb::RegisterUser::default())),
            "username",
        ),
        (
            record(pb::record::Command::SuspendUser(pb::SuspendUser {
                user: 1,
                comment: "x".repeat(257),
            })),
            "comment",
        ),
        (
            record(pb::record::Command::CancelOrder(pb::CancelOrder {
                user: 1,
                order: None,
            })),
            "order",
        ),
        (
            record(pb::record::Command::CancelAllOrders(pb::CancelAllOrders {
                user: 1,
                instrument: None,
                side: Some(0),
            })),
            "side",
        ),
        (
            record(pb::record::Command::SetUserRiskLimits(pb::SetUserRiskLimits {
                max_outstanding_quantity: Some(-1),
                ..Default::default()
            })),
            "limits.max_outstanding_quantity",
        ),
    ];
    for (bytes, field) in cases {
        match decode(&bytes) {
            Err(RecordError::InvalidField(error)) => assert_eq!(error.field, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

fn client_order_id() -> impl Strategy<Value = ClientOrderId> {
    "[ -~]{1,36}".prop_map(|text| string(&text))
}

fn order_ref() -> impl Strategy<Value = OrderRef> {
    prop_oneof![
        any::<u64>().prop_map(|id| OrderRef::Id(OrderId(id))),
        client_order_id().prop_map(OrderRef::Client),
    ]
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

fn phase() -> impl Strategy<Value = TradingPhase> {
    prop_oneof![
        Just(TradingPhase::Auction),
        Just(TradingPhase::Continuous),
        Just(TradingPhase::Halted),
        Just(TradingPhase::Closed),
    ]
}

fn price() -> impl Strategy<Value = i64> {
    -10_000_000_000_000..=10_000_000_000_000i64
}

fn terms() -> impl Strategy<Value = OrderTerms> {
    let how = prop_oneof![
        Just((OrderType::Limit, TimeInForce::GoodTillCancelled, false)),
        Just((OrderType::Limit, TimeInForce::GoodTillCancelled, true)),
        Just((OrderType::Limit, TimeInForce::ImmediateOrCancel, false)),
        Just((OrderType::Limit, TimeInForce::FillOrKill, false)),
        Just((OrderType::Market, TimeInForce::ImmediateOrCancel, false)),
        Just((OrderType::Market, TimeInForce::FillOrKill, false)),
    ];
    let prevention = prop_oneof![
        Just(SelfTradePrevention::CancelIncoming),
        Just(SelfTradePrevention::CancelResting),
        Just(SelfTradePrevention::CancelBoth),
    ];
    (side(), price(), 1..=1_000_000_000i64, how, prevention).prop_map(
        |(side, price_e4, quantity, (order_type, time_in_force, post_only), self_trade_prevention)| OrderTerms {
            side,
            price_e4: if order_type == OrderType::Market { 0 } else { price_e4 },
            quantity,
            order_type,
            time_in_force,
            post_only,
            self_trade_prevention,
        },
    )
}

fn limit() -> impl Strategy<Value = Option<i64>> {
    prop::option::of(0..=i64::MAX)
}

fn window() -> impl Strategy<Value = Option<RollingWindowLimit>> {
    prop::option::of(
        (0..=i64::MAX, 1..=86_400i32).prop_map(|(limit, window_in_seconds)| RollingWindowLimit {
            limit,
            window_in_seconds,
        }),
    )
}

fn command() -> impl Strategy<Value = Command> {
    let user = || any::<u32>().prop_map(UserId);
    let instrument = || any::<u32>().prop_map(InstrumentId);
    prop_oneof![
        (user(), instrument(), terms(), prop::option::of(client_order_id())).prop_map(
            |(user, instrument, terms, client_order_id)| Command::InsertOrder(InsertOrder {
                user,
                instrument,
                terms,
                client_order_id: client_order_id.unwrap_or_default(),
            })
        ),
        (user(), order_ref(), prop::option::of(price()), 0..=1_000_000_000i64).prop_map(
            |(user, order, price_e4, quantity)| Command::AmendOrder(AmendOrder {
                user,
                order,
                price_e4,
                quantity: (price_e4.is_none() || quantity % 2 == 0).then_some(quantity),
            })
        ),
        (user(), order_ref()).prop_map(|(user, order)| Command::CancelOrder { user, order }),
        (user(), prop::option::of(instrument()), prop::option::of(side()))
            .prop_map(|(user, instrument, side)| Command::CancelAllOrders { user, instrument, side }),
        (user(), any::<u64>()).prop_map(|(user, after)| Command::CancelOnDisconnect {
            user,
            after: OrderId(after),
        }),
        "\\PC{1,16}".prop_map(|name| Command::RegisterUser {
            username: Username::from(&name).expect("at most 64 bytes"),
        }),
        (
            user(),
            "[A-Z0-9._-]{1,16}",
            "\\PC{0,40}",
            1..=1_000_000i64,
            0..3usize,
            "[a-z]{0,64}"
        )
            .prop_map(
                |(user, symbol, description, multiplier, phase, request)| Command::CreateInstrument(CreateInstrument {
                    user,
                    symbol: string(&symbol),
                    description,
                    currency: string("EUR"),
                    multiplier,
                    tick_size_e4: multiplier,
                    initial_phase: [TradingPhase::Auction, TradingPhase::Continuous, TradingPhase::Halted][phase],
                    client_request_id: string(&request),
                })
            ),
        (instrument(), phase()).prop_map(|(instrument, phase)| Command::SetTradingPhase { instrument, phase }),
        (user(), "\\PC{0,40}").prop_map(|(user, comment)| Command::SuspendUser { user, comment }),
        user().prop_map(|user| Command::ResumeUser { user }),
        (user(), window(), limit(), limit()).prop_map(|(user, message_rate, quantity, amount)| {
            Command::SetUserRiskLimits {
                user,
                limits: UserRiskLimits {
                    message_rate,
                    max_outstanding_quantity: quantity,
                    max_outstanding_amount_e4: amount,
                },
            }
        }),
        (
            user(),
            instrument(),
            window(),
            window(),
            [limit().boxed(), limit().boxed(), limit().boxed(), limit().boxed()]
        )
            .prop_map(|(user, instrument, order_quantity, order_amount, limits)| {
                Command::SetInstrumentRiskLimits {
                    user,
                    instrument,
                    limits: InstrumentRiskLimits {
                        order_quantity,
                        order_amount,
                        max_outstanding_quantity: limits[0],
                        max_outstanding_amount_e4: limits[1],
                        max_order_quantity: limits[2],
                        max_position: limits[3],
                    },
                }
            }),
    ]
}

proptest! {
    #[test]
    fn trading_commands_as_prost_writes_them(time_unix_ns in any::<i64>(), command in command()) {
        let input = Input { time_unix_ns, command };
        let (mut ours, mut theirs) = (vec![7], vec![7]);
        let is_trading = encode_trading(&input, &mut ours);
        if is_trading {
            encode_any(&input, &mut theirs);
        }
        prop_assert_eq!(ours, theirs);
        prop_assert_eq!(
            is_trading,
            matches!(
                input.command,
                Command::InsertOrder(_) | Command::AmendOrder(_) | Command::CancelOrder { .. }
            )
        );
    }

    #[test]
    fn what_was_written_is_read(time_unix_ns in any::<i64>(), command in command()) {
        let input = Input { time_unix_ns, command };
        let mut bytes = b"before".to_vec();
        encode(&input, &mut bytes);
        prop_assert_eq!(&bytes[..6], b"before");
        prop_assert_eq!(decode(&bytes[6..]), Ok(input));
    }

    #[test]
    fn hostile_bytes_are_refused_or_read_the_same(
        time_unix_ns in any::<i64>(),
        command in command(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&Input { time_unix_ns, command });
        for (index, byte) in flips {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Ok(input) = decode(&bytes) {
            prop_assert_eq!(decode(&encoded(&input)), Ok(input));
        }
    }
}
