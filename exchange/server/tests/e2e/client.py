"""A short trading session, as a participant would write it. Any difference ends it with an assertion."""

import sys
import threading
import zlib

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from optivex.v1 import admin_pb2, admin_pb2_grpc, auth_pb2, auth_pb2_grpc, common_pb2
from optivex.v1 import execution_pb2, execution_pb2_grpc, info_pb2, info_pb2_grpc
from optivex.v1 import risk_limits_pb2, risk_limits_pb2_grpc

DEADLINE = 30
SYMBOL = "ACME"


class User:
    def __init__(self, channel, name):
        self.name = name
        self.auth = auth_pb2_grpc.AuthServiceStub(channel)
        answer = self.auth.Login(
            auth_pb2.LoginRequest(username=name, password=f"{name}-password"), timeout=DEADLINE
        )
        self.roles = list(answer.roles)
        self.metadata = (("authorization", f"Bearer {answer.token}"),)
        self.admin = admin_pb2_grpc.AdminServiceStub(channel)
        self.execution = execution_pb2_grpc.ExecutionServiceStub(channel)
        self.info = info_pb2_grpc.InfoServiceStub(channel)
        self.limits = risk_limits_pb2_grpc.RiskLimitsServiceStub(channel)

    def call(self, method, request):
        return method(request, metadata=self.metadata, timeout=DEADLINE)

    def stream(self, method, request):
        return method(request, metadata=self.metadata, timeout=DEADLINE)

    def insert(self, side, price_e4, quantity, **more):
        request = execution_pb2.InsertOrderRequest(
            symbol=SYMBOL, side=side, price_e4=price_e4, quantity=quantity, **more
        )
        return self.call(self.execution.InsertOrder, request)


def refused(call, code, reason):
    """The ErrorInfo of a call that must be refused, and its RetryInfo (empty if there is none)."""
    try:
        answer = call()
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        assert error.code() == code, (error.code(), error.details())
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        for detail in status.details:
            assert detail.Unpack(info) or detail.Unpack(retry), status
        assert (info.domain, info.reason) == ("optivex", reason), info
        assert dict(error.trailing_metadata())["optivex-reason"] == reason
        return info, retry
    raise AssertionError(f"{answer} instead of {reason}")


class Book:
    """The rule of the contract for a subscriber of PRICE_DEPTH."""

    def __init__(self):
        self.sides = {"bids": {}, "asks": {}}
        self.book_seq = None
        self.event_seq = 0
        self.trades = []

    def apply(self, message):
        kind = message.WhichOneof("event")
        if kind == "snapshot":
            snapshot = message.snapshot
            for side in self.sides:
                self.sides[side] = {level.price_e4: level for level in getattr(snapshot, side)}
            self.book_seq, self.event_seq = snapshot.book_seq, snapshot.event_seq
            assert self.checksum() == snapshot.checksum
        elif kind == "update":
            update = message.update
            assert update.prev_book_seq == self.book_seq, update
            for side in self.sides:
                for level in getattr(update, side):
                    if level.quantity:
                        self.sides[side][level.price_e4] = level
                    else:
                        del self.sides[side][level.price_e4]
            self.trades.extend(update.trades)
            self.book_seq, self.event_seq = update.book_seq, update.event_seq
        elif kind == "heartbeat":
            for state in message.heartbeat.books:
                assert state.symbol == SYMBOL and state.book_seq == self.book_seq, state
                assert state.checksum == self.checksum(), state
            self.event_seq = max(self.event_seq, message.heartbeat.event_seq)
        else:
            raise AssertionError(message)

    def levels(self, side):
        return sorted(self.sides[side].values(), key=lambda level: level.price_e4, reverse=side == "bids")

    def checksum(self):
        text = "".join(
            f"{level.price_e4}:{level.quantity}:{level.order_count};"
            for side in ("bids", "asks")
            for level in self.levels(side)
        )
        return zlib.crc32(text.encode())


