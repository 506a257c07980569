//! A page on this machine alone.
//!
//! It listens on the loopback address. The address of the page has a random token as its first part, so that no other
//! user of the machine and no page from elsewhere can ask for it; a `Host` other than ours is refused, so that no name
//! which somebody points at this machine leads here. What a request may say is compared with a few words: no part of it
//! becomes the name of a file.
//!
//! HTTP is no place for code of one's own, and yet these few lines of it are: a server that was tried first reads the
//! body of a refused request to its end, as long as whoever sent it says, and can so be held up by anybody on the
//! machine. Here a request has [`READ_WITHIN`] and a small size, is read in a thread of its own, and each connection
//! carries one.

use crate::context::Context;
use engine::{Error, Kind, Result};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// The largest head of a request, and the largest body.
const HEAD_MAX: usize = 8 << 10;
const BODY_MAX: usize = 64 << 10;
/// How long a request may take to arrive.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Requests that are being read at once; more are turned away.
const AT_ONCE: usize = 16;
/// Between two looks at whether somebody came, or a signal wants an end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

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
    listener: TcpListener,
    door: Arc<Door>,
}

/// Who is let in.
struct Door {
    token: String,
    port: u16,
}

/// So many random bytes from the system, in hexadecimal digits.
pub(super) fn random(bytes: usize) -> Result<String> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer)
        .map_err(|e| Error::new(Kind::Io, format!("the system gives no random numbers: {e}")))?;
    Ok(buffer.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Site {
    /// Listens; port 0 is any that is free.
    pub(super) fn open(port: u16) -> Result<Site> {
        let failed = |e: std::io::Error| {
            let error = Error::new(Kind::Io, format!("port {port} of this machine: {e}"));
            error.help("--serve alone takes a port that is free")
        };
        let listener = TcpListener::bind(("127.0.0.1", port)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Site { listener, door: Arc::new(Door { token: random(16)?, port }) })
    }
    /// Where the page is.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.door.port, self.door.token)
    }
    /// Answers until a signal wants an end.
    pub(super) fn serve(&self, context: &Context, mut answer: impl FnMut(&Ask) -> Answer) -> Result<()> {
        context.stop.is_heard();
        let (sender, asked) = channel::<(Ask, TcpStream)>();
        // Each thread that reads holds a clone.
        let reading = Arc::new(());
        while context.stop.requested().is_none() {
            match self.listener.accept() {
                Ok((stream, _)) if Arc::strong_count(&reading) <= AT_ONCE => {
                    let (door, sender, held) = (self.door.clone(), sender.clone(), reading.clone());
                    std::thread::spawn(move || {
                        door.receive(stream, &sender);
                        drop(held);
                    });
                }
                Err(e) if e.kind() != ErrorKind::WouldBlock => {
                    return Err(Error::new(Kind::Io, format!("this page cannot listen: {e}")));
                }
                _ => {}
            }
            while let Ok((ask, stream)) = asked.recv_timeout(LOOK_EVERY) {
                let (status, kind, nonce, body) = match answer(&ask) {
                    Answer::Page(html, nonce) => ("200 OK", "text/html; charset=utf-8", nonce, html),
                    Answer::Json(value) => ("200 OK", "application/json", String::new(), value.to_string()),
                    Answer::Refused(why) => ("409 Conflict", "text/plain; charset=utf-8", String::new(), why),
                    Answer::Unknown => ("404 Not Found", "text/plain", String::new(), "not here".to_owned()),
                };
                respond(stream, status, kind, &nonce, &body);
            }
        }
        Ok(())
    }
}

impl Door {
    /// Reads a request, and hands it on or refuses it.
    fn receive(&self, mut stream: TcpStream, sender: &Sender<(Ask, TcpStream)>) {
        let until = Instant::now() + READ_WITHIN;
        let ready = stream.set_nonblocking(false).and_then(|()| stream.set_write_timeout(Some(READ_WITHIN)));
        let asked =
            ready.map_err(|_| "500 Internal Server Error").and_then(|()| self.read(&mut stream, until));
        match asked {
            // Nobody listens any more: the page is at its end.
            Ok(ask) => drop(sender.send((ask, stream))),
            Err(status) => respond(stream, status, "text/plain", "", status),
        }
    }
    /// The request; or the status with which it is refused.
    fn read(&self, stream: &mut TcpStream, until: Instant) -> Result<Ask, &'static str> {
        let mut bytes = vec![];
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if bytes.len() > HEAD_MAX {
                return Err("431 Request Header Fields Too Large");
            }
            more(stream, &mut bytes, until)?;
        };
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "400 Bad Request")?.to_owned();
        let mut lines = head.split("\r\n");
        let mut request = lines.next().unwrap_or_default().split(' ');
        let (method, url) = (request.next().unwrap_or_default(), request.next().unwrap_or_default());
        let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
        let field = |name: &str| {
            fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let ours =
            |host: &str| ["127.0.0.1", "localhost"].iter().any(|n| host == format!("{n}:{}", self.port));
        let from = field("Origin").is_none_or(|origin| origin.strip_prefix("http://").is_some_and(ours));
        if !field("Host").is_some_and(ours) || !from {
            return Err("403 Forbidden");
        }
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let path = path.strip_prefix('/').and_then(|path| path.strip_prefix(self.token.as_str()));
        let path = path.and_then(|path| path.strip_prefix('/')).ok_or("404 Not Found")?;
        let posted = match method {
            "GET" => None,
            "POST" => {
                let length = field("Content-Length").and_then(|n| n.parse::<usize>().ok());
                let length = length.ok_or("411 Length Required")?;
                if length > BODY_MAX {
                    return Err("413 Content Too Large");
                }
                let mut body = bytes.split_off(end + 4);
                while body.len() < length {
                    more(stream, &mut body, until)?;
                }
                Some(serde_json::from_slice(&body[..length]).map_err(|_| "400 Bad Request")?)
            }
            _ => return Err("405 Method Not Allowed"),
        };
        Ok(Ask { path: path.to_owned(), query: pairs(query), posted })
    }
}

/// Reads what is there, or waits for it until the moment.
fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>, until: Instant) -> Result<(), &'static str> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
        return Err("408 Request Timeout");
    }
    let mut part = [0; 4096];
    match stream.read(&mut part) {
        Ok(0) | Err(_) => Err("408 Request Timeout"),
        Ok(n) => {
            bytes.extend_from_slice(&part[..n]);
            Ok(())
        }
    }
}

fn respond(mut stream: TcpStream, status: &str, kind: &str, nonce: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCache-Control: no-store\r\n\r\n",
        body.len()
    );
    // Whoever asked may have gone. What it still sends is not read, but a connection that is cut while bytes lie
    // unread would take the answer along.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    let _ = stream.read(&mut [0; 4096]);
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
