// SPDX-License-Identifier: BSD-2-Clause
//! A set of registers with their values.
//!
//! Responsible for: getting and setting registers by name or identifier, and the one order and form in which they
//! appear in a record: ascending keys, each at most once, values no wider than the register. Never: decides which
//! registers a record must have; the record does.

use crate::register::{REGISTER_COUNT, Register, Width};
use core::fmt;
use core::ops::Range;
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many vector registers there are; they are the last rows of the table.
const VECTORS: usize = 32;
/// How many registers have at most 64 bits.
const WORDS: usize = REGISTER_COUNT - VECTORS;

/// What is wrong with a list of registers that came from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// No register of the table has this key.
    Unknown(u32),
    /// Not above the key before it.
    OutOfOrder(u32),
    /// The value has more bits than the register.
    TooWide(Register),
}

/// Registers with their values: any subset of the table.
#[derive(Clone)]
pub struct RegisterFile {
    words: [u64; WORDS],
    vectors: [u128; VECTORS],
    /// One bit for each register that is there. The value of one that is not means nothing.
    present: [u32; REGISTER_COUNT.div_ceil(32)],
    defect: Option<Defect>,
}

impl RegisterFile {
    /// No register.
    pub const fn new() -> Self {
        Self {
            words: [0; WORDS],
            vectors: [0; VECTORS],
            present: [0; REGISTER_COUNT.div_ceil(32)],
            defect: None,
        }
    }

    /// Whether `register` is there.
    #[inline]
    pub fn contains(&self, register: Register) -> bool {
        let index = register.index();
        self.present
            .get(index / 32)
            .is_some_and(|bits| bits & 1 << (index % 32) != 0)
    }

    /// The value of `register`, if it is there.
    pub fn get(&self, register: Register) -> Option<u128> {
        if !self.contains(register) {
            return None;
        }
        let index = register.index();
        match self.words.get(index) {
            Some(word) => Some((*word).into()),
            None => self.vectors.get(index - WORDS).copied(),
        }
    }

    /// The value of a register of at most 64 bits, if it is there.
    #[inline]
    pub fn word(&self, register: Register) -> Option<u64> {
        if !self.contains(register) {
            return None;
        }
        self.words.get(register.index()).copied()
    }

    /// The value of a vector register, if it is there.
    pub fn vector(&self, register: Register) -> Option<u128> {
        if register.width() != Width::W128 {
            return None;
        }
        self.get(register)
    }

    /// Sets `register`. False, and nothing changed, if the value has more bits than the register.
    #[must_use]
    pub fn set(&mut self, register: Register, value: u128) -> bool {
        match u64::try_from(value) {
            Ok(word) if register.index() < WORDS => self.set_word(register, word),
            _ => match self.vectors.get_mut(register.index().wrapping_sub(WORDS)) {
                Some(vector) => {
                    *vector = value;
                    self.mark(register);
                    true
                }
                None => false,
            },
        }
    }

    /// Sets a register of at most 64 bits. False, and nothing changed, if it has more, or the value has more bits than
    /// the register.
    #[must_use]
    #[inline]
    pub fn set_word(&mut self, register: Register, value: u64) -> bool {
        let fits = value >> 32 == 0 || register.width() == Width::W64;
        match self.words.get_mut(register.index()) {
            Some(word) if fits => {
                *word = value;
                self.mark(register);
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn mark(&mut self, register: Register) {
        if let Some(bits) = self.present.get_mut(register.index() / 32) {
            *bits |= 1 << (register.index() % 32);
        }
    }

    /// Takes all registers out.
    pub fn clear(&mut self) {
        self.present = [0; _];
        self.defect = None;
    }

    /// Takes `register` out.
    pub fn remove(&mut self, register: Register) {
        if let Some(bits) = self.present.get_mut(register.index() / 32) {
            *bits &= !(1 << (register.index() % 32));
        }
    }

    /// How many registers there are.
    pub fn len(&self) -> usize {
        self.present
            .iter()
            .map(|bits| bits.count_ones() as usize)
            .sum()
    }

    /// The last register that is there in these rows of the table.
    pub fn last_in(&self, rows: Range<usize>) -> Option<Register> {
        let groups = rows.start / 32..rows.end.div_ceil(32);
        for group in groups.rev() {
            let start = rows.start.saturating_sub(32 * group);
            let beyond = (32 * group + 32).saturating_sub(rows.end);
            let within = u32::MAX << start & u32::MAX >> beyond;
            let bits = self.present.get(group)? & within;
            if let Some(bit) = bits.checked_ilog2() {
                return Register::ALL.get(32 * group + bit as usize).copied();
            }
        }
        None
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The registers in ascending order of their keys, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (Register, u128)> + '_ {
        Register::by_key().filter_map(|register| Some((register, self.get(register)?)))
    }

    /// What was wrong with the list that this was read from.
    pub const fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// Adds what a list says; `previous` is the key before it.
    fn accept(&mut self, previous: Option<u32>, key: u32, value: u128) -> Result<(), Defect> {
        if previous.is_some_and(|previous| previous >= key) {
            return Err(Defect::OutOfOrder(key));
        }
        let register = Register::from_key(key).ok_or(Defect::Unknown(key))?;
        if self.set(register, value) {
            Ok(())
        } else {
            Err(Defect::TooWide(register))
        }
    }
}

impl PartialEq for RegisterFile {
    fn eq(&self, other: &Self) -> bool {
        self.present == other.present && self.defect == other.defect && self.iter().eq(other.iter())
    }
}

impl Eq for RegisterFile {}

impl Default for RegisterFile {
    fn default() -> Self {
        Self::new()
    }
}

/// A value as people read it.
struct Hexadecimal(u128);

impl fmt::Debug for Hexadecimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

impl fmt::Debug for RegisterFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self
            .iter()
            .map(|(register, value)| (register, Hexadecimal(value)));
        formatter.debug_map().entries(entries).finish()
    }
}

impl Serialize for RegisterFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for (register, value) in self.iter() {
            list.serialize_element(&(register.key(), value))?;
        }
        list.end()
    }
}

/// Reads a list of registers. A list that is well-formed but wrong becomes a file with a [`Defect`], because a
/// format's own error cannot name a register.
struct List;

impl<'de> Visitor<'de> for List {
    type Value = RegisterFile;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("registers with their values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RegisterFile, A::Error> {
        let mut file = RegisterFile::new();
        let mut previous = None;
        while let Some((key, value)) = list.next_element::<(u32, u128)>()? {
            let accepted = file.accept(previous, key, value);
            file.defect = file.defect.or(accepted.err());
            previous = Some(key);
        }
        Ok(file)
    }
}

impl<'de> Deserialize<'de> for RegisterFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List)
    }
}
