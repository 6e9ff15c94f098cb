//! What an answer of the API server may cost, whoever asks: how long until it begins, how long it lasts, how large it is, and how long one
//! line of a watch is. kube reads pages and lines without a bound of its own. Must not know what answers are for.
//!
//! An answer beyond its bound ends with an error that says so. A watch is asked for anew then, again and again less often; what is beyond a
//! bound in each of them is said as trouble of that resource, because kube takes the end of a watch for nothing special.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body as Answer, Bytes, HttpBody};
use axum::http::{Request, Response, Uri};
use futures_util::{StreamExt, stream};
use kube::client::Body;
use tokio::time::{Instant, timeout, timeout_at};
use tower::{BoxError, Layer, Service};

use super::{Cluster, Resource};

/// How long one watch lasts, in seconds, before it is begun anew where it stood: a request that the API server answers from memory. Nothing
/// shows sooner that a quiet one hangs, because bookmarks are promised by nobody; meanwhile sessions of pods that were deleted live on.
pub(super) const LASTS: u32 = 60;
/// How much longer it is waited for. kube itself gives up five seconds after [`LASTS`] when nothing came at all.
const OVERTIME: Duration = Duration::from_secs(15);
/// How long the API server may take to begin an answer: a page of a list is made first.
const HEAD: Duration = Duration::from_secs(15);
/// How long a whole answer may take from then on.
const WHOLE: Duration = Duration::from_mins(1);
/// How long a line of a watch may take once it has begun.
const LINE: Duration = Duration::from_secs(30);
/// The largest whole answer, in bytes: a page of a hundred objects, each of which etcd holds in 1.5 MiB at most and most in a few KiB.
const MAX_WHOLE: usize = 64 * 1024 * 1024;
/// The longest line of a watch, in bytes: one object.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// Why an answer was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Exceeded {
    #[error("an answer of the API server is larger than {} MiB", MAX_WHOLE / 1024 / 1024)]
    Size,
    #[error("a line of the API server's watch is longer than {} MiB", MAX_LINE / 1024 / 1024)]
    LineSize,
    #[error("an answer of the API server took longer than {} s", WHOLE.as_secs())]
    Time,
    #[error("a line of the API server's watch took longer than {} s", LINE.as_secs())]
    LineTime,
    #[error("a watch of the API server did not end when it should")]
    WatchTime,
}

/// How far an answer has come.
#[derive(Debug)]
enum Measure {
    Whole { read: usize, until: Instant },
    Watch { line: usize, line_until: Option<Instant>, until: Instant },
}

impl Measure {
    fn whole(now: Instant) -> Self {
        Self::Whole { read: 0, until: now + WHOLE }
    }

    fn watch(now: Instant) -> Self {
        Self::Watch { line: 0, line_until: None, until: now + Duration::from_secs(LASTS.into()) + OVERTIME }
    }

    /// Until when more has to come, and what it is when nothing does.
    fn deadline(&self) -> (Instant, Exceeded) {
        match self {
            Self::Whole { until, .. } => (*until, Exceeded::Time),
            Self::Watch { line_until: Some(line), until, .. } if line < until => (*line, Exceeded::LineTime),
            Self::Watch { until, .. } => (*until, Exceeded::WatchTime),
        }
    }

    /// Takes in what came at `now`.
    fn take(&mut self, chunk: &[u8], now: Instant) -> Result<(), Exceeded> {
        match self {
            Self::Whole { read, .. } => {
                *read = read.saturating_add(chunk.len());
                if *read > MAX_WHOLE { Err(Exceeded::Size) } else { Ok(()) }
            }
            Self::Watch { line, line_until, .. } => {
                for (number, part) in chunk.split(|byte| *byte == b'\n').enumerate() {
                    if number > 0 {
                        (*line, *line_until) = (0, None);
                    }
                    *line = line.saturating_add(part.len());
                    if *line > MAX_LINE {
                        return Err(Exceeded::LineSize);
                    }
                }
                if *line > 0 && line_until.is_none() {
                    *line_until = Some(now + LINE);
                }
                Ok(())
            }
        }
    }
}

/// Lays the bounds around every request, and notes that a watch has begun: a quiet one says nothing by itself.
#[derive(Debug, Clone)]
pub(super) struct Bounds(pub(super) Arc<Cluster>);

impl<S> Layer<S> for Bounds {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { cluster: Arc::clone(&self.0), inner }
    }
}

/// See [`Bounds`].
#[derive(Debug)]
pub(super) struct Bounded<S> {
    cluster: Arc<Cluster>,
    inner: S,
}

impl<S, B> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let watched = watched(request.uri());
        let (cluster, answer) = (Arc::clone(&self.cluster), self.inner.call(request));
        Box::pin(async move {
            let answer = timeout(HEAD, answer).await.map_err(|_| format!("no answer within {} s", HEAD.as_secs()))??;
            let watched = watched.filter(|_| answer.status().is_success());
            let measure = match watched {
                Some(resource) => {
                    cluster.answering(resource);
                    Measure::watch(Instant::now())
                }
                None => Measure::whole(Instant::now()),
            };
            Ok(answer.map(|body| bounded(body, measure, watched.map(|resource| (cluster, resource)))))
        })
    }
}

