//! Tests of what belongs to several modules; what they need to make records up.

mod register;
mod roundtrip;
