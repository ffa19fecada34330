//! Booting a kernel and running a case on it.

use std::fs;
use std::path::{Path, PathBuf};
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

/// 7.2 was seen to come up with three of four CPUs: it is booted again, so often at most.
const BOOTS: u32 = 5;

/// What the guest's time is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clock {
    /// A count of instructions: runs repeat, however busy the host is.
    Instructions,
    /// The host's; CPUs take turns on one thread.
    Host,
    /// The host's; each CPU has a thread.
    Threads,
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
    fs::write(&initramfs, archive.bytes())
        .map_err(|error| Failure::file("write", &initramfs, &error))?;
    let mut sent = String::new();
    for _ in 0..BOOTS {
        sent = boot_once(kernel, &initramfs, cpus, limit_s, clock, work)?;
        if !sent.contains(guest::CPUS_MISSING) {
            break;
        }
    }
    if sent.contains(guest::CPUS_MISSING) {
        return Err(Failure::with_help(
            format!("{}: not all of {cpus} CPUs came up in {BOOTS} boots", kernel.package),
            "see console.txt beside the results for what its kernel said",
        ));
    }
    let parcel = guest::received(&sent)?;
    fs::remove_file(&initramfs).map_err(|error| Failure::file("remove", &initramfs, &error))?;
    Ok(parcel)
}

/// What came over the serial port.
fn boot_once(
    kernel: &Kernel,
    initramfs: &Path,
    cpus: u32,
    limit_s: u64,
    clock: Clock,
    work: &Path,
) -> Result<String> {
    let serial = work.join("serial.txt");
    let mut qemu = tools::command("qemu-system-x86_64")?;
    match clock {
        Clock::Host => qemu.args(["-accel", "tcg,thread=single"]),
        Clock::Threads => qemu.args(["-accel", "tcg,thread=multi"]),
        Clock::Instructions => qemu.args(["-accel", "tcg", "-icount", "shift=1,sleep=off"]),
    };
    qemu.args(["-name", "lab,debug-threads=on"]);
    qemu.args(["-cpu", "max", "-m", "1024", "-display", "none", "-monitor", "none"])
        .args(["-no-reboot", "-nic", "none", "-smp", &cpus.to_string()])
        .args(["-append", &guest::command_line(cpus)])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .arg("-serial")
        .arg(format!("file:{}", work.join("console.txt").display()))
        .arg("-serial")
        .arg(format!("file:{}", serial.display()))
        .stderr(Stdio::piped());
    let child =
        qemu.spawn().map_err(|error| Failure::new(format!("cannot start QEMU: {error}")))?;
    let mut meter = HostMeter::new(serial.clone());
    wait(child, Duration::from_secs(limit_s), kernel, &mut meter)?;
    write_text(&work.join(HOST_TIMES), &meter.text)?;

    let text = fs::read(&serial).map_err(|error| Failure::file("read", &serial, &error))?;
    fs::remove_file(&serial).map_err(|error| Failure::file("remove", &serial, &error))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
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

/// What the host gave the guest's CPUs at the moments that the guest marked, beside the console.
pub(crate) const HOST_TIMES: &str = "host.txt";

/// Reads the host's accounts of the guest's CPUs whenever the guest says `LAB-MARK`.
struct HostMeter {
    serial: PathBuf,
    began: Instant,
    /// How many marks were seen.
    marks: usize,
    /// `mark NAME ROUND WHEN WALL_NS`, then `cpu RAN_NS WAITED_NS` for each thread of a CPU.
    text: String,
}

impl HostMeter {
    fn new(serial: PathBuf) -> Self {
        Self { serial, began: Instant::now(), marks: 0, text: String::new() }
    }

    /// Results come after the last mark: they are not searched for marks.
    fn look(&mut self, process: u32) {
        let Ok(sent) = fs::read(&self.serial) else { return };
        if sent.len() > LONGEST_MARKS {
            return;
        }
        let sent = String::from_utf8_lossy(&sent);
        let whole = sent.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let marks: Vec<&str> = whole.filter_map(|line| line.strip_prefix(guest::MARK)).collect();
        for mark in marks.iter().skip(self.marks) {
            let now_ns = self.began.elapsed().as_nanos();
            self.text.push_str(&format!("mark {} {now_ns}\n", mark.trim()));
            self.cpus(process);
        }
        self.marks = marks.len().max(self.marks);
    }

    fn cpus(&mut self, process: u32) {
        let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
        for thread in threads.flatten() {
            let of = |file: &str| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
            if of("comm").trim_end().ends_with("/TCG") {
                let accounts = of("schedstat");
                let mut words = accounts.split_whitespace();
                let (ran, waited) = (words.next().unwrap_or("0"), words.next().unwrap_or("0"));
                self.text.push_str(&format!("cpu {ran} {waited}\n"));
            }
        }
    }
}

/// The marks of a boot are no longer.
const LONGEST_MARKS: usize = 16 * 1024;

fn wait(mut child: Child, limit: Duration, kernel: &Kernel, meter: &mut HostMeter) -> Result<()> {
    let began = Instant::now();
    loop {
        meter.look(child.id());
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