/// The same answer, as far as it is within its bounds. A watch that is not is trouble of its resource.
fn bounded<B>(body: B, measure: Measure, watched: Option<(Arc<Cluster>, Resource)>) -> Answer
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let chunks = Answer::new(body).into_data_stream();
    Answer::from_stream(stream::unfold(Some((chunks, measure, watched)), |state| async {
        let (mut chunks, mut measure, watched) = state?;
        let (until, late) = measure.deadline();
        let next = match timeout_at(until, chunks.next()).await {
            Ok(None) => return None,
            Ok(Some(Err(error))) => Err(BoxError::from(error)),
            Ok(Some(Ok(chunk))) => {
                measure.take(&chunk, Instant::now()).map(|()| chunk).map_err(|exceeded| said(exceeded, watched.as_ref()))
            }
            Err(_) => Err(said(late, watched.as_ref())),
        };
        let after = next.is_ok().then_some((chunks, measure, watched));
        Some((next, after))
    }))
}

fn said(exceeded: Exceeded, watched: Option<&(Arc<Cluster>, Resource)>) -> BoxError {
    if let Some((cluster, resource)) = watched {
        cluster.troubled(*resource, &exceeded.to_string(), jiff::Timestamp::now().as_millisecond());
    }
    exceeded.into()
}

/// What a request watches, if it does.
fn watched(uri: &Uri) -> Option<Resource> {
    uri.query().filter(|query| query.split('&').any(|pair| pair == "watch=true"))?;
    let plural = uri.path().rsplit('/').next();
    [Resource::Nodes, Resource::Pods, Resource::DaemonSets].into_iter().find(|resource| Some(resource.name()) == plural)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Reads an answer to its end: how much of it came, and why no more did.
    async fn read(chunks: impl futures_util::Stream<Item = Bytes> + Send + 'static, measure: Measure) -> (usize, Option<String>) {
        let cluster = Cluster::new("c");
        let watched = matches!(measure, Measure::Watch { .. }).then(|| (Arc::clone(&cluster), Resource::Pods));
        let is_watch = watched.is_some();
        let answer = Answer::from_stream(chunks.map(Ok::<_, std::convert::Infallible>));
        let mut answer = bounded(answer, measure, watched).into_data_stream();
        let (mut read, mut why) = (0, None);
        while let Some(chunk) = answer.next().await {
            match chunk {
                Ok(chunk) => read += chunk.len(),
                Err(error) => why = Some(super::super::client::chain(&error)),
            }
        }
        assert_eq!(cluster.is_troubled(Resource::Pods), is_watch && why.is_some());
        (read, why)
    }

    fn mebibytes(n: usize, of: u8) -> impl futures_util::Stream<Item = Bytes> + Send + 'static {
        stream::iter(std::iter::repeat_n(Bytes::from(vec![of; MIB]), n))
    }

    #[tokio::test]
    async fn an_endless_page_ends_at_its_bound_and_one_that_fits_is_whole() {
        let (n, why) = read(mebibytes(1_000_000, b' '), Measure::whole(Instant::now())).await;
        assert_eq!((n, why.as_deref()), (64 * MIB, Some("an answer of the API server is larger than 64 MiB")));
        assert_eq!(read(mebibytes(64, b' '), Measure::whole(Instant::now())).await, (64 * MIB, None));
    }

    #[tokio::test]
    async fn an_endless_line_ends_at_its_bound_and_many_lines_do_not() {
        let (n, why) = read(mebibytes(1_000_000, b' '), Measure::watch(Instant::now())).await;
        assert_eq!((n, why.as_deref()), (4 * MIB, Some("a line of the API server's watch is longer than 4 MiB")));
        assert_eq!(read(mebibytes(100, b'\n'), Measure::watch(Instant::now())).await, (100 * MIB, None));
        let line = |n| Bytes::from([vec![b' '; n], b"\n".to_vec()].concat());
        let lines = move |n| stream::iter((0..10).map(move |_| line(n)));
        assert_eq!(read(lines(MAX_LINE), Measure::watch(Instant::now())).await, (10 * (MAX_LINE + 1), None));
        assert_eq!(read(lines(MAX_LINE + 1), Measure::watch(Instant::now())).await.0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_trickles_ends_in_time() {
        let trickle = |of: &'static [u8], every| {
            stream::unfold((), move |()| async move {
                tokio::time::sleep(Duration::from_secs(every)).await;
                Some((Bytes::from_static(of), ()))
            })
        };
        let began = Instant::now();
        let (_, why) = read(trickle(b" ", 7), Measure::whole(began)).await;
        assert_eq!((why.unwrap(), began.elapsed()), ("an answer of the API server took longer than 60 s".to_owned(), WHOLE));
        let began = Instant::now();
        let (_, why) = read(trickle(b" ", 7), Measure::watch(began)).await;
        assert_eq!((why.unwrap(), began.elapsed().as_secs()), ("a line of the API server's watch took longer than 30 s".to_owned(), 37));
        let began = Instant::now();
        let (n, why) = read(trickle(b"{}\n", 7), Measure::watch(began)).await;
        assert_eq!((why.unwrap(), n), ("a watch of the API server did not end when it should".to_owned(), 75 / 7 * 3));
    }

    #[test]
    fn a_request_that_watches_is_told_from_one_that_lists() {
        let of = |uri: &str| watched(&uri.parse().unwrap());
        assert_eq!(of("/api/v1/nodes?limit=100"), None);
        assert_eq!(of("/api/v1/nodes?&watch=true&timeoutSeconds=60"), Some(Resource::Nodes));
        assert_eq!(of("/api/v1/namespaces/x/pods?watch=true"), Some(Resource::Pods));
        assert_eq!(of("/api/v1/secrets?watch=true"), None);
    }
}
