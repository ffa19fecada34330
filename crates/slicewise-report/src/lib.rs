//! Analyses of the event stream and their renderings.
