//! Prints the events of a trace, one on a line, and what was found wrong: to compare with
//! `trace-cmd report -t`.

#![allow(clippy::print_stdout, reason = "an example for the terminal")]

use std::path::Path;

use slicewise_ftrace::{Error, Reader};

fn main() -> Result<(), Error> {
    for path in std::env::args().skip(1) {
        let mut reader = Reader::open(Path::new(&path))?;
        println!("{:?}", reader.info());
        while let Some(event) = reader.next_event()? {
            println!("{:?}", event);
        }
        println!("{:?}", reader.findings());
    }
    Ok(())
}
