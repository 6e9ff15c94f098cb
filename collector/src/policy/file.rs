//! The policy file: YAML that says what holds everywhere, and what holds otherwise in some clusters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_checks::catalogue::{Catalogue, CheckId, JudgedBy};
use holdfast_checks::policy::{Policy, PolicyError};
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::files::{self, FileError};

/// The most clusters with a policy of their own.
const MOST_CLUSTERS: usize = 1_000;
/// The longest name of a cluster, in bytes.
const MAX_CLUSTER_BYTES: usize = 253;

/// What the agents of each cluster are to hold. The default: nothing, everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    everywhere: Arc<Policy>,
    clusters: BTreeMap<String, Arc<Policy>>,
}

/// Why the file cannot be used. Nothing of a bad file is.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not YAML of the expected shape, or a value cannot be used.
    #[error("{path}:{line}: {problem}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Where it stands.
        line: u64,
        /// Which value, and what to write.
        problem: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    full_pass_seconds: Option<Spanned<u32>>,
    disabled_checks: Option<Vec<Spanned<String>>>,
    disabled_custom_checks: Option<Vec<Spanned<String>>>,
    peer_probe_pools: Option<Vec<WrittenPool>>,
    #[serde(default)]
    clusters: BTreeMap<String, Written>,
}

/// What holds somewhere. What is left out is as everywhere.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    full_pass_seconds: Option<Spanned<u32>>,
    disabled_checks: Option<Vec<Spanned<String>>>,
    disabled_custom_checks: Option<Vec<Spanned<String>>>,
    peer_probe_pools: Option<Vec<WrittenPool>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPool {
    name: Spanned<String>,
    networks: Vec<String>,
}

/// The line of a value and what is wrong with it.
type Wrong = (u64, String);

/// What was expected where. One line: it is shown on a page, too.
fn malformed(error: &serde_saphyr::Error) -> Wrong {
    let line = error.location().map_or(1, |location| location.line());
    (line, error.without_snippet().to_string())
}

impl Policies {
    /// Reads the file. `catalogue` is what `disabled_checks` may name.
    ///
    /// # Errors
    /// [`PolicyFileError`], with the file, the line and what to write instead.
    pub fn load(path: &Path, catalogue: &Catalogue) -> Result<Self, PolicyFileError> {
        Self::parse(path, &files::read_text(path)?, catalogue)
    }

    pub(crate) fn parse(path: &Path, text: &str, catalogue: &Catalogue) -> Result<Self, PolicyFileError> {
        let wrong = |(line, problem): Wrong| PolicyFileError::Value { path: path.to_owned(), line, problem };
        let file: Option<File> =
            if text.trim().is_empty() { None } else { serde_saphyr::from_str(text).map_err(|error| wrong(malformed(&error)))? };
        let File { full_pass_seconds, disabled_checks, disabled_custom_checks, peer_probe_pools, clusters } = file.unwrap_or_default();
        let everywhere = Written { full_pass_seconds, disabled_checks, disabled_custom_checks, peer_probe_pools };
        if clusters.len() > MOST_CLUSTERS {
            return Err(wrong((1, format!("clusters has {} clusters, {MOST_CLUSTERS} are allowed", clusters.len()))));
        }
        let mut policies = Self { everywhere: Arc::new(accept(&everywhere, None, catalogue).map_err(wrong)?), ..Self::default() };
        for (name, written) in clusters {
            if name.is_empty() || name.len() > MAX_CLUSTER_BYTES || name.chars().any(char::is_control) {
                let line = line_of(text, &name);
                let problem = format!("clusters: a name has 1 to {MAX_CLUSTER_BYTES} bytes without control characters");
                return Err(wrong((line, problem)));
            }
            let policy = accept(&written, Some(&everywhere), catalogue);
            let policy = policy.map_err(|(line, problem)| wrong((line, format!("clusters.{}: {problem}", name.escape_debug()))))?;
            policies.clusters.insert(name, Arc::new(policy));
        }
        Ok(policies)
    }

    /// What agents of a cluster are to hold.
    pub fn of(&self, cluster: &str) -> &Arc<Policy> {
        self.clusters.get(cluster).unwrap_or(&self.everywhere)
    }

    /// The clusters with a policy of their own.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        self.clusters.keys().map(String::as_str)
    }

    /// Does any cluster have pools.
    pub fn has_pools(&self) -> bool {
        std::iter::once(&self.everywhere).chain(self.clusters.values()).any(|policy| !policy.pools().is_empty())
    }
}

/// The policy of what is written, over what is written for everywhere.
fn accept(written: &Written, below: Option<&Written>, catalogue: &Catalogue) -> Result<Policy, Wrong> {
    let nothing = Written::default();
    let below = below.unwrap_or(&nothing);
    let full_pass = written.full_pass_seconds.as_ref().or(below.full_pass_seconds.as_ref());
    let seconds = full_pass.map_or(0, |seconds| seconds.value);
    if let Some(written) = full_pass {
        let error = if written.value == 0 {
            Some("full_pass_seconds 0 is below 60: leave it out for the agents' own".to_owned())
        } else {
            part(seconds, &[], &[]).err().map(|error| error.to_string())
        };
        if let Some(problem) = error {
            return Err((written.referenced.line(), problem));
        }
    }
    let ours = written.disabled_checks.as_ref().or(below.disabled_checks.as_ref()).into_iter().flatten();
    let custom = written.disabled_custom_checks.as_ref().or(below.disabled_custom_checks.as_ref()).into_iter().flatten();
    let mut disabled = Vec::new();
    for (check, ours) in ours.map(|check| (check, true)).chain(custom.map(|check| (check, false))) {
        if let Some(problem) = not_to_disable(&check.value, ours, catalogue) {
            return Err((check.referenced.line(), problem));
        }
        disabled.push(check.value.as_str());
    }
    let pools = written.peer_probe_pools.as_deref().or(below.peer_probe_pools.as_deref()).unwrap_or_default();
    for (index, pool) in pools.iter().enumerate() {
        let known = pools.iter().take(index).any(|other| other.name.value == pool.name.value);
        let error = if known { Some(PolicyError::Twice(pool.name.value.clone())) } else { part(0, &[], std::slice::from_ref(pool)).err() };
        if let Some(error) = error {
            return Err((pool.name.referenced.line(), error.to_string()));
        }
    }
    // What is wrong with the whole stands nowhere in particular.
    part(seconds, &disabled, pools).map_err(|error| (1, error.to_string()))
}

