// SPDX-License-Identifier: BSD-2-Clause
//! Requests over channels: who may ask, and what nonsense does.
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of a test are small"
)]

use channel::vgic::{Answer, CpuInterface, ListRegisterState, Refusal, Request, view_readable};
use channel::{Message, ProtocolError, VcpuId};
use proptest::prelude::*;
use vgic_pd::{Caller, MAX_RECORD, Regions, Service};

/// The regions, as memory. The import region is longer than any record, as in `system.xml`.
#[derive(Debug)]
struct Memory {
    view: Vec<[u32; 1024]>,
    export: Vec<u8>,
    import: Vec<u8>,
}

impl Regions for Memory {
    fn publish(&mut self, vcpu: VcpuId, offset: u32, word: u32) {
        self.view[vcpu.index()][offset as usize / 4] = word;
    }

    fn export(&mut self) -> &mut [u8] {
        &mut self.export
    }

    fn import(&mut self, length: usize) -> Option<&[u8]> {
        self.import
            .get(..length)
            .filter(|bytes| bytes.len() <= MAX_RECORD)
    }
}

fn service() -> Service<Memory> {
    Service::new(Memory {
        view: vec![[0xdead_beef; 1024]; 4],
        export: vec![0; 0x8000],
        import: vec![0; 0x8000],
    })
}

fn id(vcpu: usize) -> VcpuId {
    VcpuId::new(vcpu).unwrap()
}

fn handle(service: &mut Service<Memory>, caller: Caller, request: &Message) -> Message {
    let mut message = *request;
    service.handle(caller, &mut message);
    message
}

fn ask(service: &mut Service<Memory>, request: Request) -> Result<u64, ProtocolError> {
    let answer = handle(service, Caller::Vmm, &request.encode());
    Answer::decode(&answer).map(|answer| answer.value)
}

fn refusal(refusal: Refusal) -> ProtocolError {
    ProtocolError::Refused {
        reason: refusal as u64,
    }
}

#[test]
fn migration_may_export_and_import_and_nothing_else() {
    let mut service = service();
    ask(&mut service, Request::Reset { vcpus: 1 }).unwrap();
    let vcpu = id(0);
    let others = [
        Request::Read {
            vcpu,
            offset: 0,
            width: 4,
        },
        Request::Write {
            vcpu,
            offset: 0,
            width: 4,
            value: 1,
        },
        Request::SetLine {
            vcpu,
            intid: channel::Intid::CONSOLE,
            level: true,
        },
        Request::Maintenance {
            vcpu,
            list_register: 0,
        },
        Request::Refill { vcpu },
        Request::ListRegisterEntries { vcpu, hold: false },
        Request::Captured {
            vcpu,
            interface: CpuInterface::default(),
            found: ListRegisterState::default(),
        },
        Request::Restore { vcpu },
        Request::Reset { vcpus: 0 },
    ];
    for request in others {
        let answer = handle(&mut service, Caller::Migration, &request.encode());
        assert_eq!(
            Answer::decode(&answer),
            Err(refusal(Refusal::NotYours)),
            "{request:?}"
        );
    }
    let answer = handle(&mut service, Caller::Migration, &Request::Export.encode());
    let length = Answer::decode(&answer).unwrap().value as usize;
    let regions = service.regions_mut();
    regions.import[..length].copy_from_slice(&regions.export[..length]);
    let import = Request::Import {
        length: length as u32,
    };
    let answer = handle(&mut service, Caller::Migration, &import.encode());
    assert_eq!(Answer::decode(&answer).map(|answer| answer.value), Ok(0));
}

#[test]
fn a_machine_that_is_not_there_has_nothing() {
    let mut service = service();
    let vcpu = id(0);
    let read = Request::Read {
        vcpu,
        offset: 0,
        width: 4,
    };
    assert_eq!(ask(&mut service, read), Err(refusal(Refusal::OutOfRange)));
    let refill = Request::Refill { vcpu };
    assert_eq!(ask(&mut service, refill), Err(refusal(Refusal::OutOfRange)));
    assert_eq!(
        ask(&mut service, Request::Export),
        Err(refusal(Refusal::NotCaptured))
    );
}

