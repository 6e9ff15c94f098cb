//! From YAML to profiles. All of them or none.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{BASE, Location, Profile, Profiles, Provider, Rule, Versions};

/// The roles a location may have: see [`holdfast_checks::facts::FileFact::role`].
const ROLES: [&str; 15] = [
    "cni_config",
    "container_runtime_config",
    "etcd_data",
    "kube_proxy_config",
    "kube_proxy_kubeconfig",
    "kubeconfig",
    "kubelet_ca",
    "kubelet_config",
    "kubelet_environment",
    "kubelet_kubeconfig",
    "kubelet_unit",
    "manifest",
    "pki_certificate",
    "pki_directory",
    "pki_key",
];

/// Why a profile was refused.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is not YAML of the expected shape; the message gives line and column.
    #[error("{file} is not a profile")]
    Malformed {
        /// The file.
        file: String,
        /// Line, column and what was expected.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// Something in it is wrong.
    #[error("{file}:{line}: {problem}")]
    Invalid {
        /// The file.
        file: String,
        /// The line of what is wrong.
        line: usize,
        /// What is wrong and what to write instead.
        problem: String,
    },
}

/// A profile as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    provider: Provider,
    extends: Option<String>,
    versions: Option<WrittenVersions>,
    source: Vec<String>,
    #[serde(default)]
    detect: Vec<Rule>,
    #[serde(default)]
    locations: WrittenLocations,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenVersions {
    from: String,
    to: String,
}

type Places = BTreeMap<String, Vec<String>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenLocations {
    /// Instead of those of the profile it extends.
    replace: Places,
    /// Beside them.
    add: Places,
}

/// One file, for messages.
struct File<'a> {
    name: &'a str,
    text: &'a str,
}

impl File<'_> {
    /// The error of what stands on the line that has `what`; the first line where none has.
    fn invalid(&self, what: &str, problem: String) -> ProfileError {
        let line = self.text.lines().position(|line| line.contains(what)).map_or(1, |index| index + 1);
        ProfileError::Invalid { file: self.name.to_owned(), line, problem }
    }
}

/// Reads profiles in the order in which they are tried; `base` comes first.
pub(super) fn load(files: &[(&str, &str)]) -> Result<Profiles, ProfileError> {
    let mut profiles = Profiles { all: Vec::new(), base: Vec::new() };
    for (name, text) in files {
        let file = File { name, text };
        let malformed = |source| ProfileError::Malformed { file: file.name.to_owned(), source: Box::new(source) };
        let written: Written = serde_saphyr::from_str(text).map_err(malformed)?;
        if written.source.is_empty() || written.source.iter().any(|url| !url.starts_with("https://")) {
            return Err(file.invalid("source:", "`source` needs the https:// address of the published layout".to_owned()));
        }
        if written.name == BASE {
            profiles.base = locations(&file, &[], &written.locations)?;
        } else {
            let profile = accept(&file, written, &profiles)?;
            profiles.all.push(profile);
        }
    }
    Ok(profiles)
}

fn accept(file: &File<'_>, written: Written, before: &Profiles) -> Result<Profile, ProfileError> {
    let name = &written.name;
    if before.all.iter().any(|profile| profile.name == *name) {
        return Err(file.invalid("name:", format!("profile `{name}` is already defined: give one of them another name")));
    }
    if let Some(fallback) = before.all.iter().find(|profile| profile.detect.is_empty()) {
        let problem = format!("profile `{name}` comes after `{}`, which matches every node: put it before", fallback.name);
        return Err(file.invalid("name:", problem));
    }
    let inherited = match written.extends.as_deref() {
        None => &[][..],
        Some(BASE) => &before.base,
        Some(other) => match before.all.iter().find(|profile| profile.name == other) {
            Some(profile) => &profile.locations,
            None => return Err(file.invalid("extends:", format!("there is no profile `{other}` before this one to extend"))),
        },
    };
    for rule in &written.detect {
        if rule.is_empty() {
            return Err(file.invalid("detect:", "a rule without conditions would match every node: give it one".to_owned()));
        }
        if let Some(path) = rule.files.iter().find(|path| !path.starts_with('/')) {
            return Err(file.invalid(path, format!("`{path}` is not an absolute path")));
        }
    }
    let versions = match &written.versions {
        Some(versions) => range(file, versions)?,
        None => return Err(file.invalid("name:", format!("profile `{name}` needs `versions`: which Kubernetes was looked at"))),
    };
    let locations = locations(file, inherited, &written.locations)?;
    Ok(Profile { name: written.name, provider: written.provider, detect: written.detect, locations, versions, source: written.source })
}

