//! Where downloads, images and results are kept.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// The cache directory, made when it is not there.
#[derive(Clone, Debug)]
pub(crate) struct Cache(PathBuf);

impl Cache {
    /// The named directory, or `$XDG_CACHE_HOME/slicewise-lab`, or `target/lab`.
    pub(crate) fn open(named: Option<&Path>) -> Result<Self> {
        let path = match (named, std::env::var_os("XDG_CACHE_HOME")) {
            (Some(named), _) => named.to_owned(),
            (None, Some(home)) if !home.is_empty() => Path::new(&home).join("slicewise-lab"),
            (None, _) => PathBuf::from("target/lab"),
        };
        std::fs::create_dir_all(&path).map_err(|error| Failure::file("create", &path, &error))?;
        let path = path.canonicalize().map_err(|error| Failure::file("find", &path, &error))?;
        if path.to_string_lossy().contains([',', '"']) {
            return Err(Failure::with_help(
                format!("the cache path {} has a comma or a quote in it", path.display()),
                "name another with --cache: QEMU and apt cannot take this one",
            ));
        }
        Ok(Self(path))
    }

    pub(crate) fn apt(&self) -> PathBuf {
        self.0.join("apt")
    }

    pub(crate) fn debs(&self) -> PathBuf {
        self.0.join("debs")
    }

    pub(crate) fn kernel(&self, series: &str) -> PathBuf {
        self.0.join("kernels").join(series)
    }

    /// What came back from a case on a kernel.
    pub(crate) fn results(&self, case: &str, series: &str) -> PathBuf {
        self.0.join("results").join(format!("{case}-{series}"))
    }
}
