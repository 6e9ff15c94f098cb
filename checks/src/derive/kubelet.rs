//! The kubelet's effective settings, put together as the kubelet does it.
//!
//! Flags win over drop-ins, drop-ins over the `--config` file, and two sets of defaults stand behind them: the legacy ones of
//! the flags when there is no `--config`, those of v1beta1 when there is. Read in upstream's `cmd/kubelet/app`, 1.36.

mod specs;

use serde_json::{Map, Value};

use super::defaults::{self, Release, Set};
use super::fields;
use super::flags::{Flags, Shape};
use super::setting::{Layer, Spec, decided, layers, shape_in, unavailable};
use super::values::{self, Kind, Member};
use crate::facts::{Declared, FlagOrigin, Kubelet, Observed, Reason, Setting, Settings, Source, SourceKind, Unavailable};
use specs::SPECS;

/// Since this release a file can ask for the default thresholds beside its own.
const MERGES_EVICTION: &str = "1.33";

/// Every effective setting of `kubelet`; `at` stands for what its command line or a default decides.
pub(super) fn settings(kubelet: &Kubelet, at: i64) -> Settings {
    if kubelet.argv.is_empty() {
        // Every process has at least a name there: it could not be read, and its documents say why.
        let unread = || unavailable(Reason::NotSupported, "its command line could not be read");
        let why = kubelet.documents.unavailable().map_or_else(unread, |why| Observed::Unavailable(why.clone()));
        return SPECS.iter().map(|spec| (spec.name.to_owned(), why.clone())).collect();
    }
    if !runs_as_kubelet(kubelet) {
        let why = format!("{} builds its kubelet's flags inside the process, where they cannot be read", kubelet.flavour);
        let unknown = |spec: &Spec| (spec.name.to_owned(), unavailable(Reason::NotSupported, why.as_str()));
        return SPECS.iter().map(unknown).collect();
    }
    let flags = Flags::parse(&kubelet.argv, shape);
    let named = |flag: &str| flags.last(flag).filter(|path| !path.is_empty());
    let (main, drop_ins) = (named("config"), named("config-dir").is_some());
    let layers = layers(&kubelet.documents, "KubeletConfiguration", main, drop_ins);
    let mut told = Told { flags: &flags, layers: &layers, main: main.is_some(), drop_ins, version: &kubelet.version, at, gates: None };
    let gates = SPECS.iter().find(|spec| spec.name == "featureGates").map(|spec| told.gates(spec));
    told.gates = gates.as_ref();
    let origins = origins(kubelet);
    let effective = |spec: &Spec| {
        let mut setting = told.effective(spec);
        if let Some(value) = setting.value_mut() {
            value.declared = told.declared(spec, &value.source);
        }
        if let Some(place) = written_in(spec, &flags, &origins) {
            place_flag(&mut setting, &place);
        }
        (spec.name.to_owned(), setting)
    };
    SPECS.iter().map(effective).collect()
}

/// The places that name flags of the command line, with those they name.
fn origins(kubelet: &Kubelet) -> Vec<(&str, Flags)> {
    let named = |origin: &'_ FlagOrigin| {
        // A command line starts with its program.
        let argv: Vec<String> = std::iter::once("kubelet".to_owned()).chain(origin.flags.iter().cloned()).collect();
        Flags::parse(&argv, shape)
    };
    kubelet.origins.value().into_iter().flat_map(|listing| &listing.items).map(|origin| (origin.place.as_str(), named(origin))).collect()
}

/// Where the flag of `spec` that counts is written outside the process: the one place that gives it as the process has it. It tells
/// a person where to look, and decides nothing: files can have changed since the process started.
fn written_in(spec: &Spec, flags: &Flags, origins: &[(&str, Flags)]) -> Option<String> {
    let given = flags.last(spec.flag).filter(|_| !spec.flag.is_empty())?;
    let mut alike = origins.iter().filter(|(_, origin)| origin.last(spec.flag) == Some(given)).map(|(place, _)| *place);
    alike.next().filter(|_| alike.next().is_none()).map(|place| format!("--{}, written in {place}", spec.flag))
}

