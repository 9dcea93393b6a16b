// SPDX-License-Identifier: BSD-2-Clause
//! How much of a program is loaded into memory from its file: what its size limit is about.

use anyhow::Context;
use object::Object;
use object::ObjectSegment;

use crate::workspace::{BARE_PROFILE, BARE_TARGET, Program, target_directory};

/// Bytes that are loaded from the file of `program`, as it was built last; debug information is not.
pub(crate) fn loaded(program: &Program) -> anyhow::Result<u64> {
    let path = target_directory()
        .join(BARE_TARGET)
        .join(BARE_PROFILE)
        .join(program.package);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    of_elf(&bytes).with_context(|| format!("{} is no ELF file", path.display()))
}

fn of_elf(bytes: &[u8]) -> anyhow::Result<u64> {
    let file = object::File::parse(bytes)?;
    Ok(file.segments().map(|segment| segment.file_range().1).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_loads_something_but_not_its_debug_information() {
        let own = std::env::current_exe().unwrap();
        let bytes = std::fs::read(own).unwrap();
        let loaded = of_elf(&bytes).unwrap();
        assert!(loaded > 0 && loaded < bytes.len() as u64);
        assert!(of_elf(b"no program").is_err());
    }
}
