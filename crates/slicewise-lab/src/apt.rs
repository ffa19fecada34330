//! Fetching kernels with the machine's own apt configuration and state of our own.
//!
//! Other suites than the machine's are needed. Their mirrors are those the machine uses already,
//! read from its configuration each time, and written nowhere but into the cache.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::failure::{Failure, Result};
use crate::{kernels, tools};

const SOURCES: &str = "/etc/apt";
/// Suites that have the kernels, of the main archive and of the security archive.
const SUITES: &[&str] = &["bookworm", "trixie", "trixie-backports"];
const SUITES_SECURITY: &[&str] = &["bookworm-security", "trixie-security"];

/// A Debian archive the machine uses.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Archive {
    uri: String,
    security: bool,
    /// The value of `Signed-By`, a path or a key.
    signed_by: Option<String>,
}

/// A kernel of the cache.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// `6.12`.
    pub(crate) series: String,
    /// The package with its version, as it is recorded with results.
    pub(crate) package: String,
    /// The image to boot.
    pub(crate) image: PathBuf,
}

/// The kernel of a series from the cache, if it is there and whole.
pub(crate) fn cached(cache: &Cache, series: &str) -> Result<Option<Kernel>> {
    let directory = cache.kernel(series);
    let (package, sum) = (directory.join("package"), directory.join("sha256"));
    if !package.exists() || !sum.exists() {
        return Ok(None);
    }
    let mut check = tools::command("sha256sum")?;
    check.arg("--check").arg("--quiet").arg(&sum).current_dir(&directory);
    tools::output_of(check).map_err(|_| {
        Failure::with_help(
            format!("the files in {} are not what was fetched", directory.display()),
            "remove that directory and run `fetch` again",
        )
    })?;
    let package =
        fs::read_to_string(&package).map_err(|error| Failure::file("read", &package, &error))?;
    Ok(Some(Kernel {
        series: series.to_owned(),
        package: package.trim().to_owned(),
        image: directory.join("vmlinuz"),
    }))
}

/// The kernel of a series, fetched if the cache does not have it.
pub(crate) fn fetch(cache: &Cache, series: &str) -> Result<Kernel> {
    if let Some(kernel) = cached(cache, series)? {
        return Ok(kernel);
    }
    let apt = Apt::new(cache)?;
    apt.update_once()?;
    let names = apt.names()?;
    let name = kernels::newest(names.lines(), series).ok_or_else(|| {
        Failure::with_help(
            format!("the machine's Debian mirror has no cloud kernel of series {series}"),
            "see whether the mirror has the suites bookworm, trixie and trixie-backports",
        )
    })?;
    let deb = apt.download(name, &cache.debs())?;
    install(cache, series, &deb)
}

/// Takes the image out of a package.
fn install(cache: &Cache, series: &str, deb: &Path) -> Result<Kernel> {
    let directory = cache.kernel(series);
    let unpacked = directory.join("unpacked");
    create(&unpacked)?;
    let mut unpack = tools::command("dpkg-deb")?;
    unpack.arg("-x").arg(deb).arg(&unpacked);
    tools::output_of(unpack)?;
    let image = image_in(&unpacked)?.ok_or_else(|| {
        Failure::new(format!("there is no vmlinuz in the package {}", deb.display()))
    })?;
    let place = directory.join("vmlinuz");
    fs::rename(&image, &place).map_err(|error| Failure::file("move", &image, &error))?;
    fs::remove_dir_all(&unpacked).map_err(|error| Failure::file("remove", &unpacked, &error))?;
    let mut sum = tools::command("sha256sum")?;
    sum.arg("vmlinuz").current_dir(&directory);
    write(&directory.join("sha256"), tools::output_of(sum)?.as_bytes())?;
    let mut about = tools::command("dpkg-deb")?;
    about.args(["--show", "--showformat=${Package} ${Version}"]).arg(deb);
    let package = tools::output_of(about)?;
    write(&directory.join("package"), package.as_bytes())?;
    fs::remove_file(deb).map_err(|error| Failure::file("remove", deb, &error))?;
    Ok(Kernel { series: series.to_owned(), package, image: place })
}

