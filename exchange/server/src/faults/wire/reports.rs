//! Wrong execution reports: to whom, which, and from where on. What they say is changed in the event.

use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, Mutex, PoisonError};

use optivex_engine::Event as Done;
use optivex_proto::v1 as pb;
use optivex_proto::v1::subscribe_execution_reports_response::Event;

use super::books::symbol_of;
use super::{Call, Lens, access};

/// Faults of requests.
pub(super) fn request(call: &Call) -> Option<Lens> {
    match call.rpc.as_str() {
        "SubscribeExecutionReports" if fault!(ReportsRepeatOne) => {
            Some(Lens::each(|request: &mut pb::SubscribeExecutionReportsRequest| {
                request.after_report_seq = request.after_report_seq.map(|after| after.saturating_sub(1));
            }))
        }
        "SubscribeExecutionReports" if fault!(ReportsWaitForTheFuture) => {
            Some(Lens::each(|request: &mut pb::SubscribeExecutionReportsRequest| {
                // No test comes so far.
                request.after_report_seq = request.after_report_seq.filter(|after| *after < 1_000_000);
            }))
        }
        "InsertOrder" if fault!(RetriesReported) => Some(Lens::each(|request: &mut pb::InsertOrderRequest| {
            RETRIES
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .see(&request.client_order_id);
        })),
        _ => None,
    }
}

/// Faults of answers.
pub(super) fn response(call: &Call) -> Option<Lens> {
    match call.rpc.as_str() {
        "SubscribeExecutionReports" => stream(call),
        _ => None,
    }
}

fn stream(call: &Call) -> Option<Lens> {
    if fault!(RestingSideNotTold) {
        return Some(reports(|report| report.fill.is_none() || report.aggressor));
    }
    if fault!(CancelAllReportsOne) {
        let mut last = 0;
        return Some(reports(move |report| {
            let is_again = report.kind() == pb::ExecutionKind::Cancelled && report.event_seq == last;
            last = report.event_seq;
            !is_again
        }));
    }
    if fault!(ReportsTellOrdersAsTheyStand) {
        let is_past = call
            .asked::<pb::SubscribeExecutionReportsRequest>()
            .after_report_seq
            .is_some();
        return Some(reports(move |report| {
            static NEWEST: LazyLock<Mutex<HashMap<u64, pb::Order>>> = LazyLock::new(Mutex::default);
            let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(order) = &mut report.order {
                let known = newest.entry(order.order_id).or_insert_with(|| order.clone());
                if is_past {
                    *order = known.clone();
                } else {
                    *known = order.clone();
                }
            }
            true
        }));
    }
    if fault!(OtherSideTold) {
        return Some(more(|report, more| {
            more.push(report.clone());
            let Some(fill) = report.fill.filter(|_| !report.aggressor) else {
                return;
            };
            let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
            let other = told
                .iter()
                .rfind(|told| told.aggressor && told.fill.is_some_and(|told| told.trade_id == fill.trade_id));
            more.extend(other.cloned());
        }));
    }
    if fault!(EverybodysReports) {
        let mut next = TOLD.lock().unwrap_or_else(PoisonError::into_inner).len();
        return Some(more(move |report, more| {
            let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
            let id = |report: &pb::ExecutionReport| {
                let order = report.order.as_ref().map(|order| order.order_id);
                (report.report_seq, order)
            };
            // A report of the past is nowhere here.
            if let Some(at) = (next..told.len()).find(|at| id(&told[*at]) == id(report)) {
                more.extend_from_slice(&told[next..at]);
                next = at + 1;
            }
            more.push(report.clone());
        }));
    }
    if fault!(ReportSeqOfAll) {
        return Some(reports(|report| {
            let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
            let order_id = |report: &pb::ExecutionReport| report.order.as_ref().map(|order| order.order_id);
            let same =
                |told: &pb::ExecutionReport| told.report_seq == report.report_seq && order_id(told) == order_id(report);
            if let Some(at) = told.iter().position(same) {
                report.report_seq = at as u64 + 1;
            }
            true
        }));
    }
    if fault!(NewestStreamOnly) {
        return Some(newest_only(call));
    }
    if fault!(RetriesReported) {
        return Some(retries());
    }
    if fault!(HeartbeatOfTheStart) {
        let mut start = 0;
        return Some(Lens::each(
            move |message: &mut pb::SubscribeExecutionReportsResponse| match &mut message.event {
                Some(Event::SubscribedReportSeq(seq)) => start = *seq,
                Some(Event::HeartbeatReportSeq(seq)) => *seq = start,
                _ => {}
            },
        ));
    }
    None
}

