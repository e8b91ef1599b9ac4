//! Answers that come in pages or streams, as a whole.

use std::time::Duration;

use optivex_proto::v1::subscribe_execution_reports_response::Event;
use optivex_proto::v1::{self, SubscribeExecutionReportsRequest};
use tokio::time::{Instant, sleep};

use super::Session;
use crate::verdict::{Stop, Verdict};

/// Between two reads of something that is not there yet.
const PAUSE: Duration = Duration::from_millis(100);

impl Session {
    /// The whole tape of an instrument.
    pub async fn all_trades(&self, symbol: &str) -> Verdict<Vec<v1::Trade>> {
        let mut all: Vec<v1::Trade> = Vec::new();
        loop {
            let page = self
                .trades(v1::ListTradesRequest {
                    symbol: symbol.to_owned(),
                    after_trade_id: all.last().map_or(0, |trade| trade.trade_id),
                    page_size: 0,
                })
                .await?;
            page.shows("trade_id increasing", |page| {
                let last = all.last().map_or(0, |trade| trade.trade_id);
                let ids: Vec<u64> = page.trades.iter().map(|trade| trade.trade_id).collect();
                ids.first().is_none_or(|first| *first > last) && ids.windows(2).all(|pair| pair[0] < pair[1])
            })?;
            all.extend(page.trades.iter().cloned());
            if !page.has_more || page.trades.is_empty() {
                return Ok(all);
            }
        }
    }

    /// All execution reports of the user since the beginning: 1, 2, 3, … without gaps.
    pub async fn all_reports(&self) -> Verdict<Vec<v1::ExecutionReport>> {
        let mut stream = self.follow_reports(SubscribeExecutionReportsRequest {
            after_report_seq: Some(0),
            cancel_on_disconnect: false,
        });
        let mut last = None;
        let mut reports: Vec<v1::ExecutionReport> = Vec::new();
        while last.is_none_or(|last| reports.len() as u64 != last) {
            let message = stream.expecting("all reports since the beginning").await?;
            match &message.event {
                Some(Event::SubscribedReportSeq(seq)) => last = Some(*seq),
                Some(Event::Report(report)) => {
                    message.has("report_seq", |_| report.report_seq, reports.len() as u64 + 1)?;
                    reports.push(report.clone());
                }
                Some(Event::HeartbeatReportSeq(seq)) => {
                    message.shows("every report before a heartbeat that counts it", |_| {
                        *seq <= reports.len() as u64
                    })?;
                }
                None => return Err(message.fail("an empty message", "a report")),
            }
        }
        Ok(reports)
    }

    /// All execution reports, as soon as that of this event is among them.
    pub async fn reports_through(&self, event_seq: u64) -> Verdict<Vec<v1::ExecutionReport>> {
        let deadline = Instant::now() + self.patience;
        loop {
            let reports = self.all_reports().await?;
            if reports.last().is_some_and(|last| last.event_seq >= event_seq) {
                return Ok(reports);
            }
            if Instant::now() > deadline {
                let last = reports.last().map(|last| last.event_seq);
                return Err(Stop::failed(
                    format!("the last execution report is of event {last:?}"),
                    format!("the report of event {event_seq}, which was acknowledged"),
                ));
            }
            sleep(PAUSE).await;
        }
    }
}
