//! Tests of what belongs to several modules; what they need to make records up.

mod admission;
mod golden;
mod register;
mod roundtrip;