/// Puts `place` where `setting` names its flag.
fn place_flag(setting: &mut Observed<Setting>, place: &str) {
    let Observed::Known { value, source, .. } = setting else { return };
    let declared = value.declared.iter_mut().map(|said| &mut said.source);
    for named in declared.chain([&mut value.source, source]) {
        if named.kind == SourceKind::Flag {
            place.clone_into(&mut named.place);
        }
    }
}

/// Everything that says something about a kubelet's settings.
struct Told<'a> {
    flags: &'a Flags,
    layers: &'a [Layer<'a>],
    /// Is there a `--config`.
    main: bool,
    /// Is there a `--config-dir`.
    drop_ins: bool,
    version: &'a Observed<String>,
    at: i64,
    /// The setting `featureGates`, once it is known.
    gates: Option<&'a Observed<Setting>>,
}

impl Told<'_> {
    fn effective(&self, spec: &Spec) -> Observed<Setting> {
        match (spec.name, spec.path) {
            ("featureGates", _) => self.gates(spec),
            ("seccompDefault", _) => self.either(spec),
            ("evictionHard", _) => self.thresholds(spec),
            (_, ["featureGates", gate]) => self.gate(spec, gate),
            _ => self.usual(spec),
        }
    }

    fn usual(&self, spec: &Spec) -> Observed<Setting> {
        spec.given_by(self.flags, self.at).unwrap_or_else(|| self.by_files(spec))
    }

    fn by_files(&self, spec: &Spec) -> Observed<Setting> {
        if spec.path.is_empty() {
            return self.by_default(spec);
        }
        match spec.left_by(self.layers) {
            // To merge drop-ins the kubelet writes the main file anew, without its empty lists.
            Some(Observed::Known { value, .. })
                if self.drop_ins && value.source.kind == SourceKind::File && value.value == Value::Array(Vec::new()) =>
            {
                self.by_default(spec)
            }
            Some(setting) => setting,
            None => self.by_default(spec),
        }
    }

    /// Without --config drop-ins are merged over the flags' defaults, and only what they touch gets v1beta1's.
    fn set(&self, spec: &Spec) -> Set {
        if !spec.path.is_empty() && (self.main || spec.touched_by(self.layers)) { Set::V1beta1 } else { Set::Flags }
    }

    fn by_default(&self, spec: &Spec) -> Observed<Setting> {
        match self.default_of(spec, self.set(spec)) {
            Ok((value, place)) => decided(value, Source::new(SourceKind::Default, place), self.at),
            Err(why) => Observed::Unavailable(why),
        }
    }

    fn default_of(&self, spec: &Spec, set: Set) -> Result<defaults::Found, Unavailable> {
        let empty = Map::new();
        let gates = match self.gates {
            None => Ok(&empty),
            Some(Observed::Known { value, .. }) => Ok(value.value.as_object().unwrap_or(&empty)),
            Some(Observed::Unavailable(why)) => Err(why),
        };
        defaults::of(spec.name, set, self.version, gates)
    }

    /// The flag of this one is kept apart from the field, and either turns it on.
    fn either(&self, spec: &Spec) -> Observed<Setting> {
        let Some(flag) = spec.given_by(self.flags, self.at) else { return self.by_files(spec) };
        let off = |setting: &Observed<Setting>| setting.value().is_some_and(|setting| setting.value == Value::Bool(false));
        if !off(&flag) {
            return flag;
        }
        let file = self.by_files(spec);
        if off(&file) { flag } else { file }
    }

    /// The feature gates set by name: those of the flags are merged over those of the files.
    fn gates(&self, spec: &Spec) -> Observed<Setting> {
        let Some(flag) = spec.given_by(self.flags, self.at) else { return self.by_files(spec) };
        let (Observed::Known { value: given, .. }, Some(files)) = (&flag, spec.left_by(self.layers)) else { return flag };
        let Observed::Known { value: mut merged, .. } = files else { return files };
        if let (Some(members), Some(given)) = (merged.value.as_object_mut(), given.value.as_object()) {
            members.extend(given.clone());
        }
        decided(merged.value, given.source.clone(), self.at)
    }

    /// One feature gate.
    fn gate(&self, spec: &Spec, gate: &str) -> Observed<Setting> {
        if let Some(setting) = self.gate_by_flag(gate) {
            return setting;
        }
        let setting = self.by_files(spec);
        if setting.value().is_some_and(|setting| setting.source.kind != SourceKind::Default) {
            return setting;
        }
        let all = self.gates.and_then(Observed::value).and_then(|gates| gates.value.as_object());
        match ["AllAlpha", "AllBeta"].into_iter().find(|all_of| all.is_some_and(|gates| gates.contains_key(*all_of))) {
            Some(all) => unavailable(Reason::NotSupported, format!("{all} is set, which turns gates by their stage in each release")),
            None => setting,
        }
    }

    fn gate_by_flag(&self, gate: &str) -> Option<Observed<Setting>> {
        let given = self.flags.all("feature-gates");
        if given.is_empty() {
            return None;
        }
        let source = Source::new(SourceKind::Flag, "--feature-gates");
        match values::from_flag(Kind::Map(Member::Gate), given) {
            Ok(gates) => gates.get(gate).map(|on| decided(on.clone(), source, self.at)),
            Err(problem) => Some(unavailable(Reason::Malformed, format!("--feature-gates: {problem}"))),
        }
    }

    /// The hard eviction thresholds. The default ones are filled in where the `--config` file is read, before any drop-in is
    /// merged, and only into a file that gives none itself or asks for them.
    fn thresholds(&self, spec: &Spec) -> Observed<Setting> {
        if let Some(setting) = spec.given_by(self.flags, self.at) {
            return setting;
        }
        let none = |set: Set| decided(Value::Object(Map::new()), Source::new(SourceKind::Default, set.place()), self.at);
        let Some(main) = self.layers.iter().find(|layer| layer.main().is_some()) else {
            let touched = spec.touched_by(self.layers);
            let left = spec.left_by(self.layers);
            return left.unwrap_or_else(|| if touched { none(Set::V1beta1) } else { self.by_default(spec) });
        };
        let own = main.main().and_then(|document| document.get("evictionHard")).filter(|own| !own.is_null());
        let base = match (own, self.adds_defaults(main)) {
            (Some(_), Ok(false)) => main.clone(),
            (Some(own), Ok(true)) => match (self.default_of(spec, Set::V1beta1), own.as_object()) {
                (Ok((Value::Object(mut merged), _)), Some(own)) => {
                    merged.extend(own.clone());
                    main.instead(serde_json::json!({"evictionHard": merged}))
                }
                (Err(why), _) => Layer::unread(&why),
                _ => main.clone(),
            },
            (Some(_), Err(why)) => Layer::unread(&why),
            (None, _) => match self.default_of(spec, Set::V1beta1) {
                Ok((value, place)) => Layer::of_default(serde_json::json!({"evictionHard": value}), &place, self.at),
                Err(why) => Layer::unread(&why),
            },
        };
        let over = self.layers.iter().filter(|layer| layer.main().is_none()).cloned();
        let layers: Vec<Layer<'_>> = std::iter::once(base).chain(over).collect();
        spec.left_by(&layers).unwrap_or_else(|| none(Set::V1beta1))
    }

    /// Does the main file ask for the default thresholds beside its own, of a kubelet that knows how.
    fn adds_defaults(&self, main: &Layer<'_>) -> Result<bool, Unavailable> {
        let asks = main.main().and_then(|document| document.get("mergeDefaultEvictionSettings"));
        if asks.and_then(|asks| values::from_document(Kind::Bool, asks).ok()) != Some(Value::Bool(true)) {
            return Ok(false);
        }
        let Some(release) = self.version.value().and_then(|version| Release::of(version)) else {
            let detail = "what mergeDefaultEvictionSettings does depends on the kubelet's version, which is not known";
            return Err(Unavailable::new(Reason::NotSupported, detail));
        };
        Ok(Release::of(MERGES_EVICTION).is_some_and(|since| since <= release))
    }

    /// What every place says of `spec`; the last of them decided, where `source` names one.
    fn declared(&self, spec: &Spec, source: &Source) -> Vec<Declared> {
        let mut declared = spec.declared(self.layers, self.flags);
        if let ["featureGates", gate] = spec.path
            && let Some(Observed::Known { value, .. }) = self.gate_by_flag(gate)
        {
            declared.push(Declared { value: value.value, source: value.source });
        }
        if let Some(decisive) = declared.iter().position(|said| said.source == *source) {
            let last = declared.remove(decisive);
            declared.push(last);
        }
        declared
    }
}

