//! placeholder until the D-Bus side lands
