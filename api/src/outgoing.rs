//! What the node asks of others over HTTP: one kind of client, with TLS, bounded in time, that follows nobody elsewhere.

use std::time::Duration;

use rustls::crypto::ring;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Chooses the cryptography of TLS for this process. Said again, it changes nothing.
pub fn choose_tls() {
    // An error says that it is chosen already.
    let _ = ring::default_provider().install_default();
}

/// A client for asking others.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    choose_tls();
    reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build()
}
