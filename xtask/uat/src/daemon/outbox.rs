//! Sends results home: to `optivex-receive` on the dev machines, over SSH, by a key that can do only that. Nobody waits
//! for it; what does not arrive is sent again, later and later, until it does. Several participants are sent to at a
//! time, each on one line, so that a machine that is gone costs nobody else anything.

mod lines;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use optivex_bundle::delivery;
use optivex_bundle::digest::SubmissionId;
use optivex_bundle::durable;
use optivex_bundle::names::Name;
use optivex_bundle::spool::{Receipt, State};
use optivex_bundle::wire::Answer;

use self::lines::Lines;
use super::config::Participant;
use super::context::Context;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// One sending takes at most this long.
const SENDING: Duration = Duration::from_secs(300);
/// Bytes of what ssh says.
const WORDS_MAX: u64 = 64 << 10;

/// What wakes the sender.
enum Wake {
    /// End; with `true` everything is tried once more before.
    Stop(bool),
    /// A participant's line is free again; false if something did not arrive.
    Ended(Name, bool),
}

/// The thread that sends.
pub(crate) struct Sending {
    wake: Sender<Wake>,
    thread: JoinHandle<()>,
}

impl Sending {
    /// Ends it. With `last` everything is tried once more.
    pub(crate) fn stop(self, last: bool) {
        let _ = self.wake.send(Wake::Stop(last));
        let _ = self.thread.join();
    }
}

/// The ssh of a line, while there is one.
#[derive(Clone, Debug, Default)]
struct Current(Arc<Mutex<(Option<Child>, bool)>>);

impl Current {
    fn set(&self, mut child: Child) -> Result<()> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1 {
            let _ = child.kill();
            let _ = child.wait();
            bail!("UAT's daemon ends");
        }
        current.0 = Some(child);
        Ok(())
    }

    fn kill(&self) {
        if let Some(child) = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).0 {
            // It may have ended.
            let _ = child.kill();
        }
    }

    /// Nothing more is started on this line.
    fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.kill();
    }

    fn take(&self) -> Option<Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

pub(crate) fn start(context: Arc<Context>) -> Sending {
    let (wake, woken) = channel();
    let outbox = context.state.outbox();
    let send = move |mark: &Mark, current: &Current| deliver(&context, mark, current);
    let thread = std::thread::spawn({
        let wake = wake.clone();
        move || serve(|| marks(&outbox), send, &wake, &woken)
    });
    Sending { wake, thread }
}

