//! Command lines of runtimes' daemons. Must not know what a flag means.

/// The values of the flags `names`, as `--name value`, `--name=value`, in the order given.
pub(super) fn all<'a>(argv: &'a [String], names: &[&str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = argv.iter().skip(1).map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument.split_once('=') {
            Some((name, value)) if names.contains(&name) => found.push(value),
            None if names.contains(&argument) => found.extend(rest.next()),
            // Of flags behind one letter (`-Htcp://…`) the value may follow at once.
            _ => found.extend(
                names
                    .iter()
                    .filter(|name| name.len() == 2)
                    .find_map(|name| argument.strip_prefix(name).filter(|value| !value.is_empty() && !value.starts_with('='))),
            ),
        }
    }
    found
}

/// The value of the flags `names` that counts: the last.
pub fn last<'a>(argv: &'a [String], names: &[&str]) -> Option<&'a str> {
    all(argv, names).pop()
}

/// What the switch `name` says: `--name`, `--name=false`. `None` where it is not given, or says neither.
pub(super) fn switch(argv: &[String], name: &str) -> Option<bool> {
    argv.iter().skip(1).rev().find_map(|argument| match argument.split_once('=') {
        Some((given, value)) if given == name => super::super::values::boolean(value).ok(),
        None if argument == name => Some(true),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_found_however_they_are_written() {
        let argv = ["dockerd", "-H", "fd://", "-H=unix:///x", "-Htcp://0.0.0.0:2375", "--host", "tcp://y", "--icc=false", "--tlsverify"];
        let argv = argv.map(str::to_owned);
        assert_eq!(all(&argv, &["-H", "--host"]), ["fd://", "unix:///x", "tcp://0.0.0.0:2375", "tcp://y"]);
        assert_eq!(last(&argv, &["-H", "--host"]), Some("tcp://y"));
        assert_eq!((switch(&argv, "--icc"), switch(&argv, "--tlsverify"), switch(&argv, "--tls")), (Some(false), Some(true), None));
        assert_eq!(last(&["x".to_owned(), "--config".to_owned()], &["--config"]), None);
    }
}
