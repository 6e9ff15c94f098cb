//! The processes of one container, and what can be said of all of them together.

use std::collections::BTreeSet;

use crate::entries::cut;
use crate::facts::{Observed, Process, Reason, Source, SourceKind, Unavailable};

/// The most programs in a list: the first by name. Sixteen are enough to know what to look at.
const MAX_PROGRAMS: usize = 16;
/// The most uids and gids in a list: the lowest.
const MAX_NUMBERS: usize = 64;
/// The most labels. More are not cut, as the worst of them may come last.
const MAX_LABELS: usize = 64;
/// The longest program name kept, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// The longest label, in bytes. A longer one is not cut, as its mode stands at its end.
const MAX_LABEL_BYTES: usize = 256;

/// The processes of one container.
pub(super) struct Members<'a> {
    processes: &'a [&'a Process],
    /// Why one more may belong to it.
    hole: Option<&'a Unavailable>,
    /// When they were read.
    at: i64,
}

impl<'a> Members<'a> {
    pub(super) fn new(processes: &'a [&'a Process], hole: Option<&'a Unavailable>, at: i64) -> Self {
        Self { processes, hole, at }
    }

    pub(super) fn processes(&self) -> &'a [&'a Process] {
        self.processes
    }

    pub(super) fn hole(&self) -> Option<&'a Unavailable> {
        self.hole
    }

    pub(super) fn derived<T>(&self, value: T) -> Observed<T> {
        Observed::known(value, Source::new(SourceKind::Derived, "its processes"), self.at)
    }

    /// Programs that are `so`. One that is says more than one that could not be asked.
    pub(super) fn programs(&self, so: impl Fn(&Process) -> Result<bool, &Unavailable>) -> Observed<Vec<String>> {
        let (mut programs, mut missing) = (BTreeSet::new(), self.hole);
        for process in self.processes {
            match so(process) {
                Ok(true) => {
                    programs.insert(program(process));
                }
                Ok(false) => {}
                Err(why) => missing = missing.or(Some(why)),
            }
        }
        match missing {
            Some(why) if programs.is_empty() => Observed::Unavailable(why.clone()),
            _ => self.derived(programs.into_iter().take(MAX_PROGRAMS).map(str::to_owned).collect()),
        }
    }

    /// Is any of them `so`.
    pub(super) fn any(&self, so: impl Fn(&Process) -> Result<bool, &Unavailable>) -> Observed<bool> {
        self.decided_by(true, so)
    }

    /// Are all of them `so`.
    pub(super) fn all(&self, so: impl Fn(&Process) -> Result<bool, &Unavailable>) -> Observed<bool> {
        self.decided_by(false, so)
    }

    /// `decisive` where one says that, the opposite where all were asked and none does.
    fn decided_by(&self, decisive: bool, so: impl Fn(&Process) -> Result<bool, &Unavailable>) -> Observed<bool> {
        let mut missing = self.hole;
        for process in self.processes {
            match so(process) {
                Ok(answer) if answer == decisive => return self.derived(decisive),
                Ok(_) => {}
                Err(why) => missing = missing.or(Some(why)),
            }
        }
        missing.map_or_else(|| self.derived(!decisive), |why| Observed::Unavailable(why.clone()))
    }

    /// What the capability masks of those together have that are in the container's own user namespace. A browser's or builder's
    /// sandbox has every capability, in a user namespace that it made and over nothing else.
    pub(super) fn mask(&self, of: impl Fn(&Process) -> i64) -> Observed<i64> {
        let everywhere = self.processes.iter().fold(0, |sum, process| sum | of(process));
        let outside = self.processes.iter().filter(|process| process.user_namespace.value() == Some(&false));
        let outside = outside.fold(None, |sum: Option<i64>, process| Some(sum.unwrap_or(0) | of(process)));
        // One of which that cannot be told matters where it has more than the others.
        let unsure = self.processes.iter().filter_map(|process| Some((process, process.user_namespace.unavailable()?)));
        let more = |process: &Process| of(process) & !outside.unwrap_or(0) != 0;
        match unsure.into_iter().find(|(process, _)| more(process)) {
            Some((_, why)) => Observed::Unavailable(why.clone()),
            None => self.whole(outside.unwrap_or(everywhere)),
        }
    }

    /// The ids of all, lowest first.
    pub(super) fn numbers(&self, of: impl Fn(&Process) -> Vec<i64>) -> Observed<Vec<i64>> {
        let numbers: BTreeSet<i64> = self.processes.iter().flat_map(|process| of(process)).collect();
        self.whole(numbers.into_iter().take(MAX_NUMBERS).collect())
    }

    /// The texts of all, where all have one.
    pub(super) fn texts<'p>(&'p self, of: impl Fn(&'p Process) -> Result<&'p String, &'p Unavailable>) -> Observed<Vec<String>> {
        let texts: Result<BTreeSet<&str>, &Unavailable> = self.processes.iter().map(|process| of(process).map(String::as_str)).collect();
        match texts {
            Ok(texts) if texts.iter().any(|text| text.len() > MAX_LABEL_BYTES) => {
                Observed::unavailable_because(Reason::TooLarge, format!("a label longer than {MAX_LABEL_BYTES} bytes"))
            }
            Ok(texts) if texts.len() > MAX_LABELS => {
                Observed::unavailable_because(Reason::TooLarge, format!("more than {MAX_LABELS} labels"))
            }
            Ok(texts) => self.whole(texts.into_iter().map(str::to_owned).collect()),
            Err(why) => Observed::Unavailable(why.clone()),
        }
    }

    /// What is only right where no process is missing.
    fn whole<T>(&self, value: T) -> Observed<T> {
        self.hole.map_or_else(|| self.derived(value), |why| Observed::Unavailable(why.clone()))
    }
}

/// The name of what a process runs: of its executable, else the one it gave itself. As it is, but for its length: whoever shows it
/// escapes it.
pub(super) fn program(process: &Process) -> &str {
    let exe = process.exe.value().map_or("", String::as_str);
    let exe = exe.strip_suffix(" (deleted)").unwrap_or(exe);
    let base = exe.rsplit('/').next().unwrap_or_default();
    cut(if base.is_empty() { &process.name } else { base }, MAX_NAME_BYTES)
}
