//! A real Chromium, driven through Debian's chromedriver.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

use crate::port;
use crate::process::{PATIENCE, Process};

/// Where Debian puts them.
const DRIVER: &str = "/usr/bin/chromedriver";

/// A browser window with a profile of its own.
#[derive(Debug)]
pub struct Browser {
    /// The window.
    pub client: Client,
    _driver: Process,
    _profile: TempDir,
}

/// What the window may do.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Width in CSS pixels.
    pub width: u32,
    /// Are scripts run.
    pub script: bool,
}

impl Browser {
    /// Opens a window.
    ///
    /// # Errors
    /// Names the Debian packages when the browser is not installed.
    pub async fn open(window: Window) -> Result<Self> {
        if !Path::new(DRIVER).is_file() {
            bail!("{DRIVER} is missing: apt-get install chromium chromium-driver");
        }
        let profile = TempDir::new()?;
        let port = port::reserve()?;
        let driver = Process::start(Path::new(DRIVER), &[&format!("--port={port}")], &profile.path().join("driver.log"))?;
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.push(format!("--user-data-dir={}", profile.path().join("profile").display()));
        arguments.push(format!("--window-size={},900", window.width.max(500)));
        let javascript = if window.script { 1 } else { 2 };
        let mut options = json!({"args": arguments, "prefs": {"profile.managed_default_content_settings.javascript": javascript}});
        if window.width < 500 {
            // A desktop window cannot be that narrow; the device metrics can.
            let narrow = json!({"deviceMetrics": {"width": window.width, "height": 900, "pixelRatio": 1.0, "touch": false}});
            if let Some(options) = options.as_object_mut() {
                options.insert("mobileEmulation".to_owned(), narrow);
            }
        }
        let capabilities = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let Value::Object(capabilities) = capabilities else { bail!("capabilities are an object") };
        let start = Instant::now();
        let client = loop {
            match ClientBuilder::rustls()?.capabilities(capabilities.clone()).connect(&format!("http://127.0.0.1:{port}")).await {
                Ok(client) => break client,
                Err(error) if start.elapsed() > PATIENCE => {
                    return Err(error).context("chromedriver did not start a session");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        Ok(Self { client, _driver: driver, _profile: profile })
    }

    /// Waits until a script's result satisfies `done`. A page that is just being left or built has no result yet.
    pub async fn until(&self, what: &str, within: Duration, script: &str, done: impl Fn(&Value) -> bool) -> Result<Duration> {
        let start = Instant::now();
        loop {
            let value = self.client.execute(script, Vec::new()).await;
            if value.as_ref().is_ok_and(&done) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > within {
                bail!("not within {within:?}: {what}; last: {value:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Clicks what `css` finds, once it is there: a page that is kept live may put another element in its place at any time.
    pub async fn click(&self, css: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            let clicked = match self.client.find(Locator::Css(css)).await {
                Ok(element) => element.click().await,
                Err(error) => Err(error),
            };
            match clicked {
                Ok(()) => return Ok(()),
                Err(error) if start.elapsed() > PATIENCE => return Err(error).with_context(|| format!("click `{css}`")),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Follows the link that `css` finds, to a page whose path begins with `to`.
    pub async fn follow(&self, css: &str, to: &str) -> Result<()> {
        self.click(css).await?;
        let start = Instant::now();
        loop {
            let now = self.client.current_url().await?;
            if now.path().starts_with(to) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("`{css}` leads to {now}, not to {to}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What a person reads on the page, within its frame.
    pub async fn text(&self) -> Result<String> {
        Ok(self.client.find(Locator::Css("main")).await?.text().await?)
    }

    /// What the console says since the last call: errors, and violations of the content security policy.
    pub async fn console_errors(&self) -> Result<Vec<String>> {
        let log = self.client.issue_cmd(BrowserLog).await?;
        let entries = log.as_array().cloned().unwrap_or_default();
        let severe = |entry: &&Value| entry.get("level").and_then(Value::as_str).is_some_and(|level| level != "INFO" && level != "DEBUG");
        Ok(entries.iter().filter(severe).map(ToString::to_string).collect())
    }

    /// Closes the window.
    pub async fn close(self) -> Result<()> {
        Ok(self.client.close().await?)
    }
}

/// Chromium's console, which the `WebDriver` standard has no command for.
#[derive(Debug)]
struct BrowserLog;

impl WebDriverCompatibleCommand for BrowserLog {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}
