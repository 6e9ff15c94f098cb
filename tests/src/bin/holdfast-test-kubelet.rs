//! Something that looks like a kubelet to whoever looks at its process, its files and its sockets. It runs no pods.
//!
//! Started as `kubelet --config=FILE …` (by a link of that name) it serves TLS on `port` and plain HTTP on `readOnlyPort`, each
//! only once it is told to: `STAND_IN` names a file with the lines it obeys, read again every 10 ms: `listen 10250 tls 401`,
//! `listen 10255 plain 200`. What its configuration says is for others to read; that the two can differ is what it is for.

#![allow(clippy::disallowed_methods, reason = "a test program reads its own files")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const LOOK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let orders = std::env::var("STAND_IN").context("STAND_IN names no file of orders")?;
    let tls = tls()?;
    let mut serving: BTreeMap<String, Arc<AtomicBool>> = BTreeMap::new();
    loop {
        let text = std::fs::read(&orders).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let wanted: Vec<&str> = text.lines().filter(|line| line.starts_with("listen ")).collect();
        serving.retain(|order, go_on| {
            let stays = wanted.contains(&order.as_str());
            go_on.store(stays, Ordering::Relaxed);
            stays
        });
        for order in wanted {
            // A port whose last listener is just going is free a moment later.
            if !serving.contains_key(order)
                && let Ok(go_on) = serve(order, &tls)
            {
                serving.insert(order.to_owned(), go_on);
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Obeys `listen PORT tls|plain STATUS` until its flag falls.
fn serve(order: &str, tls: &Arc<ServerConfig>) -> Result<Arc<AtomicBool>> {
    let words: Vec<&str> = order.split(' ').collect();
    let [_, port, kind, status] = words.as_slice() else { anyhow::bail!("`{order}` is no order") };
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).with_context(|| format!("listen on {port}"))?;
    listener.set_nonblocking(true)?;
    let go_on = Arc::new(AtomicBool::new(true));
    let (flag, tls) = (Arc::clone(&go_on), (*kind == "tls").then(|| Arc::clone(tls)));
    let status = (*status).to_owned();
    std::thread::spawn(move || {
        while flag.load(Ordering::Relaxed) {
            match listener.accept() {
                // A caller that goes away is its own affair.
                Ok((stream, _)) => drop(answer(stream, tls.clone(), &status)),
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    });
    Ok(go_on)
}

fn answer(stream: TcpStream, tls: Option<Arc<ServerConfig>>, status: &str) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    match tls {
        Some(config) => exchange(StreamOwned::new(ServerConnection::new(config)?, stream), status),
        None => exchange(stream, status),
    }
}

fn exchange(mut stream: impl Read + Write, status: &str) -> Result<()> {
    let mut request = [0; 2048];
    let read = stream.read(&mut request)?;
    let line = String::from_utf8_lossy(request.get(..read).unwrap_or_default()).into_owned();
    let body = match (status, line.split(' ').nth(1)) {
        ("200", Some("/pods")) => "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":null}",
        ("200", _) => "ok",
        _ => "Unauthorized",
    };
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    stream.flush()?;
    Ok(())
}

fn tls() -> Result<Arc<ServerConfig>> {
    let made = rcgen::generate_simple_self_signed(vec!["stand-in".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)?))
}
