//! Vulnerabilities by distributions' package versions, held compactly: half a million records are ordinary.
//!
//! Texts are kept once, records as numbers into them, in groups by ecosystem and package family. Versions of a group are sorted
//! once, so that asking is one search and then numbers. Must not know nodes or formats.

mod ecosystem;
mod texts;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use self::ecosystem::{Ecosystem, Stream, family, stream};
use self::texts::{Text, Texts};
use super::{FeedInfo, Outcome, PackageAnswer, PackageFix, PackageOutcome, Scheme};

/// Records as they come.
#[derive(Debug, Clone, Default)]
pub(super) struct Collected {
    texts: Texts,
    groups: BTreeMap<(Ecosystem, String), Vec<Entry>>,
    feeds: Vec<FeedInfo>,
    /// What ecosystems call themselves, and the feeds that know them.
    known: BTreeMap<Ecosystem, (String, BTreeSet<u16>)>,
}

/// One range of one record about one vulnerability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    id: Text,
    record: Text,
    /// Inclusive; none is the beginning.
    introduced: Option<Text>,
    /// Exclusive; none is no fix.
    fixed: Option<Text>,
    feed: u16,
    subscription: bool,
    /// Only the version `introduced` itself.
    only: bool,
}

/// Records ready to be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Packages {
    texts: Texts,
    groups: BTreeMap<Ecosystem, BTreeMap<String, Group>>,
    known: BTreeMap<Ecosystem, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    name: String,
    as_of: Date,
    source: String,
    complete: bool,
}

#[derive(Debug, Clone, Default)]
struct Group {
    /// Every version that a range names, ascending, each once.
    versions: Vec<Text>,
    /// Their streams, where the distribution has any.
    streams: Vec<Option<Stream>>,
    /// Sorted by vulnerability, then record.
    spans: Vec<Span>,
}

/// A range as places in the group's versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    id: Text,
    record: Text,
    /// Place of the first affected version plus one; 0 is the beginning.
    introduced: u32,
    /// Place of the first fixed version plus one; 0 is no fix.
    fixed: u32,
    flags: u8,
}

const SUBSCRIPTION: u8 = 1;
const ONLY: u8 = 2;

impl Collected {
    /// Keeps a record.
    pub(super) fn add(&mut self, feed: &FeedInfo, fix: &PackageFix) {
        let feed = self.feed(feed);
        let (ecosystem, pro) = Ecosystem::read(&fix.ecosystem);
        let subscription = fix.subscription || pro;
        let (name, feeds) = self.known.entry(ecosystem.clone()).or_insert_with(|| (fix.ecosystem.clone(), BTreeSet::new()));
        if name.len() > fix.ecosystem.len() || (name.len() == fix.ecosystem.len() && *name > fix.ecosystem) {
            name.clone_from(&fix.ecosystem);
        }
        feeds.insert(feed);
        let package = family(&ecosystem, &fix.package);
        // `uname` gives a kernel's version without one.
        let kernel = package.starts_with("kernel");
        let text = |texts: &mut Texts, version: &str| texts.keep(if kernel { without_epoch(version) } else { version });
        let record = self.texts.keep(&fix.record);
        let mut entries = Vec::new();
        for range in &fix.ranges {
            let introduced = (range.introduced != "0" && !range.introduced.is_empty()).then(|| text(&mut self.texts, &range.introduced));
            let fixed = range.fixed.as_ref().map(|fixed| text(&mut self.texts, fixed));
            entries.push((introduced, fixed, false));
        }
        for version in &fix.versions {
            entries.push((Some(text(&mut self.texts, version)), None, true));
        }
        let group = self.groups.entry((ecosystem, package)).or_default();
        for id in &fix.ids {
            let id = self.texts.keep(id);
            group.extend(entries.iter().map(|&(introduced, fixed, only)| Entry {
                id,
                record,
                introduced,
                fixed,
                feed,
                subscription,
                only,
            }));
        }
    }

