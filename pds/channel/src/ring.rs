//! Single-producer single-consumer byte rings over a pair of shared-memory regions.
