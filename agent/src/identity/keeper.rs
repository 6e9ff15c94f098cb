//! When to enrol and when to renew, and doing so, for as long as the agent runs.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::file::{self, Identity};
use super::{IDENTITY, IdentityError, fingerprint, request};
use crate::causes::causes;
use crate::connect::backoff::{Backoff, Ended};
use crate::connect::{Target, own_file};

/// How often the token file is looked at, and the clock.
const LOOK: Duration = Duration::from_secs(5);
/// The longest time between attempts to enrol: whoever sets up a machine waits for it.
const ENROL_CAP: Duration = Duration::from_mins(2);
/// How much of the time that is left a renewal may be put off, so that a fleet does not come at once.
const SPREAD: i64 = 10;

/// Keeps the identity in a directory good.
#[derive(Debug)]
pub struct Keeper {
    target: Target,
    directory: PathBuf,
    token_file: Option<PathBuf>,
    renewed: watch::Sender<u64>,
}

/// What is to be done. More than one thing can be: a token that is refused must not keep the certificate from being renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Due {
    /// There is a token that this machine was not enrolled by.
    enrol: bool,
    /// How the certificate is.
    certificate: Held,
}

/// How the certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Held {
    /// There is none.
    Missing,
    #[default]
    Good,
    /// It should be renewed.
    Aging,
    /// It is past its end.
    Ended,
}

impl Due {
    fn renew(self) -> bool {
        self.certificate == Held::Aging
    }
}

fn due(held: Option<&Identity>, renew_at: i64, token: Option<&str>, now: i64) -> Due {
    let enrol = token.is_some_and(|token| held.is_none_or(|held| held.enrolled_by != token));
    let certificate = match held {
        None => Held::Missing,
        Some(held) if now >= held.not_after => Held::Ended,
        Some(_) if now >= renew_at => Held::Aging,
        Some(_) => Held::Good,
    };
    Due { enrol, certificate }
}

/// Attempts at one thing.
#[derive(Debug, Default)]
struct Attempts {
    backoff: Backoff,
    next: Option<Instant>,
}

impl Attempts {
    fn allowed(&self) -> bool {
        self.next.is_none_or(|next| Instant::now() >= next)
    }

    /// Puts the next one off; how long.
    fn failed(&mut self, cap: Duration) -> Duration {
        let wait = Duration::from_millis(self.backoff.delay_ms(Ended::Failed, draw())).min(cap);
        self.next = Some(Instant::now() + wait);
        wait
    }
}

impl Keeper {
    /// For the collector that `target` names.
    pub fn new(target: Target, directory: PathBuf, token_file: Option<PathBuf>) -> Self {
        Self { target, directory, token_file, renewed: watch::Sender::new(0) }
    }

