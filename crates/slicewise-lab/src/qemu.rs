//! Booting a kernel and running a case on it.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::apt::Kernel;
use crate::cache::Cache;
use crate::case::Case;
use crate::failure::{Failure, Result};
use crate::guest::Parcel;
use crate::initramfs::Archive;
use crate::{guest, initramfs, tools};

/// Seconds of wall time for booting, and for each second of the guest.
const BOOT_S: u64 = 120;
const WALL_PER_GUEST_S: u64 = 30;

/// Boots and says what the machine is; the text of its script.
pub(crate) fn about(cache: &Cache, kernel: &Kernel) -> Result<String> {
    let work = cache.results("boot", &kernel.series);
    let parcel = boot(kernel, initramfs::base()?, &guest::about_script(), 1, BOOT_S, &work)?;
    unpack(&parcel, &work)?;
    let path = work.join("stdout.txt");
    fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, &error))
}

/// Runs all rounds of a case, each on a machine of its own that records from boot; results are in the
/// cache then.
pub(crate) fn run(cache: &Cache, kernel: &Kernel, case: &Case) -> Result<()> {
    let file =
        case.file().map_err(|message| Failure::new(format!("case {}: {message}", case.name)))?;
    let out = cache.results(&case.name, &kernel.series);
    fresh(&out)?;
    for round in 0..case.rounds {
        let mut archive = initramfs::base()?;
        if let Some((name, text)) = &file {
            archive.file(&format!("cases/{name}"), text.clone().into_bytes());
        }
        let limit_s = BOOT_S + WALL_PER_GUEST_S * (u64::from(case.duration_s) + 8);
        let work = cache.results("last-boot", &kernel.series);
        let script = guest::round_script(case, round);
        let parcel = boot(kernel, archive, &script, case.cpus, limit_s, &work)?;
        unpack(&parcel, &out)?;
    }
    // Last: it says that the results are whole.
    write_text(&out.join("package.txt"), &kernel.package)
}

/// Runs a script with files of its own; what it sends is in `out` then.
pub(crate) fn run_script(
    kernel: &Kernel,
    files: &[(String, String)],
    script: &str,
    cpus: u32,
    seconds: u64,
    out: &Path,
) -> Result<()> {
    let clock = Clock::usual(kernel, cpus);
    run_script_by(kernel, files, script, cpus, seconds, clock, out)
}

/// The same, by a clock of one's own choice.
pub(crate) fn run_script_by(
    kernel: &Kernel,
    files: &[(String, String)],
    script: &str,
    cpus: u32,
    seconds: u64,
    clock: Clock,
    out: &Path,
) -> Result<()> {
    fresh(out)?;
    let mut archive = initramfs::base()?;
    for (path, text) in files {
        archive.file(path, text.clone().into_bytes());
    }
    let limit_s = BOOT_S + WALL_PER_GUEST_S * seconds;
    let work = out.join("boot");
    let parcel = boot_by(kernel, archive, script, cpus, limit_s, clock, &work)?;
    unpack(&parcel, out)?;
    write_text(&out.join("package.txt"), &kernel.package)
}

/// What the guest's time is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clock {
    /// A count of instructions: runs repeat, however busy the host is.
    Instructions,
    /// The host's.
    Host,
}

impl Clock {
    /// 6.1 with more than one CPU does not get through by instructions.
    fn usual(kernel: &Kernel, cpus: u32) -> Self {
        if cpus > 1 && kernel.series == "6.1" { Self::Host } else { Self::Instructions }
    }
}

/// Boots with a script and takes what comes over the serial port.
fn boot(
    kernel: &Kernel,
    archive: Archive,
    script: &str,
    cpus: u32,
    limit_s: u64,
    work: &Path,
) -> Result<Parcel> {
    boot_by(kernel, archive, script, cpus, limit_s, Clock::usual(kernel, cpus), work)
}

fn boot_by(
    kernel: &Kernel,
    mut archive: Archive,
    script: &str,
    cpus: u32,
    limit_s: u64,
    clock: Clock,
    work: &Path,
) -> Result<Parcel> {
    archive.file("init", guest::INIT.as_bytes().to_vec());
    archive.file("run.sh", script.as_bytes().to_vec());
    fresh(work)?;
    let initramfs = work.join("initramfs.cpio");
    let serial = work.join("serial.txt");
    fs::write(&initramfs, archive.bytes())
        .map_err(|error| Failure::file("write", &initramfs, &error))?;

    let mut qemu = tools::command("qemu-system-x86_64")?;
    match clock {
        Clock::Host => qemu.args(["-accel", "tcg,thread=single"]),
        Clock::Instructions => qemu.args(["-accel", "tcg", "-icount", "shift=1,sleep=off"]),
    };
    qemu.args(["-cpu", "max", "-m", "1024", "-display", "none", "-monitor", "none"])
        .args(["-no-reboot", "-nic", "none", "-smp", &cpus.to_string()])
        .args(["-append", &guest::command_line()])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&initramfs)
        .arg("-serial")
        .arg(format!("file:{}", work.join("console.txt").display()))
        .arg("-serial")
        .arg(format!("file:{}", serial.display()))
        .stderr(Stdio::piped());
    let child =
        qemu.spawn().map_err(|error| Failure::new(format!("cannot start QEMU: {error}")))?;
    wait(child, Duration::from_secs(limit_s), kernel)?;

    let text = fs::read(&serial).map_err(|error| Failure::file("read", &serial, &error))?;
    let parcel = guest::received(&String::from_utf8_lossy(&text))?;
    for file in [initramfs, serial] {
        fs::remove_file(&file).map_err(|error| Failure::file("remove", &file, &error))?;
    }
    Ok(parcel)
}

/// Checks an archive and unpacks it.
fn unpack(parcel: &Parcel, out: &Path) -> Result<()> {
    let packed = out.join("out.tgz");
    fs::write(&packed, &parcel.archive).map_err(|error| Failure::file("write", &packed, &error))?;
    write_text(&out.join("out.tgz.md5"), &format!("{}  out.tgz\n", parcel.md5))?;
    let mut check = tools::command("md5sum")?;
    check.args(["--check", "--quiet", "out.tgz.md5"]).current_dir(out);
    tools::output_of(check)?;
    let mut unpack = tools::command("tar")?;
    unpack.args(["-xzf", "out.tgz"]).current_dir(out);
    tools::output_of(unpack)?;
    fs::remove_file(&packed).map_err(|error| Failure::file("remove", &packed, &error))
}

/// An empty directory.
fn fresh(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .map_err(|error| Failure::file("remove", directory, &error))?;
    }
    fs::create_dir_all(directory).map_err(|error| Failure::file("create", directory, &error))
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