def main(address):
    channel = grpc.insecure_channel(address)
    admin, alice, bob, viewer = (User(channel, name) for name in ("admin", "alice", "bob", "viewer"))
    assert admin.roles == [auth_pb2.ROLE_ADMIN] and viewer.roles == [auth_pb2.ROLE_VIEWER]

    create = admin_pb2.CreateInstrumentRequest(
        symbol=SYMBOL, description="Acme share", currency="EUR", multiplier=10, tick_size_e4=100
    )
    created = admin.call(admin.admin.CreateInstrument, create)
    assert created.instrument.phase == common_pb2.TRADING_PHASE_CONTINUOUS
    refused(
        lambda: admin.call(admin.admin.CreateInstrument, create),
        grpc.StatusCode.ALREADY_EXISTS,
        "DUPLICATE_SYMBOL",
    )
    info, _ = refused(
        lambda: alice.call(alice.admin.CreateInstrument, create),
        grpc.StatusCode.PERMISSION_DENIED,
        "MISSING_ROLE",
    )
    assert info.metadata["role"] == "ROLE_ADMIN", info

    # Before the first order: the book, Alice's reports, the tape.
    books = viewer.stream(
        viewer.info.SubscribeOrderBooks,
        info_pb2.SubscribeOrderBooksRequest(symbols=[SYMBOL, "NONE"], view=info_pb2.BOOK_VIEW_PRICE_DEPTH),
    )
    statuses = next(books).subscribed.statuses
    assert [(status.symbol, status.reason) for status in statuses] == [
        (SYMBOL, common_pb2.ERROR_REASON_UNSPECIFIED),
        ("NONE", common_pb2.ERROR_REASON_UNKNOWN_INSTRUMENT),
    ], statuses
    book = Book()
    reports = alice.stream(
        alice.execution.SubscribeExecutionReports,
        execution_pb2.SubscribeExecutionReportsRequest(after_report_seq=0),
    )
    assert next(reports).WhichOneof("event") == "subscribed_report_seq"

    # Alice quotes, Bob crosses.
    buy, sell = common_pb2.SIDE_BUY, common_pb2.SIDE_SELL
    bid = alice.insert(buy, 1_000_000, 10, client_order_id="bid-1")
    ask = alice.insert(sell, 1_010_000, 10, client_order_id="ask-1")
    assert bid.status == ask.status == execution_pb2.ORDER_STATUS_OPEN
    again = alice.insert(buy, 1_000_000, 10, client_order_id="bid-1")
    assert again == bid, "a retry answers as the first time"
    hit = bob.insert(sell, 990_000, 4)
    assert hit.status == execution_pb2.ORDER_STATUS_FILLED
    assert [(fill.price_e4, fill.quantity) for fill in hit.fills] == [(1_000_000, 4)], hit
    amended = alice.call(
        alice.execution.AmendOrder,
        execution_pb2.AmendOrderRequest(client_order_id="ask-1", quantity=7),
    )
    assert amended.open_quantity == 7
    cancelled = alice.call(
        alice.execution.CancelOrder, execution_pb2.CancelOrderRequest(order_id=bid.order_id)
    )
    assert cancelled.cancelled_quantity == 6

    # The book shows it all once it reflects the last event.
    while book.event_seq < cancelled.event_seq:
        book.apply(next(books))
    assert book.levels("bids") == []
    assert [(level.price_e4, level.quantity, level.order_count) for level in book.levels("asks")] == [
        (1_010_000, 7, 1)
    ]
    assert [(trade.price_e4, trade.quantity, trade.aggressor_side) for trade in book.trades] == [(1_000_000, 4, sell)]
    whole = viewer.call(viewer.info.GetOrderBook, info_pb2.GetOrderBookRequest(symbol=SYMBOL)).book
    assert (whole.book_seq, whole.checksum) == (book.book_seq, book.checksum())

    # Alice's reports, in order, without gaps.
    kinds = []
    while len(kinds) < 5:
        message = next(reports)
        if message.WhichOneof("event") == "report":
            assert message.report.report_seq == len(kinds) + 1
            kinds.append(execution_pb2.ExecutionKind.Name(message.report.kind).removeprefix("EXECUTION_KIND_"))
    assert kinds == ["ACCEPTED", "ACCEPTED", "FILL", "AMENDED", "CANCELLED"], kinds
    reports.cancel()

    # Money: multiplier applied, what one paid the other got.
    positions = [
        user.call(user.execution.ListPositions, execution_pb2.ListPositionsRequest()).positions[0]
        for user in (alice, bob)
    ]
    assert [position.quantity for position in positions] == [4, -4], positions
    assert [position.cash_e4 for position in positions] == [-40_000_000, 40_000_000], positions

    # Errors with their details.
    info, _ = refused(lambda: bob.insert(buy, 1_000_050, 1), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_TICK")
    assert info.metadata["tick_size_e4"] == "100", info
    info, _ = refused(lambda: bob.insert(buy, 1_000_000, 0), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert info.metadata["field"] == "quantity", info
    refused(
        lambda: bob.insert(buy, 1_010_000, 8, time_in_force=execution_pb2.TIME_IN_FORCE_FILL_OR_KILL),
        grpc.StatusCode.FAILED_PRECONDITION,
        "CANNOT_FILL",
    )
    refused(
        lambda: bob.insert(buy, 1_010_000, 1, post_only=True), grpc.StatusCode.FAILED_PRECONDITION, "WOULD_CROSS"
    )
    refused(
        lambda: alice.call(
            alice.execution.CancelOrder, execution_pb2.CancelOrderRequest(client_order_id="bid-1")
        ),
        grpc.StatusCode.FAILED_PRECONDITION,
        "ORDER_DONE",
    )
    refused(
        lambda: bob.call(bob.execution.CancelOrder, execution_pb2.CancelOrderRequest(order_id=ask.order_id)),
        grpc.StatusCode.NOT_FOUND,
        "UNKNOWN_ORDER",
    )
    rate = risk_limits_pb2.UserRiskLimits(
        message_rate_rolling_limit=risk_limits_pb2.RollingWindowLimit(limit=0, window_in_seconds=60)
    )
    admin.call(
        admin.limits.SetUserRiskLimits,
        risk_limits_pb2.SetUserRiskLimitsRequest(username="bob", limits=rate),
    )
    info, retry = refused(lambda: bob.insert(buy, 900_000, 1), grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMIT")
    assert info.metadata["limit_name"] == "message_rate_rolling_limit", info
    assert (info.metadata["limit"], info.metadata["attempted"]) == ("0", "1"), info
    assert retry.retry_delay.seconds == 60, retry

    # Many commands on one stream, answered in the order sent.
    def commands():
        for number in range(200):
            insert = execution_pb2.InsertOrderRequest(
                symbol=SYMBOL, side=buy, price_e4=900_000 - 100 * (number % 10), quantity=1
            )
            yield execution_pb2.OrderEntryRequest(request_id=number, insert=insert)

    answers = list(alice.stream(alice.execution.OrderEntry, commands()))
    assert [answer.request_id for answer in answers] == list(range(200))
    ids = [answer.insert.order_id for answer in answers]
    assert ids == sorted(set(ids)) and ids[0] > ask.order_id
    everything = alice.call(alice.execution.CancelAllOrders, execution_pb2.CancelAllOrdersRequest(side=buy))
    assert list(everything.order_ids) == ids and everything.cancelled_orders == 200

    # A logout ends the session's streams, and its token is worth nothing.
    following = alice.stream(
        alice.execution.SubscribeExecutionReports, execution_pb2.SubscribeExecutionReportsRequest()
    )
    next(following)
    ended = []

    def follow():
        try:
            for _ in following:
                pass
        except grpc.RpcError as error:
            ended.append(error.code())

    thread = threading.Thread(target=follow)
    thread.start()
    alice.call(alice.auth.Logout, auth_pb2.LogoutRequest())
    thread.join(DEADLINE)
    assert ended == [grpc.StatusCode.UNAUTHENTICATED], ended
    refused(lambda: alice.insert(buy, 900_000, 1), grpc.StatusCode.UNAUTHENTICATED, "INVALID_TOKEN")
    orders = User(channel, "alice")
    still = orders.call(orders.execution.ListOrders, execution_pb2.ListOrdersRequest()).orders
    assert [order.client_order_id for order in still] == ["ask-1"], still
    print("all as it must be")


main(sys.argv[1])