    /// Tells whenever there is a new certificate to show.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.renewed.subscribe()
    }

    /// Runs until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut held = match file::read(&self.directory) {
            Ok(held) => held,
            Err(error) => {
                tracing::error!("{}", causes(&error));
                None
            }
        };
        let mut renew_at = held.as_ref().map_or(0, renewal);
        let (mut enrolling, mut renewing) = (Attempts::default(), Attempts::default());
        let (mut last_token, mut said): (Option<String>, Option<String>) = (None, None);
        loop {
            let (token, problem) = match self.token() {
                Ok((path, token)) => (Some(token), NoToken::Used(path)),
                Err(problem) => (None, problem),
            };
            let hash = token.as_deref().map(fingerprint);
            if hash != last_token {
                // A new token is somebody who waits.
                (enrolling, last_token) = (Attempts::default(), hash.clone());
            }
            let now = Timestamp::now().as_millisecond();
            let due = due(held.as_ref(), renew_at, hash.as_deref(), now);
            let mut fresh = None;
            if let Some(token) = token.filter(|_| due.enrol && enrolling.allowed()) {
                match self.taken(request::enrol(&self.target, &self.directory, &token).await) {
                    Ok(identity) => fresh = Some(identity),
                    Err(error) => {
                        let retry = format!("{:.1} s", enrolling.failed(ENROL_CAP).as_secs_f64());
                        tracing::warn!(retry, "not enrolled: {}", causes(&error));
                    }
                }
            }
            if let Some(identity) = held.as_ref().filter(|_| fresh.is_none() && due.renew() && renewing.allowed()) {
                match self.taken(request::renew(&self.target, identity).await) {
                    Ok(identity) => fresh = Some(identity),
                    Err(error) => {
                        let left = Duration::from_millis(u64::try_from(identity.not_after.saturating_sub(now)).unwrap_or(0));
                        let wait = renewing.failed((left / 4).max(Duration::from_secs(1)));
                        let (retry, ends) = (format!("{:.1} s", wait.as_secs_f64()), time(identity.not_after));
                        tracing::warn!(retry, ends, "this node's certificate is not renewed: {}", causes(&error));
                    }
                }
            }
            if let Some(identity) = fresh {
                let until = time(identity.not_after);
                if held.as_ref().is_some_and(|held| held.enrolled_by == identity.enrolled_by) {
                    tracing::info!(node = identity.name, until, "this node has a new certificate");
                } else {
                    tracing::info!(until, "enrolled as {}: the certificate is renewed before it ends", identity.name);
                }
                renew_at = renewal(&identity);
                held = Some(identity);
                (enrolling, renewing, said) = (Attempts::default(), Attempts::default(), None);
                self.renewed.send_modify(|version| *version = version.wrapping_add(1));
            } else {
                let complaint = complaint(due, held.as_ref(), &self.directory, &problem);
                if let Some(complaint) = complaint.as_ref().filter(|complaint| said.as_ref() != Some(complaint)) {
                    tracing::error!("{complaint}");
                }
                said = complaint;
            }
            let until_renewal = u64::try_from(renew_at.saturating_sub(Timestamp::now().as_millisecond())).unwrap_or(0);
            let rest = [
                Some(LOOK),
                enrolling.left(due.enrol),
                renewing.left(due.renew()),
                Some(Duration::from_millis(until_renewal)).filter(|rest| !rest.is_zero()),
            ];
            let rest = rest.into_iter().flatten().min().unwrap_or(LOOK);
            tokio::time::sleep(rest.max(Duration::from_millis(100))).await;
        }
    }

    /// What cannot be kept is not taken: after a restart the machine would have lost it.
    fn taken(&self, identity: Result<Identity, IdentityError>) -> Result<Identity, IdentityError> {
        let identity = identity?;
        file::write(&self.directory, &identity)?;
        Ok(identity)
    }

    /// The token in the file, and where that is.
    fn token(&self) -> Result<(PathBuf, String), NoToken> {
        let path = self.token_file.clone().ok_or(NoToken::NotGiven)?;
        match own_file(&path).map(|bytes| String::from_utf8(bytes).unwrap_or_default().trim().to_owned()) {
            Ok(token) if token.is_empty() => Err(NoToken::Empty(path)),
            Ok(token) => Ok((path, token)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(NoToken::Absent(path)),
            Err(error) => Err(NoToken::Unreadable(path, error)),
        }
    }
}

/// Why there is no token to enrol with, as what to do with a new one.
#[derive(Debug, thiserror::Error)]
enum NoToken {
    #[error("start the agent with --enrolment-token-file FILE, and write the token into it")]
    NotGiven,
    #[error("write the token into {0}, which is not there")]
    Absent(PathBuf),
    #[error("write the token into {0}, which holds none")]
    Empty(PathBuf),
    #[error("write the token into {0}, in place of the one this node was enrolled by")]
    Used(PathBuf),
    #[error("write the token into {0}, which cannot be read ({1}): the user that the agent runs as needs to")]
    Unreadable(PathBuf, io::Error),
}

/// What only a person can do something about, and what: without a certificate that is good nothing goes on by itself. A token that is
/// there is tried, and what comes of it is said by whoever tries.
fn complaint(due: Due, held: Option<&Identity>, directory: &Path, token: &NoToken) -> Option<String> {
    let every = LOOK.as_secs();
    match (due.certificate, held) {
        _ if due.enrol => None,
        (Held::Missing, _) => Some(format!(
            "this node is not enrolled: there is no {IDENTITY} in {}, and no token to enrol with. On the collector's machine, \
             `holdfast-collector enrolment add` prints one; {token}. The agent looks every {every} s",
            directory.display()
        )),
        (Held::Ended, Some(Identity { name, not_after, .. })) => Some(format!(
            "the certificate of {name} in {} ended at {}, and nothing renews it: enrol again. On the collector's machine, \
             `holdfast-collector enrolment renew --name '{name}' --cluster CLUSTER` prints a new token; {token}. The agent looks every {every} s",
            directory.display(),
            time(*not_after)
        )),
        _ => None,
    }
}

