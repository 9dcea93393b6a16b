// SPDX-License-Identifier: BSD-2-Clause
//! One definition of each request: from it come its type, its label, its encoding, its name and the labels for tests.

use crate::{Intid, Message, ProtocolError, Reader, Ticks, VcpuId};

/// What a request has besides its label: some words of a message, checked when they are taken out.
pub(crate) trait Field: Sized {
    fn put(&self, message: &mut Message);
    fn take(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, ProtocolError>;
}

impl Field for u64 {
    #[inline]
    fn put(&self, message: &mut Message) {
        message.push(*self);
    }

    #[inline]
    fn take(reader: &mut Reader<'_>, _: &'static str) -> Result<Self, ProtocolError> {
        reader.word()
    }
}

impl Field for u32 {
    #[inline]
    fn put(&self, message: &mut Message) {
        message.push((*self).into());
    }

    #[inline]
    fn take(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, ProtocolError> {
        reader.word32(field)
    }
}

impl Field for u8 {
    #[inline]
    fn put(&self, message: &mut Message) {
        message.push((*self).into());
    }

    #[inline]
    fn take(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, ProtocolError> {
        reader.code(field)
    }
}

/// The lower half first.
impl Field for u128 {
    fn put(&self, message: &mut Message) {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        for half in [*self as u64, (*self >> 64) as u64] {
            message.push(half);
        }
    }

    fn take(reader: &mut Reader<'_>, _: &'static str) -> Result<Self, ProtocolError> {
        Ok(Self::from(reader.word()?) | Self::from(reader.word()?) << 64)
    }
}

impl Field for bool {
    #[inline]
    fn put(&self, message: &mut Message) {
        message.push((*self).into());
    }

    #[inline]
    fn take(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, ProtocolError> {
        reader.flag(field)
    }
}

impl Field for VcpuId {
    #[inline]
    fn put(&self, message: &mut Message) {
        message.push(self.index() as u64);
    }

    #[inline]
    fn take(reader: &mut Reader<'_>, _: &'static str) -> Result<Self, ProtocolError> {
        reader.field()
    }
}

impl Field for Intid {
    #[inline]
    fn put(&self, message: &mut Message) {
        message.push(self.value().into());
    }

    #[inline]
    fn take(reader: &mut Reader<'_>, _: &'static str) -> Result<Self, ProtocolError> {
        reader.field()
    }
}

impl Field for Ticks {
    #[inline]
    fn put(&self, message: &mut Message) {
        message.push(self.0);
    }

    #[inline]
    fn take(reader: &mut Reader<'_>, _: &'static str) -> Result<Self, ProtocolError> {
        Ok(Self(reader.word()?))
    }
}

/// Makes a structure a [`Field`]: its own, one after the other.
macro_rules! fields {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::request::Field for $name {
            #[inline]
            fn put(&self, message: &mut $crate::Message) {
                $( $crate::request::Field::put(&self.$field, message); )+
            }

            #[inline]
            fn take(
                reader: &mut $crate::Reader<'_>,
                _: &'static str,
            ) -> Result<Self, $crate::ProtocolError> {
                Ok(Self {
                    $( $field: $crate::request::Field::take(reader, stringify!($field))?, )+
                })
            }
        }
    };
}

/// Defines the requests of a channel, each with its label.
macro_rules! requests {
    (
        $(#[$attribute:meta])*
        pub enum Request {
            $(
                $(#[$note:meta])*
                $variant:ident $({ $($field:ident: $type:ty),+ $(,)? })? = $label:literal,
            )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each variant says what its fields are")]
        pub enum Request {
            $( $(#[$note])* $variant $({ $($field: $type),+ })?, )+
        }

        impl Request {
            /// Every request's label and name.
            pub const ALL: &[(u64, &str)] = &[$( ($label, stringify!($variant)) ),+];

            /// The message that makes this request.
            #[inline]
            pub fn encode(&self) -> $crate::Message {
                match self {
                    $( Self::$variant $({ $($field),+ })? => {
                        #[allow(unused_mut, reason = "a request without fields")]
                        let mut message = $crate::Message::new($label);
                        $( $( $crate::request::Field::put($field, &mut message); )+ )?
                        message
                    } )+
                }
            }

            /// The request that a message makes.
            #[inline]
            pub fn decode(message: &$crate::Message) -> Result<Self, $crate::ProtocolError> {
                let mut reader = message.reader();
                let request = match message.label() {
                    $( $label => Self::$variant $({
                        $( $field: $crate::request::Field::take(&mut reader, stringify!($field))?, )+
                    })?, )+
                    label => return Err($crate::ProtocolError::UnknownLabel { label }),
                };
                reader.finish()?;
                Ok(request)
            }
        }
    };
}

pub(crate) use {fields, requests};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{Message, timer, vgic, vmm};

    /// The labels of a channel's requests differ, and are none of an answer's.
    #[test]
    fn every_request_has_a_label_of_its_own() {
        for all in [vmm::Request::ALL, vgic::Request::ALL, timer::Request::ALL] {
            let mut labels: Vec<u64> = all.iter().map(|(label, _)| *label).collect();
            labels.sort_unstable();
            labels.dedup();
            assert_eq!(labels.len(), all.len());
            assert!(labels.iter().all(|label| (1..0xff0).contains(label)));
        }
    }

    fn whatever_is_understood_has_one_encoding(message: &Message) -> [bool; 3] {
        let vmm = vmm::Request::decode(message).map(|request| request.encode());
        let vgic = vgic::Request::decode(message).map(|request| request.encode());
        let timer = timer::Request::decode(message).map(|request| request.encode());
        [vmm, vgic, timer].map(|again| {
            again.is_ok_and(|again| {
                assert_eq!(again, *message);
                true
            })
        })
    }

    proptest! {
        #[test]
        fn a_message_is_at_most_one_request_of_a_channel(
            label in 0..20_u64,
            words in prop::collection::vec(prop_oneof![0..5_u64, any::<u64>()], 0..=crate::MAX_WORDS),
        ) {
            whatever_is_understood_has_one_encoding(&Message::received(label, &words).expect("few words"));
        }
    }

    /// With words that every field takes, each label is a request for one number of words only.
    #[test]
    fn every_label_of_a_channel_is_understood() {
        let mut understood = [Vec::new(), Vec::new(), Vec::new()];
        for label in 0..20 {
            for length in 0..=crate::MAX_WORDS {
                let message = Message::received(label, &vec![0; length]).expect("few words");
                let channels = whatever_is_understood_has_one_encoding(&message);
                for (labels, is) in understood.iter_mut().zip(channels) {
                    labels.extend(is.then_some(label));
                }
            }
        }
        let all = [vmm::Request::ALL, vgic::Request::ALL, timer::Request::ALL];
        for (labels, all) in understood.into_iter().zip(all) {
            let mut named: Vec<u64> = all.iter().map(|(label, _)| *label).collect();
            named.sort_unstable();
            assert_eq!(labels, named);
        }
    }
}
