//! One episode: an engine, a model and a ledger that live through the same commands.

use std::collections::BTreeMap;

use optivex_engine::command::{Command, Input, OrderRef};
use optivex_engine::event::{BookChange, Event, Outcome, ReportKind};
use optivex_engine::refusal::LimitBreach;
use optivex_engine::types::{
    CancelReason, ClientOrderId, InstrumentId, Level, Order, OrderId, OrderStatus, SelfTradePrevention, Side,
    TradingPhase, UserId, Username,
};
use optivex_engine::{Applied, Engine, Refusal};

use super::decode::Decoder;
use super::describe;
use super::generate::{Gene, Profile};
use super::ledger::{Ledger, ensure};
use crate::reference::Model;

/// All queries are compared after every so many commands.
const WHOLE_COMPARISON_EVERY: usize = 61;
const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

/// How often each kind of result came.
#[derive(Default, Debug)]
pub(crate) struct Coverage(pub(crate) BTreeMap<String, u64>);

impl Coverage {
    pub(crate) fn add(&mut self, other: &Coverage) {
        for (name, count) in &other.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }

    fn count(&mut self, name: &str) {
        match self.0.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(name.to_owned(), 1);
            }
        }
    }
}

/// What came of an input.
type Told = (Result<Applied, Refusal>, Event);

pub(crate) struct Trial {
    profile: Profile,
    engine: Engine,
    model: Model,
    ledger: Ledger,
    event: Event,
    /// Accepted inputs: what a journal would hold.
    journal: Vec<Input>,
    /// Everything that was asked, and what came of it.
    story: Vec<(Input, Option<Told>)>,
    coverage: Coverage,
}

impl Trial {
    pub(crate) fn new(profile: Profile) -> Self {
        let ledger = Ledger::new(&profile.limits);
        Self {
            engine: Engine::new(profile.limits),
            model: Model::new(profile.limits),
            ledger,
            event: Event::default(),
            journal: Vec::new(),
            story: Vec::new(),
            coverage: Coverage::default(),
            profile,
        }
    }

    pub(crate) fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Users and instruments of the profile.
    pub(crate) fn open(&mut self) -> Result<(), String> {
        self.compare_all()?;
        let start = if self.profile.seed % 7 == 6 {
            -5_000_000_000
        } else {
            1_700_000_000_000_000_000
        };
        for user in 0..self.profile.users {
            let username = Username::from(&format!("user{user}")).map_err(|_| "a long name")?;
            let command = Command::RegisterUser { username };
            self.execute(
                Input {
                    time_unix_ns: start,
                    command,
                },
                false,
            )?;
        }
        for which in 0..self.profile.created {
            let command = self.decoder().create(&[0; 8], which);
            self.execute(
                Input {
                    time_unix_ns: start,
                    command,
                },
                false,
            )?;
        }
        self.compare_all()
    }