/// The ports that are the kubelet's own, of a process that is more than a kubelet: the usual one where the setting is not
/// known. `None`: all of them.
pub(super) fn ports(kubelet: &Kubelet) -> Option<[i64; 3]> {
    if runs_as_kubelet(kubelet) {
        return None;
    }
    let port = |name: &str, usual| kubelet.settings.get(name).and_then(|port| port.value()?.value.as_i64()).unwrap_or(usual);
    Some([port("port", 10250), port("readOnlyPort", 10255), port("healthzPort", 10248)])
}

/// The settings as the kubelet's own answer has them, typed alike. What its release has no field for is missing, and so is
/// what the answer does not tell: settings of the command line alone.
pub(super) fn reported(kubelet: &Kubelet) -> Settings {
    let Observed::Known { value: answer, at, .. } = &kubelet.configz else { return Settings::new() };
    let release = kubelet.version.value().and_then(|version| Release::of(version));
    let mut settings = Settings::new();
    for spec in SPECS.iter().filter(|spec| !spec.path.is_empty()) {
        if let Some(setting) = reported_as(spec, answer, release, *at) {
            settings.insert(spec.name.to_owned(), setting);
        }
    }
    // The answer shows the field alone; the flag is kept beside it, and either turns it on.
    if kubelet.argv.iter().any(|argument| argument.replace('_', "-").starts_with("--seccomp-default")) {
        settings.remove("seccompDefault");
    }
    own_certificate(&mut settings);
    settings
}

