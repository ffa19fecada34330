//! The kernels of the lab: which Debian packages have them, found by name and series.

use std::cmp::Reverse;

use slicewise_sched::Profile;

use crate::failure::{Failure, Result};

/// The series there are profiles for and Debian has packages of, oldest first.
pub(crate) const SERIES: &[&str] = &["6.1", "6.12", "6.18", "7.2"];

/// Among the names of packages, the newest kernel of a series.
///
/// Debian calls them `linux-image-6.1.0-56-cloud-amd64` and
/// `linux-image-6.12.117+deb13-cloud-amd64`; where the image is split off, the kernel itself is in
/// `linux-binary-…`, which then comes first.
pub(crate) fn newest<'a>(names: impl Iterator<Item = &'a str>, series: &str) -> Option<&'a str> {
    names
        .filter_map(|name| {
            let (split, rest) = match name.strip_prefix("linux-binary-") {
                Some(rest) => (true, rest),
                None => (false, name.strip_prefix("linux-image-")?),
            };
            let version = rest.strip_suffix("-cloud-amd64")?;
            let release = version.strip_prefix(series)?.strip_prefix('.')?;
            let numbers: Vec<u32> = release
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|word| word.parse().ok())
                .collect();
            (!numbers.is_empty()).then_some((numbers, split, Reverse(name)))
        })
        .max()
        .map(|(_, _, Reverse(name))| name)
}

/// The profile for a kernel: that of its point release where there is one, else its series'.
/// `package` is the package's name and its version: `linux-image-6.18.15+… 6.18.15-1~bpo13+1`.
pub(crate) fn profile_of(series: &str, package: &str) -> Result<Profile> {
    let version = package.split(' ').next_back().unwrap_or("");
    let release = version.split(['-', '+', '~']).next().unwrap_or("");
    Profile::named(release)
        .or_else(|| Profile::named(series))
        .ok_or_else(|| Failure::new(format!("there is no profile for kernel {series}")))
}

/// The kernels a command is about: a list, or all of them.
pub(crate) fn chosen(list: &[String]) -> Result<Vec<&'static str>> {
    if list.is_empty() {
        return Ok(SERIES.to_vec());
    }
    list.iter()
        .map(|name| {
            SERIES.iter().copied().find(|series| series == name).ok_or_else(|| {
                Failure::with_help(
                    format!("the lab has no kernel `{name}`"),
                    format!("the kernels are {}", SERIES.join(", ")),
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{newest, profile_of};

    #[test]
    fn the_profile_is_that_of_the_point_release_if_there_is_one() {
        let name = |series, package| profile_of(series, package).unwrap().name;
        let package = "linux-image-6.18.15+deb13-cloud-amd64 6.18.15-1~bpo13+1";
        assert_eq!(name("6.18", package), "6.18.15");
        assert_eq!(name("6.18", "linux-image-6.18.40+deb13-cloud-amd64 6.18.40-1"), "6.18");
        assert_eq!(name("6.12", "linux-image-6.12.117+deb13-cloud-amd64 6.12.117-1"), "6.12");
        assert!(profile_of("5.10", "").is_err());
    }

    const NAMES: &[&str] = &[
        "linux-image-6.1.0-9-cloud-amd64",
        "linux-image-6.1.0-56-cloud-amd64",
        "linux-image-6.1.0-56-cloud-amd64-unsigned",
        "linux-image-6.12.94+deb13-cloud-amd64",
        "linux-image-6.12.117+deb13-cloud-amd64",
        "linux-image-7.2.12+deb13-cloud-amd64",
        "linux-binary-7.2.12+deb13-cloud-amd64",
        "linux-binary-7.2.9+deb13-cloud-amd64",
    ];

    #[test]
    fn the_newest_is_newest_by_number_not_by_letter() {
        let of = |series| newest(NAMES.iter().copied(), series);
        assert_eq!(of("6.1"), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(of("6.12"), Some("linux-image-6.12.117+deb13-cloud-amd64"));
        assert_eq!(of("6.18"), None);
    }

    #[test]
    fn the_package_with_the_kernel_in_it_is_preferred() {
        let newest = newest(NAMES.iter().copied(), "7.2");
        assert_eq!(newest, Some("linux-binary-7.2.12+deb13-cloud-amd64"));
    }
}
