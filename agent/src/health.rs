//! Health and metrics of the agent itself, on loopback only: `/livez`, `/readyz`, `/metrics`.
//!
//! Three fixed answers to GET: a few lines of HTTP/1.1 instead of a server that would double the agent's memory. One
//! request per connection, each bounded in bytes and time.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::session::Vitals;

const MAX_CONNECTIONS: usize = 8;
const MAX_REQUEST_BYTES: usize = 4 * 1024;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Why health is not served.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The address would be reachable from outside.
    #[error("--health {address} is not a loopback address: use 127.0.0.1:{port} or [::1]:{port}", port = address.port())]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The address is taken.
    #[error("cannot listen for health and metrics on {address}: choose another address with --health")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// What is told. Written by the parts of the agent, read by whoever asks.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Has a first scan been done.
    pub scanned: AtomicBool,
    /// Is a session open.
    pub connected: AtomicBool,
    /// Full and partial scans done.
    pub scans: AtomicU64,
    /// Duration of the last scan, microseconds.
    pub scan_us: AtomicU64,
    /// Entries, refused ones included.
    pub entries: AtomicU64,
    /// Entries refused by the collector.
    pub refused: AtomicU64,
    /// Entries and transitions not sent yet.
    pub unsent: AtomicU64,
    /// Transitions that fell off the ring.
    pub dropped: AtomicU64,
    /// Times the kernel had no room for process events, and every process was read again.
    pub process_events_lost: AtomicU64,
    /// Times a session was opened.
    pub sessions: AtomicU64,
    /// When something was last acknowledged: Unix milliseconds; 0 for never.
    pub acked_at_ms: AtomicI64,
    /// Requests to other nodes' ports that the collector asked for and that were made.
    pub peer_probes: AtomicU64,
    /// Those that this agent's own limits forbade.
    pub peer_probes_refused: AtomicU64,
    /// See [`ChangeTimes`].
    pub changes: ChangeTimes,
    /// See [`SpoolGauges`].
    pub spool: SpoolGauges,
}

/// How long the parts of a change's way took, over all changes.
#[derive(Debug, Default)]
pub struct ChangeTimes {
    /// From the first sign until reading began.
    pub watch: Times,
    /// Reading what may have changed.
    pub read: Times,
    /// Derivation and judging.
    pub judge: Times,
    /// Until it was durable in the spool's file.
    pub spool: Times,
    /// From sending until the collector said that it is durable there.
    pub ack: Times,
}

/// A sum of times.
#[derive(Debug, Default)]
pub struct Times {
    us: AtomicU64,
    count: AtomicU64,
}

