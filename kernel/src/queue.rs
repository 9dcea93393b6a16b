// SPDX-License-Identifier: BSD-2-Clause
//! Queues of threads.
//!
//! Responsible for the links between threads. A thread is in at most one queue at a time, so the
//! links are in the thread itself and no operation can fail for lack of room.

use crate::identifier::{THREADS, Table, ThreadId};
use crate::object::Thread;

/// All threads.
pub type Threads = Table<Thread, THREADS>;

/// The ends of a list of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    head: Option<ThreadId>,
    tail: Option<ThreadId>,
}

impl Queue {
    /// Without threads.
    pub const EMPTY: Self = Self {
        head: None,
        tail: None,
    };

    /// The first thread.
    #[inline(always)]
    #[must_use]
    pub fn head(&self) -> Option<ThreadId> {
        self.head
    }

    /// Whether there is none.
    #[inline(always)]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Adds a thread before all others.
    #[inline(always)]
    pub fn prepend(&mut self, threads: &mut Threads, thread: ThreadId) {
        self.insert_before(threads, thread, self.head);
    }

    /// Adds a thread behind all others.
    #[inline(always)]
    pub fn append(&mut self, threads: &mut Threads, thread: ThreadId) {
        self.insert_before(threads, thread, None);
    }

    /// Adds a thread before the first that `goes_first` is true for, or else at the end.
    pub fn insert(
        &mut self,
        threads: &mut Threads,
        thread: ThreadId,
        goes_first: impl Fn(&Thread) -> bool,
    ) {
        let mut position = self.head;
        while let Some(other) = position {
            if goes_first(&threads[other]) {
                break;
            }
            position = threads[other].next;
        }
        self.insert_before(threads, thread, position);
    }

    /// Takes a thread out, wherever in the queue it is.
    pub fn remove(&mut self, threads: &mut Threads, thread: ThreadId) {
        let next = threads[thread].next.take();
        let previous = threads[thread].previous.take();
        match previous {
            Some(previous) => threads[previous].next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => threads[next].previous = previous,
            None => self.tail = previous,
        }
    }

    fn insert_before(
        &mut self,
        threads: &mut Threads,
        thread: ThreadId,
        position: Option<ThreadId>,
    ) {
        let previous = match position {
            Some(next) => threads[next].previous.replace(thread),
            None => self.tail.replace(thread),
        };
        match previous {
            Some(previous) => threads[previous].next = Some(thread),
            None => self.head = Some(thread),
        }
        threads[thread].next = position;
        threads[thread].previous = previous;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identifier::Identifier;

    fn threads() -> Threads {
        Table::new([const { Thread::EMPTY }; THREADS])
    }

    fn contents(queue: &Queue, threads: &Threads) -> Vec<usize> {
        let mut forward = Vec::new();
        let mut position = queue.head;
        while let Some(thread) = position {
            forward.push(thread.index());
            position = threads[thread].next;
        }
        let mut backward = Vec::new();
        let mut position = queue.tail;
        while let Some(thread) = position {
            backward.push(thread.index());
            position = threads[thread].previous;
        }
        backward.reverse();
        assert_eq!(forward, backward);
        forward
    }

    proptest! {
        #[test]
        fn a_queue_behaves_as_a_list(steps in proptest::collection::vec((0_u8..4, 0..THREADS), 0..200)) {
            let mut threads = threads();
            let mut queue = Queue::EMPTY;
            let mut model: Vec<usize> = Vec::new();
            for (operation, index) in steps {
                let thread = ThreadId::new(index).unwrap();
                let position = model.iter().position(|&other| other == index);
                match (operation, position) {
                    (0, None) => {
                        queue.prepend(&mut threads, thread);
                        model.insert(0, index);
                    }
                    (1, None) => {
                        queue.append(&mut threads, thread);
                        model.push(index);
                    }
                    (2, None) => {
                        let priority = u8::try_from(index % 3).unwrap();
                        threads[thread].priority = priority;
                        queue.insert(&mut threads, thread, |other| other.priority < priority);
                        let at = model
                            .iter()
                            .position(|&other| threads[ThreadId::new(other).unwrap()].priority < priority)
                            .unwrap_or(model.len());
                        model.insert(at, index);
                    }
                    (3, Some(position)) => {
                        queue.remove(&mut threads, thread);
                        model.remove(position);
                    }
                    _ => {}
                }
                prop_assert_eq!(contents(&queue, &threads), model.clone());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
            }
        }
    }
}
