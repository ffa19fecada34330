//! What a container has to keep: `p99=20ms`, `throttled<1%`, `device>90%`.

use slicewise_report::{KubeContainer, KubePart, KubeTimes, KubeTrialFigures};

/// What a container has to keep.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// Part of the periods that is throttled, at most.
    Throttled(f64),
    /// A quantile of its requests' responses, at most so many ns.
    Response(Quantile, u64),
    /// Part of the time its device works, at least.
    Device(f64),
}

/// A quantile that is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantile {
    /// Half of all.
    P50,
    /// 99 in 100.
    P99,
    /// 999 in 1000.
    P999,
}

impl Quantile {
    fn of(self, times: &KubeTimes) -> u64 {
        match self {
            Self::P50 => times.p50_ns,
            Self::P99 => times.p99_ns,
            Self::P999 => times.p999_ns,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
        }
    }
}

impl Target {
    /// Reads a target; durations are read by `duration`, in ns.
    ///
    /// # Errors
    /// Says what to write.
    pub fn parse(
        text: &str,
        duration: impl Fn(&str) -> Result<u64, String>,
    ) -> Result<Self, String> {
        const HELP: &str =
            "write p99=20ms (or p50, p99.9), throttled=1% (at most) or device=90% (at least)";
        let at = text.find(['=', '<', '>']).ok_or(HELP)?;
        let (name, rest) = text.split_at(at);
        let value = rest.trim_start_matches(['=', '<', '>']).trim();
        let falls = !rest.starts_with('>');
        let quantile = match name.trim() {
            "p50" => Quantile::P50,
            "p99" => Quantile::P99,
            "p99.9" | "p999" => Quantile::P999,
            "throttled" if falls => return share(value).map(Self::Throttled),
            "device" if !rest.starts_with('<') => return share(value).map(Self::Device),
            _ => return Err(HELP.to_owned()),
        };
        if !falls {
            return Err(format!("a response has to be short: {HELP}"));
        }
        duration(value).map(|ns| Self::Response(quantile, ns))
    }

    /// Whether it can be asked of a container that does this.
    pub fn concerns(&self, container: &KubeContainer) -> bool {
        let any = |kind: &str| container.parts.iter().any(|part| part.kind == kind);
        match self {
            Self::Throttled(_) => container.has_load,
            Self::Response(..) => any("requests"),
            Self::Device(_) => any("launch"),
        }
    }

    /// What is wrong with a container; `None` if it keeps the target or is not concerned.
    pub fn missed_by(&self, container: &KubeContainer) -> Option<String> {
        if !self.concerns(container) {
            return None;
        }
        let figures = TrialView::of(container, self);
        (!self.is_kept(&figures)).then(|| match self {
            Self::Throttled(_) => {
                format!(
                    "throttled in {:.1} % of periods, not {self}",
                    figures.throttled_share * 100.0
                )
            }
            Self::Response(quantile, _) => {
                let ms = quantile.of(&figures.durations) as f64 / 1e6;
                format!("{} {ms:.1} ms, not {self}", quantile.name())
            }
            Self::Device(_) => {
                let busy = figures.device_busy_share.unwrap_or(0.0);
                format!("its device works {:.0} % of the time, not {self}", busy * 100.0)
            }
        })
    }

    /// Whether the figures keep it.
    pub fn is_kept(&self, figures: &KubeTrialFigures) -> bool {
        match self {
            Self::Throttled(most) => figures.throttled_share <= *most,
            Self::Response(quantile, ns) => {
                figures.durations.count > 0 && quantile.of(&figures.durations) <= *ns
            }
            Self::Device(least) => figures.device_busy_share.is_some_and(|busy| busy >= *least),
        }
    }
}

/// What a target looks at.
pub(crate) struct TrialView;

impl TrialView {
    /// The figures of the part a target is about: the worst of several.
    pub(crate) fn of(container: &KubeContainer, target: &Target) -> KubeTrialFigures {
        let kind = match target {
            Target::Response(..) => "requests",
            Target::Device(_) => "launch",
            Target::Throttled(_) => main_kind(container),
        };
        let parts = container.parts.iter().filter(|part| part.kind == kind);
        let worst: Option<&KubePart> = parts.max_by_key(|part| part.durations.p99_ns);
        let busy = container.parts.iter().filter_map(|part| part.launch.as_ref());
        KubeTrialFigures {
            throttled_share: container.throttled_share,
            used_cpus: container.used_cpus,
            durations: worst.map(|part| part.durations).unwrap_or_default(),
            device_busy_share: busy.map(|launch| launch.device_busy_share).min_by(f64::total_cmp),
        }
    }
}

/// What people look at first: requests, else launches, else jobs.
fn main_kind(container: &KubeContainer) -> &'static str {
    let any = |kind: &str| container.parts.iter().any(|part| part.kind == kind);
    ["requests", "launch"].into_iter().find(|kind| any(kind)).unwrap_or("batch")
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').map(str::trim_end).unwrap_or(text);
    match number.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) && text.ends_with('%') => {
            Ok(percent / 100.0)
        }
        _ => Err(format!("`{text}` is no share: write 1%, 0% to 100%")),
    }
}

/// Reads a share of periods such as `1%`.
///
/// # Errors
/// Says what to write.
pub fn parse_share(text: &str) -> Result<f64, String> {
    share(text)
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Throttled(most) => write!(f, "throttled <= {} %", most * 100.0),
            Self::Response(quantile, ns) => {
                write!(f, "{} <= {} ms", quantile.name(), *ns as f64 / 1e6)
            }
            Self::Device(least) => write!(f, "device >= {} %", least * 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Target, String> {
        Target::parse(text, |text| {
            let ms = text.strip_suffix("ms").ok_or("no unit")?;
            ms.parse::<u64>().map(|ms| ms * 1_000_000).map_err(|error| error.to_string())
        })
    }

    #[test]
    fn targets_are_read_as_people_write_them() {
        assert_eq!(parse("p99=20ms"), Ok(Target::Response(Quantile::P99, 20_000_000)));
        assert_eq!(parse("p99.9 <= 5ms"), Ok(Target::Response(Quantile::P999, 5_000_000)));
        assert_eq!(parse("throttled<1%"), Ok(Target::Throttled(0.01)));
        assert_eq!(parse("device>=90%"), Ok(Target::Device(0.9)));
        for bad in [
            "",
            "p99",
            "p98=1ms",
            "p99>1ms",
            "p99=20",
            "throttled<1",
            "device<3%",
            "throttled<101%",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
