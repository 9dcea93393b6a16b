// SPDX-License-Identifier: BSD-2-Clause
use guest_bundle::Bundle;

use super::linux::tests::{gzip, image};
use super::*;

const RAM: u64 = 64 << 20;

/// A directory that is removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("godwit-guest-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn guest(program: Program) -> Guest {
    Guest {
        program,
        vcpus: 2,
        arguments: "quiet".to_owned(),
        seeds: None,
    }
}

/// Why a guest is refused; prints no bundle if it is not.
fn refused(guest: Option<&Guest>, ram: u64) -> GuestError {
    bundle(guest, ram).map(|bytes| bytes.len()).unwrap_err()
}

#[test]
fn a_linux_guest_is_kernel_tree_and_initramfs() {
    let scratch = Scratch::new("linux");
    let kernel = scratch.file("Image.gz", &gzip(&image(0, 0x123_4567, 0)));
    let initramfs = Some(scratch.file("initramfs", b"070701"));
    let bytes = bundle(Some(&guest(Program::Linux { kernel, initramfs })), RAM).unwrap();
    let bundle = Bundle::parse(&bytes, RAM).unwrap();
    assert_eq!((bundle.vcpus(), bundle.entry()), (2, RAM_BASE));
    let segments: Vec<_> = bundle.segments().collect();
    assert_eq!(
        (segments[0].size, segments[0].mem_size),
        (0x3000, 0x123_4567)
    );
    assert_eq!(segments[1].ipa, bundle.device_tree());
    assert_eq!(
        segments[1].ipa,
        RAM_BASE + 0x140_0000,
        "above the kernel's uninitialised data"
    );
    let tree = fdt::Fdt::new(segments[1].data(&bytes)).unwrap();
    let chosen = tree.find_node("/chosen").unwrap();
    let start = chosen.property("linux,initrd-start").unwrap().value;
    assert_eq!(
        u64::from_be_bytes(start.try_into().unwrap()),
        segments[2].ipa
    );
    assert_eq!(segments[2].data(&bytes), b"070701");
}

#[test]
fn a_kernels_text_offset_is_kept() {
    let scratch = Scratch::new("offset");
    let kernel = scratch.file("Image", &image(0x8_0000, 0x20_0000, 0));
    let bytes = bundle(
        Some(&guest(Program::Linux {
            kernel,
            initramfs: None,
        })),
        RAM,
    )
    .unwrap();
    let bundle = Bundle::parse(&bytes, RAM).unwrap();
    assert_eq!(bundle.entry(), RAM_BASE + 0x8_0000);
    assert_eq!(bundle.segments().count(), 2);
}

#[test]
fn a_flat_guest_starts_at_its_first_byte_with_the_tree_above() {
    let scratch = Scratch::new("flat");
    let file = scratch.file("flat", &[0x55; 100]);
    let bytes = bundle(
        Some(&guest(Program::Flat {
            file,
            load: 0x4200_0000,
            tree: None,
        })),
        RAM,
    )
    .unwrap();
    let bundle = Bundle::parse(&bytes, RAM).unwrap();
    assert_eq!(bundle.entry(), 0x4200_0000);
    let segments: Vec<_> = bundle.segments().collect();
    assert_eq!((segments[0].ipa, segments[0].size), (0x4200_0000, 100));
    assert_eq!(bundle.device_tree(), RAM_BASE + RAM - (2 << 20));
    let tree = fdt::Fdt::new(segments[1].data(&bytes)).unwrap();
    assert_eq!(tree.chosen().bootargs(), Some("quiet"));
}

#[test]
fn what_does_not_fit_is_refused_with_its_size() {
    let scratch = Scratch::new("fit");
    let kernel = scratch.file("Image", &image(0, RAM + 1, 0));
    let error = refused(
        Some(&guest(Program::Linux {
            kernel,
            initramfs: None,
        })),
        RAM,
    );
    assert!(
        error
            .to_string()
            .contains("the kernel with its uninitialised data needs 0x4000001 bytes"),
        "{error}"
    );
    let kernel = scratch.file("Image", &image(0, 0x1000, 0));
    let initramfs = Some(scratch.file("initramfs", &vec![0; 61 << 20]));
    let error = refused(Some(&guest(Program::Linux { kernel, initramfs })), RAM);
    assert!(
        matches!(
            error,
            GuestError::DoesNotFit {
                what: "the initramfs",
                ..
            }
        ),
        "{error}"
    );
    let file = scratch.file("flat", &[0; 8]);
    for load in [
        RAM_BASE - 4,
        RAM_BASE + RAM - 4,
        RAM_BASE + RAM - 8,
        u64::MAX - 3,
    ] {
        let error = refused(
            Some(&guest(Program::Flat {
                file: file.clone(),
                load,
                tree: None,
            })),
            RAM,
        );
        assert!(
            matches!(error, GuestError::DoesNotFit { .. }),
            "{load:#x}: {error}"
        );
    }
    let error = refused(
        Some(&guest(Program::Flat {
            file,
            load: RAM_BASE + 2,
            tree: None,
        })),
        RAM,
    );
    assert!(matches!(error, GuestError::LoadAddress(_)));
}

