// SPDX-License-Identifier: BSD-2-Clause
//! `vmm-pd`, the shell: what the machine decides, done through seL4's capabilities.
//!
//! Responsible for: the memory regions and channels that `system.xml` gives this domain, and for
//! turning faults, notifications and calls into the machine's terms. Must never: decide.
#![no_std]
#![no_main]

use memory_functions as _;

mod shell;

use channel::{VcpuId, ids, microkit, vmm};
use sel4_microkit::{
    Channel, ChannelSet, Child, Handler, Infallible, MessageInfo, get_mr, protection_domain,
};
use shell::Shell;
use vmm_pd::exit::Exit;
use vmm_pd::lifecycle::machine::Machine;

/// The domain: the machine and its shell.
struct Vmm {
    machine: Machine,
    shell: Shell,
}

#[protection_domain]
fn init() -> Vmm {
    let mut shell = Shell::new();
    shell.install_stub(shell::stub::code());
    let mut machine = Machine::new(shell.image_boot());
    machine.start(&mut shell);
    shell.flush();
    Vmm { machine, shell }
}

impl Handler for Vmm {
    type Error = Infallible;

    #[inline]
    fn fault(
        &mut self,
        child: Child,
        info: MessageInfo,
    ) -> Result<Option<MessageInfo>, Infallible> {
        // A fault of a vCPU that no machine of ours has is left unanswered: it stays stopped.
        if let Some(vcpu) = VcpuId::new(child.index()) {
            let exit = Exit::decode(info.label(), get_mr);
            #[cfg(feature = "printing")]
            self.shell.begin_exit();
            self.machine.exit(&mut self.shell, vcpu, exit);
            #[cfg(feature = "printing")]
            self.shell.end_exit(vcpu);
            self.shell.flush();
        }
        // vCPUs are resumed through their thread capabilities, in the machine's own order.
        Ok(None)
    }

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        if channels.contains(Channel::new(ids::vmm::TIMER)) {
            self.machine.sleepers_due(&mut self.shell);
        }
        if channels.contains(Channel::new(ids::vmm::SERIAL)) {
            self.machine.console_ready(&mut self.shell);
        }
        self.shell.flush();
        Ok(())
    }

    fn protected(
        &mut self,
        channel: Channel,
        info: MessageInfo,
    ) -> Result<MessageInfo, Infallible> {
        let request = microkit::take(&info).and_then(|message| vmm::Request::decode(&message));
        let answer = match request {
            Ok(request) if channel.index() == ids::vmm::MIGRATION => {
                self.machine.request(&mut self.shell, request)
            }
            _ => channel::Message::not_understood(),
        };
        self.shell.flush();
        Ok(microkit::put(&answer))
    }
}
