//! `[machine] topology`: a preset, a layout, a file, or a table.

use std::ops::Range;

use slicewise_topology::{Machine, Problem, from_table, named, read_text};
use toml::de::DeValue;

use super::Reader;
use super::fields::{Fields, wrong_kind};
use crate::diagnostic::{Sink, shorten};

impl Reader<'_, '_> {
    /// The machine, if the scenario has one; with `cpus`, they must agree.
    pub(super) fn topology<'t>(
        &mut self,
        fields: &Fields<'t>,
        cpus: Option<&(i128, Range<usize>)>,
    ) -> Option<Machine> {
        let value = fields.get("topology")?;
        let machine = match value.get_ref() {
            DeValue::String(word) => self.topology_of(word, value.span())?,
            DeValue::Table(table) => {
                let machine = from_table(table, value.span(), "the scenario's machine");
                machine.map_err(|problems| report(self.sink, problems)).ok()?
            }
            _ => {
                let wanted = "a preset, a layout such as \"2s:24c:2t\", a file, or a table";
                wrong_kind(self.sink, "topology", value, wanted);
                return None;
            }
        };
        let count = machine.topology().nr_cpus();
        if let Some((cpus, span)) = cpus.filter(|(cpus, _)| *cpus != i128::from(count)) {
            let message = format!("`cpus` is {cpus}, but the topology has {count} CPUs");
            let help = "leave `cpus` out: the topology says how many there are";
            self.sink.error_help(span.clone(), message, help);
            return None;
        }
        if machine.is_renumbered() {
            let message = "some CPUs of the topology are offline: the others are numbered anew, without holes";
            let help = "CPU lists in this file are in the new numbers; `slicewise topology` shows the old ones";
            self.sink.warn(value.span(), message, help);
        }
        Some(machine)
    }

    /// A preset, a layout, or a file; its mistakes are shown in it.
    fn topology_of(&mut self, word: &str, span: Range<usize>) -> Option<Machine> {
        let problem = match named(word) {
            Ok(machine) => return Some(machine),
            Err(problem) => problem,
        };
        let text = match self.inputs.read(word) {
            Ok(text) => text,
            // What is no name of a file was meant to be that of a machine.
            Err(_) if !word.contains(['/', '.']) => {
                let message = format!("`topology`: {}", problem.message);
                self.sink.error_help(span, message, problem.help.unwrap_or_default());
                return None;
            }
            Err(message) => {
                let help = "write a preset's name, a layout such as \"2s:24c:2t\", or a file with the machine";
                self.sink.error_help(span, format!("`topology`: {message}"), help);
                return None;
            }
        };
        match read_text(&text, word) {
            Ok(machine) => Some(machine),
            Err(problems) => {
                let mut sink = Sink::default();
                report(&mut sink, problems);
                let start = self.inputs.sources.add(word, text);
                self.sink.take_over(sink, start);
                let message = format!("`topology`: `{}` describes no machine", shorten(word));
                self.sink.error(span, message);
                None
            }
        }
    }
}

fn report(sink: &mut Sink, problems: Vec<Problem>) {
    for Problem { message, help, span, .. } in problems {
        match help {
            Some(help) => sink.error_help(span, message, help),
            None => sink.error(span, message),
        }
    }
}
