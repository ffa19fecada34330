//! The `slicewise` command.
fn main() {}
