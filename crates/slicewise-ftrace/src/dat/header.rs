//! Everything before the records.

use std::io::{Read, Seek, SeekFrom};

use super::pages::{Codec, CpuData, UNPACKED_BYTES_MAX, read_exact_at};
use super::stream::PageLayout;
use crate::bytes::{Cursor, Endian};
use crate::error::Error;
use crate::findings::Findings;
use crate::format::{Format, Formats, Symbols, layout};

/// How every such file begins.
pub(crate) const MAGIC: &[u8] = b"\x17\x08\x44tracing";

/// Strings of the header are no longer than this.
const STRING_BYTES_MAX: u64 = 256;
/// One event's format is no larger than this.
const FORMAT_BYTES_MAX: u64 = 1 << 20;
/// Ring-buffer pages are no larger than this.
const PAGE_BYTES_MAX: usize = 1 << 24;
const CPUS_MAX: u64 = 1 << 16;
/// Parts of the list of options; a longer chain is taken for a loop.
const OPTION_SECTIONS_MAX: u32 = 1000;

/// Options of both versions.
const OPTION_DONE: u64 = 0;
const OPTION_CPUSTAT: u64 = 2;
const OPTION_BUFFER: u64 = 3;
const OPTION_TRACECLOCK: u64 = 4;
const OPTION_UNAME: u64 = 5;
/// Options of version 7: where a section is.
const OPTION_HEADER_INFO: u64 = 16;
const OPTION_FTRACE_EVENTS: u64 = 17;
const OPTION_EVENT_FORMATS: u64 = 18;
const OPTION_KALLSYMS: u64 = 19;
const OPTION_BUFFER_TEXT: u64 = 22;

/// Before a section's content.
const SECTION_HEAD_BYTES: u64 = 16;

/// Clocks that count nanoseconds.
const CLOCKS: &[&str] = &["local", "global", "mono", "mono_raw", "boot", "tai", "perf"];

/// What the file says before its records.
#[derive(Debug)]
pub(crate) struct Header {
    pub(super) version: u32,
    pub(super) endian: Endian,
    pub(super) page: PageLayout,
    pub(super) formats: Formats,
    pub(super) symbols: Symbols,
    pub(super) cpus: Vec<CpuData>,
    pub(super) uname: Option<String>,
    pub(super) clock: Option<String>,
}

/// Reads on from a place, and knows where that is.
struct Here<'f, R> {
    file: &'f mut R,
    at: u64,
    endian: Endian,
}

impl<R: Read + Seek> Here<'_, R> {
    fn take(&mut self, size: u64, what: &str) -> Result<Vec<u8>, Error> {
        let bytes = read_exact_at(self.file, self.at, size, what)?;
        self.at += size;
        Ok(bytes)
    }

    fn uint(&mut self, size: usize, what: &str) -> Result<u64, Error> {
        let bytes = self.take(size as u64, what)?;
        Ok(self.endian.uint(&bytes, 0, size).unwrap_or(0))
    }

    fn string(&mut self, what: &str) -> Result<String, Error> {
        let at = self.at;
        self.file.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        (&mut *self.file).take(STRING_BYTES_MAX).read_to_end(&mut bytes)?;
        let Some(len) = bytes.iter().position(|byte| *byte == 0) else {
            let there = bytes.len() as u64;
            if there < STRING_BYTES_MAX {
                // At least its end is missing.
                let (what, size) = (what.to_owned(), there + 1);
                return Err(Error::Truncated { offset: at, what, size, file_bytes: at + there });
            }
            return Err(Error::malformed(at, format!("{what}: no end of the string")));
        };
        self.at += len as u64 + 1;
        Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
    }

    fn expect(&mut self, word: &[u8], what: &str) -> Result<(), Error> {
        let at = self.at;
        if self.take(word.len() as u64, what)? == word {
            return Ok(());
        }
        let word = String::from_utf8_lossy(word).replace('\0', "\\0");
        Err(Error::malformed(at, format!("{what}: `{word}` expected")))
    }

    /// A part with its size before it.
    fn sized(&mut self, width: usize, max: u64, what: &str) -> Result<Vec<u8>, Error> {
        let at = self.at;
        let size = self.uint(width, what)?;
        if size > max {
            let message = format!("{what}: {size} bytes; at most {max} are read");
            return Err(Error::malformed(at, message));
        }
        self.take(size, what)
    }
}

