// SPDX-License-Identifier: BSD-2-Clause
//! What a source and a destination say to each other in a move, relayed by the host.
//!
//! Responsible for: the messages of the hand-over and of the data that precedes it. Must never:
//! be needed in the clear by the host, which relays frames by their [`kind`] alone.

use super::failure::{Domain, MoveFailure};
use super::messages::messages;
use super::{Incarnation, MoveId, kind};
use serde::{Deserialize, Serialize};

/// What a guest is started from, as a source offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OfferedBundle {
    /// What tells it from the bundle of another guest.
    pub identity: u64,
    /// How many pages it takes.
    pub pages: u32,
}

/// What a source offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Offer {
    /// The move.
    pub id: MoveId,
    /// The seed of the fingerprints' key.
    pub seed: [u64; 2],
    /// The guest's RAM, in bytes.
    pub ram_bytes: u64,
    /// Whether the guest is to run on arrival; otherwise it was paused by the operator and stays.
    pub resume: bool,
    /// How long the source waits when it hears nothing, in ms; the destination waits longer.
    pub timeout_ms: u32,
    /// Whether the operator lets the guest run on a core that it was not started on and does not know of.
    pub accept_core: bool,
    /// What the guest is started from, if the source has it.
    pub bundle: Option<OfferedBundle>,
}

messages! {
    /// A message between two boards.
    pub enum Transfer<'a> {
        /// Source: will you take this machine?
        Offer {
            /// What it is.
            offer: Offer,
            ; /// The source's machine description.
            machine
        } = kind::OFFER,
        /// Destination: yes, and this is my name in this move.
        Accept {
            /// The move.
            id: MoveId,
            /// Who accepts.
            incarnation: Incarnation,
            /// Whether the bundle is to be sent, because it is not there yet.
            send_bundle: bool,
        } = kind::ACCEPT,
        /// Destination: no.
        Refuse {
            /// The move.
            id: MoveId,
            /// Why.
            failure: MoveFailure,
        } = kind::REFUSE,
        /// Source: pages of guest RAM, or of what the guest is started from; see [`pages`](super::pages).
        Pages {
            /// The move.
            id: MoveId,
            /// Counts pages and records messages of this move, from 0.
            index: u32,
            ; /// The pages.
            body
        } = kind::PAGES,
        /// Source: a domain's record.
        Record {
            /// The move.
            id: MoveId,
            /// Counts on from the pages.
            index: u32,
            /// Whose record.
            domain: Domain,
            ; /// The record.
            body
        } = kind::RECORD,
        /// Destination: all messages below `next` are taken over.
        Acknowledge {
            /// The move.
            id: MoveId,
            /// The index of the next message.
            next: u32,
        } = kind::ACKNOWLEDGE,
        /// Source: that was all.
        Prepare {
            /// The move.
            id: MoveId,
            /// Counts on from the records.
            index: u32,
            /// Over the fingerprints of all pages.
            digest: [u64; 2],
        } = kind::PREPARE,
        /// Destination: all is here, checked, and can run.
        Prepared {
            /// The move.
            id: MoveId,
            /// Who is prepared.
            incarnation: Incarnation,
        } = kind::PREPARED,
        /// Source: the guest is yours. Sent again until it is answered.
        Commit {
            /// The move.
            id: MoveId,
            /// Whom it is for.
            incarnation: Incarnation,
            /// By how much its time is to have advanced since it was stopped, in µs; 0 leaves it frozen.
            advance_us: u64,
        } = kind::COMMIT,
        /// Destination: the guest is mine.
        Committed {
            /// The move.
            id: MoveId,
            /// Who has it.
            incarnation: Incarnation,
        } = kind::COMMITTED,
        /// Source: the move is off.
        Abort {
            /// The move.
            id: MoveId,
            /// Why.
            failure: MoveFailure,
        } = kind::ABORT,
        /// Destination: the move is off, and I shall never run that guest.
        Aborted {
            /// The move.
            id: MoveId,
            /// Who promises that.
            incarnation: Incarnation,
            /// Why.
            failure: MoveFailure,
        } = kind::ABORTED,
        /// Destination: I am not whom you were talking to, or no longer.
        Unknown {
            /// The move.
            id: MoveId,
        } = kind::UNKNOWN,
    }
}