/// Sends what is marked, until it is told to end.
fn serve(
    marks: impl Fn() -> Result<Vec<Mark>>,
    send: impl Fn(&Mark, &Current) -> Result<()> + Sync,
    wake: &Sender<Wake>,
    woken: &Receiver<Wake>,
) {
    let mut lines = Lines::default();
    let mut currents: BTreeMap<Name, Current> = BTreeMap::new();
    // Once it is to end: those for whom everything was tried once more.
    let mut last: Option<BTreeSet<Name>> = None;
    std::thread::scope(|scope| {
        loop {
            match woken.recv_timeout(LOOK) {
                Ok(Wake::Stop(true)) => {
                    last = Some(BTreeSet::new());
                    lines.forget_pauses(Instant::now());
                }
                Ok(Wake::Stop(false)) | Err(RecvTimeoutError::Disconnected) => {
                    // It is sent again by the next daemon.
                    currents.values().for_each(Current::end);
                    return;
                }
                Ok(Wake::Ended(participant, arrived)) => {
                    currents.remove(&participant);
                    if let Some(pause) = lines.ended(&participant, arrived, Instant::now()) {
                        tracing::info!(%participant, again_in_s = pause.as_secs(), "results are sent again later");
                    }
                    if last.is_some() {
                        lines.forget_pauses(Instant::now());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let mut waiting: BTreeMap<Name, Vec<Mark>> = BTreeMap::new();
            match marks() {
                Ok(marks) => marks.into_iter().for_each(|mark| {
                    waiting.entry(mark.participant.clone()).or_default().push(mark);
                }),
                Err(error) => tracing::warn!("outbox: {error:#}"),
            }
            if let Some(tried) = &last {
                waiting.retain(|participant, _| !tried.contains(participant));
                if waiting.is_empty() && lines.is_idle() {
                    return;
                }
            }
            for participant in lines.next(waiting.keys().cloned(), Instant::now()) {
                if let Some(tried) = &mut last {
                    tried.insert(participant.clone());
                }
                let current = Current::default();
                currents.insert(participant.clone(), current.clone());
                let marks = waiting.remove(&participant).unwrap_or_default();
                let send = &send;
                scope.spawn(move || {
                    let line = || marks.iter().all(|mark| arrives(send, mark, &current));
                    // A defect of ours is a failure as another: the line must not stay busy.
                    let arrived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(line)).unwrap_or(false);
                    let _ = wake.send(Wake::Ended(participant, arrived));
                });
            }
        }
    });
}

fn arrives(send: &impl Fn(&Mark, &Current) -> Result<()>, mark: &Mark, current: &Current) -> bool {
    let (participant, id) = (&mark.participant, mark.id);
    send(mark, current)
        .inspect_err(|error| tracing::warn!(%participant, %id, "result not sent: {error:#}"))
        .is_ok()
}

/// A result that is to be sent.
#[derive(Clone, Debug)]
struct Mark {
    participant: Name,
    id: SubmissionId,
    path: PathBuf,
    since: SystemTime,
}

/// All of them, the oldest first.
fn marks(outbox: &Path) -> Result<Vec<Mark>> {
    let at = || outbox.display().to_string();
    let mut marks = Vec::new();
    for folder in fs::read_dir(outbox).with_context(at)?.flatten() {
        let Some(participant) = folder.file_name().to_str().and_then(|name| name.parse::<Name>().ok()) else {
            continue;
        };
        for file in fs::read_dir(folder.path()).with_context(at)?.flatten() {
            // It may be gone by now.
            let since = file.metadata().and_then(|metadata| metadata.modified());
            if let (Some(id), Ok(since)) = (file.file_name().to_str().and_then(|name| name.parse().ok()), since) {
                marks.push(Mark {
                    participant: participant.clone(),
                    id,
                    path: file.path(),
                    since,
                });
            }
        }
    }
    marks.sort_by_key(|mark| mark.since);
    Ok(marks)
}

/// Sends one, and takes its mark away.
fn deliver(context: &Context, mark: &Mark, current: &Current) -> Result<()> {
    let read = fs::read(&mark.path).with_context(|| mark.path.display().to_string())?;
    if send(context, &mark.participant, mark.id, current)? {
        tracing::info!(participant = %mark.participant, id = %mark.id, "result sent home");
    }
    context.state.is_sent(&mark.path, &read)
}

/// Sends one; false where there is nowhere to send it to.
fn send(context: &Context, participant: &Name, id: SubmissionId, current: &Current) -> Result<bool> {
    let Some(home) = context.config.participants.get(participant) else {
        return Ok(false);
    };
    if context.state.spool.read_result(participant, id)?.is_none() {
        tracing::warn!(%participant, %id, "never sent home: it was removed to make room");
        return Ok(false);
    }
    let Some(mut command) = ssh(context, participant, home)? else {
        return Ok(false);
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start ssh")?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    current.set(child)?;
    let words = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.map(|stderr| stderr.take(WORDS_MAX).read_to_string(&mut text));
        text
    });
    let (over, is_over) = channel::<()>();
    let answer = std::thread::scope(|scope| {
        scope.spawn(move || {
            if matches!(is_over.recv_timeout(SENDING), Err(RecvTimeoutError::Timeout)) {
                current.kill();
            }
        });
        let written = stdin.map_or(Ok(()), |stdin| result(context, participant, id, stdin));
        let answer = stdout.context("ssh has no output").and_then(|stdout| {
            let limits = &context.bench.limits;
            Ok(delivery::read_answer(&mut BufReader::new(stdout), limits)?)
        });
        drop(over);
        // Its answer says more than a broken pipe.
        answer.and_then(|answer| written.map(|()| answer))
    });
    let status = current.take().context("ssh").and_then(|mut child| {
        if answer.is_err() {
            let _ = child.kill();
        }
        child.wait().context("ssh")
    })?;
    let words = words.join().unwrap_or_default();
    match answer {
        Ok(Answer::Done) => Ok(true),
        Ok(Answer::Refused { message, .. }) => bail!("refused: {message}"),
        Ok(other) => bail!("an answer that makes no sense: {other:?}"),
        Err(error) => Err(error.context(format!("ssh: {} ({status})", words.trim()))),
    }
}

/// Writes a result as [`delivery`] has it.
fn result(context: &Context, participant: &Name, id: SubmissionId, mut out: impl Write) -> Result<()> {
    let spool = &context.state.spool;
    let result = spool.read_result(participant, id)?.context("the result is gone")?;
    let receipt = Receipt {
        participant: participant.clone(),
        id,
        sha256: result.submission,
        size: result.size,
        received: result.received,
        attempt: result.attempt,
    };
    let state = State::Done {
        verdict: result.verdict,
    };
    let limits = &context.bench.limits;
    delivery::send(&mut out, &receipt, &state, &spool.result(participant, id), limits)?;
    delivery::tell(&mut out, &Answer::Done).context("sending")
}

fn ssh(context: &Context, participant: &Name, home: &Participant) -> Result<Option<Command>> {
    let (Some(host), Some(host_key)) = (&home.host, &home.host_key) else {
        return Ok(None);
    };
    let key = match &context.config.results_key {
        Some(key) => key.clone(),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".ssh/id_results"),
    };
    // Known by a name of ours: addresses change, keys do not.
    let alias = format!("optivex-{participant}");
    let known = context.state.file("known_hosts").join(participant.as_str());
    durable::create_folders(known.parent().context("a folder")?)?;
    durable::write(&known, format!("{alias} {host_key}\n").as_bytes(), 0o644)?;
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-T", "-i"]).arg(key);
    for option in [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=/dev/null",
        "ConnectTimeout=10",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
        &format!("HostKeyAlias={alias}"),
        &format!("UserKnownHostsFile={}", known.display()),
    ] {
        command.args(["-o", option]);
    }
    command.args(["-p", &home.port.unwrap_or(22).to_string()]);
    command.args([
        "-l",
        home.user.as_deref().unwrap_or(participant.as_str()),
        "--",
        host,
        "optivex-receive",
    ]);
    Ok(Some(command))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn mark(name: &str, number: u64) -> Mark {
        Mark {
            participant: name.parse().expect("a name"),
            id: format!("{number:016x}").parse().expect("an id"),
            path: PathBuf::new(),
            since: SystemTime::UNIX_EPOCH,
        }
    }

    /// One machine does not answer at all, another refuses: the others' results go home meanwhile, in order.
    #[test]
    fn whoever_does_not_answer_costs_the_others_nothing() {
        let waiting = Mutex::new(vec![
            mark("gone", 1),
            mark("alice", 2),
            mark("refuses", 3),
            mark("alice", 4),
            mark("bob", 5),
        ]);
        let (answer, answers) = mpsc::channel::<()>();
        let answers = Mutex::new(answers);
        let (told, tells) = mpsc::channel();
        let told = Mutex::new(told);
        let (wake, woken) = channel();
        std::thread::scope(|scope| {
            let serving = scope.spawn({
                let (waiting, answers, told, wake) = (&waiting, &answers, &told, wake.clone());
                move || {
                    serve(
                        || Ok(waiting.lock().expect("no panic").clone()),
                        |mark, _| {
                            let name = mark.participant.as_str();
                            match name {
                                "gone" => answers.lock().expect("no panic").recv().expect("an answer, in the end"),
                                "refuses" => {
                                    told.lock().expect("no panic").send(name.to_owned()).expect("told");
                                    bail!("refused");
                                }
                                _ => {}
                            }
                            waiting.lock().expect("no panic").retain(|other| other.id != mark.id);
                            told.lock()
                                .expect("no panic")
                                .send(format!("{name} {}", mark.id))
                                .expect("told");
                            Ok(())
                        },
                        &wake,
                        &woken,
                    )
                }
            });
            // How often the one that refuses is asked again is the clock's matter.
            let mut heard: BTreeSet<String> = BTreeSet::new();
            while heard.len() < 4 {
                heard.insert(tells.recv().expect("told"));
            }
            assert_eq!(
                heard.into_iter().collect::<Vec<_>>(),
                [
                    "alice 0000000000000002",
                    "alice 0000000000000004",
                    "bob 0000000000000005",
                    "refuses"
                ]
            );
            answer.send(()).expect("it waits");
            assert!(tells.iter().any(|told| told == "gone 0000000000000001"));
            // The end: what was not sent is tried once more, in spite of its pause.
            wake.send(Wake::Stop(true)).expect("it serves");
            assert_eq!(tells.recv().expect("told"), "refuses");
            serving.join().expect("it ends");
        });
    }
}
