//! The machine, input by input.
