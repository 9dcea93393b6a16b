// SPDX-License-Identifier: BSD-2-Clause
//! What is written is what is read, and each rule refuses what breaks it.

use std::ops::Range;

use proptest::prelude::*;

use crate::builder::ImageBuilder;
use crate::{
    Capability, Description, Domain, ImageError, KERNEL_BASE, Load, Mapping, Object, PAGE_SIZE,
    Parent, Rights, Space, Table, Trigger, Vcpu, Vm,
};

const RAM: Range<u64> = 0x6000_0000..0xC000_0000;
const POOL: Range<u64> = 0x6000_0000..0x6010_0000;
const KERNEL: [u8; 5000] = [0xAA; 5000];
const READ_WRITE: Rights = Rights {
    read: true,
    write: true,
    execute: false,
};

fn domain(name: &str, index: u64, parent: Option<Parent>) -> Domain<'_> {
    Domain {
        name,
        priority: 100,
        passive: index == 1,
        fpu: false,
        budget: 1000,
        period: 1000,
        entry: 0x20_0000,
        stack_top: 0xFF_FFFF_E000,
        ipc_buffer: 0xFF_FFFF_F000,
        ipc_buffer_physical: 0x6010_0000 + index * PAGE_SIZE,
        parent,
    }
}

fn mapping(space: Space, address: u64, physical: u64) -> Mapping {
    Mapping {
        space,
        address,
        physical,
        length: PAGE_SIZE,
        rights: READ_WRITE,
        cached: true,
    }
}

/// Three domains, the third a child of the first, and a VM with two vCPUs.
fn system() -> ImageBuilder {
    let mut builder = ImageBuilder::new();
    let parent = Parent {
        domain: 0,
        child: 5,
    };
    for (index, (name, parent)) in [("first", None), ("second", None), ("third", Some(parent))]
        .into_iter()
        .enumerate()
    {
        let domain = domain(name, index as u64, parent);
        assert_eq!(builder.add_domain(&domain), Ok(index));
        builder.add_mapping(&mapping(
            Space::Domain(index),
            domain.ipc_buffer,
            domain.ipc_buffer_physical,
        ));
        builder.add_load(domain.ipc_buffer_physical, PAGE_SIZE, &[1, 2, 3, 0, 0]);
    }
    let vm = builder
        .add_vm(&Vm {
            name: "guest",
            owner: 0,
        })
        .unwrap();
    for id in 0..2 {
        let vcpu = Vcpu {
            vm,
            id,
            priority: 50,
            budget: 50,
            period: 100,
        };
        let vcpu = builder.add_vcpu(&vcpu);
        let slot = |base: u32| base + id;
        for (slot, object) in [
            (slot(266), Object::VmThread { vcpu }),
            (slot(330), Object::Vcpu { vcpu }),
        ] {
            builder.add_capability(&Capability {
                owner: 0,
                slot,
                object,
            });
        }
    }
    builder.add_mapping(&mapping(Space::Vm(vm), 0x801_0000, 0x804_0000));
    for capability in capabilities() {
        builder.add_capability(&capability);
    }
    builder
}

fn capabilities() -> [Capability; 4] {
    let interrupt = Object::Interrupt {
        intid: 33,
        trigger: Trigger::Edge,
        badge: 1 << 7,
    };
    [
        Capability {
            owner: 1,
            slot: 10,
            object: Object::Notification {
                domain: 0,
                badge: 1 << 3,
            },
        },
        Capability {
            owner: 1,
            slot: 74,
            object: Object::Endpoint {
                domain: 0,
                badge: 1 << 63 | 3,
            },
        },
        Capability {
            owner: 1,
            slot: 138 + 7,
            object: interrupt,
        },
        Capability {
            owner: 0,
            slot: 202 + 5,
            object: Object::Child { domain: 2 },
        },
    ]
}

fn finish(builder: &ImageBuilder) -> Result<Vec<u8>, ImageError> {
    builder.finish(&KERNEL, RAM, POOL)
}

