//! The alert with which the other end refuses our certificate.
//!
//! TLS 1.3 tells it only once the handshake is over for us, and of what HTTP/2 then reads the error keeps nothing: so whoever reads and
//! writes the connection remembers it. Must not know what is said over it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What was heard on one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alert(Arc<OnceLock<String>>);

impl Alert {
    /// The alert, if our certificate was refused.
    pub(crate) fn heard(&self) -> Option<String> {
        self.0.get().cloned()
    }

    fn hear(&self, error: &io::Error) {
        if let Some(alert) = about_certificates(error) {
            // The first one is the reason.
            drop(self.0.set(alert));
        }
    }
}

/// The name of the alert, if it is about a certificate and that is what failed.
pub(super) fn about_certificates(error: &io::Error) -> Option<String> {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked, CertificateUnknown, DecryptError,
        UnknownCA, UnsupportedCertificate,
    };
    let rustls::Error::AlertReceived(alert) = error.get_ref()?.downcast_ref()? else { return None };
    let about = matches!(
        alert,
        AccessDenied
            | BadCertificate
            | CertificateExpired
            | CertificateRequired
            | CertificateRevoked
            | CertificateUnknown
            | DecryptError
            | UnknownCA
            | UnsupportedCertificate
    );
    about.then(|| format!("{alert:?}"))
}

/// A connection that remembers it.
#[derive(Debug)]
pub(super) struct Remembering<T> {
    connection: T,
    alert: Alert,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Remembering<T> {
    pub(super) fn new(connection: T, alert: Alert) -> Self {
        Self { connection, alert }
    }

    /// Whoever closed before it read all of ours may have said why, and nobody reads after a write that failed.
    fn written<V>(&mut self, polled: Poll<io::Result<V>>, context: &mut Context<'_>) -> Poll<io::Result<V>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.alert.hear(error);
            let mut room = [0; 1];
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.connection).poll_read(context, &mut ReadBuf::new(&mut room)) {
                self.alert.hear(&error);
            }
        }
        polled
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Remembering<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.connection).poll_read(context, room);
        if let Poll::Ready(Err(error)) = &polled {
            this.alert.hear(error);
        }
        polled
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Remembering<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.connection).poll_write(context, bytes);
        this.written(polled, context)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.connection).poll_write_vectored(context, bytes);
        this.written(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.connection).poll_flush(context);
        this.written(polled, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