    fn decoder(&self) -> Decoder<'_> {
        Decoder {
            profile: &self.profile,
            ledger: &self.ledger,
        }
    }

    /// The command of one gene; now and then a restart from a snapshot before it.
    pub(crate) fn step(&mut self, gene: &Gene) -> Result<(), String> {
        if gene[7] % 512 == 511 {
            self.restore()?;
        }
        let decoder = self.decoder();
        let input = Input {
            time_unix_ns: decoder.time(gene),
            command: decoder.command(gene),
        };
        self.execute(input, gene[7] % 32 == 31)?;
        if self.story.len().is_multiple_of(WHOLE_COMPARISON_EVERY) {
            self.compare_all()?;
        }
        Ok(())
    }

    /// All queries once more, and a replay of the accepted inputs into a new engine.
    pub(crate) fn close(&mut self) -> Result<(), String> {
        self.compare_all()?;
        self.restore()?;
        self.compare_all()?;
        let mut replayed = Engine::new(self.profile.limits);
        let mut event = Event::default();
        for (at, input) in self.journal.iter().enumerate() {
            let result = replayed.apply(input, &mut event);
            ensure!(result == Ok(Applied::Event), "replay: input {} was {result:?}", at + 1);
        }
        ensure!(
            replayed.digest() == self.engine.digest(),
            "the digest after replay differs"
        );
        ensure!(
            replayed.snapshot() == self.engine.snapshot(),
            "the snapshot after replay differs"
        );
        Ok(())
    }

    /// Goes on with an engine restored from a snapshot.
    fn restore(&mut self) -> Result<(), String> {
        let snapshot = self.engine.snapshot();
        let restored = match Engine::restore(&snapshot) {
            Ok(restored) => restored,
            Err(error) => return Err(format!("restore: {error}")),
        };
        ensure!(
            restored.digest() == self.engine.digest(),
            "the digest after restore differs"
        );
        ensure!(restored.snapshot() == snapshot, "the snapshot after restore differs");
        ensure!(
            restored.limits() == self.engine.limits(),
            "the limits after restore differ"
        );
        self.engine = restored;
        self.coverage.count("restored");
        Ok(())
    }

    fn execute(&mut self, input: Input, check_digest: bool) -> Result<(), String> {
        let digest = check_digest.then(|| self.engine.digest());
        self.story.push((input.clone(), None));
        let result = self.engine.apply(&input, &mut self.event);
        if let Some((_, told)) = self.story.last_mut() {
            *told = Some((result.clone(), self.event.clone()));
        }
        self.cover(&result);
        if input.time_unix_ns < self.ledger.time {
            self.coverage.count("time: backwards");
        }
        if input.time_unix_ns > i64::MAX - 1_000_000_000 {
            self.coverage.count("time: at its end");
        }
        if result != Ok(Applied::Event) {
            ensure!(self.event == Event::default(), "an event is left without an event");
            ensure!(
                self.engine.event_seq() == self.ledger.event_seq,
                "a refused command counted"
            );
            if let Some(digest) = digest {
                ensure!(self.engine.digest() == digest, "a refused command changed the state");
            }
        }
        if check_digest && let Err(Refusal::RateLimit { breach, retry_after_ns }) = &result {
            self.check_retry_after(&input, breach, *retry_after_ns)?;
        }
        if self.profile.coarse_windows
            && let Err(Refusal::RateLimit { breach, .. }) = &result
        {
            self.coverage.count("refused: by a window that keeps few moments");
            return self.compare_coarse_refusal(&input, breach);
        }
        let new_order = match &self.event.outcome {
            Outcome::Inserted(order) => order.order_id,
            _ => OrderId(u64::MAX),
        };
        let expected = self.model.apply(&input, new_order);
        let (told, expected) = match expected {
            Ok((applied, event)) => (Ok(applied), event),
            Err(refusal) => (Err(refusal), Event::default()),
        };
        let agree = match (&told, &result) {
            // What is wrong with a field is said in words for people.
            (Err(Refusal::InvalidField(mine)), Err(Refusal::InvalidField(theirs))) => mine.field == theirs.field,
            _ => told == result,
        };
        ensure!(agree, "result\n  model:  {told:?}\n  engine: {result:?}");
        compare_events(&expected, &self.event)?;
        if result != Ok(Applied::Event) {
            return Ok(());
        }
        self.ledger.take(&input.command, &self.event)?;
        self.journal.push(input);
        for change in 0..self.event.books.len() {
            self.compare_book(self.event.books[change].instrument)?;
        }
        self.check_capacity()
    }

    /// The command passes this limit after the time told if nothing else happens, and not before; one
    /// that never would is told the whole window.
    fn check_retry_after(&self, input: &Input, breach: &LimitBreach, retry_after: i64) -> Result<(), String> {
        ensure!(retry_after > 0, "retry after {retry_after}");
        if breach.attempted > i128::from(breach.limit) {
            return Ok(());
        }
        let now = input.time_unix_ns.max(self.ledger.time);
        let Some(then) = now.checked_add(retry_after) else {
            return Ok(());
        };
        let snapshot = self.engine.snapshot();
        for (time_unix_ns, passes) in [(then, true), (then - 1, false)] {
            let mut engine = Engine::restore(&snapshot).map_err(|error| error.to_string())?;
            let command = input.command.clone();
            let later = engine.apply(&Input { time_unix_ns, command }, &mut Event::default());
            let same = matches!(&later, Err(Refusal::RateLimit { breach: again, .. })
                if (again.limit_name, again.instrument) == (breach.limit_name, breach.instrument));
            ensure!(
                same != passes,
                "after {} of {retry_after} ns: {later:?}",
                time_unix_ns - now
            );
        }
        Ok(())
    }

    /// Windows that keep few moments may count too long, never too short.
    fn compare_coarse_refusal(&self, input: &Input, breach: &LimitBreach) -> Result<(), String> {
        let user = match &input.command {
            Command::InsertOrder(insert) => insert.user,
            Command::AmendOrder(amend) => amend.user,
            other => return Err(format!("{other:?} was refused for its rate")),
        };
        let usages = self.model.risk_usage(user, input.time_unix_ns.max(self.ledger.time));
        let mine = usages
            .iter()
            .find(|usage| (usage.limit_name, usage.instrument) == (breach.limit_name, breach.instrument));
        let Some(mine) = mine else {
            return Err(format!("no such limit: {breach:?}"));
        };
        ensure!(
            mine.limit == Some(breach.limit),
            "the limit is {:?}: {breach:?}",
            mine.limit
        );
        ensure!(
            breach.current >= i128::from(mine.current),
            "{} counts already: {breach:?}",
            mine.current
        );
        ensure!(
            breach.attempted > 0 && breach.current + breach.attempted > i128::from(breach.limit),
            "nothing is exceeded: {breach:?}"
        );
        Ok(())
    }

    /// One book: levels and orders in engine, model, mirror and ledger.
    fn compare_book(&self, instrument: InstrumentId) -> Result<(), String> {
        for side in SIDES {
            let levels: Vec<Level> = self.engine.levels(instrument, side).collect();
            same("levels", &self.model.levels(instrument, side), &levels)?;
            let mirror = &self.ledger.mirrors[instrument.0 as usize];
            same("levels as followed by changes", &mirror.levels(side), &levels)?;
            let orders: Vec<Order> = self.engine.resting_orders(instrument, side).collect();
            let expected = self.model.resting_orders(instrument, side);
            same("number of resting orders", &expected.len(), &orders.len())?;
            for (mine, theirs) in expected.iter().zip(&orders) {
                same("resting order", mine, theirs)?;
            }
            let mut totals: Vec<Level> = Vec::new();
            for order in &orders {
                ensure!(
                    self.ledger.open.get(&order.order_id) == Some(order),
                    "reports say otherwise of {order:?}"
                );
                ensure!(order.open_quantity() > 0, "nothing of it rests: {order:?}");
                match totals.last_mut() {
                    Some(level) if level.price_e4 == order.price_e4 => {
                        level.quantity += order.open_quantity();
                        level.order_count += 1;
                    }
                    _ => totals.push(Level {
                        price_e4: order.price_e4,
                        quantity: order.open_quantity(),
                        order_count: 1,
                    }),
                }
            }
            same("levels as sums of orders", &totals, &levels)?;
        }
        let indicative = self.engine.indicative(instrument);
        same("indicative", &self.model.indicative(instrument), &indicative)?;
        self.ledger.crossing(instrument, indicative.is_some())
    }

    fn check_capacity(&self) -> Result<(), String> {
        let limits = &self.profile.limits;
        let open = self.ledger.open.len();
        ensure!(open <= limits.open_orders_max as usize, "{open} open orders");
        for change in &self.event.books {
            for side in SIDES {
                let levels = self.engine.levels(change.instrument, side).count();
                ensure!(levels <= limits.price_levels_per_side_max as usize, "{levels} levels");
            }
        }
        if let Some(order) = self.event.reports.last().map(|report| report.order) {
            let own = self.ledger.open.values().filter(|open| open.user == order.user).count();
            ensure!(
                own <= limits.open_orders_per_user_max as usize,
                "{own} open orders of a user"
            );
        }
        Ok(())
    }

    /// Every query.
    fn compare_all(&self) -> Result<(), String> {
        let (engine, model) = (&self.engine, &self.model);
        same("event_seq", &model.event_seq(), &engine.event_seq())?;
        same("time", &model.time_unix_ns(), &engine.time_unix_ns())?;
        same("last_order_id", &model.last_order_id(), &engine.last_order_id())?;
        same("last_trade_id", &model.last_trade_id(), &engine.last_trade_id())?;
        same("usernames", &model.usernames(), &engine.usernames().collect())?;
        same("instruments", &model.instruments(), &engine.instruments().collect())?;
        let known = self.ledger.instruments.len() as u32;
        for instrument in (0..known).map(InstrumentId) {
            self.compare_book(instrument)?;
        }
        for instrument in (0..=known).chain([u32::MAX]).map(InstrumentId) {
            let of_model = model.find_book(instrument).map(|book| &book.instrument);
            same("instrument", &of_model, &engine.instrument(instrument))?;
            let phase: Option<TradingPhase> = of_model.map(|instrument| instrument.phase);
            same("phase", &phase, &engine.phase(instrument))?;
            same("book_seq", &model.book_seq(instrument), &engine.book_seq(instrument))?;
            let last = model.last_trade_price_e4(instrument);
            same("last trade", &last, &engine.last_trade_price_e4(instrument))?;
            same(
                "indicative",
                &model.indicative(instrument),
                &engine.indicative(instrument),
            )?;
            for side in SIDES {
                let levels = engine.levels(instrument, side).count();
                same("number of levels", &model.levels(instrument, side).len(), &levels)?;
                let orders = engine.resting_orders(instrument, side).count();
                same(
                    "number of orders",
                    &model.resting_orders(instrument, side).len(),
                    &orders,
                )?;
            }
        }
        let users = model.usernames().len() as u32;
        let mut sums = vec![0; known as usize];
        for user in (0..=users).chain([u32::MAX]).map(UserId) {
            self.compare_user(user, &mut sums)?;
        }
        ensure!(
            sums.iter().all(|sum| *sum == 0),
            "positions do not sum to zero: {sums:?}"
        );
        Ok(())
    }

    fn compare_user(&self, user: UserId, sums: &mut [i64]) -> Result<(), String> {
        let (engine, model) = (&self.engine, &self.model);
        same("report_seq", &model.report_seq(user), &engine.report_seq(user))?;
        same("suspension", &model.suspension(user), &engine.suspension(user))?;
        same(
            "user limits",
            &model.user_risk_limits(user),
            &engine.user_risk_limits(user),
        )?;
        let limits = model.instrument_risk_limits(user);
        same("instrument limits", &limits, &engine.instrument_risk_limits(user))?;

        let positions = engine.positions(user);
        same("positions", &model.positions(user), &positions)?;
        for position in &positions {
            sums[position.instrument.0 as usize] += position.quantity;
            let traded = self.ledger.holdings.get(&(user, position.instrument));
            let (quantity, cash) = traded.copied().unwrap_or_default();
            let cash = cash.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
            ensure!(
                (quantity, cash) == (position.quantity, i128::from(position.cash_e4)),
                "the trades sum to {quantity} and {cash}: {position:?}"
            );
        }

        let now = self.ledger.time;
        for now in [now, now.saturating_add(700_000_000), now.saturating_add(2_000_000_000)] {
            let usages = engine.risk_usage(user, now);
            let mut expected = model.risk_usage(user, now);
            if self.profile.coarse_windows && expected.len() == usages.len() {
                for (mine, theirs) in expected.iter_mut().zip(&usages) {
                    if mine.limit_name.ends_with("rolling_limit") && theirs.current >= mine.current {
                        mine.current = theirs.current;
                    }
                }
            }
            same("risk usage", &expected, &usages)?;
            for usage in usages {
                let (lots, amount) = self.ledger.outstanding(user, usage.instrument);
                let sum = match usage.limit_name {
                    "max_outstanding_quantity" => lots,
                    "max_outstanding_amount_e4" => amount,
                    _ => continue,
                };
                ensure!(
                    i128::from(usage.current) == sum.min(i128::from(i64::MAX)),
                    "the open orders sum to {sum}: {usage:?}"
                );
            }
        }

        let known = self.ledger.instruments.len() as u32;
        let places = (0..=known).map(|id| Some(InstrumentId(id))).chain([None]);
        for place in places {
            let half = model.open_orders(user, place, OrderId(0));
            let half = half.get(half.len() / 2).map_or(OrderId(0), |order| order.order_id);
            for after in [OrderId(0), half, OrderId(u64::MAX)] {
                let orders: Vec<Order> = engine.open_orders(user, place, after).collect();
                same("open orders", &model.open_orders(user, place, after), &orders)?;
            }
        }
        let names = (0..20).map(|id| format!("c{id}"));
        let names = names.map(|id| ClientOrderId::from(&id).unwrap_or_default());
        let names = names.chain([ClientOrderId::new()]).map(OrderRef::Client);
        let some = self.ledger.open.keys().take(10).chain(&self.ledger.recent_done);
        let nonsense = [OrderId(0), OrderId(u64::MAX), OrderId(0xFF_FFFF), OrderId(1 << 24)];
        let ids = some.copied().chain(nonsense).map(OrderRef::Id);
        for order in names.chain(ids) {
            same(
                "order",
                &(order, model.order(user, order)),
                &(order, engine.order(user, order)),
            )?;
        }
        Ok(())
    }

    /// What happened, one command a line.
    pub(crate) fn story(&self) -> String {
        let mut text = String::new();
        for (at, (input, told)) in self.story.iter().enumerate() {
            let told = told.as_ref().map(|(result, event)| describe::result(result, event));
            text += &format!(
                "{:4}. {}\n        → {}\n",
                at + 1,
                describe::input(input),
                told.as_deref().unwrap_or("did not return")
            );
        }
        text
    }

    fn cover(&mut self, result: &Result<Applied, Refusal>) {
        let coverage = &mut self.coverage;
        let event = &self.event;
        match result {
            Err(Refusal::RateLimit { breach, .. } | Refusal::RiskLimit(breach)) => {
                let whose = if breach.instrument.is_some() {
                    "instrument"
                } else {
                    "user"
                };
                coverage.count(&format!("refused: {whose}'s {}", breach.limit_name));
            }
            Err(Refusal::Capacity { limit_name, .. }) => coverage.count(&format!("refused: {limit_name}")),
            Err(refusal) => {
                let name = format!("{refusal:?}");
                let name = name.split([' ', '(', '{']).next().unwrap_or_default();
                coverage.count(&format!("refused: {name}"));
            }
            Ok(Applied::OrderRepeated { .. }) => coverage.count("order repeated"),
            Ok(Applied::InstrumentRepeated { .. }) => coverage.count("instrument repeated"),
            Ok(Applied::Event) => match &event.outcome {
                Outcome::Inserted(order) | Outcome::Amended(order) => {
                    let what = if matches!(event.outcome, Outcome::Inserted(_)) {
                        "insert"
                    } else {
                        "amend"
                    };
                    let filled = if order.filled_quantity > 0 {
                        "with fills"
                    } else {
                        "without fills"
                    };
                    coverage.count(&format!("{what}: {:?} {filled}", order.status));
                    for report in &event.reports {
                        let stopped = report.order.status == OrderStatus::Cancelled(CancelReason::SelfTrade);
                        if report.kind == ReportKind::Cancelled && stopped && report.order.order_id != order.order_id {
                            let both = order.status == report.order.status;
                            let stp = if both {
                                SelfTradePrevention::CancelBoth
                            } else {
                                SelfTradePrevention::CancelResting
                            };
                            coverage.count(&format!("{what}: {stp:?}"));
                        }
                    }
                }
                Outcome::PhaseSet(_, phase) => {
                    let what = if event.books.is_empty() { "again" } else { "new" };
                    coverage.count(&format!("phase {phase:?} {what}"));
                    if !event.trades.is_empty() {
                        coverage.count("uncross");
                    }
                }
                outcome => {
                    let name = format!("{outcome:?}");
                    let name = name.split([' ', '(', '{']).next().unwrap_or_default();
                    coverage.count(&format!("event: {name}"));
                }
            },
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    ensure!(
        expected == found,
        "{what}\n  expected: {expected:?}\n  engine:   {found:?}"
    );
    Ok(())
}

/// Two events, wherever their levels lie in their lists.
fn compare_events(model: &Event, engine: &Event) -> Result<(), String> {
    same("event_seq", &model.event_seq, &engine.event_seq)?;
    same("time", &model.time_unix_ns, &engine.time_unix_ns)?;
    same("outcome", &model.outcome, &engine.outcome)?;
    same("trades", &model.trades, &engine.trades)?;
    same("number of reports", &model.reports.len(), &engine.reports.len())?;
    for (mine, theirs) in model.reports.iter().zip(&engine.reports) {
        same("report", mine, theirs)?;
    }
    same("number of changed books", &model.books.len(), &engine.books.len())?;
    for (mine, theirs) in model.books.iter().zip(&engine.books) {
        let head = |change: &BookChange| (change.instrument, change.book_seq, change.phase, change.indicative);
        same("changed book", &head(mine), &head(theirs))?;
        for side in SIDES {
            let expected = model.changed_levels(mine, side);
            same("changed levels", &expected, &engine.changed_levels(theirs, side))?;
        }
    }
    Ok(())
}