/// The error of the system with one more capability.
fn refused(capability: Capability) -> ImageError {
    let mut builder = system();
    builder.add_capability(&capability);
    finish(&builder).unwrap_err()
}

/// The error of the system with one more mapping.
fn refused_mapping(mapping: &Mapping) -> ImageError {
    let mut builder = system();
    builder.add_mapping(mapping);
    finish(&builder).unwrap_err()
}

#[test]
fn what_is_written_is_read() {
    let image = finish(&system()).unwrap();
    assert_eq!(image[..KERNEL.len()], KERNEL);
    let description = Description::parse(&image[8192..]).unwrap();
    description.verify_payload().unwrap();
    assert_eq!((description.ram(), description.pool()), (RAM, POOL));
    assert_eq!(description.length(), image.len() as u64 - 8192);

    let domains: Vec<_> = description.domains().map(Result::unwrap).collect();
    let parent = Parent {
        domain: 0,
        child: 5,
    };
    assert_eq!(domains[1], domain("second", 1, None));
    assert_eq!(domains[2], domain("third", 2, Some(parent)));
    assert_eq!(
        description.vms().next().unwrap(),
        Ok(Vm {
            name: "guest",
            owner: 0
        })
    );
    assert_eq!(
        description.vcpus().nth(1).unwrap(),
        Ok(Vcpu {
            vm: 0,
            id: 1,
            priority: 50,
            budget: 50,
            period: 100
        })
    );
    assert_eq!(
        description.mappings().last().unwrap(),
        Ok(mapping(Space::Vm(0), 0x801_0000, 0x804_0000))
    );
    let read: Vec<_> = description
        .capabilities()
        .skip(4)
        .map(Result::unwrap)
        .collect();
    assert_eq!(read, capabilities());
    assert_eq!(
        description.loads().nth(1).unwrap(),
        Ok(Load {
            physical: 0x6010_1000,
            length: PAGE_SIZE,
            bytes: &[1, 2, 3]
        })
    );
}

#[test]
fn image_length_is_the_length_of_the_image() {
    let builder = system();
    let image = finish(&builder).unwrap();
    let length = (image.len() as u64).next_multiple_of(PAGE_SIZE);
    assert_eq!(builder.image_length(&KERNEL), length);
}

#[test]
fn a_pool_smaller_than_the_tables_need_is_refused() {
    let builder = system();
    let least = POOL.start..POOL.start + builder.pool_length();
    assert!(builder.finish(&KERNEL, RAM, least.clone()).is_ok());
    let less = least.start..least.end - PAGE_SIZE;
    assert_eq!(builder.finish(&KERNEL, RAM, less), Err(ImageError::Ranges));
}

#[test]
fn whole_blocks_need_no_last_level_table() {
    let mut builder = system();
    let before = builder.pool_length();
    let block = Mapping {
        length: 0x800_0000,
        ..mapping(Space::Vm(0), 0x4000_0000, 0x8000_0000)
    };
    builder.add_mapping(&block);
    // One level 2 table.
    assert_eq!(builder.pool_length(), before + PAGE_SIZE);
    builder.add_mapping(&Mapping {
        physical: 0x8000_1000,
        ..block
    });
    assert_eq!(builder.pool_length(), before + 65 * PAGE_SIZE);
}

#[test]
fn memory_of_the_kernel_is_refused() {
    for physical in [
        KERNEL_BASE,
        KERNEL_BASE + 8192,
        POOL.start,
        0x800_0000,
        0x803_0000,
    ] {
        let error = refused_mapping(&mapping(Space::Domain(0), 0x100_0000, physical));
        assert_eq!(
            error,
            ImageError::KernelOnly {
                table: Table::Mappings,
                index: 4,
                value: physical
            }
        );
    }
    let mut builder = system();
    builder.add_load(KERNEL_BASE, PAGE_SIZE, &[]);
    let error = finish(&builder).unwrap_err();
    assert_eq!(
        error,
        ImageError::KernelOnly {
            table: Table::Loads,
            index: 3,
            value: KERNEL_BASE
        }
    );
}

