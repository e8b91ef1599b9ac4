"""A small exchange of the contract's core stages (1 to 7, and 9), in one file.

It is slow and simple, to be read: by participants who wonder what an exchange is made of, and whether any
language goes. README.md beside it says how to run it and what it leaves out.

How it works, in five sentences:

* One asyncio event loop is the only writer. A plain `def` runs to its end before anything else happens, so a
  command is one turn: it checks, changes everything, writes the logs, and answers. No locks, no races.
* What happened stands in logs that only grow: the changes of each book, the tape, each user's reports, the
  instruments. A stream is a place in a log: it sends what comes after its place, then waits for the next event.
  History, resumption and conflation are only other places to start from.
* A subscription takes its snapshot and its place in the log in the same turn: nothing falls between.
* Amounts are Python integers: exact, signed, and as large as they need to be.
* A refusal is an exception, raised before the first change: what is refused leaves no trace.
"""

import asyncio
import contextlib
import functools
import hmac
import importlib
import inspect
import os
import re
import secrets
import signal
import sys
import tempfile
import time
import zlib
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import argon2
import grpc
import yaml
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_tools import protoc

# ---------------------------------------------------------------------------------------------------------
# The contract: stubs are made of proto/ at each start, so that they are never out of date.

PROTO = Path(__file__).resolve().parents[2] / "proto"

with tempfile.TemporaryDirectory() as stubs:
    files = sorted(str(path) for path in PROTO.glob("optivex/v1/*.proto"))
    arguments = ["protoc", f"-I{PROTO}", f"--python_out={stubs}", f"--grpc_python_out={stubs}", *files]
    if not files or protoc.main(arguments) != 0:
        sys.exit(f"no contract in {PROTO}")
    sys.path.insert(0, stubs)
    pb = SimpleNamespace()  # Everything of the package optivex.v1.
    for path in files:
        for kind in ("pb2", "pb2_grpc"):
            vars(pb).update(vars(importlib.import_module(f"optivex.v1.{Path(path).stem}_{kind}")))
    sys.path.remove(stubs)

SERVICES = ["AuthService", "AdminService", "InfoService", "ExecutionService", "RiskLimitsService"]

BUY, SELL = pb.SIDE_BUY, pb.SIDE_SELL
OPPOSITE = {BUY: SELL, SELL: BUY}
RESTS = pb.TIME_IN_FORCE_GOOD_TILL_CANCELLED
IMMEDIATE = pb.TIME_IN_FORCE_IMMEDIATE_OR_CANCEL
VIEWER, TRADER, ADMIN = pb.ROLE_VIEWER, pb.ROLE_TRADER, pb.ROLE_ADMIN

SYMBOL = r"[A-Z0-9._-]{1,16}"
PRICE_MAX = 10**13
QUANTITY_MAX = 10**9
MULTIPLIER_MAX = 10**6
NOTIONAL_MAX = 10**14
PAGE_MAX = 1_000
CONFLATED_TRADES_MAX = 10_000
WINDOW_SECONDS_MAX = 86_400
SECOND = 10**9
TOKEN_LIFE = 12 * 3600 * SECOND
HEARTBEAT = 1.0


def int64(number):
    """An amount over time that would leave int64 stops at its end."""
    return max(-(2**63), min(2**63 - 1, number))


# ---------------------------------------------------------------------------------------------------------
# Refusals


CODES = {
    "INVALID_FIELD": grpc.StatusCode.INVALID_ARGUMENT,
    "INVALID_TICK": grpc.StatusCode.INVALID_ARGUMENT,
    "NOTIONAL_TOO_LARGE": grpc.StatusCode.INVALID_ARGUMENT,
    "INVALID_TOKEN": grpc.StatusCode.UNAUTHENTICATED,
    "INVALID_CREDENTIALS": grpc.StatusCode.UNAUTHENTICATED,
    "MISSING_ROLE": grpc.StatusCode.PERMISSION_DENIED,
    "UNKNOWN_INSTRUMENT": grpc.StatusCode.NOT_FOUND,
    "UNKNOWN_ORDER": grpc.StatusCode.NOT_FOUND,
    "UNKNOWN_USER": grpc.StatusCode.NOT_FOUND,
    "DUPLICATE_SYMBOL": grpc.StatusCode.ALREADY_EXISTS,
    "CLIENT_ID_REUSED": grpc.StatusCode.ALREADY_EXISTS,
    "PHASE_FORBIDS": grpc.StatusCode.FAILED_PRECONDITION,
    "ORDER_DONE": grpc.StatusCode.FAILED_PRECONDITION,
    "RISK_LIMIT": grpc.StatusCode.FAILED_PRECONDITION,
    "RATE_LIMIT": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "CANNOT_RESUME": grpc.StatusCode.OUT_OF_RANGE,
}