impl Rule {
    fn is_empty(&self) -> bool {
        let Self { flavour, exe, flags, os, os_version, variant, machine, files, provider: _ } = self;
        let texts = [flavour, exe, os, os_version, variant];
        texts.iter().all(|text| text.as_ref().is_none_or(String::is_empty)) && flags.is_empty() && files.is_empty() && machine.is_none()
    }
}

/// Its own locations, and those it inherits without the roles it replaces.
fn locations(file: &File<'_>, inherited: &[Location], written: &WrittenLocations) -> Result<Vec<Location>, ProfileError> {
    let WrittenLocations { replace, add } = written;
    let mut all: Vec<Location> = Vec::new();
    for (role, paths) in replace.iter().chain(add) {
        if !ROLES.contains(&role.as_str()) {
            return Err(file.invalid(role, format!("there is no role `{role}`: use one of {}", ROLES.join(", "))));
        }
        for path in paths {
            all.push(location(file, role, path)?);
        }
    }
    all.extend(inherited.iter().filter(|location| !replace.contains_key(&location.role)).cloned());
    Ok(all)
}

/// `/etc/x/*.crt` is every file of `/etc/x` whose name ends in `.crt`.
fn location(file: &File<'_>, role: &str, path: &str) -> Result<Location, ProfileError> {
    let wrong = |problem: &str| Err(file.invalid(path, format!("`{path}` {problem}")));
    if !path.starts_with('/') || path.ends_with('/') || path.split('/').any(|part| part == "..") {
        return wrong("is not an absolute path without `..` and a slash at its end");
    }
    let role = role.to_owned();
    match path.rsplit_once("/*") {
        None if path.contains('*') => wrong("has a `*` elsewhere than at the beginning of its last part"),
        None => Ok(Location { role, path: path.to_owned(), ending: None }),
        Some((directory, ending)) if directory.contains('*') || ending.contains(['*', '/']) => {
            wrong("has a `*` elsewhere than at the beginning of its last part")
        }
        Some((directory, ending)) => Ok(Location { role, path: directory.to_owned(), ending: Some(ending.to_owned()) }),
    }
}

