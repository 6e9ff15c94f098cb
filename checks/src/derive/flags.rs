//! A command line as Go's pflag reads it.
//!
//! Must not know what any flag means: the caller says which take a value.

use std::collections::BTreeMap;

/// How a flag is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A boolean: takes a value only behind `=`.
    Switch,
    /// Takes a value, behind `=` or as the next argument.
    Value,
}

/// The flags of one command line: by name, every value in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Flags(BTreeMap<String, Vec<String>>);

impl Flags {
    /// Reads `argv`, program name first. Underscores in names count as hyphens, `--` ends the flags, shorthands and
    /// arguments that are no flags decide nothing.
    ///
    /// A flag that `shape` does not know takes the next argument unless that looks like a flag: the components refuse to
    /// start with arguments that are no flags, so in a running one it can only be the value.
    pub(super) fn parse(argv: &[String], shape: impl Fn(&str) -> Option<Shape>) -> Self {
        let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
        Self::walk(argv, shape, |name, value| given.entry(name).or_default().push(value.to_owned()));
        Self(given)
    }

    /// Hands every flag of `argv` to `each`, with its value, in the order given.
    pub(super) fn walk<'a>(argv: &'a [String], shape: impl Fn(&str) -> Option<Shape>, mut each: impl FnMut(String, &'a str)) {
        let mut arguments = argv.iter().skip(1).map(String::as_str).peekable();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                break;
            }
            let Some(flag) = argument.strip_prefix("--") else {
                // `-v 2`: the value belongs to the shorthand.
                if argument.len() == 2 && argument.starts_with('-') {
                    arguments.next_if(|next| !next.starts_with('-'));
                }
                continue;
            };
            let (name, written) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            let name = name.replace('_', "-");
            let value = written.or_else(|| match shape(&name) {
                Some(Shape::Switch) => Some("true"),
                Some(Shape::Value) => arguments.next(),
                None => arguments.next_if(|next| !next.starts_with('-')),
            });
            each(name, value.unwrap_or_default());
        }
    }

    /// Every value of `name` in the order given; empty when it was not.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of `name` that counts: the last.
    pub(super) fn last(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }
}

/// The value of the flag `name` that counts in a component's command line, program name first: the last one given. For flags
/// that take a value.
pub fn last_flag<'a>(argv: &'a [String], name: &str) -> Option<&'a str> {
    let mut last = None;
    let shape = |flag: &str| if flag == name { Some(Shape::Value) } else { super::kubelet::shape(flag) };
    Flags::walk(argv, shape, |flag, value| {
        if flag == name {
            last = Some(value);
        }
    });
    last
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{Flags, Shape};

    fn shape(name: &str) -> Option<Shape> {
        match name {
            "anonymous-auth" => Some(Shape::Switch),
            "read-only-port" | "config" => Some(Shape::Value),
            _ => None,
        }
    }

    #[rstest]
    #[case::equals(&["--read-only-port=0"], "read-only-port", Some("0"))]
    #[case::space(&["--read-only-port", "0"], "read-only-port", Some("0"))]
    #[case::last_wins(&["--read-only-port=1", "--read-only-port", "2"], "read-only-port", Some("2"))]
    #[case::underscores(&["--read_only_port=3"], "read-only-port", Some("3"))]
    #[case::switch(&["--anonymous-auth"], "anonymous-auth", Some("true"))]
    #[case::switch_takes_no_argument(&["--anonymous-auth", "false"], "anonymous-auth", Some("true"))]
    #[case::switch_with_value(&["--anonymous-auth=false"], "anonymous-auth", Some("false"))]
    #[case::a_value_that_looks_like_a_flag(&["--config", "--anonymous-auth"], "anonymous-auth", None)]
    #[case::unknown_with_value(&["--v", "2", "--read-only-port=4"], "read-only-port", Some("4"))]
    #[case::unknown_without_value(&["--strange", "--read-only-port=5"], "read-only-port", Some("5"))]
    #[case::negative_value_of_an_unknown(&["--oom-score-adj", "-999", "--read-only-port=6"], "read-only-port", Some("6"))]
    #[case::shorthand(&["-v", "2", "--read-only-port=7"], "read-only-port", Some("7"))]
    #[case::single_hyphen_is_no_flag(&["-read-only-port=8"], "read-only-port", None)]
    #[case::terminator(&["--", "--read-only-port=9"], "read-only-port", None)]
    #[case::subcommand(&["kubelet", "--read-only-port=10"], "read-only-port", Some("10"))]
    #[case::empty(&["--config="], "config", Some(""))]
    #[case::missing_value(&["--config"], "config", Some(""))]
    #[case::name_is_compared_whole(&["--read-only-port-not=1"], "read-only-port", None)]
    fn as_pflag_reads_them(#[case] arguments: &[&str], #[case] name: &str, #[case] value: Option<&str>) {
        let argv: Vec<String> = std::iter::once("kubelet").chain(arguments.iter().copied()).map(str::to_owned).collect();
        assert_eq!(Flags::parse(&argv, shape).last(name), value);
    }
}