/// `boot/vmlinuz-*`, or in newer packages `usr/lib/modules/*/vmlinuz`.
fn image_in(unpacked: &Path) -> Result<Option<PathBuf>> {
    for directory in ["boot", "usr/lib/modules", "lib/modules"] {
        let directory = unpacked.join(directory);
        if !directory.is_dir() {
            continue;
        }
        let listing =
            fs::read_dir(&directory).map_err(|error| Failure::file("list", &directory, &error))?;
        for entry in listing.flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with("vmlinuz-") {
                return Ok(Some(path));
            }
            if path.join("vmlinuz").is_file() {
                return Ok(Some(path.join("vmlinuz")));
            }
        }
    }
    Ok(None)
}

struct Apt {
    config: PathBuf,
    lists: PathBuf,
}

impl Apt {
    /// Writes sources and a configuration of our own into the cache.
    fn new(cache: &Cache) -> Result<Self> {
        let root = cache.apt();
        let lists = root.join("lists");
        create(&lists.join("partial"))?;
        create(&root.join("cache/archives/partial"))?;
        let archives = machine_archives(Path::new(SOURCES))?;
        if archives.iter().all(|archive| archive.security) {
            return Err(Failure::with_help(
                format!("no Debian archive is configured in {SOURCES}"),
                "the lab fetches kernels with apt: run it on Debian, or put kernels into the cache",
            ));
        }
        write(&root.join("lab.sources"), sources_text(&archives).as_bytes())?;
        let config = root.join("apt.conf");
        let text = format!(
            "Dir::Etc::sourcelist \"{0}/lab.sources\";\nDir::Etc::sourceparts \"-\";\n\
             Dir::State::Lists \"{0}/lists\";\nDir::Cache \"{0}/cache\";\n",
            root.display()
        );
        write(&config, text.as_bytes())?;
        Ok(Self { config, lists })
    }

    fn command(&self, tool: &str) -> Result<std::process::Command> {
        let mut command = tools::command(tool)?;
        command.env("APT_CONFIG", &self.config);
        Ok(command)
    }

    /// Fetches the lists of packages, unless this cache has them from less than a day ago.
    fn update_once(&self) -> Result<()> {
        let stamp = self.lists.join("fetched");
        let fresh = fs::metadata(&stamp)
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|time| time.elapsed().ok())
            .is_some_and(|age| age.as_secs() < 24 * 3600);
        if fresh {
            return Ok(());
        }
        let mut update = self.command("apt-get")?;
        update.args(["update", "--error-on=any"]);
        tools::output_of(update)?;
        write(&stamp, b"")
    }

    fn names(&self) -> Result<String> {
        let mut search = self.command("apt-cache")?;
        search.args(["pkgnames", "linux-"]);
        tools::output_of(search)
    }

    /// Downloads a package; apt checks signatures and sums.
    fn download(&self, name: &str, into: &Path) -> Result<PathBuf> {
        create(into)?;
        let mut download = self.command("apt-get")?;
        download.args(["download", name]).current_dir(into);
        tools::output_of(download)?;
        let listing = fs::read_dir(into).map_err(|error| Failure::file("list", into, &error))?;
        let prefix = format!("{name}_");
        listing
            .flatten()
            .map(|entry| entry.path())
            .find(|path| {
                path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&prefix))
            })
            .ok_or_else(|| Failure::new(format!("apt-get downloaded no file for {name}")))
    }
}

