// SPDX-License-Identifier: BSD-2-Clause
//! What the image builder writes into the domains' programs.
//!
//! Responsible for: the symbols of Microkit's runtime and the description's variables (both as Microkit's tool writes
//! them), the table of invocation labels, and the numbers of a board's devices. Never: touches a symbol that is none of these.

use sel4_sys::{INVOCATION_LABELS_SYMBOL, InvocationLabels, PRINTING_SYMBOL, USER_TOP_SYMBOL};

use super::elf::{ElfError, Program};
use super::system::{System, Value};

/// Longest name that Microkit's runtime has room for, in bytes.
const NAME_LENGTH: usize = 64;

/// Writes into a domain's program what Microkit's tool would write.
///
/// `physical` gives a region's physical address by its index. Symbols that only other architectures use are written
/// if present.
///
/// # Errors
///
/// A symbol is missing or of another size.
pub fn patch(
    program: &mut Program,
    system: &System,
    domain: usize,
    physical: impl Fn(usize) -> u64,
) -> Result<(), ElfError> {
    let description = &system.domains[domain];
    let name = description.name.as_bytes();
    let (notifications, calls) = system.channel_masks(domain);
    program.write_memory("microkit_name", &name[..name.len().min(NAME_LENGTH)])?;
    program.write_memory("microkit_passive", &[u8::from(description.passive)])?;
    program.write_word("microkit_irqs", description.interrupt_mask())?;
    program.write_word("microkit_notifications", notifications)?;
    program.write_word("microkit_pps", calls)?;
    if program.has_symbol("microkit_ioports") {
        program.write_word("microkit_ioports", 0)?;
    }
    for variable in &description.variables {
        let value = match variable.value {
            Value::Number(number) => number,
            Value::Size(region) => system.regions[region].size,
            Value::PrefillSize(region) => {
                system.regions[region].prefill.as_ref().map_or(0, Vec::len) as u64
            }
            Value::PhysicalAddress(region) => physical(region),
        };
        program.write_word(&variable.symbol, value)?;
    }
    Ok(())
}

/// What domains must know about the kernel that they run on.
#[derive(Clone, Copy, Debug)]
pub struct KernelFacts {
    /// The labels of its invocations.
    pub labels: InvocationLabels,
    /// Whether it prints what a domain wants printed.
    pub printing: bool,
    /// The last address of a domain's memory.
    pub user_top: u64,
    /// The label of a call to the firmware, if it offers that.
    pub firmware_call: Option<u64>,
}

/// The symbol of that label.
const FIRMWARE_CALL_SYMBOL: &str = "sel4_smc_label";

/// Writes facts about the kernel into a program, its file included.
///
/// A domain without the table of labels makes no invocation, one without the other symbol does not print.
///
/// # Errors
///
/// A symbol is of another size, or not in the file.
pub fn patch_facts(program: &mut Program, facts: &KernelFacts) -> Result<(), ElfError> {
    if program.has_symbol(INVOCATION_LABELS_SYMBOL) {
        program.write_file(INVOCATION_LABELS_SYMBOL, &facts.labels.to_le_bytes())?;
    }
    if program.has_symbol(PRINTING_SYMBOL) {
        program.write_file(PRINTING_SYMBOL, &u64::from(facts.printing).to_le_bytes())?;
    }
    if program.has_symbol(USER_TOP_SYMBOL) {
        program.write_file(USER_TOP_SYMBOL, &facts.user_top.to_le_bytes())?;
    }
    if let Some(label) = facts.firmware_call
        && program.has_symbol(FIRMWARE_CALL_SYMBOL)
    {
        program.write_file(FIRMWARE_CALL_SYMBOL, &label.to_le_bytes())?;
    }
    Ok(())
}

