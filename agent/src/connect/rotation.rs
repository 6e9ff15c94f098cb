//! A token that is rotated while a session runs: the file it is in is looked at every so often, and what is new in it is told.
//!
//! A rotated Secret or projected token is another file behind the same symlinks, so it is the file at their end that is looked at; only
//! one that looks different is read. Must not know the session.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use super::tls;

/// How often the file is looked at. A heartbeat is at least as far from the next.
pub const LOOK: Duration = Duration::from_secs(10);

/// What a file looks like without being read: device, inode, size, and when it was changed.
type Look = (u64, u64, u64, (i64, i64));

/// What was last seen of a token's file.
#[derive(Debug, Default)]
struct Seen {
    look: Option<Look>,
    token: String,
}

impl Seen {
    /// The token, when it is another one than before. A file that is not there or holds no token is looked at again, and the one
    /// before stands.
    fn again(&mut self, path: &Path) -> Option<String> {
        let look = look(path);
        if look.is_none() || look == self.look {
            return None;
        }
        let token = tls::plain_token(path).ok()?;
        self.look = look;
        if token == self.token {
            return None;
        }
        self.token.clone_from(&token);
        Some(token)
    }
}

fn look(path: &Path) -> Option<Look> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.size(), (metadata.ctime(), metadata.ctime_nsec())))
}

/// Tells every new token of the file at `path`, looked at `every` so often; ends when nobody listens any more. A file on a disk that
/// hangs holds up nothing else.
pub async fn follow(path: PathBuf, every: Duration, tokens: mpsc::Sender<String>) {
    let mut seen = Seen::default();
    let mut first = true;
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = tokens.closed() => return,
            _ = ticks.tick() => {}
        }
        let file = path.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let mut seen = seen;
            let token = seen.again(&file);
            (seen, token)
        });
        let Ok((after, token)) = looked.await else { return };
        seen = after;
        // The first one is what connections are opened with: each reads the file itself.
        if let Some(token) = token.filter(|_| !std::mem::take(&mut first))
            && tokens.send(token).await.is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and makes its own files")]

    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory as the kubelet makes it: `token -> ..data/token`, `..data -> ..1`, swapped as a whole.
    fn publish(volume: &Path, version: &str, token: &str) {
        let (data, fresh) = (volume.join(version), volume.join("..data_tmp"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("token"), token).unwrap();
        symlink(version, &fresh).unwrap();
        std::fs::rename(&fresh, volume.join("..data")).unwrap();
        if !volume.join("token").exists() {
            symlink("..data/token", volume.join("token")).unwrap();
        }
    }

    #[test]
    fn a_swapped_symlink_is_noticed_and_the_same_token_in_another_file_is_not_new() {
        let volume = tempfile::tempdir().unwrap();
        let path = volume.path().join("token");
        let mut seen = Seen::default();
        assert_eq!(seen.again(&path), None, "not there yet");
        publish(volume.path(), "..1", "one\n");
        assert_eq!(seen.again(&path).as_deref(), Some("one"));
        assert_eq!(seen.again(&path), None);
        publish(volume.path(), "..2", "one");
        assert_eq!(seen.again(&path), None);
        publish(volume.path(), "..3", "two\n");
        assert_eq!(seen.again(&path).as_deref(), Some("two"));
        std::fs::write(volume.path().join("..3/token"), "  \n").unwrap();
        assert_eq!(seen.again(&path), None, "a file that is being written holds nothing yet");
        std::fs::write(volume.path().join("..3/token"), "three").unwrap();
        assert_eq!(seen.again(&path).as_deref(), Some("three"));
        std::fs::remove_file(volume.path().join("..data")).unwrap();
        assert_eq!(seen.again(&path), None);
    }

    #[tokio::test]
    async fn what_is_new_is_told_and_the_first_is_not() {
        let volume = tempfile::tempdir().unwrap();
        publish(volume.path(), "..1", "one");
        let (sender, mut tokens) = mpsc::channel(1);
        let following = tokio::spawn(follow(volume.path().join("token"), Duration::from_millis(20), sender));
        // The first one is seen by then, also on a busy machine.
        tokio::time::sleep(Duration::from_secs(2)).await;
        publish(volume.path(), "..2", "two");
        assert_eq!(tokio::time::timeout(Duration::from_mins(1), tokens.recv()).await.unwrap().as_deref(), Some("two"));
        drop(tokens);
        tokio::time::timeout(Duration::from_mins(1), following).await.unwrap().unwrap();
    }
}
