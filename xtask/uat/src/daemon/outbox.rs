//! Sends results home: to `optivex-receive` on the dev machines, over SSH, by a key that can do only that. Nobody waits
//! for it; what does not arrive is sent again, later and later, until it does.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use optivex_bundle::delivery;
use optivex_bundle::digest::SubmissionId;
use optivex_bundle::durable;
use optivex_bundle::names::Name;
use optivex_bundle::spool::{Receipt, State};
use optivex_bundle::wire::Answer;

use super::config::Participant;
use super::context::Context;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));
/// One sending takes at most this long.
const SENDING: Duration = Duration::from_secs(300);
/// Bytes of what ssh says.
const WORDS_MAX: u64 = 64 << 10;

/// The thread that sends.
pub(crate) struct Sending {
    stop: Sender<bool>,
    thread: JoinHandle<()>,
    child: Arc<Mutex<Option<Child>>>,
}

impl Sending {
    /// Ends it. With `last` everything is tried once more.
    pub(crate) fn stop(self, last: bool) {
        let _ = self.stop.send(last);
        if !last && let Some(child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            // It is sent again by the next daemon.
            let _ = child.kill();
        }
        let _ = self.thread.join();
    }
}

pub(crate) fn start(context: Arc<Context>) -> Sending {
    let (stop, stopped) = channel();
    let child = Arc::new(Mutex::new(None));
    let thread = std::thread::spawn({
        let child = Arc::clone(&child);
        move || {
            let mut pauses: BTreeMap<Name, (Instant, Duration)> = BTreeMap::new();
            loop {
                let last = match stopped.recv_timeout(LOOK) {
                    Ok(true) => true,
                    Ok(false) | Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => false,
                };
                if let Err(error) = look(&context, &mut pauses, last, &child) {
                    tracing::warn!("outbox: {error:#}");
                }
                if last {
                    return;
                }
            }
        }
    });
    Sending { stop, thread, child }
}

fn look(
    context: &Context,
    pauses: &mut BTreeMap<Name, (Instant, Duration)>,
    last: bool,
    child: &Mutex<Option<Child>>,
) -> Result<()> {
    for (participant, id, mark) in marks(&context.state.outbox())? {
        if !last
            && pauses
                .get(&participant)
                .is_some_and(|(until, _)| *until > Instant::now())
        {
            continue;
        }
        match send(context, &participant, id, child) {
            Ok(sent) => {
                pauses.remove(&participant);
                durable::remove(&mark)?;
                if sent {
                    tracing::info!(%participant, %id, "result sent home");
                }
            }
            Err(error) => {
                let pause = pauses
                    .get(&participant)
                    .map_or(PAUSES.0, |(_, pause)| (*pause * 2).min(PAUSES.1));
                pauses.insert(participant.clone(), (Instant::now() + pause, pause));
                tracing::warn!(%participant, %id, again_in_s = pause.as_secs(), "result not sent: {error:#}");
            }
        }
    }
    Ok(())
}

fn marks(outbox: &Path) -> Result<Vec<(Name, SubmissionId, PathBuf)>> {
    let mut marks = Vec::new();
    for folder in fs::read_dir(outbox)
        .with_context(|| outbox.display().to_string())?
        .flatten()
    {
        let Some(participant) = folder.file_name().to_str().and_then(|name| name.parse::<Name>().ok()) else {
            continue;
        };
        for mark in fs::read_dir(folder.path())?.flatten() {
            if let Some(id) = mark.file_name().to_str().and_then(|name| name.parse().ok()) {
                marks.push((participant.clone(), id, mark.path()));
            }
        }
    }
    Ok(marks)
}

/// Sends one; false where there is nowhere to send it to.
fn send(context: &Context, participant: &Name, id: SubmissionId, current: &Mutex<Option<Child>>) -> Result<bool> {
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
    *current.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    let words = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.map(|stderr| stderr.take(WORDS_MAX).read_to_string(&mut text));
        text
    });
    let (over, is_over) = channel::<()>();
    let answer = std::thread::scope(|scope| {
        scope.spawn(move || {
            if matches!(is_over.recv_timeout(SENDING), Err(RecvTimeoutError::Timeout))
                && let Some(child) = current.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
            {
                let _ = child.kill();
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
    let ended = current.lock().unwrap_or_else(PoisonError::into_inner).take();
    let status = ended.context("ssh").and_then(|mut child| {
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
