//! A headless Chromium, driven through `chromedriver` (W3C `WebDriver`, JSON over HTTP).

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::process::{Process, Tool};
use crate::common::net::ports::Port;
use crate::common::poll::{self, PATIENCE, Stopwatch};
use crate::common::temp_dir::TempDir;

const CHROMEDRIVER: Tool = Tool { program: "chromedriver", package: "chromium-driver" };

/// Where Debian's package puts the browser.
const CHROMIUM: Tool = Tool { program: "chromium", package: "chromium" };

/// Connections over loopback, a camera that is none, and pages in the background that go on working.
const ARGUMENTS: [&str; 12] = [
    "--headless=new",
    // Its sandbox does not work as root, in whose name continuous integration runs.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-breakpad",
    "--allow-loopback-in-peer-connection",
    "--use-fake-device-for-media-stream=fps=30",
    "--use-fake-ui-for-media-stream",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--window-size=1200,900",
];

/// See the file's head. One session with one browser; windows are told apart by their handles.
#[derive(Debug)]
pub struct Browser {
    driver: Process,
    port: Port,
    session: String,
    /// The browser's own process, a child of the driver's.
    pid: Option<Pid>,
    dir: TempDir,
}

/// A window of a [`Browser`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window(String);

impl Browser {
    pub fn start() -> Self {
        // Chromium makes sockets in its directory of temporary files.
        let dir = TempDir::short();
        let port = Port::claim();
        let mut command = CHROMEDRIVER.command();
        command.arg(format!("--port={}", port.number)).env("TMPDIR", dir.path()).env("HOME", dir.path());
        let driver = Process::spawn(command, dir.path(), "chromedriver")
            .unwrap_or_else(|error| panic!("{}", CHROMEDRIVER.cannot_start(&error)));
        let mut browser = Self { driver, port, session: String::new(), pid: None, dir };
        poll::until(PATIENCE, "chromedriver to be ready", || {
            match browser.ask("GET", "/status", &Value::Null) {
                Ok(status) if status["ready"] == true => Ok(()),
                other => Err(format!("{other:?}\n{}", browser.driver.output())),
            }
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "timeouts": { "script": PATIENCE.as_millis(), "pageLoad": PATIENCE.as_millis() },
            "goog:chromeOptions": { "args": ARGUMENTS },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let made = browser.ask("POST", "/session", &wanted).unwrap_or_else(|why| {
            panic!("no session ({why}); is Debian's package `{}` installed?", CHROMIUM.package)
        });
        made["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        let pid = made["capabilities"]["goog:processID"].as_i64().expect("the browser's process");
        browser.pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
        browser
    }

    /// The window that is there from the beginning.
    pub fn first_window(&self) -> Window {
        Window(self.call("GET", "/window", &Value::Null).as_str().expect("a handle").to_owned())
    }

    /// One more, empty.
    pub fn open_window(&self) -> Window {
        let made = self.call("POST", "/window/new", &json!({ "type": "window" }));
        Window(made["handle"].as_str().expect("a handle").to_owned())
    }

    /// Closes it as its user would.
    pub fn close(&self, window: &Window) {
        self.to(window);
        self.call("DELETE", "/window", &Value::Null);
    }

    pub fn go(&self, window: &Window, url: &str) {
        self.to(window);
        self.call("POST", "/url", &json!({ "url": url }));
    }

    pub fn reload(&self, window: &Window) {
        self.to(window);
        self.call("POST", "/refresh", &json!({}));
    }

    /// Runs a function's body in the page, with `arguments`; a promise is waited for.
    pub fn run(&self, window: &Window, body: &str, arguments: &[Value]) -> Value {
        self.to(window);
        self.call("POST", "/execute/sync", &json!({ "script": body, "args": arguments }))
    }

    /// Presses and releases a key; the codes are those of `WebDriver`.
    pub fn press(&self, window: &Window, key: char) {
        self.to(window);
        let actions = [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.call("POST", "/actions", &json!({ "actions": [keyboard] }));
    }

    /// A command of the browser's own protocol for developers.
    pub fn develop(&self, window: &Window, command: &str, parameters: &Value) -> Value {
        self.to(window);
        self.call("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// What the window shows, as PNG; all of the page if it is to be whole.
    pub fn picture(&self, window: &Window, is_whole: bool) -> Vec<u8> {
        let wanted = json!({ "format": "png", "captureBeyondViewport": is_whole });
        let taken = self.develop(window, "Page.captureScreenshot", &wanted);
        STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64")
    }

    /// What pages complained about since the last time: refused resources, errors.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.call("POST", "/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().expect("a list").iter();
        entries.filter(|entry| entry["level"] == "SEVERE").map(|entry| entry["message"].to_string()).collect()
    }

    /// Ends the browser as a crash would.
    pub fn kill(&mut self) {
        if let Some(pid) = self.pid.take() {
            // Its parent lives and has not waited for it: the id is still its own.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    fn to(&self, window: &Window) {
        self.call("POST", "/window", &json!({ "handle": window.0 }));
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.ask(method, &path, body).unwrap_or_else(|why| panic!("{method} {path} {body}: {why}"))
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let answer = request((Ipv4Addr::LOCALHOST, self.port.number).into(), method, path, body)
            .map_err(|error| error.to_string())?;
        match &answer["value"]["error"] {
            Value::String(error) => Err(format!("{error}: {}", answer["value"]["message"])),
            _ => Ok(answer["value"].clone()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver would leave the browser behind.
        self.kill();
        self.driver.kill();
        // Its helpers end by themselves when they miss it, and write into the directory until then.
        let patience = Stopwatch::start();
        while has_helpers(self.dir.path()) && patience.elapsed() < PATIENCE {
            poll::pause();
        }
    }
}

/// Whether a process has this directory for its temporary files: a browser's, for nobody else is told of it.
fn has_helpers(dir: &Path) -> bool {
    let variable = format!("TMPDIR={}", dir.display());
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut environments = processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
    environments.any(|variables| variables.split(|&byte| byte == 0).any(|one| one == variable.as_bytes()))
}

fn request(address: SocketAddr, method: &str, path: &str, body: &Value) -> std::io::Result<Value> {
    // A script may take its time, and a bit.
    let patience = PATIENCE + Duration::from_secs(30);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n\
         {body}",
        body.len()
    )?;
    let answer = read_answer(&mut BufReader::new(stream))?;
    serde_json::from_slice(&answer)
        .map_err(|error| std::io::Error::other(format!("{error} in {:?}", String::from_utf8_lossy(&answer))))
}

/// The body of an answer. The driver keeps the connection open behind it, whatever one asks for.
fn read_answer(stream: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::Error::other("the driver closed the connection"));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}
