//! A headless Chromium, driven over WebDriver. It ends with the test.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest wait for a page or a part of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Driver {
    child: Child,
    url: String,
    http: reqwest::Client,
}

pub(crate) struct Chromium<'d> {
    driver: &'d Driver,
    session: String,
}

impl Driver {
    /// On a port that it chooses. It ends when somebody has that port for IPv6, and is then started once more.
    pub(crate) fn start() -> Self {
        let started = (0..5).find_map(|_| Self::attempt());
        let (child, port) = started.expect("chromedriver says its port");
        Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            http: runtime::http_client::builder()
                .timeout(PATIENCE * 2)
                .build()
                .unwrap(),
        }
    }

    fn attempt() -> Option<(Child, u16)> {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("install Debian's chromium and chromium-driver, as script/test does");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        if port.is_none() {
            child.wait().ok();
        }
        port.map(|port| (child, port))
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Result<Value, Value> {
        let url = format!("{}{path}", self.url);
        let request = match method {
            "GET" => self.http.get(url),
            "DELETE" => self.http.delete(url),
            _ => self.http.post(url).json(&body),
        };
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        match answer["value"]["error"].as_str() {
            Some(_) => Err(answer["value"].clone()),
            None => Ok(answer["value"].clone()),
        }
    }

    /// A window of this width.
    pub(crate) async fn open(&self, width: u32, dark: bool) -> Chromium<'_> {
        let arguments = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            format!("--window-size={width},900")
        ]);
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments}}}});
        let session = self.call("POST", "/session", wanted).await.unwrap();
        let chromium = Chromium {
            driver: self,
            session: session["sessionId"].as_str().unwrap().to_owned(),
        };
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        chromium
            .devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        chromium.devtools("Emulation.setEmulatedMedia", media).await;
        chromium
    }
}

/// Killed, it would leave its browsers behind, also where a test fails: asked to shut down, it ends them first.
impl Drop for Driver {
    fn drop(&mut self) {
        let ask = || -> std::io::Result<()> {
            let address = self.url.trim_start_matches("http://");
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(
                stream,
                "GET /shutdown HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
            )?;
            stream.read_to_end(&mut Vec::new()).map(drop)
        };
        if ask().is_err() {
            self.child.kill().ok();
        }
        self.child.wait().ok();
    }
}

impl Chromium<'_> {
    async fn call(&self, method: &str, path: &str, body: Value) -> Result<Value, Value> {
        let path = format!("/session/{}{path}", self.session);
        self.driver.call(method, &path, body).await
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let body = json!({"cmd": command, "params": parameters});
        self.call("POST", "/goog/cdp/execute", body).await.unwrap();
    }

    pub(crate) async fn go(&self, url: &str) {
        self.call("POST", "/url", json!({"url": url}))
            .await
            .unwrap();
    }

    pub(crate) async fn run(&self, script: &str, arguments: Value) -> Value {
        let body = json!({"script": script, "args": arguments});
        self.call("POST", "/execute/sync", body).await.unwrap()
    }

    pub(crate) async fn path(&self) -> String {
        let path = self
            .run("return location.pathname + location.search", json!([]))
            .await;
        path.as_str().unwrap().to_owned()
    }

    pub(crate) async fn text(&self) -> String {
        let text = self.run("return document.body.innerText", json!([])).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page says this.
    pub(crate) async fn sees(&self, text: &str) {
        sandbox::harness::wait_for(PATIENCE, async || {
            let shown = self.text().await;
            if shown.contains(text) {
                return Ok(());
            }
            Err(format!("{text:?} on {}: {shown}", self.path().await))
        })
        .await;
    }

    async fn find(&self, by: &str, what: &str) -> Value {
        sandbox::harness::wait_for(PATIENCE, async || {
            let found = self
                .call("POST", "/element", json!({"using": by, "value": what}))
                .await;
            found.map_err(|error| format!("{what}: {error}"))
        })
        .await
    }

    async fn act(&self, element: &Value, what: &str, body: Value) {
        let id = element.as_object().unwrap().values().next().unwrap();
        let path = format!("/element/{}/{what}", id.as_str().unwrap());
        self.call("POST", &path, body).await.unwrap();
    }

    /// Clicks the link or button that says this.
    pub(crate) async fn click(&self, name: &str) {
        let what = format!(
            "//main//*[self::a or self::button][normalize-space()='{name}' or starts-with(normalize-space(), '{name}')]"
        );
        let element = self.find("xpath", &what).await;
        self.act(&element, "click", json!({})).await;
    }

    pub(crate) async fn write(&self, field: &str, text: &str) {
        let element = self.find("css selector", field).await;
        self.act(&element, "clear", json!({})).await;
        self.act(&element, "value", json!({"text": text})).await;
    }

    /// Keys for whatever has the focus.
    pub(crate) async fn press(&self, keys: &str) {
        for key in keys.chars() {
            let steps = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
            let actions = json!({"actions": [{"type": "key", "id": "keys", "actions": steps}]});
            self.call("POST", "/actions", actions).await.unwrap();
        }
    }

    /// What the browser complained about.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self
            .call("POST", "/se/log", json!({"type": "browser"}))
            .await
            .unwrap();
        let entries = log.as_array().unwrap().iter();
        entries
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    pub(crate) async fn close(self) {
        self.call("DELETE", "", Value::Null).await.unwrap();
    }
}