impl Header {
    pub(super) fn read(
        file: &mut (impl Read + Seek),
        findings: &mut Findings,
    ) -> Result<Self, Error> {
        let mut here = Here { file, at: 0, endian: Endian::Little };
        here.expect(MAGIC, "beginning")?;
        let version = here.string("version")?;
        let version = match version.as_str() {
            "6" => 6,
            "7" => 7,
            _ => {
                return Err(Error::unsupported(format!(
                    "trace.dat version {version}: versions 6 and 7 are read"
                )));
            }
        };
        here.endian = match here.uint(1, "order of bytes")? {
            0 => Endian::Little,
            1 => Endian::Big,
            other => {
                let message = format!("order of bytes is {other}; allowed: 0 and 1");
                return Err(Error::malformed(here.at - 1, message));
            }
        };
        let _user_space_long = here.uint(1, "size of a long")?;
        let page_size = here.uint(4, "page size")? as usize;
        let mut header = Self {
            version,
            endian: here.endian,
            page: PageLayout { size: page_size, time: 0, commit: 8, commit_size: 8, data: 16 },
            formats: Formats::default(),
            symbols: Symbols::default(),
            cpus: Vec::new(),
            uname: None,
            clock: None,
        };
        if version == 6 {
            header.read_6(&mut here, findings)?;
        } else {
            header.read_7(&mut here, findings)?;
        }
        header.check()?;
        Ok(header)
    }

    /// What `perf.data` keeps of the formats: the beginning of such a file.
    pub(crate) fn tracing_data(
        bytes: &[u8],
        findings: &mut Findings,
    ) -> Result<(Endian, Formats, Symbols), Error> {
        let mut file = std::io::Cursor::new(bytes);
        let mut here = Here { file: &mut file, at: 0, endian: Endian::Little };
        here.expect(MAGIC, "beginning")?;
        let _version = here.string("version")?;
        here.endian = match here.uint(1, "order of bytes")? {
            0 => Endian::Little,
            _ => Endian::Big,
        };
        let _user_space_long = here.uint(1, "size of a long")?;
        let _page_size = here.uint(4, "page size")?;
        let page = PageLayout { size: 0, time: 0, commit: 8, commit_size: 8, data: 16 };
        let mut header = Self {
            version: 6,
            endian: here.endian,
            page,
            formats: Formats::default(),
            symbols: Symbols::default(),
            cpus: Vec::new(),
            uname: None,
            clock: None,
        };
        header.header_info(&mut here)?;
        let formats = header.ftrace_events(&mut here, findings);
        formats.and_then(|()| header.event_formats(&mut here, findings))?;
        // What follows is only for names of functions.
        if let Ok(symbols) = here.sized(4, UNPACKED_BYTES_MAX, "kallsyms") {
            header.kallsyms(&symbols);
        }
        Ok((header.endian, header.formats, header.symbols))
    }

    fn check(&self) -> Result<(), Error> {
        let page = self.page;
        if page.size <= page.data || page.size > PAGE_BYTES_MAX {
            return Err(Error::malformed(
                0,
                format!(
                    "pages of {} bytes; allowed: more than {} and at most {PAGE_BYTES_MAX}",
                    page.size, page.data
                ),
            ));
        }
        match self.clock.as_deref() {
            Some(clock) if !CLOCKS.contains(&clock) => Err(Error::unsupported(format!(
                "the trace was recorded with the clock `{clock}`, which does not count \
                 nanoseconds; read are: {}",
                CLOCKS.join(", ")
            ))),
            _ => Ok(()),
        }
    }

