// SPDX-License-Identifier: BSD-2-Clause
//! Tests of what belongs to several modules; what they need to make records up.

mod admission;
mod coverage;
mod documentation;
mod golden;
mod kvm;
mod legal;
mod mutation;
mod register;
mod roundtrip;
