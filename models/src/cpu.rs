//! The processor: what it can do, and what this build uses of it.

/// Features that the compute kernels of either backend gain much from, with whether the
/// processor has them and whether this program was built for them.
#[must_use]
pub fn features() -> Vec<Feature> {
    macro_rules! features {
        ($($name:tt),+) => {{
            #[cfg(target_arch = "x86_64")]
            {
                vec![$(Feature {
                    name: $name,
                    present: std::is_x86_feature_detected!($name),
                    used: cfg!(target_feature = $name),
                }),+]
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                Vec::new()
            }
        }};
    }
    features!(
        "sse4.2",
        "avx",
        "avx2",
        "fma",
        "f16c",
        "bmi2",
        "avx512f",
        "avx512vnni",
        "avxvnni",
        "avx512bf16"
    )
}

/// An instruction set extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Such as `avx2`.
    pub name: &'static str,
    /// The processor has it.
    pub present: bool,
    /// The program was built for it.
    pub used: bool,
}

/// What the processor has and this build does not use. Empty: a native build, whose speed can
/// be compared with others'.
#[must_use]
pub fn unused_features() -> Vec<&'static str> {
    let unused = features()
        .into_iter()
        .filter(|feature| feature.present && !feature.used);
    unused.map(|feature| feature.name).collect()
}

/// The processor's name, as the system tells it.
#[must_use]
pub fn model_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = line
        .and_then(|line| line.split_once(':'))
        .map(|(_, name)| name.trim());
    name.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_build_is_native() {
        // `.cargo/config.toml` says so; without it every published figure would be wrong.
        assert_eq!(unused_features(), Vec::<&str>::new());
    }
}