impl Transfer<'_> {
    /// The move that the message belongs to.
    #[must_use]
    pub const fn id(&self) -> MoveId {
        match self {
            Self::Offer { offer, .. } => offer.id,
            Self::Accept { id, .. }
            | Self::Refuse { id, .. }
            | Self::Pages { id, .. }
            | Self::Record { id, .. }
            | Self::Acknowledge { id, .. }
            | Self::Prepare { id, .. }
            | Self::Prepared { id, .. }
            | Self::Commit { id, .. }
            | Self::Committed { id, .. }
            | Self::Abort { id, .. }
            | Self::Aborted { id, .. }
            | Self::Unknown { id } => *id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages() -> Vec<Transfer<'static>> {
        let id = MoveId(u64::MAX);
        let incarnation = Incarnation(3);
        let failure = MoveFailure::Sequence {
            expected: 1,
            found: u32::MAX,
        };
        let offer = Offer {
            id,
            seed: [1, 2],
            ram_bytes: 1 << 27,
            resume: true,
            timeout_ms: 3000,
            accept_core: true,
            bundle: Some(OfferedBundle {
                identity: u64::MAX,
                pages: 8000,
            }),
        };
        vec![
            Transfer::Offer {
                offer,
                machine: b"a machine",
            },
            Transfer::Accept {
                id,
                incarnation,
                send_bundle: true,
            },
            Transfer::Refuse { id, failure },
            Transfer::Pages {
                id,
                index: 300,
                body: b"pages",
            },
            Transfer::Record {
                id,
                index: 301,
                domain: Domain::Timer,
                body: b"record",
            },
            Transfer::Acknowledge { id, next: 8 },
            Transfer::Prepare {
                id,
                index: 302,
                digest: [5, 6],
            },
            Transfer::Prepared { id, incarnation },
            Transfer::Commit {
                id,
                incarnation,
                advance_us: 182_600,
            },
            Transfer::Committed { id, incarnation },
            Transfer::Abort { id, failure },
            Transfer::Aborted {
                id,
                incarnation,
                failure,
            },
            Transfer::Unknown { id },
        ]
    }

    #[test]
    fn messages_survive_the_wire_and_have_kinds_of_their_own() {
        let mut out = [0; 128];
        let mut kinds = Vec::new();
        for message in messages() {
            let length = message.encode(&mut out).unwrap();
            let back = Transfer::decode(message.kind(), &out[..length]);
            assert_eq!(back, Ok(message));
            assert!(kind::is_transfer(message.kind()));
            assert_eq!(message.id(), MoveId(u64::MAX));
            kinds.push(message.kind());
        }
        kinds.dedup();
        assert_eq!(kinds, (0x41..=0x4d).collect::<Vec<u8>>());
    }

    #[test]
    fn what_version_4_changed_keeps_its_bytes() {
        let id = MoveId(0x1234);
        let bundle = OfferedBundle {
            identity: 0x0b00_0007,
            pages: 300,
        };
        let offer = |bundle| Offer {
            id,
            seed: [1, 2],
            ram_bytes: 1 << 27,
            resume: true,
            timeout_ms: 3000,
            accept_core: false,
            bundle,
        };
        let accept = |send_bundle| Transfer::Accept {
            id,
            incarnation: Incarnation(3),
            send_bundle,
        };
        let with = offer(Some(bundle));
        let machine = b"M";
        let golden: [(Transfer<'_>, &[u8]); 4] = [
            (
                Transfer::Offer {
                    offer: with,
                    machine,
                },
                b"\xb4\x24\x01\x02\x80\x80\x80\x40\x01\xb8\x17\x00\x01\x87\x80\x80\x58\xac\x02M",
            ),
            (
                Transfer::Offer {
                    offer: offer(None),
                    machine,
                },
                b"\xb4\x24\x01\x02\x80\x80\x80\x40\x01\xb8\x17\x00\x00M",
            ),
            (accept(true), b"\xb4\x24\x03\x01"),
            (accept(false), b"\xb4\x24\x03\x00"),
        ];
        for (message, bytes) in golden {
            let mut out = [0; 64];
            let length = message.encode(&mut out).unwrap();
            assert_eq!(&out[..length], bytes, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(
            kind in 0x40..0x50_u8, payload in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut out = [0; 128];
            if let Ok(message) = Transfer::decode(kind, &payload) {
                let length = message.encode(&mut out).unwrap();
                prop_assert_eq!(&out[..length], &payload[..]);
            }
        }
    }
}
