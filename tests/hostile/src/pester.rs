// SPDX-License-Identifier: BSD-2-Clause
//! Attacks that stay within what a domain has been given: its calls, its answers, its rings, its notifications.

use core::fmt::Write as _;

use channel::ids;
use channel::ring::Duplex;
use hostile_pd::messages::{
    self, Callee, Due, HEADERS, MESSAGES, Raw, Tally, due_to_migration, due_to_vmm,
};
use sel4_microkit::{Channel, MessageInfo, pd_name, with_msg_regs_mut};

use crate::attack::granted;
use crate::regions::region;

/// Between an answer and the next: prime to [`MESSAGES`], so that adjacent answers have nothing in common and all
/// come up.
const STRIDE: usize = 1009;
/// How often a bounded attack notifies each peer domain after each header.
const NOTIFICATIONS: usize = 2000;

const _: () = assert!(!MESSAGES.is_multiple_of(STRIDE));

/// Puts a message into the message registers.
fn put(raw: &Raw) -> MessageInfo {
    with_msg_regs_mut(|registers| {
        for (position, register) in registers.iter_mut().take(raw.length).enumerate() {
            *register = raw.word(position);
        }
    });
    MessageInfo::new(raw.label, raw.length)
}

/// The answer of a number: two of three could be right, so that who asked continues to its next question.
pub(crate) fn answer(number: usize) -> MessageInfo {
    if number.is_multiple_of(3) {
        put(&messages::message(number.wrapping_mul(STRIDE)))
    } else {
        with_msg_regs_mut(|registers| {
            for register in registers.iter_mut().take(1) {
                *register = 0;
            }
        });
        MessageInfo::new(0, 1)
    }
}

/// Calls whom this domain may call with every message; what they said goes into `ring`.
pub(crate) fn pester(ring: &mut Duplex) {
    type Rule = fn(Callee, &Raw) -> Due;
    let (callees, rule): (&[(usize, Callee)], Rule) = match pd_name().unwrap_or_default() {
        "migration_pd" => (
            &[
                (ids::migration::VMM, Callee::Vmm),
                (ids::migration::VGIC, Callee::Vgic),
                (ids::migration::TIMER, Callee::Timer),
            ],
            due_to_migration,
        ),
        "vmm_pd" => (
            &[
                (ids::vmm::VGIC, Callee::Vgic),
                (ids::vmm::TIMER, Callee::Timer),
            ],
            due_to_vmm,
        ),
        _ => (&[], due_to_vmm),
    };
    for (channel, callee) in callees {
        let channel = Channel::new(*channel);
        let mut tally = Tally::default();
        for number in 0..MESSAGES {
            let raw = messages::message(number);
            let due = rule(*callee, &raw);
            if due != Due::NotSent {
                tally.count(due, channel.pp_call(put(&raw)).label());
            }
        }
        let mut line = Line(ring);
        // A line that does not fit is missed by the test.
        let _ = writeln!(
            line,
            "pestered {callee:?}: {} not understood, {} refused, {} answered, {} wrong",
            tally.not_understood, tally.refused, tally.answered, tally.wrong
        );
    }
}

/// Floods the monitor, where a domain can tell it anything, and says so.
pub(crate) fn monitor(ring: &mut Duplex) {
    let told = crate::attack::tell_monitor();
    // A line that does not fit is missed by the test.
    let _ = writeln!(Line(ring), "told the monitor {told} times");
}

/// Text on its way into a ring.
struct Line<'a>(&'a mut Duplex);

impl core::fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        match self.0.producer.push(text.as_bytes()) {
            Ok(count) if count == text.len() => Ok(()),
            _ => Err(core::fmt::Error),
        }
    }
}

/// Notifies every peer domain that this domain may notify.
pub(crate) fn notify_all() {
    let notifications = granted().notifications;
    (0..62)
        .filter(|channel| notifications >> channel & 1 != 0)
        .for_each(|channel| Channel::new(channel).notify());
}

/// A notification for each answer of a number. In the place of `vmm-pd`, which nobody above waits for, without end, so that
/// who asks because of it never comes to an end by itself; in that of `timer-pd`, whose peer domains are all below it, for a
/// while.
pub(crate) fn disturb(answer: usize) {
    let without_end = pd_name() == Ok("vmm_pd");
    if without_end || answer < NOTIFICATIONS {
        notify_all();
    }
}

/// Writes every bad header into the region that this domain sends from, and notifies after each.
pub(crate) fn nonsense() {
    let own = [
        "serial_to_vmm",
        "vmm_to_serial",
        "migration_to_link",
        "link_to_migration",
    ];
    for header in HEADERS {
        for name in own.iter().filter(|name| writes(name)) {
            let at = region(name) as *mut u64;
            for (position, word) in header.into_iter().enumerate() {
                // SAFETY: `system.xml` maps the region for this domain to write, and a ring begins with four words.
                // Whoever reads them does so expecting anything at any time.
                unsafe { at.add(position).write_volatile(word) };
            }
        }
        for _ in 0..NOTIFICATIONS {
            notify_all();
        }
    }
}

/// Whether this domain sends from a region: it has one of each pair that it may write.
fn writes(name: &str) -> bool {
    let sender = match name {
        "serial_to_vmm" => "serial_pd",
        "vmm_to_serial" => "vmm_pd",
        "migration_to_link" => "migration_pd",
        _ => "link_pd",
    };
    pd_name() == Ok(sender) && region(name) != 0
}

/// Notifies for ever.
pub(crate) fn flood() {
    nonsense();
    loop {
        notify_all();
    }
}