/// Writes a board's numbers into a program, its file included.
///
/// A program that has no use for one of them lacks its symbol.
///
/// # Errors
///
/// A symbol is of another size, or not in the file.
pub fn patch_variables(
    program: &mut Program,
    variables: impl IntoIterator<Item = (&'static str, u64)>,
) -> Result<(), ElfError> {
    for (symbol, value) in variables {
        if program.has_symbol(symbol) {
            program.write_file(symbol, &value.to_le_bytes())?;
        }
    }
    Ok(())
}

/// Where a program that looks after a guest finds what that may rely on: as many bytes as a record of it can have.
const PROMISE_SYMBOL: &str = "guest_promise";

/// Writes what a guest may rely on into a program, its file included, if it wants to know.
///
/// # Errors
///
/// It is longer than the symbol, or the symbol not in the file.
pub fn patch_promise(program: &mut Program, record: &[u8]) -> Result<(), ElfError> {
    if program.has_symbol(PROMISE_SYMBOL) {
        program.write_file(PROMISE_SYMBOL, record)?;
    }
    Ok(())
}

/// Where a program that tells others on which board it runs finds the name: as many bytes as a record has room for.
const BOARD_NAME_SYMBOL: &str = "board_name";

/// Writes the board's name into a program, its file included, if it wants to know.
///
/// # Errors
///
/// The name is longer than the symbol, or the symbol not in the file.
pub fn patch_board_name(program: &mut Program, name: &str) -> Result<(), ElfError> {
    if program.has_symbol(BOARD_NAME_SYMBOL) {
        program.write_file(BOARD_NAME_SYMBOL, name.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::elf::tests::synthetic;
    use super::super::system::Prefill;
    use super::*;

    const XML: &str = r#"<system>
  <memory_region name="filled" prefill_path="f" />
  <memory_region name="dma" size="0x3000" />
  <protection_domain name="one" priority="9" passive="true">
    <program_image path="one.elf" />
    <map mr="filled" vaddr="0x1000000" setvar_vaddr="at" setvar_size="size" setvar_prefill_size="filled" />
    <map mr="dma" vaddr="0x2000000" />
    <setvar symbol="dma" region_paddr="dma" />
    <irq irq="33" id="4" setvar_id="irq" />
    <irq irq="34" id="61" />
  </protection_domain>
  <protection_domain name="two" priority="8"><program_image path="two.elf" /></protection_domain>
  <channel><end pd="one" id="1" notify="false" /><end pd="two" id="2" pp="true" /></channel>
  <channel><end pd="two" id="7" /><end pd="one" id="6" /></channel>
</system>"#;

    fn written(domain: usize, symbol: &str, size: u64) -> Vec<u8> {
        let prefill = Prefill::from([("f".to_owned(), vec![1; 5])]);
        let system = System::parse("t.xml", XML, &prefill).unwrap();
        let words = [
            "microkit_irqs",
            "microkit_notifications",
            "microkit_pps",
            "at",
            "size",
            "filled",
            "dma",
            "irq",
        ];
        let mut symbols = vec![("microkit_name", 0x80, 64), ("microkit_passive", 0xc0, 1)];
        symbols.extend(
            words
                .iter()
                .zip(0..)
                .map(|(name, index)| (*name, index * 8, 8)),
        );
        let mut program = Program::parse("p.elf", synthetic(0, &[0; 0x100], &symbols)).unwrap();
        patch(&mut program, &system, domain, |region| {
            0x6000_0000 + region as u64
        })
        .unwrap();
        let at = usize::try_from(program.symbol(symbol).unwrap().address).unwrap();
        program.segments()[0].data[at..at + usize::try_from(size).unwrap()].to_vec()
    }

    fn word(domain: usize, symbol: &str) -> u64 {
        u64::from_le_bytes(written(domain, symbol, 8).try_into().unwrap())
    }

    #[test]
    fn the_runtimes_symbols_are_written_as_by_microkits_tool() {
        assert_eq!(written(0, "microkit_name", 4), b"one\0");
        assert_eq!(written(0, "microkit_passive", 1), [1]);
        assert_eq!(written(1, "microkit_passive", 1), [0]);
        assert_eq!(word(0, "microkit_irqs"), 1 << 4 | 1 << 61);
        assert_eq!(
            (word(0, "microkit_notifications"), word(0, "microkit_pps")),
            (1 << 6, 0)
        );
        assert_eq!(
            (word(1, "microkit_notifications"), word(1, "microkit_pps")),
            (1 << 2 | 1 << 7, 1 << 2)
        );
    }

    #[test]
    fn variables_of_every_kind_are_written() {
        assert_eq!(word(0, "at"), 0x100_0000);
        assert_eq!(word(0, "size"), 0x1000);
        assert_eq!(word(0, "filled"), 5);
        assert_eq!(word(0, "dma"), 0x6000_0001);
        assert_eq!(word(0, "irq"), 4);
    }

    #[test]
    fn a_program_without_a_variables_symbol_is_refused() {
        let prefill = Prefill::from([("f".to_owned(), vec![1; 5])]);
        let system = System::parse("t.xml", XML, &prefill).unwrap();
        let mut program = Program::parse(
            "p.elf",
            synthetic(0, &[0; 0x100], &[("microkit_name", 0x80, 64)]),
        )
        .unwrap();
        let error = patch(&mut program, &system, 0, |_| 0).unwrap_err();
        assert!(matches!(error, ElfError::NoSymbol { symbol, .. } if symbol == "microkit_passive"));
    }

    const FACTS: KernelFacts = KernelFacts {
        labels: InvocationLabels::DEFAULT,
        printing: true,
        user_top: (1 << 44) - 1,
        firmware_call: None,
    };

    fn with_symbols(symbols: &[(&str, u64, u64)]) -> Program {
        Program::parse("p.elf", synthetic(0, &[0; 0x100], symbols)).unwrap()
    }

    #[test]
    fn facts_about_the_kernel_are_written_into_the_file() {
        let size = InvocationLabels::SIZE as u64;
        let mut program = with_symbols(&[
            (INVOCATION_LABELS_SYMBOL, 0x10, size),
            (PRINTING_SYMBOL, 0x80, 8),
            (USER_TOP_SYMBOL, 0x88, 8),
        ]);
        patch_facts(&mut program, &FACTS).unwrap();
        let again = Program::parse("again", program.file().to_vec()).unwrap();
        let data = &again.segments()[0].data;
        assert_eq!(
            data[0x10..0x10 + InvocationLabels::SIZE],
            FACTS.labels.to_le_bytes()
        );
        assert_eq!(data[0x80..0x88], [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(data[0x88..0x90], [0xff, 0xff, 0xff, 0xff, 0xff, 0xf, 0, 0]);
    }

    #[test]
    fn a_boards_numbers_are_written_where_the_program_has_a_place_for_them() {
        let mut program = with_symbols(&[("device_clock", 0x10, 8)]);
        patch_variables(&mut program, [("device_clock", 24), ("device_baud", 9600)]).unwrap();
        let again = Program::parse("again", program.file().to_vec()).unwrap();
        assert_eq!(again.segments()[0].data[0x10..0x18], 24_u64.to_le_bytes());
        let mut short = with_symbols(&[("device_clock", 0x10, 4)]);
        assert!(matches!(
            patch_variables(&mut short, [("device_clock", 24)]),
            Err(ElfError::SymbolSize { .. })
        ));
    }

    #[test]
    fn a_program_that_wants_no_facts_gets_none_and_one_that_cannot_hold_them_is_refused() {
        patch_facts(&mut with_symbols(&[]), &FACTS).unwrap();
        let size = InvocationLabels::SIZE as u64;
        let mut in_bss = with_symbols(&[(INVOCATION_LABELS_SYMBOL, 0xf8, size)]);
        assert!(patch_facts(&mut in_bss, &FACTS).is_err());
        let mut short = with_symbols(&[(PRINTING_SYMBOL, 0x80, 4)]);
        assert!(matches!(
            patch_facts(&mut short, &FACTS),
            Err(ElfError::SymbolSize { .. })
        ));
    }
}