    fn read_6<R: Read + Seek>(
        &mut self,
        here: &mut Here<'_, R>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        self.header_info(here)?;
        self.ftrace_events(here, findings)?;
        self.event_formats(here, findings)?;
        let symbols = here.sized(4, UNPACKED_BYTES_MAX, "kallsyms")?;
        self.kallsyms(&symbols);
        drop(here.sized(4, UNPACKED_BYTES_MAX, "printk formats")?);
        drop(here.sized(8, UNPACKED_BYTES_MAX, "saved command lines")?);
        let at = here.at;
        let cpus = here.uint(4, "number of CPUs")?;
        if cpus > CPUS_MAX {
            return Err(Error::malformed(at, format!("{cpus} CPUs; at most {CPUS_MAX}")));
        }
        let mut kind = here.take(10, "kind of data")?;
        if kind == b"options  \0" {
            loop {
                let option = here.uint(2, "option")?;
                if option == OPTION_DONE {
                    break;
                }
                let data = here.sized(4, UNPACKED_BYTES_MAX, "option")?;
                match option {
                    OPTION_BUFFER => findings.other_instances += 1,
                    _ => self.option(option, &data, findings),
                }
            }
            kind = here.take(10, "kind of data")?;
        }
        if kind != b"flyrecord\0" {
            return Err(no_records(&String::from_utf8_lossy(&kind)));
        }
        for cpu in 0..cpus as u32 {
            let offset = here.uint(8, "place of a CPU's data")?;
            let size = here.uint(8, "size of a CPU's data")?;
            self.cpus.push(CpuData { cpu, offset, size, codec: Codec::None });
        }
        Ok(())
    }

    fn read_7<R: Read + Seek>(
        &mut self,
        here: &mut Here<'_, R>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let name = here.string("compression")?;
        let _version = here.string("version of the compression")?;
        let codec = match name.as_str() {
            "none" => Codec::None,
            "zlib" => Codec::Zlib,
            "zstd" => Codec::Zstd,
            _ => {
                let message = format!("compressed with `{name}`: read are none, zlib and zstd");
                return Err(Error::unsupported(message));
            }
        };
        let mut next = here.uint(8, "place of the options")?;
        let mut sections = 0;
        let mut text_only = false;
        while next != 0 {
            sections += 1;
            if sections > OPTION_SECTIONS_MAX {
                return Err(Error::malformed(next, "the list of options does not end"));
            }
            let offset = next;
            let (section, _) = self.section(here.file, offset, codec)?;
            let mut options = Cursor::new(&section, self.endian);
            next = loop {
                let parts = options.uint(2).zip(options.uint(4));
                let Some((option, Some(data))) =
                    parts.map(|(option, size)| (option, options.take(size)))
                else {
                    return Err(Error::malformed(
                        offset,
                        format!("options end at byte {} without saying so", options.at()),
                    ));
                };
                let place = self.endian.u64(data, 0);
                match option {
                    OPTION_DONE => break place.unwrap_or(0),
                    OPTION_BUFFER => self.buffer(data, offset, codec, here.file, findings)?,
                    OPTION_BUFFER_TEXT => text_only = true,
                    OPTION_HEADER_INFO | OPTION_FTRACE_EVENTS | OPTION_EVENT_FORMATS
                    | OPTION_KALLSYMS => {
                        let Some(place) = place else {
                            return Err(Error::malformed(offset, "an option without a place"));
                        };
                        let (section, at) = self.section(here.file, place, codec)?;
                        self.section_7(option, section, at, findings)?;
                    }
                    _ => self.option(option, data, findings),
                }
            };
        }
        if self.cpus.is_empty() && text_only {
            return Err(no_records("latency"));
        }
        Ok(())
    }