#[test]
fn memory_outside_the_ram_range_is_refused() {
    for physical in [0x5FFF_F000, RAM.end] {
        let error = refused_mapping(&mapping(Space::Domain(0), 0x100_0000, physical));
        assert!(
            matches!(error, ImageError::Address { field: "physical", value, .. } if value == physical)
        );
    }
}

#[test]
fn mappings_of_one_space_do_not_overlap_and_of_two_may() {
    let again = mapping(Space::Domain(0), 0xFF_FFFF_F000, 0x6020_0000);
    assert!(matches!(
        refused_mapping(&again),
        ImageError::Conflict {
            other: 0,
            field: "address",
            ..
        }
    ));
    let mut builder = system();
    builder.add_mapping(&Mapping {
        space: Space::Vm(0),
        ..again
    });
    assert!(finish(&builder).is_ok());
}

#[test]
fn unaligned_empty_and_wrapping_mappings_are_refused() {
    let good = mapping(Space::Domain(0), 0x100_0000, 0x6020_0000);
    for bad in [
        Mapping {
            address: 0x100_0800,
            ..good
        },
        Mapping {
            physical: 0x6020_0001,
            ..good
        },
        Mapping { length: 0, ..good },
        Mapping {
            length: 100,
            ..good
        },
        Mapping {
            address: 1 << 40,
            ..good
        },
        Mapping {
            address: u64::MAX - 0xFFF,
            ..good
        },
    ] {
        assert!(
            matches!(refused_mapping(&bad), ImageError::Address { .. }),
            "{bad:x?}"
        );
    }
    let unreadable = Rights {
        read: false,
        write: true,
        execute: false,
    };
    let error = refused_mapping(&Mapping {
        rights: unreadable,
        ..good
    });
    assert!(matches!(
        error,
        ImageError::Invalid {
            field: "rights",
            ..
        }
    ));
}

#[test]
fn an_ipc_buffer_that_is_not_the_domains_own_page_is_refused() {
    let mut builder = system();
    let elsewhere = Domain {
        ipc_buffer_physical: 0x6010_0000,
        ..domain("fourth", 3, None)
    };
    builder.add_domain(&elsewhere).unwrap();
    builder.add_mapping(&mapping(
        Space::Domain(3),
        elsewhere.ipc_buffer,
        0x6010_3000,
    ));
    let error = finish(&builder).unwrap_err();
    assert!(matches!(
        error,
        ImageError::Address {
            field: "ipc_buffer_physical",
            ..
        }
    ));
}

#[test]
fn interrupts_of_the_kernel_are_refused() {
    for intid in [25, 26, 27] {
        let object = Object::Interrupt {
            intid,
            trigger: Trigger::Level,
            badge: 1,
        };
        let error = refused(Capability {
            owner: 0,
            slot: 138,
            object,
        });
        assert!(matches!(error, ImageError::KernelOnly { .. }), "{intid}");
    }
}

#[test]
fn an_interrupt_has_one_owner() {
    let object = Object::Interrupt {
        intid: 33,
        trigger: Trigger::Edge,
        badge: 1,
    };
    let error = refused(Capability {
        owner: 0,
        slot: 138,
        object,
    });
    assert!(matches!(
        error,
        ImageError::Conflict {
            field: "target",
            ..
        }
    ));
}

#[test]
fn a_slot_holds_one_capability() {
    let error = refused(capabilities()[0]);
    assert!(matches!(error, ImageError::Conflict { field: "slot", .. }));
}

#[test]
fn slots_outside_their_kinds_range_are_refused() {
    for slot in [0, 4, 9, 10 + 62, 74, 511, u32::MAX] {
        let object = Object::Notification {
            domain: 0,
            badge: 1,
        };
        let error = refused(Capability {
            owner: 0,
            slot,
            object,
        });
        assert!(
            matches!(error, ImageError::Invalid { field: "slot", .. }),
            "{slot}"
        );
    }
}

