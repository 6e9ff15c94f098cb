//! A collector for a simulated fleet, in a process of its own, and what the kernel says of it.

use std::fmt::Write;

use anyhow::{Context, Result};
use aws_lc_rs::digest::{SHA256, digest};

use super::dice::Dice;
use super::{Door, name};
use crate::figures::{cpu_ticks, peak_kib, resident_kib};
use crate::process::{PATIENCE, Process};
use crate::site::{Binaries, Site};

/// A collector that knows a fleet's tokens.
#[derive(Debug)]
pub struct Ground {
    /// Its directory and ports.
    pub site: Site,
    tokens: Vec<String>,
    collector: Option<Process>,
    /// CPU time of the processes before this one, in ticks of 10 ms.
    spent: u64,
    /// Resident when the present process was ready, KiB.
    bare_kib: u64,
    extra: Vec<String>,
}

impl Ground {
    /// Starts a collector that knows `agents` agents.
    ///
    /// # Errors
    /// It did not start.
    pub fn new(binaries: Binaries, agents: u32, seed: u64, extra: &[&str]) -> Result<Self> {
        Self::on(Site::new(binaries)?, agents, seed, extra.iter().map(|&word| word.to_owned()).collect())
    }

    /// The same, and the collector enrols machines: strangers may make requests.
    ///
    /// # Errors
    /// It did not start.
    pub fn enrolling(binaries: Binaries, agents: u32, seed: u64) -> Result<Self> {
        let site = Site::new(binaries)?;
        let files = [
            ("--enrolments", "enrolments.yaml"),
            ("--enrolment-ca-cert", "tls/enrolment-ca.crt"),
            ("--enrolment-ca-key", "tls/enrolment-ca.key"),
        ];
        let extra = files.into_iter().flat_map(|(flag, file)| [flag.to_owned(), site.path(file)]).collect();
        Self::on(site, agents, seed, extra)
    }

    fn on(site: Site, agents: u32, seed: u64, extra: Vec<String>) -> Result<Self> {
        let (mut tokens, mut file) = (Vec::new(), String::new());
        for agent in 0..agents {
            let mut dice = Dice::new(seed, u64::from(agent) | (1 << 40));
            let token = format!("{:016x}{:016x}", dice.draw(), dice.draw());
            let name = name(agent);
            let hash = digest(&SHA256, token.as_bytes());
            let hex = hash.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            writeln!(file, "- {{sha256: {hex}, cluster: sim, uid: {name}, name: {name}}}")?;
            tokens.push(token);
        }
        std::fs::write(site.path("tokens.yaml"), file)?;
        let mut ground = Self { site, tokens, collector: None, spent: 0, bare_kib: 0, extra };
        ground.start()?;
        Ok(ground)
    }

    /// How agents get in.
    pub fn door(&self) -> Door {
        Door {
            collector: format!("https://127.0.0.1:{}", self.site.grpc),
            ca: self.site.path("tls/ca.crt").into(),
            tokens_file: self.site.path("tokens.yaml").into(),
            tokens: self.tokens.clone(),
        }
    }

    /// Starts the collector again on what it had stored.
    ///
    /// # Errors
    /// It did not start.
    pub fn start(&mut self) -> Result<()> {
        let extra: Vec<&str> = self.extra.iter().map(String::as_str).collect();
        self.collector = Some(self.site.collector(&extra)?);
        self.bare_kib = resident_kib(self.pid());
        Ok(())
    }

    /// Ends it, by SIGKILL or by asking.
    ///
    /// # Errors
    /// It does not run, or did not stop.
    pub fn end(&mut self, kill: bool) -> Result<()> {
        self.spent += cpu_ticks(self.pid());
        let collector = self.collector.take().context("the collector does not run")?;
        if kill { collector.kill() } else { collector.stop(PATIENCE).map(drop) }
    }

    /// Its CPU time since the first start, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        seconds_of(self.spent + cpu_ticks(self.pid()))
    }

    /// Memory the present process has resident, and the most it had, in KiB.
    pub fn memory_kib(&self) -> (u64, u64) {
        (resident_kib(self.pid()), peak_kib(self.pid()))
    }

    /// What it has resident beyond what it had when it was ready, for each connection, in KiB. Caches of the database are in it.
    pub fn kib_per_connection(&self, connected: usize) -> f64 {
        let (now, _) = self.memory_kib();
        let more = u32::try_from(now.saturating_sub(self.bare_kib)).unwrap_or(u32::MAX);
        f64::from(more) / f64::from(u32::try_from(connected.max(1)).unwrap_or(u32::MAX))
    }

    /// What the present process had resident when it was ready, KiB.
    pub fn bare_kib(&self) -> u64 {
        self.bare_kib
    }

    /// Its process; 0 while it does not run.
    pub fn pid(&self) -> i32 {
        self.collector.as_ref().map_or(0, |collector| collector.pid().as_raw())
    }
}

fn seconds_of(ticks: u64) -> f64 {
    f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) / 100.0
}
