//! Booting a kernel and running a case on it.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::apt::Kernel;
use crate::case::Case;
use crate::failure::{Failure, Result};
use crate::initramfs::Archive;
use crate::{guest, tools};

/// Seconds of wall time for booting, and for each second of the guest.
const BOOT_S: u64 = 120;
const WALL_PER_GUEST_S: u64 = 30;

/// Boots with a script and brings back what the guest wrote to `/out`.
///
/// With one CPU the guest's time is a count of instructions: runs repeat and do not depend on how
/// busy the host is. 6.1 with more CPUs does not get through that way.
pub(crate) fn boot(
    kernel: &Kernel,
    mut archive: Archive,
    script: &str,
    case: Option<&Case>,
    out: &Path,
) -> Result<()> {
    let cpus = case.map_or(1, |case| case.cpus);
    archive.file("init", guest::INIT.as_bytes().to_vec());
    archive.file("case.sh", script.as_bytes().to_vec());
    if let Some(case) = case {
        let workload = case
            .workload()
            .map_err(|message| Failure::new(format!("case {}: {message}", case.name)))?;
        archive.file("case.json", workload.to_string().into_bytes());
    }
    if out.exists() {
        fs::remove_dir_all(out).map_err(|error| Failure::file("remove", out, &error))?;
    }
    fs::create_dir_all(out).map_err(|error| Failure::file("create", out, &error))?;
    let initramfs = out.join("initramfs.cpio");
    let serial = out.join("serial.txt");
    fs::write(&initramfs, archive.bytes())
        .map_err(|error| Failure::file("write", &initramfs, &error))?;

    let mut qemu = tools::command("qemu-system-x86_64")?;
    if cpus > 1 && kernel.series == "6.1" {
        qemu.args(["-accel", "tcg,thread=single"]);
    } else {
        qemu.args(["-accel", "tcg", "-icount", "shift=1,sleep=off"]);
    }
    qemu.args(["-cpu", "max", "-m", "1024", "-display", "none", "-monitor", "none"])
        .args(["-no-reboot", "-nic", "none", "-smp", &cpus.to_string()])
        .args(["-append", guest::COMMAND_LINE])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&initramfs)
        .arg("-serial")
        .arg(format!("file:{}", out.join("console.txt").display()))
        .arg("-serial")
        .arg(format!("file:{}", serial.display()))
        .stderr(Stdio::piped());
    let limit = BOOT_S + WALL_PER_GUEST_S * case.map_or(0, |case| u64::from(case.duration_s) + 3);
    let child =
        qemu.spawn().map_err(|error| Failure::new(format!("cannot start QEMU: {error}")))?;
    wait(child, Duration::from_secs(limit), kernel)?;

    let text = fs::read(&serial).map_err(|error| Failure::file("read", &serial, &error))?;
    let (bytes, sum) = guest::received(&String::from_utf8_lossy(&text))?;
    let packed = out.join("out.tgz");
    fs::write(&packed, &bytes).map_err(|error| Failure::file("write", &packed, &error))?;
    write_text(&out.join("out.tgz.md5"), &format!("{sum}  out.tgz\n"))?;
    let mut check = tools::command("md5sum")?;
    check.args(["--check", "--quiet", "out.tgz.md5"]).current_dir(out);
    tools::output_of(check)?;
    let mut unpack = tools::command("tar")?;
    unpack.args(["-xzf", "out.tgz", "--strip-components=1"]).current_dir(out);
    tools::output_of(unpack)?;
    write_text(&out.join("package.txt"), &kernel.package)?;
    for file in [initramfs, serial] {
        fs::remove_file(&file).map_err(|error| Failure::file("remove", &file, &error))?;
    }
    Ok(())
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
}

fn wait(mut child: Child, limit: Duration, kernel: &Kernel) -> Result<()> {
    let began = Instant::now();
    loop {
        let ended = child
            .try_wait()
            .map_err(|error| Failure::new(format!("cannot wait for QEMU: {error}")))?;
        if let Some(status) = ended {
            if status.success() {
                return Ok(());
            }
            let mut said = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
            }
            return Err(Failure::new(format!("QEMU failed ({status}): {}", said.trim())));
        }
        if began.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Failure::with_help(
                format!("{} was not done after {} s", kernel.package, limit.as_secs()),
                "the end of console.txt beside the results says how far it got",
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
