//! What is shown is what is there.