fn range(file: &File<'_>, written: &WrittenVersions) -> Result<Versions, ProfileError> {
    let version = |text: &str| {
        let parsed = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        parsed.ok_or_else(|| file.invalid("versions:", format!("`{text}` is not a version like \"1.36\"")))
    };
    let (from, to) = (version(&written.from)?, version(&written.to)?);
    if from > to {
        return Err(file.invalid("versions:", "`from` is newer than `to`".to_owned()));
    }
    Ok(Versions { from, to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const GOOD: &str = "name: x\nextends: base\nversions: {from: \"1.24\", to: \"1.36\"}\nsource: [https://x]\n";
    const TEST_BASE: (&str, &str) =
        ("base.yaml", "name: base\nsource: [https://x]\nlocations: {add: {pki_key: [/a/*.key], kubelet_ca: [/b]}}\n");

    fn load_one(text: &str) -> Result<Profiles, ProfileError> {
        load(&[TEST_BASE, ("x.yaml", text)])
    }

    #[test]
    fn the_built_in_profiles_are_accepted_and_only_the_last_matches_everything() {
        let profiles = Profiles::built_in().unwrap();
        let names: Vec<&str> = profiles.all().iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(
            names,
            ["talos", "bottlerocket", "openshift", "microk8s", "k3s", "rke2", "eks-al2023", "aks", "gke-cos", "kubeadm", "plain"]
        );
        assert!(profiles.all().iter().all(|profile| profile.detect.is_empty() == (profile.name == "plain")));
        for profile in profiles.all() {
            assert!(profile.locations.iter().any(|location| location.role == "kubelet_config"), "{}", profile.name);
            assert!(profile.locations.iter().any(|location| location.role == "cni_config"), "{}", profile.name);
        }
        assert!(!profiles.locations("none").is_empty(), "a node without Kubernetes may have its files all the same");
    }

    #[test]
    fn a_profile_replaces_roles_and_adds_to_them_and_its_own_come_first() {
        let profiles =
            load_one(&format!("{GOOD}locations: {{replace: {{kubelet_ca: [/c]}}, add: {{pki_key: [/d/*, /e/*-current.pem]}}}}\n")).unwrap();
        let shown: Vec<String> = profiles.locations("x").iter().map(|l| format!("{} {} {:?}", l.role, l.path, l.ending)).collect();
        assert_eq!(
            shown,
            ["kubelet_ca /c None", "pki_key /d Some(\"\")", "pki_key /e Some(\"-current.pem\")", "pki_key /a Some(\".key\")"]
        );
    }

    #[rstest]
    #[case(&format!("{GOOD}locations:\n  add:\n    kubelet_conf: [/x]\n"), "x.yaml:7: there is no role `kubelet_conf`")]
    #[case(&format!("{GOOD}locations:\n  add:\n    kubeconfig: [opt/x]\n"), "x.yaml:7: `opt/x` is not an absolute path")]
    #[case(&format!("{GOOD}locations:\n  add:\n    kubeconfig: [/a/../b]\n"), "x.yaml:7: `/a/../b` is not an absolute path")]
    #[case(&format!("{GOOD}locations:\n  add:\n    kubeconfig: [/a/*/b]\n"), "x.yaml:7: `/a/*/b` has a `*` elsewhere")]
    #[case(&format!("{GOOD}detect:\n  - provider: aws\n"), "x.yaml:5: a rule without conditions")]
    #[case(&format!("{GOOD}detect:\n  - files: [etc]\n"), "x.yaml:6: `etc` is not an absolute path")]
    #[case(&GOOD.replace("base", "bse"), "x.yaml:2: there is no profile `bse`")]
    #[case(&GOOD.replace("1.36", "1"), "x.yaml:3: `1` is not a version")]
    #[case(&GOOD.replace("1.24", "1.40"), "x.yaml:3: `from` is newer")]
    #[case("name: x\nsource: [https://x]\n", "x.yaml:1: profile `x` needs `versions`")]
    #[case("name: x\nsource: [x]\n", "x.yaml:2: `source` needs")]
    fn a_bad_profile_is_refused_with_its_line(#[case] text: &str, #[case] expected: &str) {
        let error = load_one(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[rstest]
    #[case("name: x\nnmae: y\n")]
    #[case("name: x\nsource: [https://x]\ndetect: [{provider: ibm}]\n")]
    #[case("- x\n")]
    #[case("name: [\n")]
    fn what_is_no_profile_is_refused_with_line_and_column(#[case] text: &str) {
        let error = load_one(text).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.to_string().contains("x.yaml") && source.contains("line"), "{error}: {source}");
    }

    #[test]
    fn nothing_comes_after_the_profile_that_matches_everything() {
        let error = load(&[TEST_BASE, ("x.yaml", GOOD), ("y.yaml", &GOOD.replace("name: x", "name: y"))]).unwrap_err().to_string();
        assert!(error.contains("put it before"), "{error}");
    }
}
