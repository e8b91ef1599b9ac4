//! The baseline: the design of the fastest open order book that we know (an array of levels by tick, a
//! three-level bitmap of the taken ones, intrusive lists, pools, a chained hash table from the caller's
//! ids), written anew. How it compares with the original stands in the crate's `benches/README.md`.

const NIL: u32 = u32::MAX;

/// One outcome, 40 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Report {
    pub(crate) kind: u64,
    pub(crate) order: u64,
    pub(crate) other: u64,
    pub(crate) quantity: u64,
    pub(crate) price: i64,
}

pub(crate) const ACCEPTED: u64 = 1;
pub(crate) const TRADED: u64 = 2;
pub(crate) const CANCELLED: u64 = 3;
pub(crate) const REFUSED: u64 = 4;

#[derive(Clone, Copy)]
struct Order {
    prev: u32,
    next: u32,
    id: u64,
    quantity: u64,
    original: u64,
    price: i64,
    level: u32,
    sell: bool,
}

#[derive(Clone, Copy)]
struct Level {
    head: u32,
    tail: u32,
    count: u64,
    price: i64,
    quantity: u64,
}

/// Things that are taken and given back, last given back first.
struct Pool<T> {
    all: Vec<T>,
    free: Vec<u32>,
}

impl<T> Pool<T> {
    fn new(size: usize) -> Self {
        Self {
            all: Vec::with_capacity(size),
            free: Vec::with_capacity(size),
        }
    }

    fn take(&mut self, value: T) -> u32 {
        match self.free.pop() {
            Some(at) => {
                self.all[at as usize] = value;
                at
            }
            None => {
                self.all.push(value);
                (self.all.len() - 1) as u32
            }
        }
    }

    fn give(&mut self, at: u32) {
        self.free.push(at);
    }
}

struct Entry {
    id: u64,
    order: u32,
    next: u32,
}

/// Orders by id: Fibonacci hashing, chains from a pool.
struct Index {
    buckets: Vec<u32>,
    shift: u32,
    entries: Pool<Entry>,
}

impl Index {
    fn new(size: usize) -> Self {
        let buckets = (size + size / 2).next_power_of_two();
        Self {
            buckets: vec![NIL; buckets],
            shift: 64 - buckets.trailing_zeros(),
            entries: Pool::new(size),
        }
    }