    fn feed(&mut self, info: &FeedInfo) -> u16 {
        let at = self.feeds.iter().rposition(|known| known == info).unwrap_or_else(|| {
            self.feeds.push(info.clone());
            self.feeds.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// Sorts everything.
    pub(super) fn build(mut self) -> Packages {
        self.texts.close();
        let mut packages = Packages::default();
        let rank = |feed: u16| self.feeds.get(usize::from(feed)).map(|feed| (feed.as_of, &feed.name, &feed.digest));
        for ((ecosystem, package), mut entries) in self.groups {
            // Of a record that several feeds have, the newest copy.
            let texts = &self.texts;
            entries.sort_by(|a, b| {
                let key = |entry: &Entry| (texts.get(entry.id), texts.get(entry.record));
                key(a).cmp(&key(b)).then_with(|| rank(b.feed).cmp(&rank(a.feed)))
            });
            let mut newest: Option<(Text, Text, u16)> = None;
            entries.retain(|entry| match newest {
                Some((id, record, feed)) if (id, record) == (entry.id, entry.record) => feed == entry.feed,
                _ => {
                    newest = Some((entry.id, entry.record, entry.feed));
                    true
                }
            });
            let group = Group::new(texts, &ecosystem, &entries);
            packages.groups.entry(ecosystem).or_default().insert(package, group);
        }
        for (ecosystem, (name, feeds)) in self.known {
            let newest = feeds.iter().filter_map(|feed| self.feeds.get(usize::from(*feed))).max_by_key(|feed| (feed.as_of, &feed.name));
            let Some(newest) = newest else { continue };
            packages.known.insert(ecosystem, Known { name, as_of: newest.as_of, source: newest.source.clone(), complete: newest.complete });
        }
        packages.texts = self.texts;
        packages
    }
}

impl Group {
    fn new(texts: &Texts, ecosystem: &Ecosystem, entries: &[Entry]) -> Self {
        let scheme = ecosystem.scheme();
        let mut versions: Vec<Text> = entries.iter().flat_map(|entry| [entry.introduced, entry.fixed]).flatten().collect();
        versions.sort_unstable();
        versions.dedup();
        // Of versions that are equal the same text stays, whoever came first.
        versions.sort_by(|a, b| scheme.compare(texts.get(*a), texts.get(*b)).then_with(|| texts.get(*a).cmp(texts.get(*b))));
        versions.dedup_by(|a, b| scheme.compare(texts.get(*a), texts.get(*b)) == Ordering::Equal);
        let placed = |text: Option<Text>| {
            let Some(text) = text else { return 0 };
            let at = versions.binary_search_by(|known| scheme.compare(texts.get(*known), texts.get(text)));
            at.map_or(0, |at| u32::try_from(at + 1).unwrap_or(0))
        };
        let mut spans: Vec<Span> = Vec::with_capacity(entries.len());
        for entry in entries {
            let flags = if entry.subscription { SUBSCRIPTION } else { 0 } | if entry.only { ONLY } else { 0 };
            let span = Span { id: entry.id, record: entry.record, introduced: placed(entry.introduced), fixed: placed(entry.fixed), flags };
            // A range that ends before it begins says nothing.
            let empty = span.fixed != 0 && span.introduced >= span.fixed;
            if !empty {
                spans.push(span);
            }
        }
        // The same group twice in a row by id and record, in a fixed order.
        spans.sort_by(|a, b| {
            (texts.get(a.id), texts.get(a.record), a.introduced, a.fixed, a.flags).cmp(&(
                texts.get(b.id),
                texts.get(b.record),
                b.introduced,
                b.fixed,
                b.flags,
            ))
        });
        spans.dedup();
        spans.shrink_to_fit();
        versions.shrink_to_fit();
        let streams = if ecosystem.has_streams() { versions.iter().map(|text| stream(texts.get(*text))).collect() } else { Vec::new() };
        Self { versions, streams, spans }
    }
}

/// How a version stands among a group's: below all from `below` on, and equal to the one before when `equal`.
#[derive(Debug, Clone, Copy)]
struct Place(u32);

impl Place {
    /// Is it at or above the version in this place (counted from one; 0 is the beginning).
    fn reaches(self, place: u32) -> bool {
        place == 0 || self.0 >= place.saturating_mul(2)
    }

    /// Is it that version.
    fn is(self, place: u32) -> bool {
        self.0 == place.saturating_mul(2)
    }
}

impl Packages {
    /// Asks a distribution's records about a package.
    pub(super) fn ask(&self, ecosystem: &str, package: &str, scheme: Scheme, version: &str) -> Option<PackageAnswer> {
        let (asked, _) = Ecosystem::read(ecosystem);
        if asked.scheme() != scheme {
            return None;
        }
        let (asked, version) = asked.rebuilt_from(version);
        // `AlmaLinux` repeats Red Hat's advisories with the same builds; what it did on its own is true of AlmaLinux only.
        let lent = if self.known.contains_key(&asked) { None } else { asked.lender() };
        let borrowed = lent.is_some();
        let from = lent.unwrap_or(asked);
        let known = self.known.get(&from)?;
        let package = family(&from, package);
        let group = self.groups.get(&from).and_then(|packages| packages.get(&package));
        let outcomes = group.map(|group| group.ask(&self.texts, &from, &package, &version, borrowed)).unwrap_or_default();
        Some(PackageAnswer {
            outcomes,
            ecosystem: known.name.clone(),
            as_of: known.as_of,
            source: known.source.clone(),
            complete: known.complete,
        })
    }

    /// How many ranges are held, and the bytes that they take.
    pub(super) fn size(&self) -> (usize, usize) {
        let groups = || self.groups.values().flat_map(BTreeMap::values);
        let spans: usize = groups().map(|group| group.spans.len()).sum();
        let bytes: usize = groups()
            .map(|group| {
                let streams = group.streams.capacity() * size_of::<Option<Stream>>();
                group.spans.capacity() * size_of::<Span>() + group.versions.capacity() * size_of::<Text>() + streams
            })
            .sum::<usize>()
            + self.texts.bytes();
        (spans, bytes)
    }
}

impl Group {
    fn ask(&self, texts: &Texts, ecosystem: &Ecosystem, package: &str, version: &str, borrowed: bool) -> Vec<PackageOutcome> {
        let version = if package.starts_with("kernel") { without_epoch(version) } else { version };
        let place = self.place(texts, ecosystem, version);
        let asked = Asked { texts, group: self, place, stream: ecosystem.has_streams().then(|| stream(version)).flatten() };
        let mut outcomes = Vec::new();
        for spans in self.spans.chunk_by(|a, b| a.id == b.id) {
            let Some(id) = spans.first().map(|span| texts.get(span.id)) else { continue };
            // The tracker's own record about the CVE knows more than an advisory that mentions it.
            let own = |span: &Span| texts.get(span.record).ends_with(id);
            let tracked = spans.len() > 1 && spans.iter().any(own);
            let usable = spans.iter().filter(|span| (!tracked || own(span)) && !(borrowed && alma_only(texts.get(span.record))));
            let Some((said, decided_by)) = asked.decide(usable) else { continue };
            let outcome = match said {
                Said::Affected(fixed) => Outcome::Affected { fixed: asked.text(fixed).map(str::to_owned) },
                Said::Fixed(since) => match asked.text(since) {
                    Some(since) if !ecosystem.never_had(package, version, since) => Outcome::Fixed { since: since.to_owned() },
                    _ => Outcome::NotAffected,
                },
                Said::Never => Outcome::NotAffected,
            };
            outcomes.push(PackageOutcome {
                id: id.to_owned(),
                record: texts.get(decided_by.record).to_owned(),
                subscription: decided_by.flags & SUBSCRIPTION != 0,
                outcome,
            });
        }
        outcomes
    }

    fn place(&self, texts: &Texts, ecosystem: &Ecosystem, version: &str) -> Place {
        let scheme = ecosystem.scheme();
        let found = self.versions.binary_search_by(|known| scheme.compare(texts.get(*known), version));
        let rank = match found {
            Ok(at) => (at + 1) * 2,
            // A kernel does not tell how often its package was rebuilt.
            Err(at) => match self.versions.get(at).map(|next| texts.get(*next)) {
                Some(next) if ecosystem.hides_rebuilds() && is_rebuild(version, next) => (at + 1) * 2,
                _ => at * 2 + 1,
            },
        };
        Place(u32::try_from(rank).unwrap_or(u32::MAX))
    }
}

/// A version among the records of one group.
struct Asked<'a> {
    texts: &'a Texts,
    group: &'a Group,
    place: Place,
    stream: Option<Stream>,
}

/// What ranges say, with places for versions.
#[derive(Clone, Copy)]
enum Said {
    /// Fixed in; 0 is not yet.
    Affected(u32),
    Fixed(u32),
    Never,
}

impl Asked<'_> {
    /// What the records about one vulnerability say together, and the span that decides.
    fn decide<'s>(&self, spans: impl Iterator<Item = &'s Span> + Clone) -> Option<(Said, &'s Span)> {
        if let Some(stream) = self.stream {
            return self.by_stream(stream, spans);
        }
        let paid = |span: &&Span| span.flags & SUBSCRIPTION != 0;
        let open = self.in_ranges(spans.clone().filter(|span| !paid(span)));
        match open {
            Some((Said::Fixed(_) | Said::Never, _)) => return open,
            Some((Said::Affected(fixed), _)) if fixed != 0 => return open,
            _ => {}
        }
        // Fixed for those who have a subscription only.
        let paid = self.in_ranges(spans.filter(paid));
        match (open, paid) {
            (Some(_), None | Some((Said::Never, _))) => open,
            _ => paid,
        }
    }

