//! Images: from the system description, the domains' programs and a guest to one file that a board boots.
//!
//! Responsible for: reading the description ([`system`]). Never: runs anything on a board.

pub mod system;