    /// The content of a section, unpacked, and where it is in the file.
    fn section(
        &self,
        file: &mut (impl Read + Seek),
        offset: u64,
        codec: Codec,
    ) -> Result<(Vec<u8>, u64), Error> {
        let mut here = Here { file, at: offset, endian: self.endian };
        let head = here.take(SECTION_HEAD_BYTES, "head of a section")?;
        let field = |at, size| self.endian.uint(&head, at, size).unwrap_or(0);
        // Number, flags, where its description is, size.
        let (flags, size) = (field(2, 2), field(8, 8));
        if flags & 1 != 0 {
            let packed = here.uint(4, "packed size of a section")?;
            let unpacked = here.uint(4, "size of a section")?;
            let at = here.at;
            let packed = here.take(packed, "section")?;
            return Ok((codec.unpack(&packed, unpacked, at)?, at));
        }
        if size > UNPACKED_BYTES_MAX {
            let message = format!("a section of {size} bytes; at most {UNPACKED_BYTES_MAX}");
            return Err(Error::malformed(offset, message));
        }
        let at = here.at;
        Ok((here.take(size, "section")?, at))
    }

    fn section_7(
        &mut self,
        option: u64,
        section: Vec<u8>,
        offset: u64,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        if option == OPTION_KALLSYMS {
            let mut cursor = Cursor::new(&section, self.endian);
            let symbols = cursor.uint(4).and_then(|size| cursor.take(size));
            let symbols = symbols.ok_or_else(|| Error::malformed(offset, "kallsyms: cut off"))?;
            self.kallsyms(symbols);
            return Ok(());
        }
        let mut section = std::io::Cursor::new(section);
        let mut here = Here { file: &mut section, at: 0, endian: self.endian };
        let read = match option {
            OPTION_HEADER_INFO => self.header_info(&mut here),
            OPTION_FTRACE_EVENTS => self.ftrace_events(&mut here, findings),
            _ => self.event_formats(&mut here, findings),
        };
        read.map_err(|error| match error {
            Error::Malformed { offset: within, what } => {
                Error::Malformed { offset, what: format!("byte {within} of this section: {what}") }
            }
            // The file goes on; it is the section that is too short for what it should hold.
            Error::Truncated { offset: within, what, size, .. } => {
                let what = format!("byte {within} of this section: {what}: {size} bytes expected");
                Error::Malformed { offset, what }
            }
            other => other,
        })
    }

    fn header_info<R: Read + Seek>(&mut self, here: &mut Here<'_, R>) -> Result<(), Error> {
        here.expect(b"header_page\0", "layout of pages")?;
        let at = here.at;
        let page = here.sized(8, FORMAT_BYTES_MAX, "layout of pages")?;
        here.expect(b"header_event\0", "layout of records")?;
        drop(here.sized(8, FORMAT_BYTES_MAX, "layout of records")?);
        let fields = layout(&String::from_utf8_lossy(&page));
        let find = |name: &str| {
            fields.iter().find(|field| field.0 == name).map(|(_, offset, size)| (*offset, *size))
        };
        let (Some((time, 8)), Some((commit, commit_size @ (4 | 8))), Some((data, _))) =
            (find("timestamp"), find("commit"), find("data"))
        else {
            return Err(Error::malformed(at, "the layout of pages is not a known one"));
        };
        let size = self.page.size;
        if [time, commit, data].iter().any(|offset| *offset >= PAGE_BYTES_MAX) {
            return Err(Error::malformed(at, "the layout of pages is not a known one"));
        }
        self.page = PageLayout { size, time, commit, commit_size, data };
        Ok(())
    }