#[test]
fn the_largest_record_fits() {
    let mut service = service();
    ask(&mut service, Request::Reset { vcpus: 4 }).unwrap();
    for vcpu in (0..4).map(id) {
        for offset in (0..0x1000)
            .step_by(4)
            .filter(|offset| !matches!(offset, 0x180..0x200))
        {
            let write = Request::Write {
                vcpu,
                offset,
                width: 4,
                value: u32::MAX,
            };
            ask(&mut service, write).unwrap();
        }
        let found = ListRegisterState::default();
        let interface = CpuInterface {
            control: u32::MAX,
            priority_mask: 0xff,
            binary_point: 0xff,
            aliased_binary_point: 0xff,
            active_priorities: u32::MAX,
        };
        ask(
            &mut service,
            Request::Captured {
                vcpu,
                interface,
                found,
            },
        )
        .unwrap();
    }
    let length = ask(&mut service, Request::Export).unwrap();
    assert!(length as usize <= MAX_RECORD, "{length}");
}

#[test]
fn a_bad_record_is_refused_whatever_is_wrong_with_it() {
    let mut service = service();
    ask(&mut service, Request::Reset { vcpus: 1 }).unwrap();
    let length = ask(&mut service, Request::Export).unwrap() as u32;
    let regions = service.regions_mut();
    regions.import.copy_from_slice(&regions.export);
    for wrong in [
        0,
        1,
        length - 1,
        length + 1,
        MAX_RECORD as u32 + 1,
        0x8001,
        u32::MAX,
    ] {
        let import = Request::Import { length: wrong };
        assert_eq!(
            ask(&mut service, import),
            Err(refusal(Refusal::BadRecord)),
            "{wrong}"
        );
    }
    for byte in 0..length as usize {
        service.regions_mut().import[byte] ^= 0x10;
        let import = Request::Import { length };
        assert_eq!(
            ask(&mut service, import),
            Err(refusal(Refusal::BadRecord)),
            "{byte}"
        );
        service.regions_mut().import[byte] ^= 0x10;
    }
    assert_eq!(ask(&mut service, Request::Import { length }), Ok(0));
}

#[test]
fn the_view_is_complete_after_a_reset() {
    let mut service = service();
    ask(&mut service, Request::Reset { vcpus: 2 }).unwrap();
    let view = |service: &mut Service<Memory>, vcpu: usize, offset: usize| {
        service.regions_mut().view[vcpu][offset / 4]
    };
    assert_eq!(view(&mut service, 0, 0x004), 0x28);
    assert_eq!(view(&mut service, 1, 0x800), 0x0202_0202);
    assert_eq!(view(&mut service, 0, 0xfe8), 0x2b);
    assert_eq!(view(&mut service, 0, 0x100), 0xffff);
    let value = 0xff00;
    let write = Request::Write {
        vcpu: id(1),
        offset: 0x104,
        width: 2,
        value,
    };
    ask(&mut service, write).unwrap();
    for vcpu in 0..2 {
        assert_eq!(view(&mut service, vcpu, 0x104), value);
        assert_eq!(
            view(&mut service, vcpu, 0x184),
            value,
            "the alias shows the same"
        );
    }
    for offset in [0x200, 0x280, 0x300, 0x3fc, 0xf10, 0xf2c, 0x1000] {
        assert!(!view_readable(offset), "{offset:#x} changes by itself");
    }
    for offset in [0, 0x1fc, 0x400, 0xf00, 0xf30, 0xffc] {
        assert!(view_readable(offset), "{offset:#x}");
    }
}

proptest! {
    #[test]
    fn no_message_makes_it_panic(
        messages in prop::collection::vec(
            (0u64..14, prop::collection::vec(prop_oneof![0u64..16, any::<u64>()], 0..10)), 1..40,
        ),
    ) {
        let mut service = service();
        ask(&mut service, Request::Reset { vcpus: 2 }).unwrap();
        for (label, words) in messages {
            let message = Message::received(label, &words).unwrap();
            let answer = handle(&mut service, Caller::Vmm, &message);
            let understood = Request::decode(&message).is_ok();
            let refused = answer == Message::not_understood();
            prop_assert_eq!(understood, !refused);
        }
    }
}
