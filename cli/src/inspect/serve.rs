//! A page on this machine alone.
//!
//! It listens on the loopback address. The address of the page has a random token as its first part, so that no other
//! user of the machine and no page from elsewhere can ask for it; a `Host` other than ours is refused, so that no name
//! which somebody points at this machine leads here. What a request may say is compared with a few words: no part of it
//! becomes the name of a file.

use crate::context::Context;
use engine::{Error, Result};
use serde_json::Value;
use std::io::Read;
use std::time::Duration;
use tiny_http::{Header, Method, Request, Response, Server};

/// The largest body that is read.
const BODY_MAX: u64 = 64 << 10;
/// Between two looks at whether a signal wants an end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is asked for.
pub(super) struct Ask {
    /// The path behind the token, without a slash at its front.
    pub(super) path: String,
    /// What stands behind the question mark, decoded.
    pub(super) query: Vec<(String, String)>,
    /// What was posted; none of a plain request.
    pub(super) posted: Option<Value>,
}

impl Ask {
    /// A value of the query by its name; empty where it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.query.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }
}

/// What is answered.
pub(super) enum Answer {
    /// A page whose scripts carry this nonce.
    Page(String, String),
    Json(Value),
    /// A request that cannot be carried out: why.
    Refused(String),
    Unknown,
}

/// A place to listen at.
pub(super) struct Site {
    server: Server,
    token: String,
    port: u16,
}

/// So many random bytes from the system, in hexadecimal digits.
pub(super) fn random(bytes: usize) -> Result<String> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer)
        .map_err(|e| Error::new(engine::Kind::Io, format!("the system gives no random numbers: {e}")))?;
    Ok(buffer.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Site {
    /// Listens; port 0 is any that is free.
    pub(super) fn open(port: u16) -> Result<Site> {
        let server = Server::http(("127.0.0.1", port)).map_err(|e| {
            let error = Error::new(engine::Kind::Io, format!("port {port} of this machine: {e}"));
            error.help("--serve alone takes a port that is free")
        })?;
        let port = server.server_addr().to_ip().map_or(port, |address| address.port());
        Ok(Site { server, token: random(16)?, port })
    }
    /// Where the page is.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.port, self.token)
    }
    /// Answers until a signal wants an end.
    pub(super) fn serve(&self, context: &Context, mut answer: impl FnMut(&Ask) -> Answer) -> Result<()> {
        context.stop.is_heard();
        while context.stop.requested().is_none() {
            let asked = self.server.recv_timeout(LOOK_EVERY);
            let asked =
                asked.map_err(|e| Error::new(engine::Kind::Io, format!("this page cannot listen: {e}")))?;
            let Some(mut request) = asked else { continue };
            let (status, kind, nonce, body) = match self.read(&mut request) {
                Ok(ask) => match answer(&ask) {
                    Answer::Page(html, nonce) => (200, "text/html; charset=utf-8", nonce, html),
                    Answer::Json(value) => (200, "application/json", String::new(), value.to_string()),
                    Answer::Refused(why) => (409, "text/plain; charset=utf-8", String::new(), why),
                    Answer::Unknown => (404, "text/plain", String::new(), "not here".to_owned()),
                },
                Err((status, why)) => (status, "text/plain", String::new(), why.to_owned()),
            };
            let mut response = Response::from_string(body).with_status_code(status);
            headers(kind, &nonce).into_iter().for_each(|header| response.add_header(header));
            // Whoever asked has gone.
            let _ = request.respond(response);
        }
        Ok(())
    }
    fn read(&self, request: &mut Request) -> Result<Ask, (u16, &'static str)> {
        let header = |request: &Request, name: &str| {
            let found =
                request.headers().iter().find(|h| h.field.as_str().as_str().eq_ignore_ascii_case(name));
            found.map(|h| h.value.as_str().to_owned())
        };
        let ours = |host: &str| {
            ["127.0.0.1", "localhost"].iter().any(|name| host == format!("{name}:{}", self.port))
        };
        if !header(request, "Host").is_some_and(|host| ours(&host)) {
            return Err((403, "this is not the host of the page"));
        }
        let from = header(request, "Origin");
        if from.is_some_and(|origin| !origin.strip_prefix("http://").is_some_and(ours)) {
            return Err((403, "another page may not ask here"));
        }
        let url = request.url().to_owned();
        let (path, query) = url.split_once('?').unwrap_or((&url, ""));
        let Some(path) = path.strip_prefix('/').and_then(|p| p.strip_prefix(self.token.as_str())) else {
            return Err((404, "not here"));
        };
        let Some(path) = path.strip_prefix('/') else { return Err((404, "not here")) };
        let posted = match request.method() {
            Method::Get => None,
            Method::Post => {
                let mut body = String::new();
                let read = request.as_reader().take(BODY_MAX + 1).read_to_string(&mut body);
                if read.is_err() || body.len() as u64 > BODY_MAX {
                    return Err((413, "too much, or not UTF-8"));
                }
                Some(serde_json::from_str(&body).map_err(|_| (400, "not JSON"))?)
            }
            _ => return Err((405, "GET or POST")),
        };
        Ok(Ask { path: path.to_owned(), query: pairs(query), posted })
    }
}

fn headers(kind: &str, nonce: &str) -> Vec<Header> {
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let all = [
        ("Content-Type", kind),
        ("Content-Security-Policy", &policy),
        ("X-Content-Type-Options", "nosniff"),
        // The address of the page is a secret.
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-store"),
    ];
    all.iter()
        .filter_map(|(name, value)| Header::from_bytes(name.as_bytes(), value.as_bytes()).ok())
        .collect()
}

/// Names and values of `a=b&c=d%20e`.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (decoded(name), decoded(value))
    };
    query.split('&').filter(|text| !text.is_empty()).map(pair).collect()
}

/// Percent signs and plus signs replaced by what they stand for.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (vec![], 0);
    while i < bytes.len() {
        let code = bytes.get(i + 1..i + 3).and_then(|two| std::str::from_utf8(two).ok());
        let code = code.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (bytes[i], code) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_and_broken_ones_do_no_harm() {
        let told = pairs("text=a+b%20%C3%A4&from=25&&x");
        let want = [("text", "a b ä"), ("from", "25"), ("x", "")];
        assert_eq!(told, want.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%4"), "%zz%4");
        assert_eq!(decoded("%ff"), "\u{fffd}");
    }
}
