//! `lode inspect negatives`: the list, the page and who may ask for it, and a pair that is marked by a click.

use crate::products;
use crate::run::World;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn world() -> World {
    let world = World::new();
    world.write("t.csv", products::csv(400));
    let words = ["prepare", "t.csv", "--train-vocab", "300", "--text", "title", "--labels", "category", "-q"];
    world.lode(&[&words[..], &["--id", "sku", "--out", "d"]].concat()).ok();
    train(&world, "r", &[]);
    world
}

fn train(world: &World, out: &str, more: &[&str]) {
    let words =
        ["train", "d", "--model", "bag", "--batch", "16", "--epochs", "2", "--set", "model.width=16", "-q"];
    world.lode(&[&words[..], &["--out", out], more].concat()).ok();
}

/// A page that is being served, and the secret in its address.
struct Page {
    child: Child,
    address: String,
    port: u16,
    token: String,
}

impl Page {
    fn of(world: &World, run: &str) -> Page {
        let mut child = world.start(&["inspect", "negatives", run, "--serve", "-q"], Stdio::null());
        let mut address = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        let (port, token) = address.strip_prefix("http://127.0.0.1:").unwrap().split_once('/').unwrap();
        let (port, token) = (port.parse().unwrap(), token.trim_end_matches('/').to_owned());
        Page { child, address, port, token }
    }
    /// Asks, and gives the status and the body.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let host = format!("Host: 127.0.0.1:{}\r\n", self.port);
        let host = if headers.contains("Host:") { "" } else { &host };
        http(self.port, &format!("{method} {path} HTTP/1.0\r\n{host}{headers}"), body)
    }
    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", &format!("/{}/{path}", self.token), "", "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
    fn mark(&self, told: &Value) -> (u16, String) {
        self.ask("POST", &format!("/{}/mark", self.token), "", &told.to_string())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn http(port: u16, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    write!(stream, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
    let mut reader = BufReader::new(stream);
    let (mut status, mut length) = (0, 0);
    for (i, line) in (&mut reader).lines().map(Result::unwrap).enumerate() {
        if i == 0 {
            status = line.split(' ').nth(1).unwrap().parse().unwrap();
        }
        if let Some(told) = line.to_lowercase().strip_prefix("content-length:") {
            length = told.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    // A driver keeps its connection open: what it said of the length is the end.
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (status, String::from_utf8(body).unwrap())
}

#[test]
fn the_list_and_the_lines_say_the_same() {
    let world = world();
    let list = world.lode(&["inspect", "negatives", "r", "--k", "5", "-q"]).ok().stdout;
    assert!(list.contains("the 5 hardest labels of each") && list.contains("met in training"), "{list}");
    let lines = world.lode(&["inspect", "negatives", "r", "--k", "5", "--json"]).ok().stdout;
    let queries: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let two = |q: &Value| {
        let negatives = q["rounds"][0]["negatives"].as_array().unwrap();
        assert_eq!(negatives.len(), 5, "{q}");
        negatives.iter().filter(|n| n["suspicion"] == 2).count()
    };
    let two: usize = queries.iter().map(two).sum();
    let row: Vec<&str> = list.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(row.last().unwrap().parse::<usize>().unwrap(), two, "{list}");
    let marked =
        world.lode(&["inspect", "negatives", "r", "--k", "5", "--mark", "2", "--exclude", "e.tsv"]).ok();
    let text = String::from_utf8(world.read("e.tsv")).unwrap();
    assert_eq!(text.lines().count(), two, "{}", marked.stderr);
    for line in text.lines() {
        let (query, label) = line.split_once('\t').unwrap();
        let q = queries.iter().find(|q| q["uid"] == query).unwrap();
        let negatives = q["rounds"][0]["negatives"].as_array().unwrap();
        assert!(negatives.iter().any(|n| n["uid"] == label && n["suspicion"] == 2), "{line}");
    }
    let few = world.lode(&["inspect", "negatives", "r", "--queries", "7", "--json"]).ok().stdout;
    assert_eq!(few.lines().count(), 7);
    assert_eq!(world.lode(&["inspect", "negatives", "t.csv"]).code, 3);
    assert_eq!(world.lode(&["inspect", "negatives", "r", "--serve", "--json"]).code, 5);
}

#[test]
fn only_who_knows_the_address_is_answered() {
    let world = world();
    world.write("secret", "nobody may read this");
    let page = Page::of(&world, "r");
    let own = format!("/{}/", page.token);
    let (status, html) = page.ask("GET", &own, "", "");
    assert!(status == 200 && html.contains("<form") && !html.contains("{nonce}"), "{status}");
    let refused = |method: &str, path: &str, headers: &str, want: u16| {
        let (status, body) = page.ask(method, path, headers, "");
        assert_eq!(status, want, "{method} {path} {headers}: {body}");
        assert!(!body.contains("nobody may"), "{body}");
    };
    refused("GET", "/", "", 404);
    refused("GET", "/about", "", 404);
    refused("GET", &format!("/{}/about", "0".repeat(32)), "", 404);
    refused("GET", &format!("/{}about", page.token), "", 404);
    refused("GET", &own, "Host: example.org\r\n", 403);
    refused("GET", &own, &format!("Host: example.org:{}\r\n", page.port), 403);
    refused("GET", &own, "Origin: http://example.org\r\n", 403);
    for path in ["../secret", "%2e%2e/secret", "secret", "/etc/passwd", "mark"] {
        refused("GET", &format!("{own}{path}"), "", 404);
    }
    refused("DELETE", &own, "", 405);
    let (status, _) = page.ask("POST", &format!("{own}mark"), "", &"x".repeat(1 << 17));
    assert_eq!(status, 413);
    assert_eq!(page.ask("POST", &format!("{own}mark"), "", "{").0, 400);
    // Whatever somebody says of a length, and however slow they are, the page goes on.
    let stalled: Vec<TcpStream> = ["18446744073709551615", "1000000000000", "2000"]
        .iter()
        .map(|length| {
            let mut stream = TcpStream::connect(("127.0.0.1", page.port)).unwrap();
            write!(stream, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").unwrap();
            let mut half = TcpStream::connect(("127.0.0.1", page.port)).unwrap();
            write!(half, "POST {own}mark HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Le", page.port).unwrap();
            half
        })
        .collect();
    let since = Instant::now();
    assert_eq!(page.get("about")["marked"], 0);
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    drop(stalled);
}

#[test]
fn a_marked_pair_is_excluded_and_what_others_wrote_stays() {
    let world = world();
    world.write("r/exclude.tsv", "query\tlabel\nno such query\tcups\n");
    let page = Page::of(&world, "r");
    let told = page.get("queries?sort=margin");
    let (query, negative) = (&told["queries"][0], &told["queries"][0]["rounds"][0]["negatives"][0]);
    let mark = |on: bool| page.mark(&json!({"query": query["query"], "label": negative["label"], "on": on}));
    assert_eq!(mark(true).0, 200);
    let text = || String::from_utf8(world.read("r/exclude.tsv")).unwrap();
    let line = format!("{}\t{}\n", query["uid"].as_str().unwrap(), negative["uid"].as_str().unwrap());
    assert_eq!(text(), format!("query\tlabel\nno such query\tcups\n{line}"));
    assert_eq!(page.get("about")["marked"], 1);
    let marked = page.get("queries?marked=1");
    assert_eq!((&marked["total"], &marked["queries"][0]["uid"]), (&1.into(), &query["uid"]));
    assert_eq!(mark(false).0, 200);
    assert!(!text().contains(&line));
    assert_eq!(mark(true).0, 200);
    // What is not shown cannot be marked.
    assert_eq!(page.mark(&json!({"query": 4_000_000, "label": 0, "on": true})).0, 409);
    assert_eq!(page.mark(&json!({"query": query["query"], "label": -1, "on": true})).0, 409);
    // Somebody else writes to the file: nothing of theirs is lost.
    world.write("r/exclude.tsv", "theirs\tcups\n");
    let (status, why) = mark(false);
    assert!(status == 409 && why.contains("changed by somebody else"), "{why}");
    assert_eq!(text(), "theirs\tcups\n");
    world.write("r/exclude.tsv", &line);
    drop(page);

    train(&world, "again", &["--exclude", "r/exclude.tsv"]);
    let kept = std::fs::read_dir(world.path("again")).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.into_iter().find(|p| p.file_name().unwrap().to_string_lossy().starts_with("excluded-"));
    assert_eq!(std::fs::read(kept.unwrap()).unwrap(), line.as_bytes());
    let lines = world.lode(&["inspect", "negatives", "again", "--json", "--k", "1000"]).ok().stdout;
    let row = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let row = row.into_iter().find(|q| q["uid"] == query["uid"]).unwrap();
    let negatives = row["rounds"][0]["negatives"].as_array().unwrap();
    assert!(negatives.len() > 10 && negatives.iter().all(|n| n["uid"] != negative["uid"]), "{row}");
}

/// A browser that does what a person would, by the WebDriver protocol.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// None where there is no driver.
    pub(crate) fn start() -> Option<Browser> {
        let mut driver = Command::new("chromedriver");
        let mut driver = driver.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let started = lines.map_while(Result::ok).find(|line| line.contains("started successfully"))?;
        let digits: String = started.chars().filter(char::is_ascii_digit).collect();
        let mut browser = Browser { driver, port: digits.parse().ok()?, session: String::new() };
        let options = json!({"args": ["--headless=new", "--no-sandbox", "--disable-gpu"]});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let told = browser.ask("POST", "/session", Some(&wanted));
        browser.session = told["sessionId"].as_str()?.to_owned();
        Some(browser)
    }
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/json\r\n",
            self.port
        );
        let (status, text) = http(self.port, &head, &body.map_or_else(String::new, Value::to_string));
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str::<Value>(&text).unwrap()["value"].take()
    }
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{path}", self.session), Some(body))
    }
    /// What a script on the page gives, once it gives something.
    pub(crate) fn wait_for(&self, script: &str) -> Value {
        let since = Instant::now();
        loop {
            let got = self.post("execute/sync", &json!({"script": script, "args": []}));
            if !got.is_null() {
                return got;
            }
            assert!(since.elapsed() < Duration::from_secs(20), "never: {script}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    fn click(&self, selector: &str) {
        let found = self.post("element", &json!({"using": "css selector", "value": selector}));
        let element = found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.post(&format!("element/{element}/click"), &json!({}));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let head =
                format!("DELETE /session/{} HTTP/1.1\r\nHost: localhost:{}\r\n", self.session, self.port);
            http(self.port, &head, "");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

#[test]
fn a_click_marks_a_pair() {
    let Some(browser) = Browser::start() else {
        println!("skipped: a_click_marks_a_pair needs chromedriver");
        return;
    };
    let world = world();
    let page = Page::of(&world, "r");
    browser.post("url", &json!({"url": page.address}));
    let rows = "return document.querySelectorAll('section').length || null";
    assert_eq!(browser.wait_for(rows), 20);
    let first = "return document.querySelector('section td').textContent";
    let label = browser.wait_for(first);
    browser.click("section input[type=checkbox]");
    browser.wait_for("return document.getElementById('count').textContent === '1' || null");
    let text = String::from_utf8(world.read("r/exclude.tsv")).unwrap();
    assert_eq!(text.trim_end().split('\t').nth(1), label.as_str(), "{text}");
    // The filter shows what was marked, and nothing else.
    browser.click("#marked");
    let one = "return document.querySelectorAll('section').length === 1 || null";
    browser.wait_for(one);
    browser.click("#marked");
    browser.wait_for("return document.querySelectorAll('section').length === 20 || null");
    let top = "return document.querySelector('section h2 small').textContent";
    let before = browser.wait_for(top);
    browser.click("#on");
    browser.wait_for(&format!(
        "return document.querySelector('section h2 small').textContent !== {before} || null"
    ));
    assert_eq!(browser.wait_for("return document.getElementById('error').textContent || '-'"), "-");
}
