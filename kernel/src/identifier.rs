// SPDX-License-Identifier: BSD-2-Clause
//! Names of kernel objects, and tables that they index.
//!
//! Responsible for making an index that is out of range impossible: an identifier is made from a
//! checked number only, and a table is exactly as large as its identifiers reach, so that the hot
//! paths carry neither a panic nor `unsafe`.

use core::num::NonZeroU8;
use core::ops::{Index, IndexMut};

/// Something that names an entry of a [`Table`].
pub trait Identifier: Copy {
    /// How many there are; a power of two.
    const COUNT: usize;

    /// The entry's index, below `COUNT`.
    fn index(self) -> usize;
}

/// An array of `N` entries that an [`Identifier`] indexes.
#[derive(Clone, Debug)]
pub struct Table<T, const N: usize>([T; N]);

impl<T, const N: usize> Table<T, N> {
    /// Wraps an array whose length is a power of two.
    #[must_use]
    pub const fn new(entries: [T; N]) -> Self {
        assert!(N.is_power_of_two());
        Self(entries)
    }
}

impl<I: Identifier, T, const N: usize> Index<I> for Table<T, N> {
    type Output = T;

    #[inline(always)]
    fn index(&self, identifier: I) -> &T {
        const { assert!(I::COUNT == N) };
        // The mask changes nothing and spares the check for a panic that cannot happen.
        &self.0[identifier.index() & (N - 1)]
    }
}

impl<I: Identifier, T, const N: usize> IndexMut<I> for Table<T, N> {
    #[inline(always)]
    fn index_mut(&mut self, identifier: I) -> &mut T {
        const { assert!(I::COUNT == N) };
        &mut self.0[identifier.index() & (N - 1)]
    }
}

/// The complement of an index below 255, which is never zero: `None` takes no room of its own.
#[expect(clippy::cast_possible_truncation, reason = "below 255")]
const fn complement(index: usize) -> NonZeroU8 {
    assert!(index < 255);
    match NonZeroU8::new(!(index as u8)) {
        Some(value) => value,
        None => NonZeroU8::MAX,
    }
}

macro_rules! identifier {
    ($(#[$documentation:meta])* $name:ident, $count:expr) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name(NonZeroU8);

        impl $name {
            /// The one of index `index`, if there is one.
            #[inline(always)]
            #[must_use]
            pub const fn new(index: usize) -> Option<Self> {
                if index < <Self as Identifier>::COUNT {
                    Some(Self(complement(index)))
                } else {
                    None
                }
            }

            /// All of them, in the order of their indices.
            pub fn all() -> impl Iterator<Item = Self> {
                (0..<Self as Identifier>::COUNT).filter_map(Self::new)
            }
        }

        impl Identifier for $name {
            const COUNT: usize = $count;

            #[inline(always)]
            fn index(self) -> usize {
                usize::from(!self.0.get())
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(formatter, "{}({})", stringify!($name), self.index())
            }
        }
    };
}

identifier! {
    /// A domain, and its endpoint, notification and reply object: each domain has one of each.
    DomainId, kernel_image::MAXIMUM_DOMAINS
}

identifier! {
    /// A virtual CPU.
    VcpuId, kernel_image::MAXIMUM_VCPUS
}

identifier! {
    /// An address space of a VM.
    VmId, kernel_image::MAXIMUM_VMS
}

identifier! {
    /// A thread: those of domains come first, then those of virtual CPUs.
    ThreadId, THREADS
}

identifier! {
    /// A scheduling context; the one that a thread starts with has the thread's index.
    BudgetId, THREADS
}

identifier! {
    /// Room for a thread's FP and SIMD registers.
    FloatingPointId, kernel_image::MAXIMUM_VCPUS
}

/// Most threads.
pub const THREADS: usize = kernel_image::MAXIMUM_DOMAINS + kernel_image::MAXIMUM_VCPUS;

impl ThreadId {
    /// The thread of a domain.
    #[inline(always)]
    #[must_use]
    pub const fn of_domain(domain: DomainId) -> Self {
        // The domains' threads come first, so the indices are the same.
        Self(domain.0)
    }

    /// The thread of a virtual CPU.
    #[must_use]
    pub fn of_vcpu(vcpu: VcpuId) -> Self {
        Self(complement(kernel_image::MAXIMUM_DOMAINS + vcpu.index()))
    }

    /// The domain whose thread it is, unless it is a virtual CPU's.
    #[inline(always)]
    #[must_use]
    pub fn domain(self) -> Option<DomainId> {
        (self.index() < DomainId::COUNT).then_some(DomainId(self.0))
    }

    /// The scheduling context that it starts with.
    #[inline(always)]
    #[must_use]
    pub const fn own_budget(self) -> BudgetId {
        BudgetId(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_domains_and_vcpus_are_different() {
        let mut seen = [false; THREADS];
        let threads = DomainId::all()
            .map(ThreadId::of_domain)
            .chain(VcpuId::all().map(ThreadId::of_vcpu));
        for thread in threads {
            assert!(!core::mem::replace(&mut seen[thread.index()], true));
        }
        assert_eq!(seen, [true; THREADS]);
    }

    #[test]
    fn an_identifier_or_none_takes_one_byte() {
        assert_eq!(size_of::<Option<ThreadId>>(), 1);
        for index in 0..THREADS {
            assert_eq!(ThreadId::new(index).map(Identifier::index), Some(index));
        }
    }

    #[test]
    fn only_a_domains_thread_names_its_domain() {
        for domain in DomainId::all() {
            assert_eq!(ThreadId::of_domain(domain).domain(), Some(domain));
        }
        for vcpu in VcpuId::all() {
            assert_eq!(ThreadId::of_vcpu(vcpu).domain(), None);
        }
        assert_eq!(DomainId::new(kernel_image::MAXIMUM_DOMAINS), None);
    }
}
