// SPDX-License-Identifier: BSD-2-Clause
//! One definition of each message: from it come its type, its kind, its encoding and its name.
//!
//! A message is an enumeration's variant with its fields, which are serialised one after the other, and perhaps a body of
//! bytes, which follows them. The numbers are [`kind`](super::kind)'s.

/// Defines messages whose fields have names (`{ … }`) or not (`( … )`, where the names are for this macro only). What stands
/// behind a semicolon is the body.
macro_rules! messages {
    // With names.
    (
        $(#[$attribute:meta])*
        pub enum $name:ident<$life:lifetime> {
            $(
                $(#[$note:meta])*
                $variant:ident {
                    $( $(#[$field_note:meta])* $field:ident: $type:ty, )+
                    $(; $(#[$body_note:meta])* $body:ident)?
                } = $kind:path,
            )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name<$life> {
            $(
                $(#[$note])*
                $variant {
                    $( $(#[$field_note])* $field: $type, )+
                    $( $(#[$body_note])* $body: &$life [u8], )?
                },
            )+
        }

        messages! {
            @codec [<$life>] $name<$life>, $life;
            $( $variant, { $($field,)+ $($body,)? }, ($($field,)+), [$($body)?], $kind; )+
        }
    };
    // Without names.
    (
        $(#[$attribute:meta])*
        pub enum $name:ident $(<$life:lifetime>)? {
            $(
                $(#[$note:meta])*
                $variant:ident $(($($field:ident: $type:ty),* $(; $body:ident: $bytes:ty)?))? = $kind:path,
            )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name $(<$life>)? {
            $( $(#[$note])* $variant $(($($type,)* $($bytes)?))?, )+
        }

        messages! {
            @codec [$(<$life>)?] $name $(<$life>)?, 'p;
            $( $variant, ($($($field,)* $($body)?)?), ($($($field,)*)?), [$($($body)?)?], $kind; )+
        }
    };
    (@pattern $variant:ident ()) => { Self::$variant { .. } };
    (@pattern $variant:ident $fields:tt) => { Self::$variant $fields };
    (@make $variant:ident ()) => { Self::$variant };
    (@make $variant:ident $fields:tt) => { Self::$variant $fields };
    (@body) => { &[] };
    (@body $body:ident) => { $body };
    (@decode $variant:ident $pattern:tt, ($($field:ident,)*), [], $kind:path, $payload:ident) => {{
        let ($($field,)*) = $crate::wire::decode($kind, $payload)?;
        messages!(@make $variant $pattern)
    }};
    (@decode $variant:ident $pattern:tt, ($($field:ident,)*), [$body:ident], $kind:path, $payload:ident) => {{
        let (($($field,)*), $body) = $crate::wire::decode_with_body($kind, $payload)?;
        messages!(@make $variant $pattern)
    }};
    (@codec [] $name:ident, $life:lifetime; $($rest:tt)+) => {
        messages! { @implement [] $name, &[u8]; $($rest)+ }
    };
    (@codec [<$own:lifetime>] $name:ident<$same:lifetime>, $life:lifetime; $($rest:tt)+) => {
        messages! { @implement [<$own>] $name<$own>, &$own [u8]; $($rest)+ }
    };
    (
        @implement [$($generics:tt)*] $name:ty, $payload:ty;
        $( $variant:ident, $pattern:tt, ($($field:ident,)*), [$($body:ident)?], $kind:path; )+
    ) => {
        impl $($generics)* $name {
            /// The message's number.
            #[must_use]
            pub const fn kind(&self) -> u8 {
                match self {
                    $( Self::$variant { .. } => $kind, )+
                }
            }

            /// The message's name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $( Self::$variant { .. } => stringify!($variant), )+
                }
            }

            /// Writes the payload; returns its length.
            ///
            /// # Errors
            ///
            /// [`WireError::TooLong`](crate::WireError::TooLong).
            pub fn encode(&self, out: &mut [u8]) -> Result<usize, $crate::WireError> {
                match self {
                    $( messages!(@pattern $variant $pattern) => {
                        let body: &[u8] = messages!(@body $($body)?);
                        $crate::wire::encode_with_body($kind, &($($field,)*), body, out)
                    } )+
                }
            }

            /// The message that a frame brings.
            ///
            /// # Errors
            ///
            /// [`WireError`](crate::WireError) unless it is one, exactly.
            pub fn decode(kind: u8, payload: $payload) -> Result<Self, $crate::WireError> {
                Ok(match kind {
                    $( $kind => messages!(@decode $variant $pattern, ($($field,)*), [$($body)?], $kind, payload), )+
                    kind => return Err($crate::WireError::UnknownKind { kind }),
                })
            }
        }
    };
}

pub(crate) use messages;