fn part(seconds: u32, disabled: &[&str], pools: &[WrittenPool]) -> Result<Policy, PolicyError> {
    let pools = pools.iter().map(|pool| (pool.name.value.as_str(), pool.networks.iter().map(String::as_str)));
    Policy::new(seconds, disabled.iter().copied(), pools)
}

/// Why a check cannot be disabled as it is written.
fn not_to_disable(id: &str, ours: bool, catalogue: &Catalogue) -> Option<String> {
    let field = if ours { "disabled_checks" } else { "disabled_custom_checks" };
    let shown: String = id.chars().take(64).flat_map(char::escape_debug).collect();
    let problem = match (catalogue.get(id), ours) {
        _ if CheckId::try_new(id).is_none() => "is not a check id: use lower-case words joined by single hyphens",
        (None, true) => {
            "is no check of this collector's catalogue: correct it (/api/v1/checks has all), or write a check of the agents' own --catalogue in disabled_custom_checks"
        }
        (Some(check), true) if check.judged_by == JudgedBy::Collector => {
            "is judged by the collector and not by agents: a policy does not reach it"
        }
        (Some(_), false) => "is a check of this collector's catalogue: write it in disabled_checks",
        _ => return None,
    };
    Some(format!("{field}: `{shown}` {problem}"))
}

/// Where a cluster's name stands, as far as can be told.
fn line_of(text: &str, name: &str) -> u64 {
    let at = text.lines().position(|line| !name.is_empty() && line.contains(name));
    at.and_then(|index| u64::try_from(index).ok()).map_or(1, |index| index.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use holdfast_checks::catalogue::built_in;

    use super::*;

    fn parse(text: &str) -> Result<Policies, String> {
        let (path, catalogue) = (Path::new("policy.yaml"), built_in().unwrap());
        Policies::parse(path, text, &catalogue).map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            format!("{error}{source}")
        })
    }

    const WHOLE: &str = "
full_pass_seconds: 900
disabled_checks: [kernel-kptr-restrict]
disabled_custom_checks: [our-own-check]
peer_probe_pools:
- {name: zone-a, networks: [10.0.0.0/24]}
clusters:
  prod: {full_pass_seconds: 300, peer_probe_pools: []}
  lab:
    disabled_checks: []
";

    #[test]
    fn clusters_have_what_holds_everywhere_but_for_what_they_say_themselves() {
        let policies = parse(WHOLE).unwrap();
        let said = |cluster: &str| {
            let policy = policies.of(cluster);
            let disabled: Vec<&str> = policy.disabled_checks().iter().map(String::as_str).collect();
            (policy.full_pass_seconds(), disabled.join(" "), policy.pools().len())
        };
        assert_eq!(said("elsewhere"), (Some(900), "kernel-kptr-restrict our-own-check".to_owned(), 1));
        assert_eq!(said("prod"), (Some(300), "kernel-kptr-restrict our-own-check".to_owned(), 0));
        assert_eq!(said("lab"), (Some(900), "our-own-check".to_owned(), 1));
        assert_eq!(policies.clusters().collect::<Vec<_>>(), ["lab", "prod"]);
        assert!(policies.has_pools());
        for nothing in ["", "# nothing yet\n", "{}"] {
            assert_eq!(parse(nothing).unwrap(), Policies::default(), "{nothing:?}");
        }
    }

    #[test]
    fn a_bad_file_is_refused_with_its_line_and_what_to_write() {
        for (text, part) in [
            ("\nfull_pass_seconds: 5\n", "policy.yaml:2: full_pass_seconds 5 is below 60"),
            ("full_pass_seconds: 0", "policy.yaml:1: full_pass_seconds 0 is below 60: leave it out"),
            ("full_pass_second: 900", "full_pass_second"),
            ("full_pass_seconds: often", "line 1"),
            (
                "disabled_checks:\n- kernel-kptr-restrict\n- kernel-kptr-restricd\n",
                "policy.yaml:3: disabled_checks: `kernel-kptr-restricd` is no check",
            ),
            ("disabled_checks: [Some Check]", "policy.yaml:1: disabled_checks: `Some Check` is not a check id"),
            ("disabled_checks: [kernel-end-of-life]", "is judged by the collector"),
            ("disabled_custom_checks: [kernel-kptr-restrict]", "write it in disabled_checks"),
            (
                "peer_probe_pools:\n- name: a\n  networks: [10.0.0.0/33]",
                "policy.yaml:2: peer_probe_pools: pool `a`: `10.0.0.0/33` is not a network",
            ),
            (
                "peer_probe_pools:\n- {name: a, networks: [10.0.0.0/8]}\n- {name: a, networks: [10.0.0.0/8]}",
                "policy.yaml:3: peer_probe_pools: two pools are called `a`",
            ),
            ("clusters:\n  prod:\n    full_pass_seconds: 1", "policy.yaml:3: clusters.prod: full_pass_seconds 1 is below 60"),
            ("clusters:\n  prod: {nodes: 1}", "nodes"),
            ("- a list", "policy.yaml:1: expected mapping"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
