//! What OpenSSH does where its configuration says nothing.

use crate::facts::{Observed, Setting, Settings, Source, SourceKind};
use serde_json::{Value, json};

/// Upstream's defaults (`sshd_config(5)` of OpenSSH 7.0 to 10). Distributions that want others write them into the file.
fn defaults() -> [(&'static str, Value); 11] {
    [
        ("PermitRootLogin", json!("prohibit-password")),
        ("PasswordAuthentication", json!(true)),
        ("KbdInteractiveAuthentication", json!(true)),
        ("PermitEmptyPasswords", json!(false)),
        ("X11Forwarding", json!(false)),
        ("AllowTcpForwarding", json!("yes")),
        ("MaxAuthTries", json!(6)),
        ("Port", json!([22])),
        // None: every address.
        ("ListenAddress", json!([])),
        // None: everybody.
        ("AllowUsers", json!([])),
        ("AllowGroups", json!([])),
    ]
}

/// Adds the default of every keyword that is neither set nor unknown.
pub(super) fn add_defaults(sshd: &mut Observed<Settings>) {
    let Observed::Known { value: settings, at, .. } = sshd else { return };
    for (name, value) in defaults() {
        settings.entry(name.to_owned()).or_insert_with(|| {
            let source = Source::new(SourceKind::Default, "OpenSSH");
            Observed::known(Setting { value, source: source.clone(), declared: Vec::new() }, source, *at)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Reason, SourceKind};

    #[test]
    fn defaults_fill_what_is_not_said_and_leave_what_is_not_known() {
        let file = Source::new(SourceKind::File, "/etc/ssh/sshd_config");
        let setting = Setting { value: json!("no"), source: file.clone(), declared: Vec::new() };
        let settings = Settings::from([
            ("PermitRootLogin".to_owned(), Observed::known(setting, file.clone(), 1)),
            ("Port".to_owned(), Observed::unavailable_because(Reason::Malformed, "x")),
        ]);
        let mut sshd = Observed::known(settings, file, 1);
        add_defaults(&mut sshd);
        let once = sshd.clone();
        add_defaults(&mut sshd);
        assert_eq!(sshd, once, "twice is once");
        let settings = sshd.value().expect("known");
        let value = |name: &str| settings.get(name).and_then(|setting| setting.value()).map(|setting| setting.value.clone());
        assert_eq!(value("PermitRootLogin"), Some(json!("no")));
        assert_eq!(value("Port"), None);
        assert_eq!(value("MaxAuthTries"), Some(json!(6)));
        let mut absent = Observed::unavailable_because(Reason::NotPresent, "no sshd_config");
        add_defaults(&mut absent);
        assert!(absent.value().is_none(), "no configuration, no defaults");
    }
}
