// SPDX-License-Identifier: BSD-2-Clause
//! Every source file says under which licence it is, in its first line; a script in the line after its interpreter's.

use std::path::{Path, PathBuf};

use crate::workspace::root;

const IDENTIFIER: &str = "SPDX-License-Identifier: BSD-2-Clause";

/// The line that a file of this name and content has to have, and which one it is; none for what is no source file.
fn expected(path: &Path, content: &str) -> Option<(usize, String)> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => Some((0, format!("// {IDENTIFIER}"))),
        Some("S" | "ld") => Some((0, format!("/* {IDENTIFIER} */"))),
        _ if content.starts_with("#!/") => Some((1, format!("# {IDENTIFIER}"))),
        _ => None,
    }
}

fn says_it(path: &Path, content: &str) -> bool {
    expected(path, content)
        .is_none_or(|(number, line)| content.lines().nth(number) == Some(line.as_str()))
}

/// All files but what git keeps, what cargo builds and what a fuzzer collects.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let built = path.join("CACHEDIR.TAG").exists() || path.ends_with("fuzz/corpus");
        if path.is_symlink() || built || path.ends_with(".git") {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_source_file_names_its_licence() {
    let mut all = Vec::new();
    files(root(), &mut all);
    let (mut sources, mut silent) = (0, Vec::new());
    for path in all {
        let Ok(content) = std::fs::read_to_string(&path) else {
            continue;
        };
        sources += usize::from(expected(&path, &content).is_some());
        if !says_it(&path, &content) {
            silent.push(path);
        }
    }
    assert_eq!(silent, Vec::<PathBuf>::new(), "without \"{IDENTIFIER}\"");
    assert!(sources > 500, "only {sources} source files were found");
}

#[test]
fn the_line_is_wanted_in_the_files_own_form_and_place() {
    let says = |name: &str, content: &str| says_it(Path::new(name), content);
    assert!(says("a.rs", &format!("// {IDENTIFIER}\n//! A file.\n")));
    assert!(!says("a.rs", &format!("//! A file.\n// {IDENTIFIER}\n")));
    assert!(says("a.ld", &format!("/* {IDENTIFIER} */\n")));
    assert!(!says("a.ld", &format!("// {IDENTIFIER}\n")));
    assert!(says("run", &format!("#!/bin/sh\n# {IDENTIFIER}\n")));
    assert!(!says("run", "#!/bin/sh\n"));
    assert!(says("README.md", "No source file.\n"));
}
