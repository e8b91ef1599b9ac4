//! What is reported of orders, changed in the event: history tells the same.

use optivex_engine::Event;
use optivex_engine::event::ReportKind;
use optivex_engine::types::{OrderStatus, Side};

pub(super) fn change(event: &mut Event) {
    if fault!(FillBeforeAcceptance)
        && let Some(first) = event.reports.first().copied()
        && first.kind == ReportKind::Accepted
        && let Some(fill) = event.reports[1..]
            .iter_mut()
            .find(|report| report.order.order_id == first.order.order_id)
    {
        let (kind, order) = (fill.kind, fill.order);
        (fill.kind, fill.order) = (first.kind, first.order);
        (event.reports[0].kind, event.reports[0].order) = (kind, order);
    }
    if fault!(AcceptedAsMatched)
        && let Some(first) = event.reports.first().copied()
        && first.kind == ReportKind::Accepted
        && let Some(last) = event
            .reports
            .iter()
            .rfind(|report| report.order.order_id == first.order.order_id)
            .copied()
    {
        event.reports[0].order = last.order;
    }
    for report in &mut event.reports {
        match &mut report.kind {
            ReportKind::Fill {
                aggressor, quantity, ..
            } => {
                if fault!(BuyerIsAggressor) {
                    *aggressor = report.order.side == Side::Buy;
                }
                if fault!(FilledByThisFill) {
                    report.order.filled_quantity = *quantity;
                }
                if fault!(FilledStaysOpen) {
                    report.order.status = OrderStatus::Open;
                }
            }
            ReportKind::Cancelled if fault!(CancelForgetsFills) => report.order.filled_quantity = 0,
            _ => {}
        }
    }
}
