// SPDX-License-Identifier: BSD-2-Clause
//! Files that are read and written whole, with their path in the error.

use std::path::Path;

use crate::{ImageError, files};

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    std::fs::read(path).map_err(|source| ImageError::Read {
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), ImageError> {
    files::replace(path, content).map_err(|source| ImageError::Write {
        path: path.to_owned(),
        source,
    })
}
