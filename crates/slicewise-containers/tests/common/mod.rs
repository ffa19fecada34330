//! What the tests share: trees as text, and diagnostics as the command shows them.

#![allow(dead_code, clippy::unwrap_used, reason = "a test may; not every test uses everything")]

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use slicewise_containers::{
    Diagnostic, Manifest, Node, Severity, Source, Tree, line_col, load, tree,
};

/// The diagnostics as `slicewise` renders them.
pub(crate) fn render(sources: &[Source], diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let source = &sources[diagnostic.file];
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let snippet = Snippet::source(&source.text)
            .path(&source.name)
            .annotation(AnnotationKind::Primary.span(diagnostic.span.clone()));
        let mut group = level.primary_title(&diagnostic.message).element(snippet);
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let _ = writeln!(text, "{}\n", Renderer::plain().render(&[group]));
    }
    text
}

/// What is wrong with a text called `name`.
pub(crate) fn problems(name: &str, text: &str) -> String {
    let sources = [Source::new(name, text)];
    match load(&sources) {
        Err(list) => render(&sources, &list),
        Ok(manifest) => render(&sources, &manifest.warnings),
    }
}

/// Reads a text that has nothing wrong with it.
pub(crate) fn read(text: &str) -> Manifest {
    let sources = [Source::new("test.yaml", text)];
    let manifest = load(&sources).unwrap_or_else(|list| panic!("{}", render(&sources, &list)));
    assert_eq!(manifest.warnings, [], "{}", render(&sources, &manifest.warnings));
    manifest
}

/// One line a group: path, weight, `cpu.max`, CPUs.
pub(crate) fn show(tree: &Tree<'_>) -> String {
    let mut text = String::new();
    for group in &tree.groups {
        let quota = group.quota_us.map_or("max".to_owned(), |quota| quota.to_string());
        let _ = write!(text, "{} {} {quota} {}", group.path, group.weight, group.period_us);
        if let Some(cpus) = &group.cpuset {
            let _ = write!(text, " cpus {cpus}");
        }
        text.push('\n');
    }
    for note in &tree.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// The tree of a text on a node.
pub(crate) fn shown(text: &str, node: &Node) -> String {
    let manifest = read(text);
    let mut node = node.clone();
    node.apply(&manifest.node);
    show(&tree(&manifest, &node).unwrap())
}

/// The first container's diagnostics by line, as `line:column message`.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let list = match load(&[Source::new("test.yaml", text)]) {
        Err(list) => list,
        Ok(manifest) => manifest.warnings,
    };
    list.iter()
        .map(|d| {
            let place = line_col(text, d.span.start);
            format!("{}:{} {}", place.line, place.column, d.message)
        })
        .collect()
}
