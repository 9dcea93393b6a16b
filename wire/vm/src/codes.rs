// SPDX-License-Identifier: BSD-2-Clause
//! Enumerations with written-out numbers on the wire.

/// Defines an enumeration of codes: one byte on the wire, a word in a message between domains; unknown values are
/// refused.
#[macro_export]
macro_rules! codes {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident { $( $(#[$note:meta])* $variant:ident = $code:literal, )+ }
    ) => {
        $(#[$attribute])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(into = "u8", try_from = "u8")]
        #[repr(u8)]
        pub enum $name { $( $(#[$note])* $variant = $code, )+ }

        impl From<$name> for u8 {
            fn from(value: $name) -> Self {
                value as Self
            }
        }

        impl TryFrom<u8> for $name {
            type Error = &'static str;

            fn try_from(code: u8) -> Result<Self, Self::Error> {
                match code {
                    $( $code => Ok(Self::$variant), )+
                    _ => Err(concat!("unknown ", stringify!($name))),
                }
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> Self {
                value as Self
            }
        }

        impl TryFrom<u64> for $name {
            type Error = &'static str;

            fn try_from(word: u64) -> Result<Self, Self::Error> {
                u8::try_from(word)
                    .map_err(|_| concat!("unknown ", stringify!($name)))?
                    .try_into()
            }
        }
    };
}
