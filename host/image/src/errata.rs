// SPDX-License-Identifier: BSD-2-Clause
//! Errata of cores that software works around, where it knows of the core.
//!
//! Responsible for: which of a core's errata a guest runs without a workaround for when it gets there unprepared, for the
//! operator who lets it. Never: a complete list of a core's errata; it has those for which Linux has a workaround that it
//! chooses by `MIDR_EL1` (`arch/arm64/kernel/cpu_errata.c`), as far as a guest at EL1 or its programs can run into them.

use state::{BaselineV1, ImplementationV1};

/// An erratum of a core.
#[derive(Clone, Copy, Debug)]
struct Erratum {
    core: Core,
    /// The first and the last revision that have it, as variant and revision.
    revisions: [u8; 2],
    /// Arm's number, or what it is known as.
    number: &'static str,
    /// Linux's name of the workaround.
    linux: &'static str,
    /// What it is about.
    about: &'static str,
}

/// A core, by `MIDR_EL1.PartNum`; Arm's all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Core {
    A53 = 0xd03,
    A55 = 0xd05,
    A57 = 0xd07,
    A72 = 0xd08,
    A76 = 0xd0b,
    N1 = 0xd0c,
}

const ALL: [u8; 2] = [0, 0xff];

#[rustfmt::skip]
const ERRATA: [Erratum; 24] = [
    erratum(Core::A53, [0x00, 0x01], "819472", "ARM64_ERRATUM_819472", "a store exclusive may corrupt what a cache line held"),
    erratum(Core::A53, [0x00, 0x02], "826319, 827319, 824069", "ARM64_ERRATUM_826319", "cleaning a cache line may lose data"),
    erratum(Core::A53, [0x00, 0x04], "845719", "ARM64_ERRATUM_845719", "a load of a 32-bit program may read what another task wrote"),
    erratum(Core::A53, [0x00, 0x04], "843419", "ARM64_ERRATUM_843419", "ADRP near a page's end may give another page's address"),
    erratum(Core::A55, [0x00, 0x20], "1024718", "ARM64_ERRATUM_1024718", "hardware updates of access flags may lose an update"),
    erratum(Core::A55, [0x00, 0x20], "1530923", "ARM64_ERRATUM_1530923", "a speculative translation may use another context's tables"),
    erratum(Core::A55, ALL, "2441007", "ARM64_ERRATUM_2441007", "an invalidation of the TLB may be complete too early"),
    erratum(Core::A57, [0x00, 0x12], "832075", "ARM64_ERRATUM_832075", "an exclusive load from device memory may deadlock"),
    erratum(Core::A57, ALL, "1319537", "ARM64_ERRATUM_1319367", "a speculative translation may use another context's tables"),
    erratum(Core::A57, [0x01, 0xff], "1742098", "ARM64_ERRATUM_1742098", "AES of 32-bit programs may give wrong results"),
    erratum(Core::A57, ALL, "Spectre v2", "ARM64_SPECTRE_V2", "branches may be predicted by another task's training"),
    erratum(Core::A57, ALL, "Spectre v4", "ARM64_SPECTRE_V4", "a load may be speculated past a store to the same address"),
    erratum(Core::A72, ALL, "1319367", "ARM64_ERRATUM_1319367", "a speculative translation may use another context's tables"),
    erratum(Core::A72, ALL, "1655431", "ARM64_ERRATUM_1742098", "AES of 32-bit programs may give wrong results"),
    erratum(Core::A72, ALL, "Spectre v2", "ARM64_SPECTRE_V2", "branches may be predicted by another task's training"),
    erratum(Core::A72, ALL, "Spectre v4", "ARM64_SPECTRE_V4", "a load may be speculated past a store to the same address"),
    erratum(Core::A76, [0x00, 0x20], "1165522", "ARM64_ERRATUM_1165522", "a speculative translation may use another context's tables"),
    erratum(Core::A76, [0x00, 0x30], "1286807", "ARM64_ERRATUM_1286807", "an invalidation of the TLB may be complete too early"),
    erratum(Core::A76, [0x00, 0x31], "1418040", "ARM64_ERRATUM_1418040", "a 32-bit program may read a wrong count"),
    erratum(Core::A76, [0x00, 0x31], "1463225", "ARM64_ERRATUM_1463225", "a software step into a system call may be lost"),
    erratum(Core::A76, ALL, "3324349", "ARM64_ERRATUM_3194386", "SSBS may take effect late"),
    erratum(Core::A76, ALL, "Spectre BHB", "ARM64_SPECTRE_BHB", "branches may be predicted by another task's history"),
    erratum(Core::N1, [0x00, 0x31], "1418040", "ARM64_ERRATUM_1418040", "a 32-bit program may read a wrong count"),
    erratum(Core::N1, ALL, "Spectre BHB", "ARM64_SPECTRE_BHB", "branches may be predicted by another task's history"),
];

const fn erratum(
    core: Core,
    revisions: [u8; 2],
    number: &'static str,
    linux: &'static str,
    about: &'static str,
) -> Erratum {
    Erratum {
        core,
        revisions,
        number,
        linux,
        about,
    }
}

