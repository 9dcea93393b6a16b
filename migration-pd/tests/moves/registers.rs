//! A guest that stands still can be looked at and changed, and no other.

use super::world::{Side, World};
use migration_pd::protocol::management::{Phase, SetRegister};
use migration_pd::protocol::{Answer, Domain, Request, RequestError};
use state::Register;

const SET: SetRegister = SetRegister {
    vcpu: 1,
    register: Register::X19.key(),
    value: u128::MAX / 5,
};

fn examine(world: &mut World, domain: Domain) -> Result<Vec<u8>, RequestError> {
    world.ask(Side::A, &Request::Examine(domain), |answer| match answer {
        Answer::Examined(of, record) => {
            assert_eq!(of, domain);
            Ok(record.to_vec())
        }
        Answer::Refused(error) => Err(error),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_guest_that_runs_is_neither_looked_at_nor_changed() {
    let mut world = World::new();
    let phase = Phase::Running;
    let running = RequestError::WrongPhase { phase };
    assert_eq!(examine(&mut world, Domain::Vmm), Err(running));
    assert_eq!(world.act(Side::A, &Request::SetRegister(SET)), Err(running));
    assert_eq!(world.a.hardware.set_registers, []);
    world.run_for(10_000);
    world.runs_at(Side::A);
}

#[test]
fn a_paused_guest_is_both() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    let vgic = examine(&mut world, Domain::Vgic).unwrap();
    assert_eq!(vgic, 0x1234_5678_u64.to_le_bytes());
    world.act(Side::A, &Request::SetRegister(SET)).unwrap();
    let set = (1, SET.register, SET.value);
    assert_eq!(world.a.hardware.set_registers, [set]);
    world.act(Side::A, &Request::Resume).unwrap();
    world.run_for(10_000);
    world.runs_at(Side::A);
}

#[test]
fn what_the_domain_refuses_is_told_with_vcpu_and_register() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    for (vcpu, register) in [(1, Register::MIDR_EL1), (200, Register::X0)] {
        let set = SetRegister {
            vcpu,
            register: register.key(),
            value: 1,
        };
        let register = set.register;
        assert_eq!(
            world.act(Side::A, &Request::SetRegister(set)),
            Err(RequestError::BadRegister { vcpu, register })
        );
    }
}

#[test]
fn a_guest_that_is_leaving_is_not_changed() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    let id = world.start(Side::A).unwrap();
    let moving = RequestError::Moving { id };
    assert_eq!(examine(&mut world, Domain::Vmm), Err(moving));
    assert_eq!(world.act(Side::A, &Request::SetRegister(SET)), Err(moving));
}
