//! Capture and restore against a model.
