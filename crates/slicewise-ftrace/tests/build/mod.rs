//! Makes small trace.dat files, version 6 and 7, for tests and fuzzing.

#![allow(dead_code, reason = "each user takes what it needs")]

use std::io::Write as _;

pub(crate) mod perf;
pub(crate) mod perfetto;

pub(crate) const PAGE: usize = 4096;

const WAKEUP: &str = "name: sched_wakeup
ID: 7
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:int prio;\toffset:28;\tsize:4;\tsigned:1;
\tfield:int target_cpu;\toffset:32;\tsize:4;\tsigned:1;

print fmt: \"\"
";

const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;
";

/// A page of the ring buffer.
pub(crate) struct Page {
    time_ns: u64,
    data: Vec<u8>,
    lost: Option<u64>,
}

impl Page {
    pub(crate) fn new(time_ns: u64) -> Self {
        Self { time_ns, data: Vec::new(), lost: None }
    }

    /// So many events are missing before it.
    pub(crate) fn lost(mut self, count: u64) -> Self {
        self.lost = Some(count);
        self
    }

    /// A wakeup of `pid`, so long after the one before.
    pub(crate) fn wakeup(mut self, delta_ns: u32, pid: i32) -> Self {
        let mut record = vec![7, 0, 0, 0];
        record.extend(1_i32.to_le_bytes());
        record.extend(b"task\0\0\0\0\0\0\0\0\0\0\0\0");
        record.extend(pid.to_le_bytes());
        record.extend(120_i32.to_le_bytes());
        record.extend(0_i32.to_le_bytes());
        self.word(record.len() as u32 / 4, delta_ns);
        self.data.extend(record);
        self
    }

    /// A record of an event without a format, in the long form.
    pub(crate) fn unknown(mut self, delta_ns: u32) -> Self {
        self.word(0, delta_ns);
        self.data.extend(12_u32.to_le_bytes());
        self.data.extend([99, 0, 0, 0, 1, 0, 0, 0]);
        self
    }

    /// Time that does not fit a record.
    pub(crate) fn extend(mut self, delta_ns: u64) -> Self {
        self.word(30, (delta_ns & 0x7ff_ffff) as u32);
        self.data.extend(((delta_ns >> 27) as u32).to_le_bytes());
        self
    }

    /// Absolute time.
    pub(crate) fn stamp(mut self, time_ns: u64) -> Self {
        self.word(31, (time_ns & 0x7ff_ffff) as u32);
        self.data.extend(((time_ns >> 27) as u32).to_le_bytes());
        self
    }

    /// A record that was thrown away.
    pub(crate) fn discarded(mut self, delta_ns: u32) -> Self {
        self.word(29, delta_ns);
        self.data.extend(8_u32.to_le_bytes());
        self.data.extend([0; 4]);
        self
    }

    fn word(&mut self, type_len: u32, delta_ns: u32) {
        self.data.extend((delta_ns << 5 | type_len).to_le_bytes());
    }

    fn bytes(&self) -> Vec<u8> {
        let flags = if self.lost.is_some() { 3_u64 << 30 } else { 0 };
        let mut page = self.time_ns.to_le_bytes().to_vec();
        page.extend((self.data.len() as u64 | flags).to_le_bytes());
        page.extend(&self.data);
        page.extend(self.lost.unwrap_or(0).to_le_bytes());
        page.resize(PAGE, 0);
        page
    }
}

