//! A slow second implementation, written from the rules alone: build the whole configuration object, replace it by the file,
//! merge every drop-in over it, fill in defaults, apply the flags. It shares no code with what it is held against.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::fixture::{derived, drop_in, kubelet, main_file, value};

/// What a flag does with several occurrences.
#[derive(Clone, Copy, PartialEq)]
enum Flag {
    /// There is none.
    None,
    /// The last one counts; a switch needs no value.
    Last { switch: bool },
    /// Lists grow, maps take each pair.
    Adds,
}

/// A field with ways to write it, and what each means.
struct Field {
    setting: &'static str,
    path: &'static [&'static str],
    flag: (&'static str, Flag),
    /// As documents write it, and what that means; null means that the default holds.
    written: Vec<(Value, Value)>,
    /// As the flag writes it.
    given: Vec<(&'static str, Value)>,
}

fn switch(setting: &'static str, path: &'static [&'static str], flag: &'static str) -> Field {
    let flag = (flag, if flag.is_empty() { Flag::None } else { Flag::Last { switch: true } });
    let given = [("true", true), ("1", true), ("T", true), ("false", false), ("F", false), ("0", false)];
    let given = given.into_iter().map(|(text, on)| (text, json!(on))).collect();
    let written = vec![(json!(true), json!(true)), (json!(false), json!(false)), (json!("yes"), json!(true)), (json!("off"), json!(false))];
    Field { setting, path, flag, written, given }
}

fn last(
    setting: &'static str,
    path: &'static [&'static str],
    flag: &'static str,
    written: Vec<(Value, Value)>,
    given: Vec<(&'static str, Value)>,
) -> Field {
    Field { setting, path, flag: (flag, Flag::Last { switch: false }), written, given }
}

fn adds(
    setting: &'static str,
    path: &'static [&'static str],
    flag: &'static str,
    written: Vec<Value>,
    given: Vec<(&'static str, Value)>,
) -> Field {
    Field { setting, path, flag: (flag, Flag::Adds), written: written.into_iter().map(|value| (value.clone(), value)).collect(), given }
}

/// Values that mean themselves.
fn same(values: &[Value]) -> Vec<(Value, Value)> {
    values.iter().map(|value| (value.clone(), value.clone())).collect()
}

static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(all_fields);

fn fields() -> &'static [Field] {
    &FIELDS
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn all_fields() -> Vec<Field> {
    let durations =
        || vec![(json!("0s"), Value::Null), (json!("30s"), json!(30)), (json!("1h30m"), json!(5400)), (json!("4h0m0s"), json!(14400))];
    let given_durations = || vec![("0", json!(0)), ("0s", json!(0)), ("90s", json!(90)), ("1.5h", json!(5400))];
    vec![
        switch("anonymousAuth", &["authentication", "anonymous", "enabled"], "anonymous-auth"),
        switch("webhookAuthentication", &["authentication", "webhook", "enabled"], "authentication-token-webhook"),
        last(
            "authenticationWebhookCacheTTL",
            &["authentication", "webhook", "cacheTTL"],
            "authentication-token-webhook-cache-ttl",
            durations(),
            given_durations(),
        ),
        last(
            "clientCAFile",
            &["authentication", "x509", "clientCAFile"],
            "client-ca-file",
            same(&[json!("/a"), json!("")]),
            vec![("/b", json!("/b")), ("", json!(""))],
        ),
        last(
            "authorizationMode",
            &["authorization", "mode"],
            "authorization-mode",
            vec![(json!("AlwaysAllow"), json!("AlwaysAllow")), (json!("Webhook"), json!("Webhook")), (json!(""), Value::Null)],
            vec![("AlwaysAllow", json!("AlwaysAllow")), ("Webhook", json!("Webhook"))],
        ),
        last(
            "readOnlyPort",
            &["readOnlyPort"],
            "read-only-port",
            same(&[json!(0), json!(10255), json!(1)]),
            vec![("0", json!(0)), ("0x10", json!(16))],
        ),
        last(
            "port",
            &["port"],
            "port",
            vec![(json!(0), Value::Null), (json!(10350), json!(10350))],
            vec![("0", json!(0)), ("10351", json!(10351))],
        ),
        last(
            "address",
            &["address"],
            "address",
            vec![(json!(""), Value::Null), (json!("::"), json!("::"))],
            vec![("127.0.0.1", json!("127.0.0.1"))],
        ),
        last("healthzPort", &["healthzPort"], "healthz-port", same(&[json!(0), json!(1)]), vec![("0", json!(0))]),
        switch("rotateCertificates", &["rotateCertificates"], "rotate-certificates"),
        switch("serverTLSBootstrap", &["serverTLSBootstrap"], "rotate-server-certificates"),
        switch("seccompDefault", &["seccompDefault"], "seccomp-default"),
        switch("protectKernelDefaults", &["protectKernelDefaults"], "protect-kernel-defaults"),
        switch("failCgroupV1", &["failCgroupV1"], ""),
        last("eventRecordQPS", &["eventRecordQPS"], "event-qps", same(&[json!(0), json!(7)]), vec![("0", json!(0)), ("9", json!(9))]),
        last(
            "streamingConnectionIdleTimeout",
            &["streamingConnectionIdleTimeout"],
            "streaming-connection-idle-timeout",
            durations(),
            given_durations(),
        ),
        last(
            "podPidsLimit",
            &["podPidsLimit"],
            "pod-max-pids",
            vec![(json!(-1), Value::Null), (json!(-9), Value::Null), (json!(0), json!(0)), (json!(4096), json!(4096))],
            vec![("-1", json!(-1)), ("100", json!(100))],
        ),
        last(
            "maxPods",
            &["maxPods"],
            "max-pods",
            vec![(json!(0), Value::Null), (json!(30), json!(30))],
            vec![("250", json!(250)), ("0", json!(0))],
        ),
        last(
            "containerLogMaxSize",
            &["containerLogMaxSize"],
            "container-log-max-size",
            vec![(json!(""), Value::Null), (json!("1Gi"), json!(1_073_741_824)), (json!("1500k"), json!(1_500_000))],
            vec![("1.5Ki", json!(1536)), ("2e3", json!(2000))],
        ),
        adds(
            "tlsCipherSuites",
            &["tlsCipherSuites"],
            "tls-cipher-suites",
            vec![json!(["A", "B"]), json!([])],
            vec![("C,D", json!(["C", "D"])), ("E", json!(["E"]))],
        ),
        adds(
            "enforceNodeAllocatable",
            &["enforceNodeAllocatable"],
            "enforce-node-allocatable",
            vec![json!([]), json!(["pods", "kube-reserved"])],
            vec![("none", json!(["none"])), ("pods,system-reserved", json!(["pods", "system-reserved"]))],
        ),
        adds(
            "systemReserved",
            &["systemReserved"],
            "system-reserved",
            vec![json!({"cpu": "200m"}), json!({"memory": "1Gi", "pid": "100"}), json!({})],
            vec![("cpu=1", json!({"cpu": "1"})), ("pid=1000,cpu=300m", json!({"pid": "1000", "cpu": "300m"}))],
        ),
        adds(
            "evictionHard",
            &["evictionHard"],
            "eviction-hard",
            vec![json!({"memory.available": "1Gi"}), json!({"nodefs.available": "0%", "pid.available": "5%"}), json!({})],
            vec![("memory.available<2Gi", json!({"memory.available": "2Gi"})), ("nodefs.available<1%", json!({"nodefs.available": "1%"}))],
        ),
        adds(
            "evictionSoft",
            &["evictionSoft"],
            "eviction-soft",
            vec![json!({"memory.available": "3Gi"})],
            vec![("memory.available<4Gi", json!({"memory.available": "4Gi"}))],
        ),
        switch("mergeDefaultEvictionSettings", &["mergeDefaultEvictionSettings"], ""),
        adds(
            "featureGates",
            &["featureGates"],
            "feature-gates",
            vec![
                json!({"A": true, "RotateKubeletServerCertificate": false}),
                json!({"A": false}),
                json!({"RotateKubeletServerCertificate": true}),
            ],
            vec![
                ("A=false", json!({"A": false})),
                ("B=true,A=1", json!({"B": true, "A": true})),
                ("RotateKubeletServerCertificate=f", json!({"RotateKubeletServerCertificate": false})),
            ],
        ),
    ]
}

/// The default where a `--config` is read (`legacy`: where none is), typed like the setting.
fn default(setting: &str, minor: u32, legacy: bool) -> Value {
    let mut thresholds =
        json!({"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%"});
    if minor >= 30 {
        thresholds["imagefs.inodesFree"] = json!("5%");
    }
    match setting {
        "anonymousAuth" => json!(legacy),
        "webhookAuthentication" => json!(!legacy),
        "authorizationMode" => json!(if legacy { "AlwaysAllow" } else { "Webhook" }),
        "readOnlyPort" => json!(if legacy { 10255 } else { 0 }),
        "authenticationWebhookCacheTTL" => json!(120),
        "port" => json!(10250),
        "address" => json!("0.0.0.0"),
        "healthzPort" => json!(10248),
        "clientCAFile" => json!(""),
        "eventRecordQPS" => json!(if minor >= 27 { 50 } else { 5 }),
        "streamingConnectionIdleTimeout" => json!(14400),
        "podPidsLimit" => json!(-1),
        "maxPods" => json!(110),
        "containerLogMaxSize" => json!(10 * 1024 * 1024),
        "tlsCipherSuites" => json!([]),
        "enforceNodeAllocatable" => json!(["pods"]),
        "systemReserved" | "evictionSoft" | "featureGates" => json!({}),
        "evictionHard" if legacy && minor >= 25 => json!({}),
        "evictionHard" => thresholds,
        "failCgroupV1" => json!(minor >= 35),
        _ => json!(false),
    }
}

/// One generated kubelet.
#[derive(Debug, Clone)]
struct Case {
    minor: u32,
    main: Option<Value>,
    drop_ins: Option<Vec<Value>>,
    /// Field, which of its values, and how it is written.
    flags: Vec<(usize, usize, u8)>,
}

fn put(document: &mut Value, path: &[&str], value: Value) {
    let mut here = document;
    for name in path {
        if !here[*name].is_object() && !here[*name].is_null() {
            return;
        }
        here = &mut here[*name];
    }
    *here = value;
}

fn get<'a>(document: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(document, |here, name| here.get(*name)).filter(|value| !value.is_null())
}

/// A document out of picks: field, value, and what else to do with it. Only a drop-in says null.
fn document(picks: &[(usize, usize, u8)], is_patch: bool) -> Value {
    let fields = fields();
    let mut document = json!({});
    for (field, pick, twist) in picks {
        let field = &fields[field % fields.len()];
        let (mut value, _) = field.written[pick % field.written.len()].clone();
        if is_patch && *twist == 0 {
            value = Value::Null;
        }
        if is_patch && *twist == 1 && value.is_object() {
            value[["memory.available", "imagefs.available", "cpu"][pick % 3]] = Value::Null;
        }
        if is_patch && *twist == 2 && field.path.len() > 1 {
            put(&mut document, &field.path[..1], Value::Null);
            continue;
        }
        // What would not be merged by the generator must not be merged here.
        if get(&document, field.path).is_none() {
            put(&mut document, field.path, value);
        }
    }
    document
}

fn cases() -> impl Strategy<Value = Case> {
    let count = fields().len();
    let picks = move |most| proptest::collection::vec((0..count, 0..12usize, 0..8u8), 0..most);
    let drop_ins = proptest::option::of(proptest::collection::vec(picks(10).prop_map(|picks| document(&picks, true)), 0..4));
    (24..=36u32, proptest::option::of(picks(16).prop_map(|picks| document(&picks, false))), drop_ins, picks(8))
        .prop_map(|(minor, main, drop_ins, flags)| Case { minor, main, drop_ins: drop_ins.filter(|_| minor >= 28), flags })
}

impl Case {
    fn argv(&self) -> Vec<String> {
        let fields = fields();
        let mut argv = vec!["/usr/bin/kubelet".to_owned()];
        if self.main.is_some() {
            argv.push("--config=/c.yaml".into());
        }
        for (field, pick, form) in &self.flags {
            let field = &fields[field % fields.len()];
            let (name, takes) = field.flag;
            if takes == Flag::None {
                continue;
            }
            let (text, _) = &field.given[pick % field.given.len()];
            let name = if *form % 2 == 0 { name.replace('-', "_") } else { name.to_owned() };
            match form {
                0 | 1 if takes == (Flag::Last { switch: true }) => argv.push(format!("--{name}")),
                2..=4 if takes != (Flag::Last { switch: true }) => argv.extend([format!("--{name}"), (*text).to_owned()]),
                _ => argv.push(format!("--{name}={text}")),
            }
        }
        if self.drop_ins.is_some() {
            argv.extend(["--config-dir".into(), "/d".into()]);
        }
        argv
    }

    /// What the flags set, by the same forms.
    fn flags(&self) -> Map<String, Value> {
        let fields = fields();
        let mut set = Map::new();
        for (field, pick, form) in &self.flags {
            let field = &fields[field % fields.len()];
            let (_, value) = &field.given[pick % field.given.len()];
            match field.flag.1 {
                Flag::None => {}
                Flag::Last { switch: true } if *form <= 1 => drop(set.insert(field.setting.to_owned(), json!(true))),
                Flag::Last { .. } => drop(set.insert(field.setting.to_owned(), value.clone())),
                Flag::Adds => match (set.get_mut(field.setting), value) {
                    (Some(Value::Array(list)), Value::Array(more)) => list.extend(more.clone()),
                    (Some(Value::Object(map)), Value::Object(more)) => map.extend(more.clone()),
                    _ => drop(set.insert(field.setting.to_owned(), value.clone())),
                },
            }
        }
        set
    }
}

/// RFC 7386.
fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(name);
        } else {
            merge_patch(&mut target[name], value);
        }
    }
}

