// SPDX-License-Identifier: BSD-2-Clause
//! What went wrong, by vCPU: each writes into a box of its own, vCPU 0 prints what is in all of them.

use core::cell::UnsafeCell;
use core::fmt::{self, Display, LowerHex, Write};
use core::sync::atomic::{AtomicUsize, Ordering};

use guest_runtime::MAX_VCPUS;
use guest_runtime::println;

/// Bytes of text that a vCPU can report. What exceeds them is counted, not printed.
const CAPACITY: usize = 4096;

struct Mailbox {
    text: UnsafeCell<[u8; CAPACITY]>,
    /// Bytes of `text` that its vCPU has finished.
    written: AtomicUsize,
    /// Mismatches, printed or not; written by its vCPU.
    mismatches: AtomicUsize,
    /// Bytes that were printed; written by vCPU 0.
    printed: AtomicUsize,
}

// SAFETY: `text` is written by the box's own vCPU only, beyond `written`, and read by vCPU 0 below `written` only.
unsafe impl Sync for Mailbox {}

static MAILBOXES: [Mailbox; MAX_VCPUS] = [const {
    Mailbox {
        text: UnsafeCell::new([0; CAPACITY]),
        written: AtomicUsize::new(0),
        mismatches: AtomicUsize::new(0),
        printed: AtomicUsize::new(0),
    }
}; MAX_VCPUS];

/// A vCPU's own box.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reporter {
    vcpu: usize,
}

impl Reporter {
    /// For the calling vCPU, whose number is `vcpu`.
    pub(crate) const fn new(vcpu: usize) -> Self {
        Self { vcpu }
    }

    /// Reports `register` unless it is as expected; whether it is.
    pub(crate) fn expect<T: PartialEq + LowerHex>(
        self,
        register: impl Display,
        expected: T,
        found: T,
    ) -> bool {
        let same = expected == found;
        if !same {
            self.mismatch(format_args!(
                "register={register} expected={expected:#x} found={found:#x}"
            ));
        }
        same
    }

    /// Reports something that is wrong.
    pub(crate) fn mismatch(mut self, what: fmt::Arguments<'_>) {
        let mailbox = &MAILBOXES[self.vcpu];
        let count = mailbox.mismatches.load(Ordering::Relaxed);
        let vcpu = self.vcpu;
        let _ = self.write_fmt(format_args!("probe: MISMATCH vcpu={vcpu} {what}\n"));
        mailbox.mismatches.store(count + 1, Ordering::Release);
    }
}

impl Write for Reporter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mailbox = &MAILBOXES[self.vcpu];
        let start = mailbox.written.load(Ordering::Relaxed);
        let end = start + text.len();
        if end > CAPACITY {
            return Err(fmt::Error);
        }
        // SAFETY: `start..end` lies within the box, in the part that only this vCPU touches.
        unsafe {
            let target = mailbox.text.get().cast::<u8>().add(start);
            core::ptr::copy_nonoverlapping(text.as_ptr(), target, text.len());
        }
        mailbox.written.store(end, Ordering::Release);
        Ok(())
    }
}

/// Prints what was reported since the last call; only vCPU 0 calls this.
pub(crate) fn print() {
    for mailbox in &MAILBOXES {
        let start = mailbox.printed.load(Ordering::Relaxed);
        let end = mailbox.written.load(Ordering::Acquire);
        if start == end {
            continue;
        }
        // SAFETY: below `written` nobody writes any more.
        let text = unsafe {
            core::slice::from_raw_parts(mailbox.text.get().cast::<u8>().add(start), end - start)
        };
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            println!("{}", core::str::from_utf8(line).unwrap_or("?"));
        }
        mailbox.printed.store(end, Ordering::Relaxed);
    }
}

/// All mismatches of all vCPUs so far.
pub(crate) fn mismatches() -> usize {
    MAILBOXES
        .iter()
        .map(|mailbox| mailbox.mismatches.load(Ordering::Acquire))
        .sum()
}