impl Times {
    /// One more.
    pub fn add(&self, time: Duration) {
        self.us.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The spool's file.
#[derive(Debug, Default)]
pub struct SpoolGauges {
    /// Is the spool kept in a file.
    pub file: AtomicBool,
    /// Saves that are durable.
    pub saves: AtomicU64,
    /// Saves that failed or took too long.
    pub failed_saves: AtomicU64,
    /// Duration of the last save, microseconds.
    pub last_save_us: AtomicU64,
    /// Size of the file after the last save.
    pub bytes: AtomicU64,
}

/// The agent's own cost, now.
pub fn vitals() -> Vitals {
    let milliseconds = |time: nix::sys::time::TimeVal| u64::try_from(time.tv_sec() * 1_000 + time.tv_usec() / 1_000).unwrap_or(0);
    let cpu_ms = getrusage(UsageWho::RUSAGE_SELF).map(|usage| milliseconds(usage.user_time()) + milliseconds(usage.system_time()));
    Vitals { rss_bytes: resident_bytes().unwrap_or(0), cpu_ms: cpu_ms.unwrap_or(0), dropped: 0 }
}

fn resident_bytes() -> Option<u64> {
    let mut text = String::new();
    File::open("/proc/self/statm").ok()?.take(256).read_to_string(&mut text).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    pages.checked_mul(page)
}

/// Listens on `address`, which must be loopback.
///
/// # Errors
/// See [`HealthError`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, HealthError> {
    if !address.ip().is_loopback() {
        return Err(HealthError::NotLoopback { address });
    }
    TcpListener::bind(address).await.map_err(|source| HealthError::Bind { address, source })
}

/// Answers until cancelled.
pub async fn serve(listener: TcpListener, gauges: Arc<Gauges>, cancel: CancellationToken) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match (accepted, Arc::clone(&room).try_acquire_owned()) {
            (Ok((stream, _)), Ok(permit)) => {
                let gauges = Arc::clone(&gauges);
                tokio::spawn(async move {
                    let answered = tokio::time::timeout(TIMEOUT, answer(stream, &gauges)).await;
                    if !matches!(answered, Ok(Ok(()))) {
                        tracing::trace!("a health request was not finished");
                    }
                    drop(permit);
                });
            }
            // Too many at once: closing it is the answer.
            (Ok(_), Err(_)) => {}
            (Err(error), _) => {
                tracing::debug!(%error, "health: accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, gauges: &Gauges) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut limited = (&mut stream).take(MAX_REQUEST_BYTES.try_into().unwrap_or(u64::MAX));
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if limited.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/livez")) => ("200 OK", "ok\n".to_owned()),
        (Some("GET"), Some("/readyz")) if gauges.scanned.load(Ordering::Relaxed) => ("200 OK", "ok\n".to_owned()),
        (Some("GET"), Some("/readyz")) => ("503 Service Unavailable", "the first scan is not done yet\n".to_owned()),
        (Some("GET"), Some("/metrics")) => ("200 OK", metrics(gauges, &vitals(), jiff::Timestamp::now().as_millisecond())),
        (Some("GET"), Some(_)) => ("404 Not Found", "/livez, /readyz and /metrics are here\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET is answered here\n".to_owned()),
    };
    let length = body.len();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let whole = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(whole.as_bytes()).await?;
    stream.shutdown().await
}

/// The metrics in Prometheus's text format.
pub fn metrics(gauges: &Gauges, vitals: &Vitals, now_ms: i64) -> String {
    let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
    let seconds = |thousandths: u64| format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    let exact = |us: &AtomicU64| format!("{}.{:06}", read(us) / 1_000_000, read(us) % 1_000_000);
    let acked = gauges.acked_at_ms.load(Ordering::Relaxed);
    let ack_age = if acked == 0 { "NaN".to_owned() } else { seconds(u64::try_from(now_ms - acked).unwrap_or(0)) };
    let rows = [
        ("holdfast_agent_resident_memory_bytes", "gauge", "Resident memory.", vitals.rss_bytes.to_string()),
        ("holdfast_agent_cpu_seconds_total", "counter", "CPU time used.", seconds(vitals.cpu_ms)),
        ("holdfast_agent_ready", "gauge", "1 when the first scan is done.", u8::from(gauges.scanned.load(Ordering::Relaxed)).to_string()),
        ("holdfast_agent_connected", "gauge", "1 when a session is open.", u8::from(gauges.connected.load(Ordering::Relaxed)).to_string()),
        ("holdfast_agent_sessions_total", "counter", "Sessions opened.", read(&gauges.sessions).to_string()),
        ("holdfast_agent_scans_total", "counter", "Scans done, full and partial.", read(&gauges.scans).to_string()),
        ("holdfast_agent_last_scan_seconds", "gauge", "Duration of the last scan.", exact(&gauges.scan_us)),
        ("holdfast_agent_entries", "gauge", "Entries of this node's state.", read(&gauges.entries).to_string()),
        ("holdfast_agent_refused_entries", "gauge", "Entries the collector refused.", read(&gauges.refused).to_string()),
        ("holdfast_agent_unsent", "gauge", "Entries and transitions not sent yet.", read(&gauges.unsent).to_string()),
        ("holdfast_agent_dropped_transitions_total", "counter", "Transitions that fell off the ring.", read(&gauges.dropped).to_string()),
        (
            "holdfast_agent_process_events_lost_total",
            "counter",
            "Times process events were lost and every process was read again.",
            read(&gauges.process_events_lost).to_string(),
        ),
        (
            "holdfast_agent_peer_probes_total",
            "counter",
            "Requests made to other nodes for the collector.",
            read(&gauges.peer_probes).to_string(),
        ),
        (
            "holdfast_agent_peer_probes_refused_total",
            "counter",
            "Requests to other nodes that the agent's own limits forbade.",
            read(&gauges.peer_probes_refused).to_string(),
        ),
        ("holdfast_agent_last_ack_age_seconds", "gauge", "Time since the last acknowledgement.", ack_age),
        (
            "holdfast_agent_spool_file",
            "gauge",
            "1 when the spool is kept in a file, 0 when in memory only.",
            u8::from(gauges.spool.file.load(Ordering::Relaxed)).to_string(),
        ),
        ("holdfast_agent_spool_bytes", "gauge", "Size of the spool's file.", read(&gauges.spool.bytes).to_string()),
        ("holdfast_agent_spool_saves_total", "counter", "Saves of the spool.", read(&gauges.spool.saves).to_string()),
        (
            "holdfast_agent_spool_failed_saves_total",
            "counter",
            "Saves of the spool that failed or took too long.",
            read(&gauges.spool.failed_saves).to_string(),
        ),
        ("holdfast_agent_spool_last_save_seconds", "gauge", "Duration of the last save.", exact(&gauges.spool.last_save_us)),
    ];
    let row =
        |(name, kind, help, value): &(&str, &str, &str, String)| format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    let times = &gauges.changes;
    let parts = [("watch", &times.watch), ("read", &times.read), ("judge", &times.judge), ("spool", &times.spool), ("ack", &times.ack)];
    let name = "holdfast_agent_change_seconds";
    let part = |(part, times): (&str, &Times)| {
        format!("{name}_sum{{part=\"{part}\"}} {}\n{name}_count{{part=\"{part}\"}} {}\n", exact(&times.us), read(&times.count))
    };
    let changes = parts.map(part).concat();
    let what = "Time that changes took, by part of the way from the first sign to the collector's acknowledgement.";
    rows.iter().map(row).chain([format!("# HELP {name} {what}\n# TYPE {name} summary\n{changes}")]).collect()
}