#[test]
fn a_guest_has_one_to_four_vcpus() {
    let scratch = Scratch::new("vcpus");
    let file = scratch.file("flat", &[0; 8]);
    for vcpus in [0, 5] {
        let flat = Program::Flat {
            file: file.clone(),
            load: RAM_BASE,
            tree: None,
        };
        let error = refused(
            Some(&Guest {
                vcpus,
                ..guest(flat)
            }),
            RAM,
        );
        assert!(matches!(error, GuestError::Vcpus(_)));
    }
}

#[test]
fn a_command_line_that_would_be_cut_is_refused() {
    let scratch = Scratch::new("arguments");
    let file = scratch.file("flat", &[0; 8]);
    for arguments in ["x".repeat(2048), "a\0b".to_owned()] {
        let flat = Program::Flat {
            file: file.clone(),
            load: RAM_BASE,
            tree: None,
        };
        let error = refused(
            Some(&Guest {
                arguments,
                seeds: None,
                ..guest(flat)
            }),
            RAM,
        );
        assert!(matches!(error, GuestError::Arguments { .. }));
    }
}

#[test]
fn a_board_without_a_guest_has_a_valid_bundle() {
    let bytes = bundle(None, RAM).unwrap();
    assert!(Bundle::parse(&bytes, RAM).unwrap().is_empty());
}

#[test]
fn a_missing_file_is_named() {
    let kernel = PathBuf::from("/nonexistent/Image");
    let error = refused(
        Some(&guest(Program::Linux {
            kernel,
            initramfs: None,
        })),
        RAM,
    );
    assert!(error.to_string().contains("/nonexistent/Image"), "{error}");
}

fn firmware(scratch: &Scratch, size: usize) -> Program {
    Program::Firmware {
        file: scratch.file("firmware", &vec![0x55; size]),
        kernel: None,
        initramfs: None,
    }
}

#[test]
fn firmware_starts_at_address_0_with_the_tree_at_the_start_of_ram_and_a_kernel_where_it_looks() {
    let scratch = Scratch::new("firmware");
    let mut program = firmware(&scratch, 100);
    if let Program::Firmware {
        kernel, initramfs, ..
    } = &mut program
    {
        *kernel = Some(scratch.file("Image", &image(0, 0x20_0000, 0)));
        *initramfs = Some(scratch.file("initramfs", b"070701"));
    }
    let ram = 128 << 20;
    let bytes = bundle(Some(&guest(program)), ram).unwrap();
    let bundle = Bundle::parse(&bytes, ram).unwrap();
    assert_eq!((bundle.entry(), bundle.device_tree()), (0, RAM_BASE));
    assert!(guest_bundle::has_firmware(bundle.identity()));
    let places: Vec<_> = bundle.segments().map(|segment| segment.ipa).collect();
    assert_eq!(places, [0, 0x4040_0000, 0x4400_0000, RAM_BASE]);
    let tree = bundle.segments().nth(3).unwrap();
    let tree = fdt::Fdt::new(tree.data(&bytes)).unwrap();
    let chosen = tree.find_node("/chosen").unwrap();
    let end = chosen.property("linux,initrd-end").unwrap().value;
    assert_eq!(u64::from_be_bytes(end.try_into().unwrap()), 0x4400_0006);
}

#[test]
fn firmware_that_is_nothing_or_too_much_is_refused() {
    let scratch = Scratch::new("firmware-sizes");
    let largest = usize::try_from(ROM_SIZE).unwrap();
    for size in [0, largest + 1] {
        let error = refused(Some(&guest(firmware(&scratch, size))), RAM);
        assert!(matches!(error, GuestError::Firmware { size: it, .. } if it == size));
        assert!(error.to_string().contains("1 to 2097152"), "{error}");
    }
    assert!(bundle(Some(&guest(firmware(&scratch, largest))), RAM).is_ok());
}

#[test]
fn a_flat_guests_tree_goes_where_it_is_wanted_or_not_at_all() {
    let scratch = Scratch::new("tree");
    let flat = |tree| {
        let file = scratch.file("flat", &[0x55; 0x1000]);
        let load = 0x4020_0000;
        guest(Program::Flat {
            file,
            load,
            tree: Some(tree),
        })
    };
    for wanted in [RAM_BASE, 0x4020_1000, 0x4100_0008] {
        let bytes = bundle(Some(&flat(wanted)), RAM).unwrap();
        assert_eq!(Bundle::parse(&bytes, RAM).unwrap().device_tree(), wanted);
    }
    for wanted in [0, 0x4020_0800, 0x401f_fff8, RAM_BASE + RAM, u64::MAX - 7] {
        let error = refused(Some(&flat(wanted)), RAM);
        assert!(matches!(error, GuestError::DoesNotFit { ipa, .. } if ipa == wanted));
    }
    let error = refused(Some(&flat(RAM_BASE + 4)), RAM);
    assert!(matches!(error, GuestError::TreeAddress(_)), "{error}");
}
