//! The form of a subscription of books.

use std::collections::{HashMap, HashSet};

use optivex_engine::command::parse_symbol;
use optivex_engine::types::Symbol;
use optivex_proto::v1::{BookView, Delivery, SubscribeOrderBooksRequest};

use super::channel::View;
use crate::error::Error;

/// Entries of one list of symbols.
pub(crate) const SYMBOLS_MAX: usize = 20_000;

/// Which instruments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Symbols {
    /// All, those to come included.
    All,
    /// These, in the order asked for.
    These(Vec<Symbol>),
}

impl Symbols {
    /// Field `symbols` of a request; empty for all.
    pub(crate) fn parse(symbols: &[String]) -> Result<Self, Error> {
        if symbols.is_empty() {
            return Ok(Self::All);
        }
        if symbols.len() > SYMBOLS_MAX {
            return Err(Error::invalid_field("symbols", "at most 20,000"));
        }
        let symbols = symbols.iter().map(|symbol| parse_symbol("symbols", symbol));
        Ok(Self::These(symbols.collect::<Result<_, _>>()?))
    }
}

/// A well-formed `SubscribeOrderBooksRequest`.
#[derive(Clone, Debug)]
pub(super) struct BooksRequest {
    pub(super) symbols: Symbols,
    pub(super) view: View,
    pub(super) conflated: bool,
    pub(super) resume_after: HashMap<Symbol, u64>,
}

impl BooksRequest {
    pub(super) fn parse(request: &SubscribeOrderBooksRequest) -> Result<Self, Error> {
        let symbols = Symbols::parse(&request.symbols)?;
        let depth = depth(request.depth)?;
        let view = match BookView::try_from(request.view) {
            Ok(BookView::TopOfBook) => View::Top,
            Ok(BookView::PriceDepth) => depth.map_or(View::Full, View::Depth),
            Ok(BookView::Unspecified) => return Err(Error::invalid_field("view", "must be set")),
            Err(_) => return Err(Error::invalid_field("view", "no such value")),
        };
        let conflated = match Delivery::try_from(request.delivery) {
            Ok(Delivery::Unspecified | Delivery::Lossless) => false,
            Ok(Delivery::Conflated) => true,
            Err(_) => return Err(Error::invalid_field("delivery", "no such value")),
        };
        let wrong_cursor = |why| Err(Error::invalid_field("resume_after", why));
        if !request.resume_after.is_empty() && (conflated || view != View::Full) {
            return wrong_cursor("lossless full PRICE_DEPTH only");
        }
        if request.resume_after.len() > SYMBOLS_MAX {
            return wrong_cursor("at most 20,000");
        }
        let asked: HashSet<Symbol> = match &symbols {
            Symbols::All => HashSet::new(),
            Symbols::These(symbols) => symbols.iter().copied().collect(),
        };
        let mut resume_after = HashMap::with_capacity(request.resume_after.len());
        for cursor in &request.resume_after {
            let symbol = parse_symbol("resume_after", &cursor.symbol)?;
            if symbols != Symbols::All && !asked.contains(&symbol) {
                return wrong_cursor("a symbol that is not among the symbols");
            }
            if resume_after.insert(symbol, cursor.book_seq).is_some() {
                return wrong_cursor("a symbol stands there twice");
            }
        }
        Ok(Self {
            symbols,
            view,
            conflated,
            resume_after,
        })
    }
}

/// Field `depth` of a request; `None` for all levels.
pub(super) fn depth(depth: i32) -> Result<Option<usize>, Error> {
    match usize::try_from(depth) {
        Ok(0) => Ok(None),
        Ok(depth) => Ok(Some(depth)),
        Err(_) => Err(Error::invalid_field("depth", "at least 0")),
    }
}
