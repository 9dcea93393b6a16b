// SPDX-License-Identifier: BSD-2-Clause
//! Programs: the ELF files of the domains and of the kernel, and the symbols that are written into them.
//!
//! Responsible for: loadable segments, symbols by name, and writing values where a symbol lies, as Microkit's tool
//! does. Never: decides what is written ([`super::symbols`] does), relocates, or accepts a file for another machine.

use std::collections::BTreeMap;
use std::ops::Range;

use object::elf::{EM_AARCH64, PF_R, PF_W, PF_X, PT_LOAD};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{LittleEndian, Object, ObjectSymbol};

use super::system::Rights;

/// What is wrong with a program.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// Not an ELF file, or damaged.
    #[error("{program}: {source}")]
    Format {
        /// Name of the program.
        program: String,
        /// What the parser found.
        source: object::Error,
    },
    /// An ELF file for another machine.
    #[error("{program} is for ELF machine {machine}, not for AArch64")]
    Machine {
        /// Name of the program.
        program: String,
        /// `e_machine`.
        machine: u16,
    },
    /// A segment that cannot be loaded: it shares a page with another of other rights, or its sizes contradict.
    #[error("{program}: segment at {vaddr:#x} is malformed")]
    Segment {
        /// Name of the program.
        program: String,
        /// Its first address.
        vaddr: u64,
    },
    /// A symbol that must be there is not.
    #[error("{program} has no symbol '{symbol}'")]
    NoSymbol {
        /// Name of the program.
        program: String,
        /// The symbol.
        symbol: String,
    },
    /// Two symbols of one name.
    #[error("{program} has several symbols '{symbol}'")]
    Ambiguous {
        /// Name of the program.
        program: String,
        /// The symbol.
        symbol: String,
    },
    /// A symbol is smaller than what is to be written, or not of the size of a word.
    #[error("{program}: symbol '{symbol}' has {size} bytes, needs {needed}")]
    SymbolSize {
        /// Name of the program.
        program: String,
        /// The symbol.
        symbol: String,
        /// Its size in bytes.
        size: u64,
        /// What it should be.
        needed: u64,
    },
    /// A symbol outside all segments, or (where the file itself is patched) in memory that the file does not hold.
    #[error("{program}: symbol '{symbol}' is not in the file's data")]
    NotInFile {
        /// Name of the program.
        program: String,
        /// The symbol.
        symbol: String,
    },
}

/// Where a symbol lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its address.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// A part of a program as it lies in memory.
#[derive(Clone, Debug)]
pub struct Segment {
    /// First virtual address, not necessarily aligned to a page.
    pub vaddr: u64,
    /// Physical address, where that matters (the kernel).
    pub paddr: u64,
    /// Its bytes, those that the file leaves out (`.bss`) included.
    pub data: Vec<u8>,
    /// How the program uses it.
    pub rights: Rights,
    /// The part of the file that holds its first bytes.
    file: Range<usize>,
}

impl Segment {
    /// Its addresses, extended to whole pages of `page` bytes.
    #[must_use]
    pub fn pages(&self, page: u64) -> Range<u64> {
        let end = self.vaddr + self.data.len() as u64;
        self.vaddr / page * page..end.next_multiple_of(page)
    }
}

/// A program.
#[derive(Clone, Debug)]
pub struct Program {
    name: String,
    file: Vec<u8>,
    entry: u64,
    segments: Vec<Segment>,
    symbols: BTreeMap<String, Vec<Symbol>>,
}

