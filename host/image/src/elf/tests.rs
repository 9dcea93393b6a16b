// SPDX-License-Identifier: BSD-2-Clause
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, Sym, Writer};

use super::*;

/// A program of one segment at `vaddr` whose last 16 bytes are `.bss`, with symbols (name, address, size).
pub(crate) fn synthetic(vaddr: u64, content: &[u8], symbols: &[(&str, u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(object::Endianness::Little, true, &mut bytes);
    let names: Vec<_> = symbols
        .iter()
        .map(|(name, ..)| writer.add_string(name.as_bytes()))
        .collect();
    writer.reserve_file_header();
    writer.reserve_program_headers(1);
    let offset = writer.reserve(content.len(), 0x1000);
    writer.reserve_null_symbol_index();
    for _ in symbols {
        writer.reserve_symbol_index(None);
    }
    writer.reserve_symtab();
    writer.reserve_strtab();
    let data = writer.add_section_name(b".data");
    let data_index = writer.reserve_section_index();
    writer.reserve_symtab_section_index();
    writer.reserve_strtab_section_index();
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab();
    writer.reserve_section_headers();

    writer
        .write_file_header(&FileHeader {
            os_abi: 0,
            abi_version: 0,
            e_type: object::elf::ET_EXEC,
            e_machine: EM_AARCH64,
            e_entry: vaddr,
            e_flags: 0,
        })
        .unwrap();
    writer.write_align_program_headers();
    writer.write_program_header(&ProgramHeader {
        p_type: PT_LOAD,
        p_flags: PF_R | PF_W,
        p_offset: offset as u64,
        p_vaddr: vaddr,
        p_paddr: vaddr,
        p_filesz: content.len() as u64,
        p_memsz: content.len() as u64 + 16,
        p_align: 0x1000,
    });
    writer.write_align(0x1000);
    writer.write(content);
    writer.write_null_symbol();
    for ((_, address, size), name) in symbols.iter().zip(names) {
        writer.write_symbol(&Sym {
            name: Some(name),
            section: Some(data_index),
            st_info: 0x11,
            st_other: 0,
            st_shndx: 0,
            st_value: *address,
            st_size: *size,
        });
    }
    writer.write_strtab();
    writer.write_shstrtab();
    writer.write_null_section_header();
    writer.write_section_header(&SectionHeader {
        name: Some(data),
        sh_type: object::elf::SHT_PROGBITS,
        sh_flags: u64::from(object::elf::SHF_ALLOC | object::elf::SHF_WRITE),
        sh_addr: vaddr,
        sh_offset: offset as u64,
        sh_size: content.len() as u64,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: 8,
        sh_entsize: 0,
    });
    writer.write_symtab_section_header(1);
    writer.write_strtab_section_header();
    writer.write_shstrtab_section_header();
    bytes
}

fn program() -> Program {
    let symbols = [
        ("word", 0x20_0008, 8),
        ("half", 0x20_0010, 4),
        ("zeros", 0x20_0020, 8),
        ("out", 0x10, 8),
    ];
    Program::parse("p.elf", synthetic(0x20_0000, &[0x11; 32], &symbols)).unwrap()
}

#[test]
fn segments_and_symbols_are_found() {
    let program = program();
    assert_eq!(program.entry(), 0x20_0000);
    let [segment] = program.segments() else {
        panic!("one segment")
    };
    assert_eq!((segment.vaddr, segment.data.len()), (0x20_0000, 48));
    assert_eq!(segment.pages(0x1000), 0x20_0000..0x20_1000);
    assert_eq!(segment.rights.to_string(), "rw-");
    assert_eq!(
        program.symbol("word").unwrap(),
        Symbol {
            address: 0x20_0008,
            size: 8
        }
    );
    assert!(matches!(
        program.symbol("absent"),
        Err(ElfError::NoSymbol { .. })
    ));
}

#[test]
fn a_value_is_written_where_its_symbol_lies_in_memory_and_file() {
    let mut program = program();
    program.write_word("word", 0x1122_3344_5566_7788).unwrap();
    assert_eq!(
        program.segments()[0].data[8..16],
        0x1122_3344_5566_7788u64.to_le_bytes()
    );
    assert_eq!(
        program.segments()[0].data[..8],
        [0x11; 8],
        "nothing before it"
    );
    assert_eq!(
        program.segments()[0].data[16..32],
        [0x11; 16],
        "nothing after it"
    );
    let again = Program::parse("again", program.file().to_vec()).unwrap();
    assert_eq!(again.segments()[0].data, program.segments()[0].data);
}

#[test]
fn zeros_can_be_written_in_memory_but_not_in_the_file() {
    let mut program = program();
    program.write_word("zeros", 7).unwrap();
    assert_eq!(program.segments()[0].data[32], 7);
    let error = program.write_file("zeros", &[7; 8]).unwrap_err();
    assert!(matches!(error, ElfError::NotInFile { .. }));
    program.write_file("word", &[7; 8]).unwrap();
}

#[test]
fn symbols_of_another_size_or_outside_all_segments_are_refused() {
    let mut program = program();
    assert!(matches!(
        program.write_word("half", 1),
        Err(ElfError::SymbolSize { size: 4, .. })
    ));
    assert!(matches!(
        program.write_memory("half", &[0; 5]),
        Err(ElfError::SymbolSize { .. })
    ));
    assert!(matches!(
        program.write_word("out", 1),
        Err(ElfError::NotInFile { .. })
    ));
}

#[test]
fn two_symbols_of_one_name_are_refused() {
    let file = synthetic(0, &[0; 32], &[("x", 0, 8), ("x", 8, 8)]);
    let mut program = Program::parse("p.elf", file).unwrap();
    assert!(matches!(
        program.write_word("x", 1),
        Err(ElfError::Ambiguous { .. })
    ));
}

#[test]
fn other_files_and_other_machines_are_refused() {
    assert!(matches!(
        Program::parse("text", b"hello".to_vec()),
        Err(ElfError::Format { .. })
    ));
    let mut file = synthetic(0, &[0; 32], &[]);
    file[18] = 62; // e_machine of x86-64
    assert!(matches!(
        Program::parse("p.elf", file),
        Err(ElfError::Machine { machine: 62, .. })
    ));
    let mut file = synthetic(0, &[0; 32], &[]);
    file[64 + 0x20 + 7] = 0xff; // p_filesz beyond the file
    assert!(matches!(
        Program::parse("p.elf", file),
        Err(ElfError::Segment { .. })
    ));
}
