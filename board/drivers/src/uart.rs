//! What every UART does for `serial-pd`, and for a link over a serial line.

/// A UART, set up and enabled. Nothing here waits for it.
pub trait Uart {
    /// Hands over as many of `bytes` as there is room for; returns how many that was.
    fn transmit(&mut self, bytes: &[u8]) -> usize;

    /// Takes what has been received, up to the length of `bytes`; returns how many that was. Bytes
    /// that were damaged on the line are left out. With fewer bytes than asked for, there are no more
    /// but those whose interrupt has not come yet.
    fn receive(&mut self, bytes: &mut [u8]) -> usize;

    /// Whether to interrupt when there is room again. Only after [`Self::transmit`] found too
    /// little: the interrupt marks the change, not the state.
    fn interrupt_on_room(&mut self, enabled: bool);

    /// Whether to interrupt when something has been received.
    fn interrupt_on_input(&mut self, enabled: bool);

    /// Answers an interrupt: to be called before looking for what it was about.
    fn acknowledge(&mut self);
}