#[test]
fn forged_badges_are_refused() {
    for badge in [0, 3, 1 << 62, 1 << 63] {
        let object = Object::Notification { domain: 0, badge };
        let error = refused(Capability {
            owner: 0,
            slot: 11,
            object,
        });
        assert!(
            matches!(error, ImageError::Invalid { field: "badge", .. }),
            "{badge:x}"
        );
    }
    for badge in [0, 1 << 62, 1 << 63 | 62, 1 << 63 | 64, u64::MAX] {
        let object = Object::Endpoint { domain: 0, badge };
        let error = refused(Capability {
            owner: 0,
            slot: 75,
            object,
        });
        assert!(
            matches!(error, ImageError::Invalid { field: "badge", .. }),
            "{badge:x}"
        );
    }
}

#[test]
fn a_vcpus_capabilities_belong_to_its_vms_owner() {
    for (owner, slot, vcpu) in [(1, 266, 0), (0, 268, 0), (0, 332, 0)] {
        let object = if slot < 330 {
            Object::VmThread { vcpu }
        } else {
            Object::Vcpu { vcpu }
        };
        let error = refused(Capability {
            owner,
            slot,
            object,
        });
        assert!(
            matches!(
                error,
                ImageError::Invalid {
                    field: "target",
                    ..
                }
            ),
            "{slot}"
        );
    }
}

#[test]
fn references_to_nothing_are_refused() {
    let missing = |error| matches!(error, ImageError::NoSuchEntry { .. });
    let object = Object::Endpoint {
        domain: 3,
        badge: 1 << 63,
    };
    assert!(missing(refused(Capability {
        owner: 0,
        slot: 74,
        object
    })));
    assert!(missing(refused(Capability {
        owner: 3,
        slot: 74,
        object
    })));
    let object = Object::Vcpu { vcpu: 2 };
    assert!(missing(refused(Capability {
        owner: 0,
        slot: 332,
        object
    })));
    assert!(missing(refused_mapping(&mapping(
        Space::Vm(1),
        0x1000,
        0x6020_0000
    ))));
}

#[test]
fn a_domain_does_not_come_before_its_parent() {
    let mut builder = ImageBuilder::new();
    let parent = Parent {
        domain: 0,
        child: 0,
    };
    builder
        .add_domain(&domain("own parent", 0, Some(parent)))
        .unwrap();
    assert!(matches!(
        finish(&builder),
        Err(ImageError::NoSuchEntry {
            field: "parent",
            ..
        })
    ));
}

#[test]
fn budgets_too_small_or_above_their_period_are_refused() {
    for (budget, period) in [(0, 100), (19, 100), (101, 100), (20, u64::MAX)] {
        let mut builder = system();
        builder.add_vcpu(&Vcpu {
            vm: 0,
            id: 9,
            priority: 1,
            budget,
            period,
        });
        assert!(matches!(
            finish(&builder),
            Err(ImageError::Invalid {
                field: "budget",
                ..
            })
        ));
    }
}

proptest! {
    #[test]
    fn damage_anywhere_is_noticed(position in 0_usize..3000, bit in 0_u8..8) {
        let mut image = finish(&system()).unwrap().split_off(8192);
        let position = position % image.len();
        image[position] ^= 1 << bit;
        let result = Description::parse(&image).and_then(|description| {
            description.verify_payload()?;
            Ok(position)
        });
        // Only the padding between tables and payload carries nothing.
        let padding = image[position] & !(1 << bit) == 0 && result.is_ok();
        prop_assert!(result.is_err() || padding);
    }

    #[test]
    fn a_cut_is_noticed(length in 0_usize..4100) {
        let image = finish(&system()).unwrap().split_off(8192);
        prop_assume!(length < image.len());
        prop_assert!(Description::parse(&image[..length]).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut start = crate::layout::MAGIC.to_vec();
        start.extend_from_slice(&crate::layout::VERSION.to_le_bytes());
        start.extend_from_slice(&bytes);
        let _ = Description::parse(&start);
        let _ = Description::parse(&bytes);
    }
}
