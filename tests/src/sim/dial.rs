//! The way of a simulated agent to the collector: the real one, with its socket and its messages looked at in passing.

use std::sync::{Arc, Mutex, PoisonError};

use holdfast_agent::connect::{Connect, ConnectError, Credentials, Stream, Target};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::meter::{Account, Meter, Metered, add};

/// Messages that may wait in passing: as many as before.
const QUEUE: usize = 128;

/// All connections of a fleet, to be cut at once.
#[derive(Debug, Default)]
pub(super) struct Cable(Mutex<CancellationToken>);

impl Cable {
    /// Cuts every connection there is. Later ones are whole.
    pub(super) fn cut(&self) {
        let mut present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *present).cancel();
    }

    fn token(&self) -> CancellationToken {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How one agent connects.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    pub(super) target: Arc<Target>,
    pub(super) credentials: Credentials,
    pub(super) meter: Arc<Meter>,
    pub(super) account: Arc<Mutex<Account>>,
    pub(super) cable: Arc<Cable>,
    pub(super) slow: bool,
}

impl Connect for Dial {
    async fn connect(&self) -> Result<Stream, ConnectError> {
        let (meter, cut, slow) = (Arc::clone(&self.meter), self.cable.token(), self.slow);
        let dialling = self.target.dial_with(self.credentials.clone(), move |tcp| Metered::new(tcp, meter, cut, slow));
        let stream = Box::pin(dialling).await?.open();
        add(&self.meter.connections, 1);
        Ok(self.listen_in(stream))
    }

    fn name(&self) -> String {
        self.target.name()
    }
}

impl Dial {
    /// Passes every message on, in order, after the account has seen it.
    fn listen_in(&self, mut stream: Stream) -> Stream {
        let ((say, mut said), (tell, told)) = (mpsc::channel(QUEUE), mpsc::channel(QUEUE));
        let outgoing = std::mem::replace(&mut stream.outgoing, say);
        let mut incoming = std::mem::replace(&mut stream.incoming, told);
        self.account.lock().unwrap_or_else(PoisonError::into_inner).reset();
        let (account, meter) = (Arc::clone(&self.account), Arc::clone(&self.meter));
        tokio::spawn(async move {
            while let Some(message) = said.recv().await {
                account.lock().unwrap_or_else(PoisonError::into_inner).said(&message, &meter);
                if outgoing.send(message).await.is_err() {
                    return;
                }
            }
        });
        let (account, meter) = (Arc::clone(&self.account), Arc::clone(&self.meter));
        tokio::spawn(async move {
            while let Some(heard) = incoming.recv().await {
                if let Ok(message) = &heard {
                    account.lock().unwrap_or_else(PoisonError::into_inner).heard(message, &meter);
                }
                if tell.send(heard).await.is_err() {
                    return;
                }
            }
        });
        stream
    }
}
