//! When the guest is to stand still, and when it must not.
//!
//! Responsible for: what the pages that are left take on the link, held against what the operator wants and allows.
//! Must never: stop the guest; that is for [`Source`](crate::handover::Source).

use super::Core;
use crate::copier::Limits;
use crate::fingerprint::PAGE_SIZE;
use crate::protocol::failure::MoveFailure;
use crate::protocol::pages::ENTRY_LENGTH;

impl Core<'_> {
    /// Whether more passes over RAM would be in vain, or what is left fits the downtime asked for.
    pub(super) fn has_converged(&self, now: u64) -> bool {
        let outgoing = &self.outgoing;
        let (Some(copier), Some(options)) = (&outgoing.copier, outgoing.options) else {
            return false;
        };
        let elapsed = self.micros(now.saturating_sub(outgoing.began_at)).max(1);
        let bytes_in_target = outgoing
            .bytes
            .saturating_mul(options.downtime_target_us.into())
            / elapsed;
        let pages = bytes_in_target / (PAGE_SIZE + ENTRY_LENGTH) as u64;
        copier.has_converged(Limits {
            pages_left: u32::try_from(pages)
                .unwrap_or(u32::MAX)
                .max(options.pace.few_pages()),
            passes: options.max_rounds,
        })
    }

    /// Why a guest that was to be stopped now must not be.
    pub(super) fn stands_still_too_long(&self, now: u64) -> Option<MoveFailure> {
        let outgoing = &self.outgoing;
        let allowed_ms = outgoing.options?.downtime_limit_ms;
        if !outgoing.converged || allowed_ms == 0 {
            return None;
        }
        let pages = self.table.as_ref()?.unsent();
        let bytes = u64::from(pages) * (PAGE_SIZE + ENTRY_LENGTH) as u64;
        let expected = if outgoing.pace().is_line() {
            outgoing.pace().milliseconds_for(bytes)
        } else {
            // As fast as so far.
            let elapsed = self.micros(now.saturating_sub(outgoing.began_at));
            bytes.saturating_mul(elapsed) / outgoing.bytes.max(1) / 1000
        };
        let expected_ms = u32::try_from(expected).unwrap_or(u32::MAX);
        (expected_ms > allowed_ms).then_some(MoveFailure::Standstill {
            pages,
            expected_ms,
            allowed_ms,
        })
    }
}