/// The object with every field in it, each as a document would write it: what is already there stays, unless it means nothing.
fn filled(document: &Value, minor: u32, legacy: bool) -> Value {
    let mut object = document.clone();
    for field in fields() {
        let written = get(document, field.path);
        let meaning = written.map(|value| field.written.iter().find(|(as_written, _)| as_written == value).map(|(_, meaning)| meaning));
        let is_set = match meaning {
            None | Some(Some(Value::Null)) => false,
            Some(_) => true,
        };
        if !is_set && field.setting != "evictionHard" {
            let mut here = &mut object;
            for name in field.path {
                here = &mut here[*name];
            }
            let default = default(field.setting, minor, legacy);
            // Lists and maps are written as they are; other types are marked: no document writes an object with this name.
            *here = if default.is_object() || default.is_array() { default } else { json!({"typed": default}) };
        }
    }
    object
}

/// What the kubelet makes of `case`, by setting.
fn reference(case: &Case) -> Map<String, Value> {
    let legacy = case.main.is_none();
    let mut object = filled(case.main.as_ref().unwrap_or(&json!({})), case.minor, legacy);
    let own = get(&object, &["evictionHard"]).cloned();
    let merges = object["mergeDefaultEvictionSettings"] == json!(true) || object["mergeDefaultEvictionSettings"] == json!("yes");
    let mut thresholds = default("evictionHard", case.minor, legacy);
    match own {
        None => {}
        Some(own) if merges && case.minor >= 33 => {
            thresholds.as_object_mut().expect("a map").extend(own.as_object().expect("a map").clone());
        }
        Some(own) => thresholds = own,
    }
    object["evictionHard"] = thresholds;
    if let Some(drop_ins) = &case.drop_ins {
        // Written and read again, the object loses what is empty.
        object.as_object_mut().expect("an object").retain(|_, value| *value != json!([]) && *value != json!({}));
        for patch in drop_ins {
            merge_patch(&mut object, patch);
        }
        let thresholds = get(&object, &["evictionHard"]).cloned().unwrap_or(json!({}));
        object = filled(&object, case.minor, false);
        object["evictionHard"] = thresholds;
    }
    let flags = case.flags();
    let mut settings = Map::new();
    for field in fields() {
        let value = get(&object, field.path).expect("filled");
        let typed = value.get("typed").filter(|_| value.as_object().is_some_and(|members| members.len() == 1));
        let meaning = field.written.iter().find(|(written, _)| written == value).map(|(_, meaning)| meaning);
        let effective = typed.or(meaning).unwrap_or(value).clone();
        let effective = match (field.setting, flags.get(field.setting)) {
            ("seccompDefault", Some(flag)) => json!(*flag == json!(true) || effective == json!(true)),
            ("featureGates", Some(Value::Object(flag))) => {
                let mut gates = effective.as_object().expect("a map").clone();
                gates.extend(flag.clone());
                Value::Object(gates)
            }
            (_, Some(flag)) => flag.clone(),
            (_, None) => effective,
        };
        settings.insert(field.setting.to_owned(), effective);
    }
    let rotates = settings["featureGates"].get("RotateKubeletServerCertificate").cloned().unwrap_or(json!(true));
    settings.insert("rotateKubeletServerCertificate".into(), rotates);
    settings
}

#[test]
fn what_is_derived_is_what_the_rules_say() {
    let config = Config { cases: 2500, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let held = runner.run(&cases(), |case| {
        let mut documents: Vec<_> = case.main.clone().map(|main| main_file("KubeletConfiguration", "/c.yaml", main)).into_iter().collect();
        let drop_ins = case.drop_ins.iter().flatten().enumerate();
        documents.extend(drop_ins.map(|(n, content)| drop_in(&format!("/d/{n}.conf"), content.clone())));
        let kubelet = derived(kubelet(&format!("v1.{}.3", case.minor), case.argv(), documents));
        for (setting, expected) in reference(&case) {
            prop_assert_eq!(value(&kubelet.settings, &setting), Ok(expected), "{} of {:?}", setting, case.argv());
        }
        Ok(())
    });
    held.expect("both agree");
}
