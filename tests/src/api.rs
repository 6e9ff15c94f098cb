//! Asking the collector over HTTP, as a user's script would. HTTP/1.0, so that a body ends with the connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::process::{PATIENCE, pause};

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_mins(1);

/// A collector's address.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
}

impl Api {
    /// The API at `http://host:port`.
    pub fn new(base: String) -> Self {
        Self { base }
    }

    /// The address, for a browser.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Status and body of `path`. A collector that found no time to answer on a busy machine says nothing but 503: it is asked again.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let start = Instant::now();
        loop {
            let (status, body) = self.get_once(path)?;
            if status != 503 || !body.is_empty() || start.elapsed() > PATIENCE {
                return Ok((status, body));
            }
        }
    }

    fn get_once(&self, path: &str) -> Result<(u16, String)> {
        let host = self.base.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).with_context(|| format!("connect to {host}"))?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).with_context(|| format!("GET {path}"))?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end of headers")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("an answer without a status")?;
        Ok((status, body.to_owned()))
    }

    /// The body of `path`, which must answer 200.
    pub fn text(&self, path: &str) -> Result<String> {
        let (status, body) = self.get(path)?;
        ensure!(status == 200, "GET {path} answered {status}: {body}");
        Ok(body)
    }

    /// The JSON of `path`.
    pub fn json(&self, path: &str) -> Result<Value> {
        serde_json::from_str(&self.text(path)?).with_context(|| format!("GET {path} is not JSON"))
    }

    /// The list under `member` of the JSON of `path`.
    pub fn list(&self, path: &str, member: &str) -> Result<Vec<Value>> {
        let json = self.json(path)?;
        json.get(member).and_then(Value::as_array).cloned().with_context(|| format!("GET {path} has no list `{member}`: {json}"))
    }

    /// Findings that match a query, every page of them.
    pub fn findings(&self, query: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.json(&format!("/api/v1/findings?limit=200&{query}{after}"))?;
            all.extend(page.get("findings").and_then(Value::as_array).cloned().unwrap_or_default());
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(all),
            }
        }
    }

    /// The state of a node as people see it, or `None` while the collector does not know it.
    pub fn node_state(&self, name: &str) -> Option<String> {
        let nodes = self.list("/api/v1/nodes", "nodes").ok()?;
        let node = nodes.into_iter().find(|node| node.get("name").and_then(Value::as_str) == Some(name))?;
        node.get("state").and_then(Value::as_str).map(str::to_owned)
    }

    /// The sum of a metric's samples over all labels that `name` does not give; 0 when there is none, and no number at all, which equals
    /// nothing, when there is no answer.
    pub fn metric(&self, name: &str) -> f64 {
        let Ok(text) = self.text("/metrics") else { return f64::NAN };
        let sample = |line: &str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        };
        text.lines().filter_map(sample).sum()
    }

    /// Waits until `done`, and returns how long that took.
    pub fn wait(&self, what: &str, within: Duration, mut done: impl FnMut(&Self) -> bool) -> Result<Duration> {
        let start = Instant::now();
        while !done(self) {
            if start.elapsed() > within {
                bail!("not within {within:?}: {what}");
            }
            pause(Duration::from_millis(20));
        }
        Ok(start.elapsed())
    }
}