/// Changes each report; false drops it, and those after it are numbered on.
fn reports(mut change: impl FnMut(&mut pb::ExecutionReport) -> bool + Send + 'static) -> Lens {
    let mut dropped = 0;
    Lens::flat(move |mut message: pb::SubscribeExecutionReportsResponse, out| {
        match &mut message.event {
            Some(Event::Report(report)) => {
                if !change(report) {
                    dropped += 1;
                    return;
                }
                report.report_seq -= dropped;
            }
            Some(Event::HeartbeatReportSeq(seq)) => *seq -= dropped,
            _ => {}
        }
        out.push(message);
    })
}

/// Adds reports, and numbers them on.
fn more(mut change: impl FnMut(&pb::ExecutionReport, &mut Vec<pb::ExecutionReport>) + Send + 'static) -> Lens {
    let mut added = 0;
    Lens::flat(move |mut message: pb::SubscribeExecutionReportsResponse, out| {
        match &mut message.event {
            Some(Event::Report(report)) => {
                let mut reports = Vec::new();
                change(report, &mut reports);
                let first = report.report_seq + added;
                added += reports.len() as u64 - 1;
                out.extend((first..).zip(reports).map(|(report_seq, report)| {
                    let report = pb::ExecutionReport { report_seq, ..report };
                    pb::SubscribeExecutionReportsResponse {
                        event: Some(Event::Report(report)),
                    }
                }));
                return;
            }
            Some(Event::HeartbeatReportSeq(seq)) => *seq += added,
            _ => {}
        }
        out.push(message);
    })
}

/// All reports of this process, as far as these faults need them.
static TOLD: Mutex<Vec<pb::ExecutionReport>> = Mutex::new(Vec::new());

/// Learns of reports before anybody is told.
pub(super) fn learn(event: &Done) {
    if !(fault!(OtherSideTold) || fault!(EverybodysReports) || fault!(ReportSeqOfAll)) {
        return;
    }
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    for report in &event.reports {
        if let Some(symbol) = symbol_of(report.order.instrument) {
            told.push(optivex_engine::wire::execution_report(event, report, &symbol));
        }
    }
}

/// The newest stream of each user.
static STREAMS: LazyLock<Mutex<HashMap<String, u64>>> = LazyLock::new(Mutex::default);

/// A stream takes the place of the one before it of the same user.
fn newest_only(call: &Call) -> Lens {
    let user = access::user_of(call.token.as_ref()).unwrap_or_default();
    let number = {
        let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = streams.entry(user.clone()).or_default();
        *newest += 1;
        *newest
    };
    Lens::flat(move |message: pb::SubscribeExecutionReportsResponse, out| {
        let streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
        let is_newest = streams.get(&user) == Some(&number);
        if is_newest || matches!(message.event, Some(Event::SubscribedReportSeq(_))) {
            out.push(message);
        }
    })
}

#[derive(Default)]
struct Retries {
    seen: HashSet<String>,
    again: Vec<String>,
}

impl Retries {
    fn see(&mut self, client_order_id: &str) {
        if !client_order_id.is_empty() && !self.seen.insert(client_order_id.to_owned()) {
            self.again.push(client_order_id.to_owned());
        }
    }
}

static RETRIES: LazyLock<Mutex<Retries>> = LazyLock::new(Mutex::default);

/// Tells the acceptance again.
fn retries() -> Lens {
    let mut told = RETRIES.lock().unwrap_or_else(PoisonError::into_inner).again.len();
    let (mut accepted, mut added) = (HashMap::<String, pb::ExecutionReport>::new(), 0);
    Lens::flat(move |mut message: pb::SubscribeExecutionReportsResponse, out| {
        let retries = RETRIES.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut message.event {
            Some(Event::Report(report)) => {
                for id in &retries.again[told..] {
                    if let Some(first) = accepted.get(id) {
                        let again = pb::ExecutionReport {
                            report_seq: report.report_seq + added,
                            ..first.clone()
                        };
                        added += 1;
                        out.push(pb::SubscribeExecutionReportsResponse {
                            event: Some(Event::Report(again)),
                        });
                    }
                }
                told = retries.again.len();
                report.report_seq += added;
                if let Some(order) = report.order.as_ref().filter(|order| !order.client_order_id.is_empty())
                    && report.kind() == pb::ExecutionKind::Accepted
                {
                    accepted.insert(order.client_order_id.clone(), report.clone());
                }
            }
            Some(Event::HeartbeatReportSeq(seq)) => *seq += added,
            _ => {}
        }
        out.push(message);
    })
}