    fn ftrace_events<R: Read + Seek>(
        &mut self,
        here: &mut Here<'_, R>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        for _ in 0..here.uint(4, "number of formats")? {
            self.format("ftrace", here, findings)?;
        }
        Ok(())
    }

    fn event_formats<R: Read + Seek>(
        &mut self,
        here: &mut Here<'_, R>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        for _ in 0..here.uint(4, "number of systems")? {
            let system = here.string("name of a system")?;
            for _ in 0..here.uint(4, "number of formats")? {
                self.format(&system, here, findings)?;
            }
        }
        Ok(())
    }

    fn format<R: Read + Seek>(
        &mut self,
        system: &str,
        here: &mut Here<'_, R>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let at = here.at;
        let text = here.sized(8, FORMAT_BYTES_MAX, "format")?;
        match Format::parse(system, &String::from_utf8_lossy(&text)) {
            Some(format) => self.formats.insert(format),
            // Only a fault if there are records of it: then its number is unknown.
            None => findings.malformed(|| format!("byte {at}: a format of `{system}`")),
        }
        Ok(())
    }

    fn kallsyms(&mut self, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n') {
            if let Ok(line) = std::str::from_utf8(line) {
                self.symbols.line(line);
            }
        }
    }

    fn option(&mut self, option: u64, data: &[u8], findings: &mut Findings) {
        let text = || String::from_utf8_lossy(data).trim_matches(['\0', '\n', ' ']).to_owned();
        match option {
            OPTION_CPUSTAT => {
                for line in text().lines() {
                    let Some((key, value)) = line.split_once(':') else { continue };
                    let value: u64 = value.trim().parse().unwrap_or(0);
                    match key.trim() {
                        "overrun" => findings.overwritten_events += value,
                        "dropped events" | "commit overrun" => findings.lost_events += value,
                        _ => {}
                    }
                }
            }
            OPTION_UNAME => self.uname = Some(text()),
            // `[local] global counter …`: the one in use is marked.
            OPTION_TRACECLOCK => {
                let text = text();
                let marked = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
                self.clock = marked.map(|(clock, _)| clock.to_owned()).or(self.clock.take());
            }
            _ => {}
        }
    }

    /// Where the records of an instance are. The main one has no name; others are only counted.
    fn buffer(
        &mut self,
        data: &[u8],
        offset: u64,
        codec: Codec,
        file: &mut (impl Read + Seek),
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let mut cursor = Cursor::new(data, self.endian);
        let parsed = (|| {
            let section = cursor.uint(8)?;
            let name = cursor.string()?;
            let clock = String::from_utf8_lossy(cursor.string()?).into_owned();
            let page_size = cursor.uint(4)? as usize;
            let count = cursor.uint(4)?;
            let mut cpus = Vec::new();
            for _ in 0..count {
                let (cpu, at, size) = (cursor.uint(4)? as u32, cursor.uint(8)?, cursor.uint(8)?);
                cpus.push(CpuData { cpu, offset: at, size, codec });
            }
            Some((section, name.is_empty(), clock, page_size, cpus))
        })();
        let Some((section, main, clock, page_size, mut cpus)) = parsed else {
            return Err(Error::malformed(offset, "the option that names the buffers is cut off"));
        };
        if let Some(data) = cpus.iter().find(|data| u64::from(data.cpu) >= CPUS_MAX) {
            let what = format!("data of CPU {}; below {CPUS_MAX} are possible", data.cpu);
            return Err(Error::malformed(offset, what));
        }
        if !main || !self.cpus.is_empty() {
            findings.other_instances += 1;
            return Ok(());
        }
        let mut here = Here { file, at: section.saturating_add(2), endian: self.endian };
        if here.uint(2, "section of the records")? & 1 == 0 {
            cpus.iter_mut().for_each(|cpu| cpu.codec = Codec::None);
        }
        (self.cpus, self.clock, self.page.size) = (cpus, Some(clock), page_size);
        Ok(())
    }
}

fn no_records(kind: &str) -> Error {
    Error::unsupported(format!(
        "the file holds no ring buffers but `{}`: record with `trace-cmd record` or \
         `trace-cmd extract`",
        kind.trim_matches(['\0', ' '])
    ))
}