    /// Affected where any range holds.
    fn in_ranges<'s>(&self, spans: impl Iterator<Item = &'s Span> + Clone) -> Option<(Said, &'s Span)> {
        let first = spans.clone().next()?;
        let (mut affected, mut passed): (Option<&Span>, Option<&Span>) = (None, None);
        let nearer = |a: u32, b: u32| a != 0 && (b == 0 || a < b);
        for span in spans.clone() {
            let reached = span.fixed != 0 && self.place.reaches(span.fixed);
            let holds = match span.flags & ONLY {
                0 => self.place.reaches(span.introduced) && !reached,
                _ => self.place.is(span.introduced),
            };
            if holds && affected.is_none_or(|known| nearer(span.fixed, known.fixed)) {
                affected = Some(span);
            }
            if reached && passed.is_none_or(|known| span.fixed > known.fixed) {
                passed = Some(span);
            }
        }
        Some(match (affected, passed) {
            // A list of versions tells no fix; a range beside it may.
            (Some(span), _) if span.fixed == 0 => {
                let later = spans.filter(|other| other.fixed != 0 && !self.place.reaches(other.fixed)).map(|other| other.fixed).min();
                (Said::Affected(later.unwrap_or(0)), span)
            }
            (Some(span), _) => (Said::Affected(span.fixed), span),
            (None, Some(span)) => (Said::Fixed(span.fixed), span),
            (None, None) => (Said::Never, first),
        })
    }

    /// Errata name a vulnerability once a stream: the own stream decides, else the lowest fix of the same major release.
    fn by_stream<'s>(&self, own: Stream, spans: impl Iterator<Item = &'s Span> + Clone) -> Option<(Said, &'s Span)> {
        let of = |span: &Span| self.group.streams.get(place(span.fixed)?).copied().flatten();
        let lowest = |any: bool| {
            let fits = spans.clone().filter(|span| of(span).is_some_and(|stream| stream == own || (any && stream.major == own.major)));
            fits.map(|span| span.fixed).min()
        };
        match lowest(false).or_else(|| lowest(true)) {
            Some(lowest) => self.in_ranges(spans.filter(|span| span.fixed == lowest)),
            None => self.in_ranges(spans.filter(|span| of(span).is_none())),
        }
    }

    fn text(&self, at: u32) -> Option<&str> {
        self.group.versions.get(place(at)?).map(|text| self.texts.get(*text))
    }
}

/// Where the version in this place is.
fn place(place: u32) -> Option<usize> {
    usize::try_from(place).ok()?.checked_sub(1)
}

fn without_epoch(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

/// `ALSA-2026:A001`: a build that `AlmaLinux` made before or beside Red Hat's.
fn alma_only(record: &str) -> bool {
    record.strip_prefix("AL").and_then(|rest| rest.split_once(':')).is_some_and(|(_, number)| number.starts_with('A'))
}

/// `92.35.1` is a rebuild of `92.35`.
fn is_rebuild(of: &str, version: &str) -> bool {
    let counter = version.strip_prefix(of).and_then(|rest| rest.strip_prefix('.'));
    counter.is_some_and(|counter| !counter.is_empty() && counter.bytes().all(|byte| byte.is_ascii_digit()))
}