/// `MIDR_EL1.Implementer` of Arm.
const ARM: u64 = 0x41;
/// `REVIDR_EL1` of a Cortex-A53 r0p4 in which 843419 is mended.
const FIXED_843419: u64 = 1 << 8;

impl Erratum {
    /// Whether this implementation has it.
    fn is_of(&self, implementation: ImplementationV1) -> bool {
        let midr = implementation.midr;
        let revision = midr >> 16 & 0xf0 | midr & 0xf;
        let core = midr >> 24 == ARM && midr >> 4 & 0xfff == self.core as u64;
        let mended = self.number == "843419"
            && revision == 0x04
            && implementation.revidr & FIXED_843419 != 0;
        let [first, last] = self.revisions.map(u64::from);
        core && (first..=last).contains(&revision) && !mended
    }
}

/// What a guest that may rely on `guest` runs without on a board whose processor is `destination`, a line each; none if it
/// knows of the core, or was started on the same.
#[must_use]
pub fn without(guest: &BaselineV1, destination: &BaselineV1) -> Vec<String> {
    let own = ImplementationV1::of(&guest.constants);
    let Some(there) = ImplementationV1::of(&destination.constants) else {
        return Vec::new();
    };
    if own == Some(there) || guest.knows(there) {
        return Vec::new();
    }
    let name = name(there.midr);
    let prepared = |erratum: &&Erratum| own.is_some_and(|own| erratum.is_of(own));
    let missing: Vec<_> = ERRATA
        .iter()
        .filter(|erratum| erratum.is_of(there) && !prepared(erratum))
        .map(|erratum| {
            format!(
                "{name} has erratum {}: {}; the guest has not applied {}",
                erratum.number, erratum.about, erratum.linux
            )
        })
        .collect();
    if missing.is_empty() {
        return vec![format!(
            "the guest does not know of {name}; no erratum of it is in the table that would need a workaround"
        )];
    }
    missing
}

/// What people call a core.
#[must_use]
pub fn name(midr: u64) -> String {
    let known = match (midr >> 24, midr >> 4 & 0xfff) {
        (ARM, 0xd03) => "Cortex-A53",
        (ARM, 0xd04) => "Cortex-A35",
        (ARM, 0xd05) => "Cortex-A55",
        (ARM, 0xd07) => "Cortex-A57",
        (ARM, 0xd08) => "Cortex-A72",
        (ARM, 0xd0b) => "Cortex-A76",
        (ARM, 0xd0c) => "Neoverse-N1",
        _ => return format!("the core with MIDR_EL1 {midr:#x}"),
    };
    format!("{known} r{}p{}", midr >> 20 & 0xf, midr & 0xf)
}

#[cfg(test)]
mod tests {
    use state::{Register, RegisterFile};

    use super::*;

    fn on(midr: u64, revidr: u64) -> BaselineV1 {
        let mut constants = RegisterFile::new();
        for (register, value) in [
            (Register::MIDR_EL1, midr),
            (Register::REVIDR_EL1, revidr),
            (Register::AIDR_EL1, 0),
        ] {
            assert!(constants.set_word(register, value));
        }
        BaselineV1::of(&constants)
    }

    const A53: u64 = 0x410f_d034;
    const A76_R3P1: u64 = 0x413f_d0b1;
    const A76_R4P1: u64 = 0x414f_d0b1;

    fn numbers(guest: &BaselineV1, midr: u64) -> String {
        without(guest, &on(midr, 0)).join("\n")
    }

    #[test]
    fn errata_are_those_of_the_cores_revision() {
        let text = numbers(&on(A53, 0), A76_R3P1);
        assert!(
            text.contains("Cortex-A76 r3p1 has erratum 1463225"),
            "{text}"
        );
        assert!(!text.contains("1286807"), "up to r3p0: {text}");
        let text = numbers(&on(A53, 0), A76_R4P1);
        assert!(
            !text.contains("1463225") && text.contains("3324349"),
            "{text}"
        );
    }

    #[test]
    fn a_guest_that_is_prepared_lacks_nothing() {
        let there = on(A76_R3P1, 0);
        assert_eq!(without(&there, &there), [""; 0]);
        let mut told = on(A53, 0);
        let implementation = ImplementationV1::of(&there.constants).unwrap();
        told.implementations.push(implementation).unwrap();
        assert!(!without(&told, &there).is_empty(), "it has not asked");
        told.told = true;
        assert_eq!(without(&told, &there), [""; 0]);
    }

    #[test]
    fn a_core_that_is_mended_does_not_have_it() {
        let text = |revidr| without(&on(A76_R4P1, 0), &on(A53, revidr)).join("\n");
        assert!(text(0).contains("843419") && !text(FIXED_843419).contains("843419"));
        assert!(text(FIXED_843419).contains("845719"));
    }

    #[test]
    fn a_core_without_known_errata_is_named() {
        let text = numbers(&on(A53, 0), 0x610f_0221);
        assert!(text.contains("0x610f0221"), "{text}");
    }
}
