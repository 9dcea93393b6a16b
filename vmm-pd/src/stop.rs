//! Stopping.
use crate::exit::Exit;
use crate::machine::{Machine, MachineError};
use crate::port::Port;
use channel::VcpuId;
use channel::vmm::{Phase, Request};

#[derive(Debug)]
pub(crate) enum Activity {
    None,
}
impl Activity {
    pub(crate) fn concerns(&self, _vcpu: VcpuId) -> bool {
        false
    }
}
impl Machine {
    pub(crate) fn stub_exit<P: Port>(
        &mut self,
        _p: &mut P,
        _v: VcpuId,
        _e: Exit,
    ) -> Result<(), MachineError> {
        Ok(())
    }
    pub fn start<P: Port>(&mut self, port: &mut P) {
        match self.boot {
            None => self.set_phase(port, Phase::Empty),
            Some(boot) => {
                if let Err(error) = self.power_on(port, boot) {
                    self.fail(port, crate::machine::FIRST, error);
                }
            }
        }
    }
    pub fn takes_console_input(&self) -> bool {
        self.phase == Phase::Running && self.console.receive_room() > 0
    }
    pub fn request<P: Port>(&mut self, _port: &mut P, request: Request) -> channel::Message {
        match request {
            Request::Status => self.status().encode(),
            Request::Statistics => self.statistics.encode(),
            _ => channel::Message::not_understood(),
        }
    }
}