class Refused(Exception):
    """A refusal for one of the contract's reasons; `metadata` says what was wrong."""

    def __init__(self, reason, message, retry_after=None, **metadata):
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after
        self.metadata = {key: str(value) for key, value in metadata.items()}

    async def abort(self, context):
        """Ends the call: the reason stands in the details and in a trailer."""
        details = [error_details_pb2.ErrorInfo(domain="optivex", reason=self.reason, metadata=self.metadata)]
        if self.retry_after is not None:
            delay = duration_pb2.Duration(seconds=self.retry_after // SECOND, nanos=self.retry_after % SECOND)
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        status = status_pb2.Status(code=CODES[self.reason].value[0], message=str(self))
        for detail in details:
            status.details.append(any_pb2.Any())
            status.details[-1].Pack(detail)
        trailers = (("optivex-reason", self.reason), ("grpc-status-details-bin", status.SerializeToString()))
        await context.abort(CODES[self.reason], str(self), trailers)


class NotHere(Exception):
    """What belongs to the contract's extensions, which this exchange does not have."""

    async def abort(self, context):
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{self}: not in this exchange")


def check(holds, name, message):
    if not holds:
        raise Refused("INVALID_FIELD", f"{name}: {message}", field=name)


def check_text(text, name, most):
    check(len(text.encode()) <= most, name, f"at most {most} bytes")


def check_enum(enum, value, name, unset=False):
    check(value in enum.values() and (unset or value != 0), name, "not a value of the contract's")


def page(request):
    """How many of a list to send."""
    check(request.page_size >= 0, "page_size", "at least 0")
    return min(request.page_size, PAGE_MAX) or PAGE_MAX


def rpc(role=None):
    """A method of a service: finds out who calls, and turns exceptions into statuses.

    A plain `def` is one turn of the only writer. `role` is wanted; `None` for any.
    """

    def wrap(method):
        if inspect.isasyncgenfunction(method):

            @functools.wraps(method)
            async def stream(self, request, context):
                try:
                    async for message in method(self, request, self.session(context, role)):
                        yield message
                except (Refused, NotHere) as refusal:
                    await refusal.abort(context)

            return stream

        @functools.wraps(method)
        async def unary(self, request, context):
            try:
                return method(self, request, self.session(context, role))
            except (Refused, NotHere) as refusal:
                await refusal.abort(context)

        return unary

    return wrap


# ---------------------------------------------------------------------------------------------------------
# Users


@dataclass(eq=False)
class User:
    """Somebody of the users file, and all that belongs to them."""

    name: str
    roles: list
    password: str | None
    password_hash: str | None
    orders: dict = field(default_factory=dict)  # by order_id, all there ever were
    open: dict = field(default_factory=dict)  # by order_id, those that rest
    client_ids: dict = field(default_factory=dict)  # client_order_id -> (terms, first answer, order)
    instrument_ids: dict = field(default_factory=dict)  # client_request_id -> (terms, first answer)
    reports: list = field(default_factory=list)  # report_seq n is at n - 1
    positions: dict = field(default_factory=dict)  # book -> Position
    limits: object = field(default_factory=pb.UserRiskLimits)
    book_limits: dict = field(default_factory=dict)  # symbol -> InstrumentRiskLimits
    windows: dict = field(default_factory=dict)  # (limit name, symbol) -> Window

    def knows(self, password):
        if self.password_hash is None:
            return hmac.compare_digest(self.password.encode(), password.encode())
        try:
            return argon2.PasswordHasher().verify(self.password_hash, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False


def read_users(path):
    roles = {"viewer": VIEWER, "trader": TRADER, "admin": ADMIN}
    users = {}
    for entry in yaml.safe_load(Path(path).read_text())["users"]:
        name, password, password_hash = entry["username"], entry.get("password"), entry.get("password_hash")
        if name in users or (password is None) == (password_hash is None):
            raise ValueError(f"user {name}: once, with either password or password_hash")
        users[name] = User(name, [roles[role] for role in entry["roles"]], password, password_hash)
    return users


@dataclass(eq=False)
class Session:
    """One login. Ends with a logout, or when nobody used it for a while."""

    token: str
    user: User
    expires: int = 0
    ended: bool = False

    def use(self):
        now = time.time_ns()
        if self.ended or self.expires and now > self.expires:
            raise Refused("INVALID_TOKEN", "no token, or one that is unknown or expired")
        self.expires = now + TOKEN_LIFE


@dataclass
class Position:
    lots: int = 0
    cash: int = 0


@dataclass
class Window:
    """What was counted for a rolling-window limit: (time, amount), oldest first."""

    entries: deque = field(default_factory=deque)

    def add(self, now, amount):
        if amount > 0:
            self.entries.append((now, amount))
        while self.entries and self.entries[0][0] <= now - WINDOW_SECONDS_MAX * SECOND:
            self.entries.popleft()

    def used(self, now, length):
        return sum(amount for then, amount in self.entries if then > now - length)

    def retry_after(self, now, length, limit, attempted):
        """When the same command would pass, if nothing else happened; the whole window if it never would."""
        excess = self.used(now, length) + attempted - limit
        if attempted <= limit:
            for then, amount in self.entries:
                excess -= amount if then > now - length else 0
                if excess <= 0:
                    return then + length - now
        return length


# ---------------------------------------------------------------------------------------------------------
# Orders and books


@dataclass(eq=False)
class Order:
    order_id: int
    user: User
    book: "Book"
    terms: dict  # as inserted, defaults filled in
    created: int
    filled: int = 0
    status: int = pb.ORDER_STATUS_OPEN
    cancel_reason: int = pb.CANCEL_REASON_UNSPECIFIED
    event_seq: int = 0

    @property
    def side(self):
        return self.terms["side"]

    @property
    def price(self):
        return self.terms["price_e4"]

    @property
    def open(self):
        """Lots that may still trade."""
        return self.terms["quantity"] - self.filled if self.status == pb.ORDER_STATUS_OPEN else 0

    @property
    def amount(self):
        return self.book.amount(self.price, self.open)

    def message(self):
        return pb.Order(
            **self.terms,
            order_id=self.order_id,
            filled_quantity=self.filled,
            status=self.status,
            created_unix_ns=self.created,
            cancel_reason=self.cancel_reason,
            event_seq=self.event_seq,
        )


@dataclass
class Change:
    """What one event changed in one book."""

    event_seq: int
    levels: list  # (side, price, lots, orders): new totals
    trades: list


@dataclass(eq=False)
class Book:
    """An instrument and its orders."""

    instrument: pb.Instrument
    levels: dict = field(default_factory=lambda: {BUY: {}, SELL: {}})  # price -> orders, oldest first
    changes: list = field(default_factory=list)  # book_seq n is at n - 1
    trades: list = field(default_factory=list)  # of the event that is under way
    before: dict = field(default_factory=dict)  # (side, price) -> totals before this event
    last_price: int = 0

    @property
    def symbol(self):
        return self.instrument.symbol

    def amount(self, price, quantity):
        return abs(price) * quantity * self.instrument.multiplier

    def best(self, side):
        """The best price of a side; None if it is empty."""
        return (max if side == BUY else min)(self.levels[side], default=None)

    def crosses(self, side, price):
        """Whether an order at this price would trade with the other side."""
        best = self.best(OPPOSITE[side])
        return best is not None and (price >= best if side == BUY else price <= best)

    def totals(self, side, price):
        orders = self.levels[side].get(price, ())
        return sum(order.open for order in orders), len(orders)

    def touch(self, side, price):
        """Before a level changes: what it was when the event began."""
        self.before.setdefault((side, price), self.totals(side, price))

    def add(self, order):
        self.touch(order.side, order.price)
        self.levels[order.side].setdefault(order.price, []).append(order)

    def remove(self, order):
        self.touch(order.side, order.price)
        orders = self.levels[order.side][order.price]
        orders.remove(order)
        if not orders:
            del self.levels[order.side][order.price]

    def end_event(self, event_seq):
        """Writes down what the event changed, if anything: that is a new book_seq."""
        levels = [
            (side, price, *self.totals(side, price))
            for (side, price), before in self.before.items()
            if before != self.totals(side, price)
        ]
        if levels:
            self.changes.append(Change(event_seq, levels, self.trades))
        self.before, self.trades = {}, []


def best_first(levels, side):
    """PriceLevels of a dict price -> (lots, orders)."""
    prices = sorted(levels, reverse=side == BUY)
    return [
        pb.PriceLevel(price_e4=price, quantity=levels[price][0], order_count=levels[price][1]) for price in prices
    ]


def checksum(bids, asks):
    text = "".join(f"{level.price_e4}:{level.quantity}:{level.order_count};" for level in [*bids, *asks])
    return zlib.crc32(text.encode())


# ---------------------------------------------------------------------------------------------------------
# One subscriber of one book


class Follower:
    """What a subscriber holds of a book, and its place in the book's changes."""

    def __init__(self, book, top=False, depth=0, conflated=False):
        self.book, self.top, self.conflated = book, top, conflated
        self.depth = 1 if top else depth
        self.held = {BUY: {}, SELL: {}}  # price -> (lots, orders), the whole book as it was at `place`
        self.place = 0  # book_seq that `held` shows
        self.sent = 0  # book_seq that the subscriber holds
        self.news_since_heartbeat = False

    def view(self):
        """The levels that the subscriber sees, bids and asks."""
        sides = (best_first(self.held[side], side) for side in (BUY, SELL))
        return [levels[: self.depth] if self.depth else levels for levels in sides]

    def advance(self, to):
        """Applies changes up to this book_seq; these changes."""
        changes = self.book.changes[self.place : to]
        for change in changes:
            for side, price, lots, orders in change.levels:
                if orders:
                    self.held[side][price] = (lots, orders)
                else:
                    del self.held[side][price]
        self.place = to
        return changes

    def resume(self, book_seq):
        """Goes on after this point; whether it can."""
        if book_seq > len(self.book.changes):
            return False
        self.advance(book_seq)
        self.sent = book_seq
        return True

    def whole(self, event_seq):
        """The book as it stands now: a snapshot, or its top."""
        self.advance(len(self.book.changes))
        self.sent, self.news_since_heartbeat = self.place, True
        if self.top:
            return pb.SubscribeOrderBooksResponse(top_of_book=self.top_of_book(event_seq))
        return pb.SubscribeOrderBooksResponse(snapshot=self.snapshot(event_seq))

    def snapshot(self, event_seq):
        bids, asks = self.view()
        return pb.BookSnapshot(
            symbol=self.book.symbol,
            book_seq=self.place,
            event_seq=event_seq,
            phase=self.book.instrument.phase,
            bids=bids,
            asks=asks,
            checksum=checksum(bids, asks),
        )

    def top_of_book(self, event_seq):
        bids, asks = self.view()
        return pb.TopOfBook(
            symbol=self.book.symbol,
            book_seq=self.place,
            event_seq=event_seq,
            bid=bids[0] if bids else None,
            ask=asks[0] if asks else None,
            phase=self.book.instrument.phase,
        )

    def news(self):
        """What changed since the last message: one message a change, or, conflated, one for all."""
        while self.place < len(self.book.changes):
            until = len(self.book.changes) if self.conflated else self.place + 1
            before = now = self.view()
            moved, trades = False, []
            while self.place < until:
                (change,) = self.advance(self.place + 1)
                last, now = now, self.view()
                moved |= last != now
                trades.extend(change.trades)
            if not moved and (self.top or not trades):
                continue  # Nothing that this subscriber sees.
            sent, self.sent, self.news_since_heartbeat = self.sent, self.place, True
            if self.top:
                yield pb.SubscribeOrderBooksResponse(top_of_book=self.top_of_book(change.event_seq))
            elif len(trades) > CONFLATED_TRADES_MAX:
                gap = pb.Gap(symbol=self.book.symbol, after_book_seq=sent, through_book_seq=self.place)
                snapshot = self.snapshot(change.event_seq)
                yield pb.SubscribeOrderBooksResponse(gap=gap)
                yield pb.SubscribeOrderBooksResponse(snapshot=snapshot)
            else:
                update = pb.BookUpdate(
                    symbol=self.book.symbol,
                    prev_book_seq=sent,
                    book_seq=self.place,
                    event_seq=change.event_seq,
                    bids=differences(before[0], now[0]),
                    asks=differences(before[1], now[1]),
                    trades=trades,
                )
                yield pb.SubscribeOrderBooksResponse(update=update)

    def state(self):
        return pb.BookState(
            symbol=self.book.symbol, book_seq=self.sent, checksum=0 if self.top else checksum(*self.view())
        )


def differences(before, now):
    """Levels that changed or came, and with quantity 0 those that went."""
    was = {level.price_e4: level for level in before}
    here = {level.price_e4 for level in now}
    gone = [pb.PriceLevel(price_e4=price) for price in was if price not in here]
    return gone + [level for level in now if was.get(level.price_e4) != level]


# ---------------------------------------------------------------------------------------------------------
# The exchange: one state, five services


class Exchange:
    def __init__(self, users):
        self.users = users
        self.sessions = {}  # by token
        self.books = {}  # by symbol, in the order of their creation
        self.tape = []  # trade_id n is at n - 1
        self.instruments = []  # every Instrument that was news
        self.event_seq = 0
        self.now = 0
        self.orders = 0
        self.touched = []  # books of the event that is under way
        self.pulse = asyncio.Event()  # set, and replaced, when something happened

    # -- Sessions

    def session(self, context, role):
        """Who calls: first the token, then the role."""
        metadata = dict(context.invocation_metadata())
        scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
        session = self.sessions.get(token) if scheme.lower() == "bearer" else None
        if session is None:
            raise Refused("INVALID_TOKEN", "no token, or one that is unknown or expired")
        session.use()
        if role is not None:
            self.want(session.user, role)
        return session

    def want(self, user, role):
        if role not in user.roles:
            name = pb.Role.Name(role)
            raise Refused("MISSING_ROLE", f"this wants {name}", role=name)

    async def Login(self, request, context):
        user = self.users.get(request.username)
        # Argon2 takes its time, on purpose: elsewhere, so that the exchange goes on meanwhile.
        if user is None or not await asyncio.to_thread(user.knows, request.password):
            await Refused("INVALID_CREDENTIALS", "wrong user name or password").abort(context)
        session = Session(secrets.token_urlsafe(32), user)
        session.use()
        self.sessions[session.token] = session
        return pb.LoginResponse(token=session.token, roles=user.roles, expires_unix_ns=session.expires)

    @rpc()
    def Logout(self, request, session):
        session.ended = True
        del self.sessions[session.token]
        self.wake()
        return pb.LogoutResponse()

    # -- Events

    def wake(self):
        """Lets every stream look whether there is news for it."""
        self.pulse.set()
        self.pulse = asyncio.Event()

    async def follow(self, session, news, heartbeat, also_when_busy=False):
        """A stream: what is new after each event, and a heartbeat when nothing was sent for a second, or once a
        second. Ends with its session."""
        due = time.monotonic() + HEARTBEAT
        while True:
            event_seq = self.event_seq  # When this round is done, everything up to here was sent.
            for message in news():
                yield message
                if not also_when_busy:
                    due = time.monotonic() + HEARTBEAT
            if time.monotonic() >= due:
                yield heartbeat(event_seq)
                due = time.monotonic() + HEARTBEAT
            if self.event_seq == event_seq and not session.ended:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.pulse.wait(), max(0, due - time.monotonic()))
            session.use()

    @contextlib.contextmanager
    def event(self):
        """Everything within is one event. Nothing within refuses."""
        self.event_seq += 1
        yield
        for book in self.touched:
            book.end_event(self.event_seq)
        self.touched = []
        self.wake()

    def tick(self):
        """The time of the command; a clock that goes back stands still."""
        self.now = max(self.now, time.time_ns())

    def report(self, kind, order, fill=None, aggressor=False):
        order.event_seq = self.event_seq
        order.user.reports.append(
            pb.ExecutionReport(
                report_seq=len(order.user.reports) + 1,
                kind=kind,
                order=order.message(),
                fill=fill,
                aggressor=aggressor,
                cancel_reason=order.cancel_reason,
                event_seq=self.event_seq,
                time_unix_ns=self.now,
            )
        )

    # -- Instruments

    def book(self, symbol):
        book = self.books.get(symbol)
        if book is None:
            raise Refused("UNKNOWN_INSTRUMENT", f"no instrument {symbol!r}", symbol=symbol)
        return book

    @rpc(ADMIN)
    def CreateInstrument(self, request, session):
        check(re.fullmatch(SYMBOL, request.symbol), "symbol", "1 to 16 of A-Z, 0-9, '.', '_', '-'")
        check_text(request.description, "description", 256)
        check(re.fullmatch(r"[A-Z]{3}", request.currency), "currency", "an ISO 4217 code, three letters")
        check(1 <= request.multiplier <= MULTIPLIER_MAX, "multiplier", f"1 to {MULTIPLIER_MAX}")
        check(1 <= request.tick_size_e4 <= PRICE_MAX, "tick_size_e4", f"1 to {PRICE_MAX}")
        check_enum(pb.TradingPhase, request.initial_phase, "initial_phase", unset=True)
        check(request.initial_phase != pb.TRADING_PHASE_CLOSED, "initial_phase", "not CLOSED")
        check_text(request.client_request_id, "client_request_id", 64)

        phase = request.initial_phase or pb.TRADING_PHASE_CONTINUOUS
        request.initial_phase = phase
        terms = request.SerializeToString(deterministic=True)
        if request.client_request_id in session.user.instrument_ids:
            first_terms, answer = session.user.instrument_ids[request.client_request_id]
            if first_terms != terms:
                raise Refused("CLIENT_ID_REUSED", "this client_request_id was used with another content")
            return answer
        if request.symbol in self.books:
            raise Refused("DUPLICATE_SYMBOL", f"{request.symbol} is taken", symbol=request.symbol)

        self.tick()
        with self.event():
            instrument = pb.Instrument(
                symbol=request.symbol,
                description=request.description,
                currency=request.currency,
                multiplier=request.multiplier,
                tick_size_e4=request.tick_size_e4,
                order_book_id=len(self.books) + 1,
                phase=phase,
                created_unix_ns=self.now,
            )
            self.books[request.symbol] = Book(instrument)
            self.instruments.append(instrument)
            answer = pb.CreateInstrumentResponse(instrument=instrument, event_seq=self.event_seq)
            if request.client_request_id:
                session.user.instrument_ids[request.client_request_id] = (terms, answer)
        return answer

    @rpc()
    def ListInstruments(self, request, session):
        most = page(request)
        check(re.fullmatch(SYMBOL, request.page_token or "-"), "page_token", "not of a previous answer")
        symbols = sorted(symbol for symbol in self.books if symbol > request.page_token)
        return pb.ListInstrumentsResponse(
            instruments=[self.books[symbol].instrument for symbol in symbols[:most]],
            next_page_token=symbols[most - 1] if len(symbols) > most else "",
        )

    @rpc()
    async def SubscribeInstruments(self, request, session):
        # One turn: all instruments, the event that they show, and the place in the log.
        place, event_seq = len(self.instruments), self.event_seq
        for instrument in [book.instrument for book in self.books.values()]:
            yield pb.SubscribeInstrumentsResponse(instrument=instrument)
        yield pb.SubscribeInstrumentsResponse(snapshot_complete_event_seq=event_seq)

        def news():
            nonlocal place
            while place < len(self.instruments):
                place += 1
                yield pb.SubscribeInstrumentsResponse(instrument=self.instruments[place - 1])

        def heartbeat(event_seq):
            return pb.SubscribeInstrumentsResponse(heartbeat_event_seq=event_seq)

        async for message in self.follow(session, news, heartbeat):
            yield message

    # -- Orders

    @rpc(TRADER)
    def InsertOrder(self, request, session):
        user = session.user
        terms = self.order_terms(request)
        book = self.book(request.symbol)
        tick = book.instrument.tick_size_e4
        if request.price_e4 % tick != 0:
            raise Refused("INVALID_TICK", f"the price is no multiple of {tick}", tick_size_e4=tick)
        amount = book.amount(request.price_e4, request.quantity)
        if amount > NOTIONAL_MAX:
            raise Refused("NOTIONAL_TOO_LARGE", f"|price| x quantity x multiplier is over {NOTIONAL_MAX}")
        if request.client_order_id in user.client_ids:
            first_terms, answer, _ = user.client_ids[request.client_order_id]
            if first_terms != terms:
                raise Refused("CLIENT_ID_REUSED", "this client_order_id was used with another content")
            return answer
        self.refuse_extensions(terms, book)
        self.tick()
        self.judge(user, book, terms["side"], terms["quantity"], amount)

        with self.event():
            self.touched.append(book)
            self.count(user, book, terms["quantity"], amount)
            self.orders += 1
            order = Order(self.orders, user, book, terms, created=self.now)
            user.orders[order.order_id] = order
            self.report(pb.EXECUTION_KIND_ACCEPTED, order)
            fills = self.match(order)
            if order.open and terms["time_in_force"] == IMMEDIATE:
                self.end(order, pb.CANCEL_REASON_TIME_IN_FORCE)
            elif order.open:
                book.add(order)
                user.open[order.order_id] = order
            answer = pb.InsertOrderResponse(
                order_id=order.order_id,
                status=order.status,
                filled_quantity=order.filled,
                open_quantity=order.open,
                fills=fills,
                cancel_reason=order.cancel_reason,
                event_seq=self.event_seq,
                time_unix_ns=self.now,
            )
            if request.client_order_id:
                user.client_ids[request.client_order_id] = (terms, answer, order)
        return answer

    def order_terms(self, request):
        """Checks the form of a new order, and fills the defaults in."""
        market = request.type == pb.ORDER_TYPE_MARKET
        life = request.time_in_force or (IMMEDIATE if market else RESTS)
        rests = life == RESTS
        check_enum(pb.Side, request.side, "side")
        check(1 <= request.quantity <= QUANTITY_MAX, "quantity", f"1 to {QUANTITY_MAX}")
        check(abs(request.price_e4) <= PRICE_MAX, "price_e4", f"at most {PRICE_MAX} either way")
        check_enum(pb.OrderType, request.type, "type", unset=True)
        check_enum(pb.TimeInForce, life, "time_in_force")
        stp = request.self_trade_prevention
        check_enum(pb.SelfTradePrevention, stp, "self_trade_prevention", unset=True)
        check_text(request.client_order_id, "client_order_id", 36)
        check(not (market and request.price_e4), "price_e4", "0 for a market order")
        check(not (market and rests), "time_in_force", "a market order never rests")
        check(not (request.post_only and not rests), "post_only", "only for orders that may rest")
        return {
            "symbol": request.symbol,
            "side": request.side,
            "price_e4": request.price_e4,
            "quantity": request.quantity,
            "type": request.type or pb.ORDER_TYPE_LIMIT,
            "time_in_force": life,
            "post_only": request.post_only,
            "self_trade_prevention": stp or pb.SELF_TRADE_PREVENTION_CANCEL_INCOMING,
            "client_order_id": request.client_order_id,
        }

    def refuse_extensions(self, terms, book):
        """What stage 8 and 10 would add here."""
        if book.instrument.phase == pb.TRADING_PHASE_AUCTION:
            raise NotHere("the call auction")
        if book.instrument.phase != pb.TRADING_PHASE_CONTINUOUS:
            phase = pb.TradingPhase.Name(book.instrument.phase)
            raise Refused("PHASE_FORBIDS", f"the book is in {phase}", phase=phase)
        if terms["type"] == pb.ORDER_TYPE_MARKET:
            raise NotHere("a market order")
        if terms["time_in_force"] == pb.TIME_IN_FORCE_FILL_OR_KILL:
            raise NotHere("fill or kill")
        if terms["post_only"]:
            raise NotHere("post-only")
        if terms["self_trade_prevention"] != pb.SELF_TRADE_PREVENTION_CANCEL_INCOMING:
            raise NotHere("self-trade prevention that cancels the resting order")

    def match(self, order):
        """Trades with the other side, best price first and oldest first; the fills."""
        book, fills = order.book, []
        while order.open and book.crosses(order.side, order.price):
            price = book.best(OPPOSITE[order.side])
            resting = book.levels[OPPOSITE[order.side]][price][0]
            if resting.user is order.user:
                self.end(order, pb.CANCEL_REASON_SELF_TRADE)
                break
            lots = min(order.open, resting.open)
            fills.append(self.trade(resting, order, price, lots))
        return fills

    def trade(self, resting, incoming, price, lots):
        book = resting.book
        book.touch(resting.side, price)
        trade = pb.Trade(
            trade_id=len(self.tape) + 1,
            symbol=book.symbol,
            price_e4=price,
            quantity=lots,
            aggressor_side=incoming.side,
            event_seq=self.event_seq,
            time_unix_ns=self.now,
        )
        self.tape.append(trade)
        book.trades.append(trade)
        book.last_price = price
        fill = pb.Fill(trade_id=trade.trade_id, price_e4=price, quantity=lots)
        for order in (resting, incoming):
            sign = 1 if order.side == BUY else -1
            position = order.user.positions.setdefault(book, Position())
            position.lots += sign * lots
            position.cash -= sign * price * lots * book.instrument.multiplier
            whole = order.open == lots
            if whole and order is resting:
                book.remove(order)
                del order.user.open[order.order_id]
            order.filled += lots
            if whole:
                order.status = pb.ORDER_STATUS_FILLED
            self.report(pb.EXECUTION_KIND_FILL, order, fill, aggressor=order is incoming)
        return fill

    def end(self, order, reason):
        """Cancels what is left of an order; how many lots that were."""
        left = order.open
        if order.user.open.pop(order.order_id, None):
            order.book.remove(order)
        order.status, order.cancel_reason = pb.ORDER_STATUS_CANCELLED, reason
        self.report(pb.EXECUTION_KIND_CANCELLED, order)
        return left

    @rpc(TRADER)
    def CancelOrder(self, request, session):
        user = session.user
        check(request.WhichOneof("order") is not None, "order", "which order")
        if request.WhichOneof("order") == "order_id":
            order = user.orders.get(request.order_id)
        else:
            _, _, order = user.client_ids.get(request.client_order_id, (None, None, None))
        if order is None:
            raise Refused("UNKNOWN_ORDER", "no such order of this user")
        if order.order_id not in user.open:
            raise Refused("ORDER_DONE", "the order is filled or cancelled already")
        self.tick()
        with self.event():
            self.touched.append(order.book)
            self.count(user)
            left = self.end(order, pb.CANCEL_REASON_USER)
        return pb.CancelOrderResponse(
            order_id=order.order_id, cancelled_quantity=left, event_seq=self.event_seq, time_unix_ns=self.now
        )

    @rpc(TRADER)
    def CancelAllOrders(self, request, session):
        user = session.user
        check_enum(pb.Side, request.side, "side", unset=True)
        book = self.book(request.symbol) if request.symbol else None
        self.tick()
        with self.event():
            self.count(user)
            orders = [
                order
                for order in user.open.values()
                if book in (None, order.book) and request.side in (0, order.side)
            ]
            self.touched.extend({order.book: None for order in orders})
            for order in orders:
                self.end(order, pb.CANCEL_REASON_USER)
        return pb.CancelAllOrdersResponse(
            order_ids=[order.order_id for order in orders[:PAGE_MAX]],
            event_seq=self.event_seq,
            cancelled_orders=len(orders),
        )

    @rpc(TRADER)
    def ListOrders(self, request, session):
        user = session.user
        most = page(request)
        check(re.fullmatch(r"\d{0,19}", request.page_token), "page_token", "not of a previous answer")
        if request.symbol:
            self.book(request.symbol)
        if request.order_id or request.client_order_id:
            _, _, named = user.client_ids.get(request.client_order_id, (None, None, None))
            one = user.orders.get(request.order_id) if request.order_id else named
            both = request.order_id and request.client_order_id
            orders = [one] if one and not (both and one is not named) else []
        else:
            after = int(request.page_token or 0)
            orders = [order for order in user.open.values() if order.order_id > after]
        orders = [order for order in orders if request.symbol in ("", order.book.symbol)]
        return pb.ListOrdersResponse(
            orders=[order.message() for order in orders[:most]],
            next_page_token=str(orders[most - 1].order_id) if len(orders) > most else "",
        )

    @rpc(TRADER)
    def ListPositions(self, request, session):
        user = session.user
        books = {**user.positions, **{order.book: None for order in user.open.values()}}
        positions = []
        for book in sorted(books, key=lambda book: book.symbol):
            held = user.positions.get(book, Position())
            positions.append(
                pb.Position(
                    symbol=book.symbol,
                    quantity=int64(held.lots),
                    cash_e4=int64(held.cash),
                    market_value_e4=int64(held.lots * book.last_price * book.instrument.multiplier),
                    open_buy_quantity=self.open_lots(user, book, BUY),
                    open_sell_quantity=self.open_lots(user, book, SELL),
                )
            )
        return pb.ListPositionsResponse(positions=positions, event_seq=self.event_seq)

    def open_lots(self, user, book, side):
        return sum(order.open for order in user.open.values() if order.book is book and order.side == side)

    @rpc(TRADER)
    async def SubscribeExecutionReports(self, request, session):
        if request.cancel_on_disconnect:
            raise NotHere("cancel_on_disconnect")
        reports = session.user.reports
        place = request.after_report_seq if request.HasField("after_report_seq") else len(reports)
        if place > len(reports):
            raise Refused("CANNOT_RESUME", "this report_seq lies in the future")
        yield pb.SubscribeExecutionReportsResponse(subscribed_report_seq=len(reports))

        def news():
            nonlocal place
            while place < len(reports):
                place += 1
                yield pb.SubscribeExecutionReportsResponse(report=reports[place - 1])

        def heartbeat(event_seq):
            return pb.SubscribeExecutionReportsResponse(heartbeat_report_seq=place)

        async for message in self.follow(session, news, heartbeat):
            yield message

    # -- Market data

    @rpc()
    def GetOrderBook(self, request, session):
        check(request.depth >= 0, "depth", "at least 0")
        follower = Follower(self.book(request.symbol), depth=request.depth)
        return pb.GetOrderBookResponse(book=follower.whole(self.event_seq).snapshot)

    @rpc()
    async def SubscribeOrderBooks(self, request, session):
        check_enum(pb.BookView, request.view, "view")
        check_enum(pb.Delivery, request.delivery, "delivery", unset=True)
        check(request.depth >= 0, "depth", "at least 0")
        top = request.view == pb.BOOK_VIEW_TOP_OF_BOOK
        conflated = request.delivery == pb.DELIVERY_CONFLATED
        cursors = {cursor.symbol: cursor.book_seq for cursor in request.resume_after}
        check(
            not cursors or not (top or conflated or request.depth), "resume_after", "lossless full PRICE_DEPTH only"
        )

        followers, whole, statuses = {}, [], []
        for symbol in request.symbols:
            reason = pb.ERROR_REASON_UNSPECIFIED
            if symbol not in self.books:
                reason = pb.ERROR_REASON_UNKNOWN_INSTRUMENT
            elif symbol not in followers:
                followers[symbol] = Follower(self.books[symbol], top, request.depth, conflated)
                if symbol not in cursors:
                    whole.append(symbol)
                elif not followers[symbol].resume(cursors[symbol]):
                    whole.append(symbol)
                    reason = pb.ERROR_REASON_CANNOT_RESUME
            statuses.append(pb.Subscribed.Status(symbol=symbol, reason=reason))
        yield pb.SubscribeOrderBooksResponse(subscribed=pb.Subscribed(statuses=statuses))

        def news():
            if not request.symbols:
                for symbol in [symbol for symbol in self.books if symbol not in followers]:
                    followers[symbol] = Follower(self.books[symbol], top, request.depth, conflated)
                    whole.append(symbol)
            while whole:
                yield followers[whole.pop(0)].whole(self.event_seq)
            for follower in followers.values():
                yield from follower.news()

        def heartbeat(event_seq):
            told = [follower for follower in followers.values() if follower.news_since_heartbeat]
            for follower in told:
                follower.news_since_heartbeat = False
            states = [follower.state() for follower in told]
            return pb.SubscribeOrderBooksResponse(heartbeat=pb.Heartbeat(event_seq=event_seq, books=states))

        async for message in self.follow(session, news, heartbeat, also_when_busy=True):
            yield message

    @rpc()
    def ListTrades(self, request, session):
        most = page(request)
        if request.symbol:
            self.book(request.symbol)
        trades = []
        for trade in self.tape[request.after_trade_id :]:
            if request.symbol in ("", trade.symbol):
                trades.append(trade)
                if len(trades) > most:
                    break
        return pb.ListTradesResponse(trades=trades[:most], has_more=len(trades) > most)

    @rpc()
    async def SubscribeTrades(self, request, session):
        symbols = {self.book(symbol).symbol for symbol in request.symbols}
        place = request.after_trade_id if request.HasField("after_trade_id") else len(self.tape)
        if place > len(self.tape):
            raise Refused("CANNOT_RESUME", "this trade_id lies in the future")
        yield pb.SubscribeTradesResponse(through_trade_id=place)

        def news():
            nonlocal place
            while place < len(self.tape):
                new, place = self.tape[place : place + PAGE_MAX], min(place + PAGE_MAX, len(self.tape))
                trades = [trade for trade in new if not symbols or trade.symbol in symbols]
                if trades:
                    yield pb.SubscribeTradesResponse(trades=trades, through_trade_id=place)

        def heartbeat(event_seq):
            return pb.SubscribeTradesResponse(through_trade_id=place)

        async for message in self.follow(session, news, heartbeat):
            yield message

    # -- Risk limits

    def judge(self, user, book, side, quantity, amount):
        """Refuses what a limit forbids: the user's first, then the instrument's, each in the order of its
        fields. Only what a command adds is judged."""
        added = {
            "message_rate_rolling_limit": 1,
            "max_outstanding_quantity": quantity,
            "max_outstanding_amount_e4": amount,
            "order_quantity_rolling_limit": quantity,
            "order_amount_rolling_limit": amount,
            "max_order_quantity": quantity,
            "max_position": quantity,
        }
        for symbol, limits in (("", user.limits), (book.symbol, user.book_limits.get(book.symbol))):
            for descriptor, value in sorted(limits.ListFields(), key=lambda item: item[0].number) if limits else ():
                name, attempted = descriptor.name, added[descriptor.name]
                rolling = name.endswith("_rolling_limit")
                limit = value.limit if rolling else value
                current = self.used(user, name, symbol, side)
                if attempted <= 0 or current + attempted <= limit:
                    continue
                told = {"limit_name": name, "limit": limit, "current": current, "attempted": attempted}
                if symbol:
                    told["symbol"] = symbol
                message = f"{name}: {current} + {attempted} is over {limit}"
                if rolling:
                    length = value.window_in_seconds * SECOND
                    retry = user.windows[name, symbol].retry_after(self.now, length, limit, attempted)
                    raise Refused("RATE_LIMIT", message, retry, **told)
                raise Refused("RISK_LIMIT", message, **told)

    def used(self, user, name, symbol, side=None):
        """What counts now for a limit; of one side for max_position, or of the larger."""
        if name.endswith("_rolling_limit"):
            limits = user.book_limits[symbol] if symbol else user.limits
            return user.windows[name, symbol].used(self.now, getattr(limits, name).window_in_seconds * SECOND)
        open_orders = [order for order in user.open.values() if symbol in ("", order.book.symbol)]
        if name == "max_outstanding_quantity":
            return sum(order.open for order in open_orders)
        if name == "max_outstanding_amount_e4":
            return sum(order.amount for order in open_orders)
        if name == "max_position":
            book = self.books[symbol]
            lots = user.positions.get(book, Position()).lots
            if_traded = {BUY: lots + self.open_lots(user, book, BUY), SELL: -lots + self.open_lots(user, book, SELL)}
            return max(if_traded.values()) if side is None else if_traded[side]
        return 0  # max_order_quantity: an order begins with nothing.

    def count(self, user, book=None, quantity=0, amount=0):
        """An accepted command counts in the windows that are there."""
        symbol = book.symbol if book else ""
        for key, more in (
            (("message_rate_rolling_limit", ""), 1),
            (("order_quantity_rolling_limit", symbol), quantity),
            (("order_amount_rolling_limit", symbol), amount),
        ):
            if key in user.windows:
                user.windows[key].add(self.now, more)

    def whose(self, request, session):
        """The user that is asked about: oneself as a trader, anybody as an administrator."""
        own = request.username in ("", session.user.name)
        self.want(session.user, TRADER if own and ADMIN not in session.user.roles else ADMIN)
        return session.user if own else self.user(request.username)

    def user(self, name):
        if name not in self.users:
            raise Refused("UNKNOWN_USER", f"no user {name!r}")
        return self.users[name]

    def check_limits(self, limits):
        for descriptor, value in limits.ListFields():
            limit = value.limit if descriptor.message_type else value
            check(limit >= 0, f"limits.{descriptor.name}", "at least 0")
            if descriptor.message_type:
                seconds = value.window_in_seconds
                name = f"limits.{descriptor.name}.window_in_seconds"
                check(1 <= seconds <= WINDOW_SECONDS_MAX, name, f"1 to {WINDOW_SECONDS_MAX}")

    def begin_windows(self, user, limits, symbol):
        """A window counts from the moment when a limit of its kind was first set."""
        for descriptor, _ in limits.ListFields():
            if descriptor.message_type:
                user.windows.setdefault((descriptor.name, symbol), Window())

    @rpc(ADMIN)
    def SetUserRiskLimits(self, request, session):
        self.check_limits(request.limits)
        user = self.user(request.username)
        self.tick()
        with self.event():
            user.limits = request.limits
            self.begin_windows(user, request.limits, "")
        return pb.SetUserRiskLimitsResponse(event_seq=self.event_seq)

    @rpc(ADMIN)
    def SetInstrumentRiskLimits(self, request, session):
        self.check_limits(request.limits)
        user = self.user(request.username)
        book = self.book(request.symbol)
        self.tick()
        with self.event():
            user.book_limits[book.symbol] = request.limits
            self.begin_windows(user, request.limits, book.symbol)
        return pb.SetInstrumentRiskLimitsResponse(event_seq=self.event_seq)

    @rpc()
    def GetUserRiskLimits(self, request, session):
        return pb.GetUserRiskLimitsResponse(limits=self.whose(request, session).limits)

    @rpc()
    def GetInstrumentRiskLimits(self, request, session):
        limits = self.whose(request, session).book_limits
        some = {symbol: limit for symbol, limit in limits.items() if limit.ListFields()}
        return pb.GetInstrumentRiskLimitsResponse(limits_by_symbol=some)

    @rpc()
    def GetRiskUsage(self, request, session):
        user = self.whose(request, session)
        self.tick()
        usages = []
        symbols = {"", *user.book_limits, *(order.book.symbol for order in user.open.values())}
        for symbol in sorted(symbols):
            limits = user.book_limits.get(symbol) if symbol else user.limits
            is_set = {descriptor.name: value for descriptor, value in limits.ListFields()} if limits else {}
            for name in sorted({*is_set, "max_outstanding_quantity", "max_outstanding_amount_e4"}):
                usage = pb.RiskUsage(limit_name=name, symbol=symbol)
                usage.current = int64(self.used(user, name, symbol))
                if name in is_set:
                    usage.limit = is_set[name].limit if name.endswith("_rolling_limit") else is_set[name]
                if name in is_set or usage.current:
                    usages.append(usage)
        return pb.GetRiskUsageResponse(usages=usages, event_seq=self.event_seq)

    # -- What belongs to the extensions

    async def left_out(self, request, context):
        await NotHere("an extension of the contract").abort(context)

    AmendOrder = OrderEntry = SetTradingPhase = SuspendUser = ResumeUser = left_out


# ---------------------------------------------------------------------------------------------------------
# The launch convention


async def main():
    try:
        listen, users = os.environ["OPTIVEX_LISTEN"], read_users(os.environ["OPTIVEX_USERS"])
    except KeyError as missing:
        sys.exit(f"not set, or missing in the users file: {missing}")
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        sys.exit(f"users file: {error}")
    # Two programs at one port would share its connections.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    exchange = Exchange(users)
    for service in SERVICES:
        getattr(pb, f"add_{service}Servicer_to_server")(exchange, server)
    serving = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(serving, server)
    names = [f"optivex.v1.{service}" for service in SERVICES]
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    server.add_insecure_port(listen)
    await server.start()
    await serving.set("", health_pb2.HealthCheckResponse.SERVING)
    print(f"serving {listen}; nothing is kept when this ends", flush=True)

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    await serving.enter_graceful_shutdown()
    await server.stop(grace=1)


if __name__ == "__main__":
    asyncio.run(main())
