//! Scratch roots: the power is cut before every change of a seal.