fn create(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(|error| Failure::file("create", directory, &error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|error| Failure::file("write", path, &error))
}

/// All Debian archives in `sources.list`, `*.list` and `*.sources`.
fn machine_archives(root: &Path) -> Result<Vec<Archive>> {
    let mut files = vec![root.join("sources.list")];
    let parts = root.join("sources.list.d");
    if let Ok(listing) = fs::read_dir(&parts) {
        files.extend(listing.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut archives = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let text = fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => archives.extend(from_deb822(&text)),
            Some("list") => archives.extend(text.lines().filter_map(from_one_line)),
            _ => {}
        }
    }
    Ok(archives)
}

/// Whether a suite is one of Debian's own, and if so whether it is a security suite.
fn debian_suite(suite: &str) -> Option<bool> {
    let base = suite.split(['-', '/']).next().unwrap_or_default();
    let known = ["bookworm", "trixie", "forky", "sid", "stable", "oldstable", "testing"];
    known.contains(&base).then(|| suite.contains("security"))
}

fn from_deb822(text: &str) -> Vec<Archive> {
    let mut archives = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            stanza.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let enabled = field("Enabled").is_none_or(|value| value != "no");
        let binary = field("Types").is_some_and(|types| types.split(' ').any(|t| t == "deb"));
        let security =
            field("Suites").and_then(|suites| suites.split_whitespace().find_map(debian_suite));
        let uri = field("URIs").and_then(|uris| uris.split(' ').next().map(str::to_owned));
        if let (true, true, Some(security), Some(uri)) = (enabled, binary, security, uri) {
            archives.push(Archive { uri, security, signed_by: field("Signed-By") });
        }
    }
    archives
}

fn from_one_line(line: &str) -> Option<Archive> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let uri = words.next()?.to_owned();
    let security = debian_suite(words.next()?)?;
    let signed_by = options
        .split_whitespace()
        .find_map(|word| word.strip_prefix("signed-by="))
        .map(str::to_owned);
    Some(Archive { uri, security, signed_by })
}

fn sources_text(archives: &[Archive]) -> String {
    let mut text = String::new();
    for archive in archives {
        let suites = if archive.security { SUITES_SECURITY } else { SUITES };
        let _ = writeln!(text, "Types: deb\nURIs: {}\nSuites: {}", archive.uri, suites.join(" "));
        let _ = writeln!(text, "Components: main");
        if let Some(key) = &archive.signed_by {
            let _ = writeln!(text, "Signed-By: {key}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Archive, from_deb822, from_one_line, sources_text};

    #[test]
    fn debian_stanzas_are_taken_and_others_are_not() {
        let text = "# x\nTypes: deb\n# http://old\nURIs: http://m.invalid/debian\n\
                    Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n\n\
                    Types: deb\nURIs: http://m.invalid/node\nSuites: nodistro\nComponents: main\n\n\
                    Types: deb\nURIs: http://m.invalid/sec\nSuites: bookworm-security\n";
        let archives = from_deb822(text);
        assert_eq!(archives.len(), 2);
        assert_eq!(archives[0].uri, "http://m.invalid/debian");
        assert_eq!(archives[0].signed_by.as_deref(), Some("/k.gpg"));
        assert!(archives[1].security);
    }

    #[test]
    fn one_line_sources_may_have_options() {
        let line = "deb [arch=amd64 signed-by=/k.gpg] http://m.invalid/debian trixie main";
        let archive = from_one_line(line).unwrap();
        let expected = Archive {
            uri: "http://m.invalid/debian".into(),
            security: false,
            signed_by: Some("/k.gpg".into()),
        };
        assert_eq!(archive, expected);
        assert_eq!(from_one_line("# deb http://m.invalid/debian trixie main"), None);
        assert_eq!(from_one_line("deb http://m.invalid/x cloud-sdk main"), None);
    }

    #[test]
    fn our_sources_name_the_suites_with_the_kernels() {
        let archive =
            Archive { uri: "http://m.invalid/debian".into(), security: false, signed_by: None };
        let text = sources_text(&[archive]);
        assert!(text.contains("Suites: bookworm trixie trixie-backports\n"), "{text}");
    }
}