    fn bucket(&self, id: u64) -> usize {
        (id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    fn contains(&self, id: u64) -> bool {
        let mut at = self.buckets[self.bucket(id)];
        while at != NIL {
            let entry = &self.entries.all[at as usize];
            if entry.id == id {
                return true;
            }
            at = entry.next;
        }
        false
    }

    fn insert(&mut self, id: u64, order: u32) {
        let bucket = self.bucket(id);
        let next = self.buckets[bucket];
        self.buckets[bucket] = self.entries.take(Entry { id, order, next });
    }

    fn remove(&mut self, id: u64) -> Option<u32> {
        let bucket = self.bucket(id);
        let (mut before, mut at) = (NIL, self.buckets[bucket]);
        while at != NIL {
            let Entry { id: found, order, next } = self.entries.all[at as usize];
            if found == id {
                match before {
                    NIL => self.buckets[bucket] = next,
                    _ => self.entries.all[before as usize].next = next,
                }
                self.entries.give(at);
                return Some(order);
            }
            (before, at) = (at, next);
        }
        None
    }
}

/// Levels of one side by tick.
struct Side {
    levels: Vec<u32>,
    /// From a bit a level to a bit 4,096 levels.
    taken: [Vec<u64>; 3],
    pool: Pool<Level>,
    volume: u64,
    orders: u64,
}

impl Side {
    fn new(ticks: usize) -> Self {
        let words = |bits: usize| vec![0; bits.div_ceil(64)];
        let leaves = words(ticks);
        let middle = words(leaves.len());
        let top = words(middle.len());
        Self {
            levels: vec![NIL; ticks],
            taken: [leaves, middle, top],
            pool: Pool::new(16_384),
            volume: 0,
            orders: 0,
        }
    }

    fn set(&mut self, mut at: usize) {
        for words in &mut self.taken {
            let word = &mut words[at / 64];
            let was_empty = *word == 0;
            *word |= 1 << (at % 64);
            if !was_empty {
                return;
            }
            at /= 64;
        }
    }

    fn clear(&mut self, mut at: usize) {
        for words in &mut self.taken {
            let word = &mut words[at / 64];
            *word &= !(1 << (at % 64));
            if *word != 0 {
                return;
            }
            at /= 64;
        }
    }

    fn best(&self, highest: bool) -> Option<u32> {
        let mut words = self.taken[2].iter().enumerate();
        let full = |(_, word): &(usize, &u64)| **word != 0;
        let (mut at, _) = if highest { words.rfind(full)? } else { words.find(full)? };
        for words in self.taken.iter().rev() {
            let word = words[at];
            let bit = if highest {
                63 - word.leading_zeros()
            } else {
                word.trailing_zeros()
            };
            at = at * 64 + bit as usize;
        }
        Some(self.levels[at])
    }

    fn find_or_create(&mut self, price: i64) -> u32 {
        let at = price as usize;
        if self.levels[at] == NIL {
            self.levels[at] = self.pool.take(Level {
                head: NIL,
                tail: NIL,
                count: 0,
                price,
                quantity: 0,
            });
            self.set(at);
        }
        self.levels[at]
    }

    fn append(&mut self, orders: &mut [Order], slot: u32) {
        let (price, quantity) = (orders[slot as usize].price, orders[slot as usize].quantity);
        let at = self.find_or_create(price);
        let level = &mut self.pool.all[at as usize];
        let tail = std::mem::replace(&mut level.tail, slot);
        level.count += 1;
        level.quantity += quantity;
        match tail {
            NIL => level.head = slot,
            _ => orders[tail as usize].next = slot,
        }
        let order = &mut orders[slot as usize];
        order.level = at;
        order.prev = tail;
        order.next = NIL;
        self.volume += quantity;
        self.orders += 1;
    }

    fn remove(&mut self, orders: &mut [Order], slot: u32) {
        let Order {
            prev,
            next,
            quantity,
            level: at,
            ..
        } = orders[slot as usize];
        let level = &mut self.pool.all[at as usize];
        level.quantity -= quantity;
        level.count -= 1;
        match prev {
            NIL => level.head = next,
            _ => orders[prev as usize].next = next,
        }
        match next {
            NIL => level.tail = prev,
            _ => orders[next as usize].prev = prev,
        }
        if level.count == 0 {
            let price = level.price as usize;
            self.clear(price);
            self.levels[price] = NIL;
            self.pool.give(at);
        }
        self.volume -= quantity;
        self.orders -= 1;
    }
}

/// The book.
pub(crate) struct ArrayBook {
    sides: [Side; 2],
    orders: Pool<Order>,
    index: Index,
}

impl ArrayBook {
    /// For prices from 0 to `ticks`.
    pub(crate) fn new(ticks: usize) -> Self {
        Self {
            sides: [Side::new(ticks), Side::new(ticks)],
            orders: Pool::new(1 << 17),
            index: Index::new(1 << 17),
        }
    }

    pub(crate) fn order_count(&self) -> usize {
        self.sides.iter().map(|side| side.orders as usize).sum()
    }

    pub(crate) fn insert(
        &mut self,
        id: u64,
        sell: bool,
        rests: bool,
        price: i64,
        quantity: u64,
        reports: &mut Vec<Report>,
    ) {
        let mut report = Report {
            kind: ACCEPTED,
            order: id,
            other: 0,
            quantity,
            price,
        };
        if quantity == 0 || self.index.contains(id) {
            report.kind = REFUSED;
            reports.push(report);
            return;
        }
        reports.push(report);
        let mut left = quantity;
        while left > 0 {
            let side = &mut self.sides[usize::from(!sell)];
            let Some(at) = side.best(sell) else { break };
            let level = &mut side.pool.all[at as usize];
            if (sell && level.price < price) || (!sell && level.price > price) {
                break;
            }
            let head = level.head;
            let resting = &mut self.orders.all[head as usize];
            let traded = left.min(resting.quantity);
            resting.quantity -= traded;
            level.quantity -= traded;
            side.volume -= traded;
            left -= traded;
            reports.push(Report {
                kind: TRADED,
                order: id,
                other: resting.id,
                quantity: traded,
                price: level.price,
            });
            if resting.quantity == 0 {
                let id = resting.id;
                self.index.remove(id);
                side.remove(&mut self.orders.all, head);
                self.orders.give(head);
            }
        }
        if left > 0 && rests {
            let slot = self.orders.take(Order {
                prev: NIL,
                next: NIL,
                id,
                quantity: left,
                original: quantity,
                price,
                level: NIL,
                sell,
            });
            self.sides[usize::from(sell)].append(&mut self.orders.all, slot);
            self.index.insert(id, slot);
        }
    }

    pub(crate) fn cancel(&mut self, id: u64, reports: &mut Vec<Report>) {
        let Some(slot) = self.index.remove(id) else {
            reports.push(Report {
                kind: REFUSED,
                order: id,
                other: 0,
                quantity: 0,
                price: 0,
            });
            return;
        };
        let Order {
            sell,
            quantity,
            original,
            price,
            ..
        } = self.orders.all[slot as usize];
        self.sides[usize::from(sell)].remove(&mut self.orders.all, slot);
        self.orders.give(slot);
        reports.push(Report {
            kind: CANCELLED,
            order: id,
            other: original,
            quantity,
            price,
        });
    }
}