fn reported_as(spec: &Spec, answer: &Value, release: Option<Release>, at: i64) -> Option<Observed<Setting>> {
    let source = || Source::new(SourceKind::Probe, "configz");
    let malformed = |problem: &str| Some(unavailable(Reason::Malformed, format!("configz: {}: {problem}", spec.path.join("."))));
    let (name, outer) = spec.path.split_last()?;
    let mut here = answer;
    for name in outer {
        here = match here {
            Value::Object(members) => members.get(*name)?,
            _ => return malformed("not in a mapping"),
        };
    }
    let Value::Object(members) = here else { return malformed("not in a mapping") };
    let value = match members.get(*name) {
        Some(value) => values::from_document(spec.kind, value),
        // Zero values are left out of the answer; a field that the release does not have is not one.
        None if release.is_some() && fields::is_known(spec.path, release) => Ok(spec.kind.zero()?),
        None => return None,
    };
    match value {
        Ok(value) => Some(decided(value, source(), at)),
        Err(problem) => malformed(&problem),
    }
}

/// Without a configured certificate the kubelet makes itself one, and reports that as if it had been configured.
fn own_certificate(settings: &mut Settings) {
    let text = |name: &str| settings.get(name)?.value()?.value.as_str();
    let bootstraps = settings.get("serverTLSBootstrap").and_then(|setting| setting.value()?.value.as_bool());
    let made = |name: &str, file: &str| text(name).is_some_and(|path| path.rsplit('/').next() == Some(file));
    if bootstraps != Some(false) || !made("tlsCertFile", "kubelet.crt") || !made("tlsPrivateKeyFile", "kubelet.key") {
        return;
    }
    for name in ["tlsCertFile", "tlsPrivateKeyFile"] {
        settings.remove(name);
    }
}

/// The shape of a kubelet's flag.
pub(super) fn shape(name: &str) -> Option<Shape> {
    shape_in(&SPECS, name)
}

/// Is the command line the kubelet's own, rather than that of a program with a kubelet inside.
fn runs_as_kubelet(kubelet: &Kubelet) -> bool {
    let program = |argument: Option<&String>| argument.and_then(|path| path.rsplit('/').next()) == Some("kubelet");
    let mut argv = kubelet.argv.iter();
    kubelet.flavour == "kubelet" || program(argv.next()) || (kubelet.flavour == "hyperkube" && program(argv.next()))
}

#[cfg(test)]
mod tests;
