//! Which profile a node has, and why.

use holdfast_checks::facts::Os;

use super::{Machine, Profile, Profiles, Provider, Rule};

/// What was observed of a node with a kubelet.
pub struct Clues<'a> {
    /// What contains the kubelet.
    pub flavour: &'a str,
    /// The path of its program; empty where it is not readable.
    pub exe: &'a str,
    /// The value of one of its flags.
    pub flag: &'a dyn Fn(&str) -> Option<String>,
    /// os-release, where it was read.
    pub os: Option<&'a Os>,
    /// What the firmware says.
    pub machine: &'a Machine,
    /// Is this path there.
    pub present: &'a dyn Fn(&str) -> bool,
    /// The kubelet's version, where it is known.
    pub version: Option<&'a str>,
}

/// A node's profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The profile's name.
    pub name: String,
    /// Whose machine it is: the profile's, else the firmware's answer.
    pub provider: Provider,
    /// What speaks for it, in a sentence.
    pub because: String,
}

impl Profiles {
    /// The first profile of which a rule holds; the one without rules where none does.
    pub fn choose(&self, clues: &Clues<'_>) -> Chosen {
        let matching = self.all().iter().filter_map(|profile| {
            let (rule, evidence) = profile.detect.iter().find_map(|rule| Some((rule, rule.holds(clues)?)))?;
            Some((profile, rule.provider.unwrap_or(profile.provider), evidence))
        });
        let mut matching = matching.collect::<Vec<_>>().into_iter();
        let Some((profile, provider, evidence)) = matching.next() else {
            return self.otherwise(clues);
        };
        let mut because = vec![evidence.join(" and ")];
        let others: Vec<&str> = matching.map(|(profile, _, _)| profile.name.as_str()).collect();
        if !others.is_empty() {
            because.push(format!("{} would fit too, and {} is more specific", others.join(", "), profile.name));
        }
        chosen(profile, provider, because, clues)
    }

    fn otherwise(&self, clues: &Clues<'_>) -> Chosen {
        let mut because = vec!["a kubelet runs here, and no file of a known distribution was found".to_owned()];
        if clues.os.is_none() {
            because.push("os-release could not be read".to_owned());
        }
        match self.all().iter().find(|profile| profile.detect.is_empty()) {
            Some(profile) => chosen(profile, profile.provider, because, clues),
            None => Chosen { name: "none".to_owned(), provider: clues.machine.provider(), because: because.join("; ") },
        }
    }
}

fn chosen(profile: &Profile, provider: Provider, mut because: Vec<String>, clues: &Clues<'_>) -> Chosen {
    if let Some(version) = clues.version.and_then(minor) {
        let (from, to) = (profile.versions.from, profile.versions.to);
        let runs = format!("this node runs {}.{}", version.0, version.1);
        if version > to {
            because.push(format!("written for up to {}.{}; {runs}", to.0, to.1));
        } else if version < from {
            because.push(format!("written for {}.{} and later; {runs}", from.0, from.1));
        }
    }
    let provider = if provider == Provider::None { clues.machine.provider() } else { provider };
    Chosen { name: profile.name.clone(), provider, because: because.join("; ") }
}

impl Rule {
    /// What of it was observed, when all of it was.
    fn holds(&self, clues: &Clues<'_>) -> Option<Vec<String>> {
        let mut evidence = Vec::new();
        if let Some(flavour) = &self.flavour {
            (clues.flavour == flavour).then_some(())?;
            evidence.push(format!("the kubelet runs as {flavour}"));
        }
        if let Some(prefix) = &self.exe {
            clues.exe.starts_with(prefix.as_str()).then_some(())?;
            evidence.push(format!("the kubelet's program lies below {prefix}"));
        }
        for (flag, value) in &self.flags {
            ((clues.flag)(flag)? == *value).then_some(())?;
            evidence.push(format!("--{flag} is {value}"));
        }
        for path in &self.files {
            (clues.present)(path).then_some(())?;
            evidence.push(format!("{path} is there"));
        }
        self.fits(clues.os, &mut evidence).then_some(())?;
        if let Some(machine) = self.machine {
            (clues.machine.provider() == machine).then_some(())?;
            evidence.push(format!("the firmware says {}", clues.machine.vendor.trim()));
        }
        Some(evidence)
    }

    /// Does os-release say what the rule asks for.
    fn fits(&self, os: Option<&Os>, evidence: &mut Vec<String>) -> bool {
        if self.os.is_none() && self.os_version.is_none() && self.variant.is_none() {
            return true;
        }
        let Some(os) = os else { return false };
        let variant = os.fields.get("VARIANT_ID").map_or("", String::as_str);
        let fits = self.os.as_ref().is_none_or(|id| os.id == *id)
            && self.os_version.as_ref().is_none_or(|version| os.version_id.starts_with(version.as_str()))
            && self.variant.as_ref().is_none_or(|wanted| variant.starts_with(wanted.as_str()));
        let version = self.os_version.as_ref().map(|_| os.version_id.as_str());
        let variant = self.variant.as_ref().map(|_| variant);
        let words: Vec<&str> = [Some(os.id.as_str()), version, variant].into_iter().flatten().collect();
        evidence.push(format!("os-release says {}", words.join(" ")));
        fits
    }
}

/// `v1.36.2+k3s1` as 1 and 36.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests;
