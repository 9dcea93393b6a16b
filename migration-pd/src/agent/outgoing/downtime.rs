// SPDX-License-Identifier: BSD-2-Clause
//! When the guest is to be paused, and when it must not be, or not any longer.
//!
//! Responsible for: what the pre-copy rounds over RAM have taken; what the last one and the pages that are left will take, held
//! against what the operator wants and allows; the end of a pause that lasts longer than that.
//! Must never: stop the guest or resume it; that is for [`Source`].

use super::Core;
use crate::copier::{Copier, Limits};
use crate::handover::Source;
use protocol::failure::MoveFailure;
use protocol::pages::ENTRY_LENGTH;
use vm::PAGE_SIZE;

/// What a page takes on a link that it goes over as it is.
const PAGE_BYTES: u64 = (PAGE_SIZE + ENTRY_LENGTH) as u64;

/// How long the pre-copy rounds over RAM took, in ticks, without the time in which the move held itself back: once the guest
/// is paused, nothing does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rounds {
    /// When this round began, or would have without being held back.
    began_at: u64,
    /// Since when the move holds itself back.
    held_since: Option<u64>,
    /// All rounds but the first one, which only looks.
    sending: u64,
    /// How many those are.
    count: u64,
    /// The shortest round: what looking at every page takes at most.
    shortest: Option<u64>,
}

impl Rounds {
    /// The first round begins.
    pub(super) fn begin(now: u64) -> Self {
        Self {
            began_at: now,
            ..Self::default()
        }
    }

    /// Nothing may be done now.
    pub(super) fn hold_back(&mut self, now: u64) {
        self.held_since.get_or_insert(now);
    }

    /// Something may.
    pub(super) fn resume(&mut self, now: u64) {
        if let Some(since) = self.held_since.take() {
            self.began_at += now.saturating_sub(since);
        }
    }

    /// A round is complete, and the next one begins.
    pub(super) fn complete(&mut self, now: u64) {
        let took = now.saturating_sub(self.began_at);
        if let Some(shortest) = self.shortest {
            self.sending += took;
            self.count += 1;
            self.shortest = Some(shortest.min(took));
        } else {
            self.shortest = Some(took);
        }
        self.began_at = now;
    }

    /// What looking at every page takes.
    fn looking(&self) -> u64 {
        self.shortest.unwrap_or(0)
    }

    /// What sending pages has taken, besides looking at all of them in each round.
    fn only_sending(&self) -> u64 {
        let looking = self.looking().saturating_mul(self.count);
        self.sending.saturating_sub(looking)
    }
}

impl Core<'_> {
    /// Whether more pre-copy rounds over RAM would be in vain, or what is left fits the downtime asked for.
    pub(super) fn has_converged(&self) -> bool {
        let outgoing = &self.outgoing;
        let (Some(copier), Some(options)) = (&outgoing.copier, outgoing.options) else {
            return false;
        };
        // With what looking took: rather a round too many than a longer pause than was hoped.
        let took = self.micros(outgoing.rounds.sending).max(1);
        let bytes_in_target = outgoing
            .bytes
            .saturating_sub(outgoing.bundle.bytes())
            .saturating_mul(options.downtime_target_us.into())
            / took;
        let pages = bytes_in_target / PAGE_BYTES;
        copier.has_converged(Limits {
            dirty_pages: u32::try_from(pages)
                .unwrap_or(u32::MAX)
                .max(options.pace.few_pages()),
            rounds: options.max_rounds,
        })
    }

    /// Why a guest that was to be stopped now must not be.
    pub(super) fn would_be_paused_too_long(&self) -> Option<MoveFailure> {
        if !self.outgoing.converged {
            return None;
        }
        self.downtime(self.micros(self.outgoing.rounds.looking()))
            .filter(|(expected, allowed)| expected > allowed)
            .map(|figures| self.too_long(figures))
    }

    /// Why a paused guest must be resumed.
    pub(super) fn has_been_paused_too_long(&self, now: u64) -> Option<MoveFailure> {
        self.downtime_ends().filter(|end| *end <= now)?;
        let so_far = self.micros(now.saturating_sub(self.outgoing.stopped_at?));
        self.downtime(so_far).map(|figures| self.too_long(figures))
    }

    /// Until when the guest may be paused: while the move can be called off, and if it ran before.
    pub(super) fn downtime_ends(&self) -> Option<u64> {
        let allowed = self.allowed_ms()?;
        let stopped_at = self.outgoing.stopped_at?;
        let may_go_back = matches!(
            self.source,
            Source::Stopping { .. } | Source::Finishing { .. } | Source::Preparing { .. }
        );
        may_go_back.then(|| stopped_at.saturating_add(self.ticks(allowed.into())))
    }

    /// What the operator allows, if that is not everything. A guest that was paused before misses nothing.
    fn allowed_ms(&self) -> Option<u32> {
        self.source.leaving().filter(|leaving| leaving.resume)?;
        let allowed = self.outgoing.options?.downtime_limit_ms;
        (allowed > 0).then_some(allowed)
    }

    /// For how long the guest is paused if it is so for `besides` and until all pages are sent that are known to be
    /// left, and for how long it may; in µs.
    fn downtime(&self, besides: u64) -> Option<(u64, u64)> {
        let allowed = u64::from(self.allowed_ms()?).saturating_mul(1000);
        let outgoing = &self.outgoing;
        let pages = u64::from(self.table.as_ref()?.unsent());
        let sending = if outgoing.pace().is_line() {
            outgoing.pace().milliseconds_for(pages * PAGE_BYTES) * 1000
        } else {
            // As fast as so far.
            let sent = outgoing.copier.as_ref().map_or(0, Copier::pages_sent);
            let took = self.micros(outgoing.rounds.only_sending());
            pages.saturating_mul(took) / u64::from(sent.max(1))
        };
        Some((besides.saturating_add(sending), allowed))
    }

    fn too_long(&self, (expected_us, allowed_us): (u64, u64)) -> MoveFailure {
        let milliseconds = |micros: u64| u32::try_from(micros.div_ceil(1000)).unwrap_or(u32::MAX);
        MoveFailure::Downtime {
            pages: self.table.as_ref().map_or(0, |table| table.unsent()),
            expected_ms: milliseconds(expected_us),
            allowed_ms: milliseconds(allowed_us),
        }
    }
}
