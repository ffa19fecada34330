//! Machines as a scheduler sees them: which CPUs share a core, a cache, a package, a memory node.
//!
//! `truth/` has what real kernels made of a few dozen machines.