fn sized(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn header_info() -> Vec<u8> {
    let mut bytes = b"header_page\0".to_vec();
    bytes.extend(sized(HEADER_PAGE));
    bytes.extend(b"header_event\0");
    bytes.extend(sized("# compressed entry header\n"));
    bytes
}

fn formats() -> Vec<u8> {
    let mut bytes = 1_u32.to_le_bytes().to_vec();
    bytes.extend(b"sched\0");
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(sized(WAKEUP));
    bytes
}

fn begin(version: &[u8]) -> Vec<u8> {
    let mut file = b"\x17\x08\x44tracing".to_vec();
    file.extend(version);
    file.extend([0, 0, 8]);
    file.extend((PAGE as u32).to_le_bytes());
    file
}

/// A file of version 6: one list of pages for each CPU.
pub(crate) fn version_6(cpus: &[Vec<Page>]) -> Vec<u8> {
    let mut file = begin(b"6");
    file.extend(header_info());
    file.extend(0_u32.to_le_bytes());
    file.extend(formats());
    file.extend(0_u32.to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend((cpus.len() as u32).to_le_bytes());
    file.extend(b"options  \0");
    let stat = b"overrun: 5\n\0";
    file.extend(2_u16.to_le_bytes());
    file.extend((stat.len() as u32).to_le_bytes());
    file.extend(stat);
    file.extend(0_u16.to_le_bytes());
    file.extend(b"flyrecord\0");
    let mut data = Vec::new();
    let base = (file.len() + cpus.len() * 16).next_multiple_of(PAGE);
    for pages in cpus {
        let bytes: Vec<u8> = pages.iter().flat_map(Page::bytes).collect();
        file.extend(((base + data.len()) as u64).to_le_bytes());
        file.extend((bytes.len() as u64).to_le_bytes());
        data.extend(bytes);
    }
    file.resize(base, 0);
    file.extend(data);
    file
}

fn pack(codec: &str, bytes: &[u8]) -> Vec<u8> {
    match codec {
        "zstd" => zstd::stream::encode_all(bytes, 3).unwrap_or_default(),
        _ => {
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
            let _ = encoder.write_all(bytes);
            encoder.finish().unwrap_or_default()
        }
    }
}

fn section(file: &mut Vec<u8>, codec: &str, id: u16, bytes: &[u8]) -> u64 {
    let at = file.len() as u64;
    let packed = codec != "none";
    file.extend(id.to_le_bytes());
    file.extend(u16::from(packed).to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    if packed {
        let content = pack(codec, bytes);
        file.extend((content.len() as u64 + 8).to_le_bytes());
        file.extend((content.len() as u32).to_le_bytes());
        file.extend((bytes.len() as u32).to_le_bytes());
        file.extend(content);
    } else {
        file.extend((bytes.len() as u64).to_le_bytes());
        file.extend(bytes);
    }
    at
}

/// A file of version 7, with `none`, `zlib` or `zstd`.
pub(crate) fn version_7(codec: &str, cpus: &[Vec<Page>]) -> Vec<u8> {
    let mut file = begin(b"7");
    file.extend(codec.as_bytes());
    file.extend(b"\0 1\0");
    let options_at = file.len();
    file.extend(0_u64.to_le_bytes());
    let info = section(&mut file, codec, 16, &header_info());
    let events = section(&mut file, codec, 18, &formats());
    let data_at = file.len() as u64;
    file.extend(3_u16.to_le_bytes());
    file.extend(u16::from(codec != "none").to_le_bytes());
    file.extend([0; 12]);
    let mut buffer = data_at.to_le_bytes().to_vec();
    buffer.extend(b"\0local\0");
    buffer.extend((PAGE as u32).to_le_bytes());
    buffer.extend((cpus.len() as u32).to_le_bytes());
    for (cpu, pages) in cpus.iter().enumerate() {
        let start = file.len() as u64;
        if codec == "none" {
            file.extend(pages.iter().flat_map(Page::bytes));
        } else {
            file.extend((pages.len() as u32).to_le_bytes());
            for page in pages {
                let bytes = page.bytes();
                let content = pack(codec, &bytes);
                file.extend((content.len() as u32).to_le_bytes());
                file.extend((bytes.len() as u32).to_le_bytes());
                file.extend(content);
            }
        }
        buffer.extend((cpu as u32).to_le_bytes());
        buffer.extend(start.to_le_bytes());
        buffer.extend((file.len() as u64 - start).to_le_bytes());
    }
    let mut options = Vec::new();
    for (id, place) in [(16_u16, info), (18, events)] {
        options.extend(id.to_le_bytes());
        options.extend(8_u32.to_le_bytes());
        options.extend(place.to_le_bytes());
    }
    options.extend(3_u16.to_le_bytes());
    options.extend((buffer.len() as u32).to_le_bytes());
    options.extend(buffer);
    options.extend(0_u16.to_le_bytes());
    options.extend(8_u32.to_le_bytes());
    options.extend(0_u64.to_le_bytes());
    let at = section(&mut file, codec, 0, &options);
    file[options_at..options_at + 8].copy_from_slice(&at.to_le_bytes());
    file
}

/// Two CPUs with everything a page can hold.
pub(crate) fn sample() -> Vec<Vec<Page>> {
    vec![
        vec![
            Page::new(1_000).wakeup(0, 10).wakeup(500, 11).extend(1 << 30).wakeup(1, 12),
            Page::new(3_000_000_000).lost(7).wakeup(0, 13).discarded(5).unknown(1).wakeup(1, 14),
        ],
        vec![Page::new(1_200).wakeup(0, 20).stamp(2_000_000_000).wakeup(3, 21)],
    ]
}