impl Program {
    /// Reads an ELF file. `name` is for messages.
    ///
    /// # Errors
    ///
    /// The file is not a 64-bit little-endian AArch64 program.
    pub fn parse(name: &str, file: Vec<u8>) -> Result<Self, ElfError> {
        let format = |source| ElfError::Format {
            program: name.to_owned(),
            source,
        };
        let elf = ElfFile64::<LittleEndian>::parse(&*file).map_err(format)?;
        let machine = elf.elf_header().e_machine(LittleEndian);
        if machine != EM_AARCH64 {
            return Err(ElfError::Machine {
                program: name.to_owned(),
                machine,
            });
        }
        let mut segments = Vec::new();
        for header in elf.elf_program_headers() {
            if header.p_type(LittleEndian) == PT_LOAD && header.p_memsz(LittleEndian) != 0 {
                let vaddr = header.p_vaddr(LittleEndian);
                let malformed = || ElfError::Segment {
                    program: name.to_owned(),
                    vaddr,
                };
                segments.push(segment(header, &file).ok_or_else(malformed)?);
            }
        }
        let mut symbols: BTreeMap<String, Vec<Symbol>> = BTreeMap::new();
        for symbol in elf.symbols().filter(|symbol| !symbol.is_undefined()) {
            let place = Symbol {
                address: symbol.address(),
                size: symbol.size(),
            };
            symbols
                .entry(symbol.name().map_err(format)?.to_owned())
                .or_default()
                .push(place);
        }
        Ok(Self {
            name: name.to_owned(),
            entry: elf.entry(),
            segments,
            symbols,
            file,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Address of its first instruction.
    #[must_use]
    pub const fn entry(&self) -> u64 {
        self.entry
    }

    /// Its loadable segments.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The file, with whatever has been written.
    #[must_use]
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// Whether it has a symbol.
    #[must_use]
    pub fn has_symbol(&self, name: &str) -> bool {
        self.symbols.contains_key(name)
    }

    /// Finds a symbol.
    ///
    /// # Errors
    ///
    /// There is none of this name, or more than one.
    pub fn symbol(&self, name: &str) -> Result<Symbol, ElfError> {
        match self.symbols.get(name).map(Vec::as_slice) {
            Some(&[symbol]) => Ok(symbol),
            Some(_) => Err(ElfError::Ambiguous {
                program: self.name.clone(),
                symbol: name.to_owned(),
            }),
            None => Err(ElfError::NoSymbol {
                program: self.name.clone(),
                symbol: name.to_owned(),
            }),
        }
    }

    /// Writes bytes to where a symbol lies, from its first byte on. Tells whether the file holds them too.
    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<bool, ElfError> {
        let symbol = self.symbol(name)?;
        let needed = bytes.len() as u64;
        if symbol.size < needed {
            let (program, symbol_name) = (self.name.clone(), name.to_owned());
            return Err(ElfError::SymbolSize {
                program,
                symbol: symbol_name,
                size: symbol.size,
                needed,
            });
        }
        for segment in &mut self.segments {
            let offset = symbol
                .address
                .checked_sub(segment.vaddr)
                .and_then(|offset| usize::try_from(offset).ok());
            let Some(offset) = offset else { continue };
            let Some(target) = segment
                .data
                .get_mut(offset..)
                .and_then(|rest| rest.get_mut(..bytes.len()))
            else {
                continue;
            };
            target.copy_from_slice(bytes);
            let in_file = segment.file.start + offset..segment.file.start + offset + bytes.len();
            let held = in_file.end <= segment.file.end;
            if held {
                self.file[in_file].copy_from_slice(bytes);
            }
            return Ok(held);
        }
        Err(ElfError::NotInFile {
            program: self.name.clone(),
            symbol: name.to_owned(),
        })
    }

    /// Writes bytes to where a symbol lies in memory.
    ///
    /// # Errors
    ///
    /// There is no such symbol, or it is smaller than the bytes.
    pub fn write_memory(&mut self, name: &str, bytes: &[u8]) -> Result<(), ElfError> {
        self.write(name, bytes).map(|_| ())
    }

    /// Writes bytes to where a symbol lies, so that [`Program::file`] has them.
    ///
    /// # Errors
    ///
    /// There is no such symbol, it is smaller than the bytes, or it lies in zeros that the file leaves out.
    pub fn write_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), ElfError> {
        match self.write(name, bytes)? {
            true => Ok(()),
            false => Err(ElfError::NotInFile {
                program: self.name.clone(),
                symbol: name.to_owned(),
            }),
        }
    }

    /// Writes a word to a symbol that must have its size, so that nothing next to it is overwritten.
    ///
    /// # Errors
    ///
    /// There is no such symbol, or it has another size.
    pub fn write_word(&mut self, name: &str, value: u64) -> Result<(), ElfError> {
        let size = self.symbol(name)?.size;
        if size != 8 {
            let (program, symbol) = (self.name.clone(), name.to_owned());
            return Err(ElfError::SymbolSize {
                program,
                symbol,
                size,
                needed: 8,
            });
        }
        self.write_memory(name, &value.to_le_bytes())
    }
}

fn segment(header: &object::elf::ProgramHeader64<LittleEndian>, file: &[u8]) -> Option<Segment> {
    let flags = header.p_flags(LittleEndian);
    let start = usize::try_from(header.p_offset(LittleEndian)).ok()?;
    let held = usize::try_from(header.p_filesz(LittleEndian)).ok()?;
    let size = usize::try_from(header.p_memsz(LittleEndian)).ok()?;
    let vaddr = header.p_vaddr(LittleEndian);
    // Far above any program, and keeps a damaged header from allocating all memory.
    if size > 1 << 30 || held > size || vaddr.checked_add(size as u64).is_none() {
        return None;
    }
    let mut data = file.get(start..start.checked_add(held)?)?.to_vec();
    data.resize(size, 0);
    let rights = Rights {
        read: flags & PF_R != 0,
        write: flags & PF_W != 0,
        execute: flags & PF_X != 0,
    };
    Some(Segment {
        vaddr,
        paddr: header.p_paddr(LittleEndian),
        data,
        rights,
        file: start..start + held,
    })
}

#[cfg(test)]
pub(crate) mod tests;
