//! Programs of the host, and the Debian packages that have them.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::failure::{Failure, Result};

/// Every program the lab starts or puts into the guest, with its package.
const PACKAGES: &[(&str, &str)] = &[
    ("apt-cache", "apt"),
    ("apt-get", "apt"),
    ("busybox", "busybox-static"),
    ("chrt", "util-linux"),
    ("dpkg-deb", "dpkg"),
    ("hackbench", "rt-tests"),
    ("ldd", "libc-bin"),
    ("md5sum", "coreutils"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("rt-app", "rt-app"),
    ("sha256sum", "coreutils"),
    ("tar", "tar"),
    ("taskset", "util-linux"),
    ("trace-cmd", "trace-cmd"),
];

/// Where a program is, or which package to install. `/usr/sbin` is searched too.
pub(crate) fn find(tool: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(tool))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| missing(tool))
}

fn missing(tool: &str) -> Failure {
    let message = format!("`{tool}` is not installed");
    match PACKAGES.iter().find(|(name, _)| *name == tool) {
        Some((_, package)) => {
            Failure::with_help(message, format!("install the Debian package {package}"))
        }
        None => Failure::new(message),
    }
}

/// A command for a program that is there.
pub(crate) fn command(tool: &str) -> Result<Command> {
    let mut command = Command::new(find(tool)?);
    command.env("LC_ALL", "C").stdin(std::process::Stdio::null());
    Ok(command)
}

/// Runs a command to its end and wants it to succeed; gives its standard output.
pub(crate) fn output_of(mut command: Command) -> Result<String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.output().map_err(|error| Failure::new(format!("cannot start {shown}: {error}")))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let said: Vec<&str> = last.into_iter().rev().collect();
        return Err(Failure::new(format!("{shown} failed ({status}): {}", said.join("\n  "))));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_missing_tool_is_named_with_its_package() {
        let text = super::missing("rt-app").to_string();
        assert_eq!(
            text,
            "error: `rt-app` is not installed\nhelp: install the Debian package rt-app"
        );
    }
}
