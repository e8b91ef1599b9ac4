//! Futures that are waited for beside something else that wakes the task far more often.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use pin_project_lite::pin_project;

pin_project! {
    /// Polls what is inside only after it was woken by it, not each time that its task runs.
    pub(crate) struct Seldom<F> {
        #[pin]
        inner: F,
        // None until it is waited for: most of what could end early is over before.
        watch: Option<Watch>,
    }
}

struct Watch {
    bell: Arc<Bell>,
    /// Of `bell`.
    waker: Waker,
    /// Whom `bell` wakes.
    task: Waker,
}

/// What the future inside wakes.
struct Bell {
    rang: AtomicBool,
    /// Stays when it is woken: a task that has heard this ring before may not register for the next one.
    task: Mutex<Waker>,
}

impl Bell {
    fn task(&self) -> MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_task(&self) {
        // After the lock is free: a waker is somebody else's code.
        let task = self.task().clone();
        task.wake();
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.wake_task();
    }
}

impl<F> Seldom<F> {
    pub(crate) fn new(inner: F) -> Self {
        Self { inner, watch: None }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let watch = match this.watch {
            Some(watch) if !watch.bell.rang.load(Ordering::Acquire) && watch.task.will_wake(cx.waker()) => {
                return Poll::Pending;
            }
            Some(watch) => watch,
            None => {
                let bell = Arc::new(Bell {
                    rang: AtomicBool::new(true),
                    task: Mutex::new(Waker::noop().clone()),
                });
                this.watch.insert(Watch {
                    waker: Waker::from(Arc::clone(&bell)),
                    bell,
                    task: cx.waker().clone(),
                })
            }
        };
        watch.task.clone_from(cx.waker());
        watch.bell.task().clone_from(cx.waker());
        // After the task is there to be woken, before the future is looked at: what rings after that is heard.
        if !watch.bell.rang.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        this.inner.poll(&mut Context::from_waker(&watch.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::pin::pin;
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_inside_is_polled_after_it_woke_and_only_then() {
        let polls = Cell::new(0);
        let (tasks, mut woken) = ([Arc::new(Count::default()), Arc::new(Count::default())], [0, 0]);
        let wakers = tasks.clone().map(Waker::from);
        let inside = RefCell::new(Waker::noop().clone());
        let mut future = pin!(Seldom::new(std::future::poll_fn(|cx| {
            polls.set(polls.get() + 1);
            inside.borrow_mut().clone_from(cx.waker());
            if polls.get() == 3 {
                Poll::Ready(7)
            } else {
                Poll::Pending
            }
        })));
        // Which task polls, whether the inside wakes before, and what comes of it.
        for (task, wakes, expected) in [
            (0, false, Poll::Pending),
            (0, false, Poll::Pending),
            (0, true, Poll::Pending),
            // Polled by another task, which is woken from now on.
            (1, false, Poll::Pending),
            (1, false, Poll::Pending),
            (1, true, Poll::Ready(7)),
        ] {
            if wakes {
                future
                    .as_ref()
                    .get_ref()
                    .watch
                    .as_ref()
                    .expect("polled")
                    .waker
                    .wake_by_ref();
                woken[task] += 1;
            }
            assert_eq!(future.as_mut().poll(&mut Context::from_waker(&wakers[task])), expected);
            assert_eq!(tasks.each_ref().map(|task| task.0.load(Ordering::Relaxed)), woken);
        }
        assert_eq!(polls.get(), 3);
    }

    /// A task that runs between the ring and its own wake-up hears the ring; it has to be woken by the next one
    /// all the same.
    #[test]
    fn a_ring_that_was_heard_early_does_not_silence_the_next() {
        let task = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut future = pin!(Seldom::new(std::future::pending::<()>()));
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let bell = Arc::clone(&future.as_ref().get_ref().watch.as_ref().expect("polled").bell);
        // The first half of a ring, the task in between, and the second half.
        bell.rang.store(true, Ordering::Release);
        let mut poll = || future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        assert!(poll());
        bell.wake_task();
        assert!(poll());
        bell.wake_by_ref();
        assert_eq!(task.0.load(Ordering::Relaxed), 2);
    }
}