impl Attempts {
    fn left(&self, wanted: bool) -> Option<Duration> {
        self.next.filter(|_| wanted).map(|next| next.saturating_duration_since(Instant::now()))
    }
}

/// When to renew: when the collector said, and a little later.
fn renewal(identity: &Identity) -> i64 {
    let room = identity.not_after.saturating_sub(identity.renew_after).max(0) / SPREAD;
    identity.renew_after.saturating_add(room.saturating_mul(i64::from(draw())) / i64::from(u32::MAX))
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or_default().to_string()
}

fn draw() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn held(by: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap().der().clone();
        let mut identity = Identity::new(key.into(), vec![certificate], Some(60), by).unwrap();
        (identity.not_after, identity.renew_after) = (100, 60);
        identity
    }

    #[test]
    fn a_machine_enrols_once_renews_in_time_and_says_when_it_cannot() {
        let none = Due::default();
        assert_eq!(due(None, 0, None, 0), Due { certificate: Held::Missing, ..none });
        assert_eq!(due(None, 0, Some("a"), 0), Due { enrol: true, certificate: Held::Missing });
        let held = held("a");
        assert_eq!(due(Some(&held), 62, Some("a"), 61), none);
        assert_eq!(due(Some(&held), 62, Some("a"), 62), Due { certificate: Held::Aging, ..none });
        assert_eq!(due(Some(&held), 62, None, 99), Due { certificate: Held::Aging, ..none });
        assert_eq!(due(Some(&held), 62, Some("a"), 100), Due { certificate: Held::Ended, ..none });
        // A new token, while the certificate is good and after.
        assert_eq!(due(Some(&held), 62, Some("b"), 10), Due { enrol: true, ..none });
        assert_eq!(due(Some(&held), 62, Some("b"), 70), Due { enrol: true, certificate: Held::Aging });
        assert_eq!(due(Some(&held), 62, Some("b"), 100), Due { enrol: true, certificate: Held::Ended });
    }

    #[test]
    fn what_only_a_person_can_mend_says_what_is_missing_where_and_what_to_do() {
        let file = PathBuf::from("/etc/holdfast/machine-b.token");
        let said = |held: Option<&Identity>, token: NoToken| {
            complaint(due(held, 62, None, 100), held, Path::new("/var/lib/holdfast/identity"), &token).unwrap_or_default()
        };
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        let mut ended = held("a");
        ended.name = "machine-b".to_owned();
        let missing =
            [NoToken::NotGiven, NoToken::Absent(file.clone()), NoToken::Empty(file.clone()), NoToken::Unreadable(file.clone(), denied)];
        let mut lines: Vec<String> = missing.into_iter().map(|token| said(None, token)).collect();
        lines.push(said(Some(&ended), NoToken::Used(file)));
        insta::assert_snapshot!(lines.join("\n\n"));
        // With a certificate that is good nobody needs a token; and one that is there is tried before anything is said.
        assert_eq!(complaint(due(None, 0, Some("a"), 0), None, Path::new("/"), &NoToken::NotGiven), None);
        let good = held("a");
        assert_eq!(complaint(due(Some(&good), 62, None, 61), Some(&good), Path::new("/"), &NoToken::NotGiven), None);
    }

    #[test]
    fn a_renewal_is_put_off_by_a_tenth_of_what_is_left_at_most() {
        let mut identity = held("");
        (identity.renew_after, identity.not_after) = (60_000, 90_000);
        for _ in 0..100 {
            assert!((60_000..=63_000).contains(&renewal(&identity)));
        }
        identity.renew_after = 120_000;
        assert_eq!(renewal(&identity), 120_000, "nonsense moves nothing");
    }
}
