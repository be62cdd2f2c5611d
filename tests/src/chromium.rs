//! A headless Chromium, driven over its debugging pipe.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{machine, wait};

/// A browser with one page. Ended when dropped.
pub struct Chromium {
    child: Child,
    say: File,
    hear: BufReader<File>,
    session: String,
    number: u64,
    _home: TempDir,
}

impl Chromium {
    /// Whether this machine has one that runs; if not, it says that `what` is not shown.
    pub fn is_here(what: &str) -> bool {
        let mut version = Command::new("chromium");
        version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        let runs = version.status().is_ok_and(|status| status.success());
        if !runs {
            machine::not_shown(what, "there is no Chromium (package chromium)");
        }
        runs
    }

    /// Opens `url`.
    pub fn open(url: &str) -> Self {
        let home = TempDir::new().expect("there is room for a temporary folder");
        let (to, from) = (home.path().join("to"), home.path().join("from"));
        for pipe in [&to, &from] {
            mknodat(CWD, pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a new name");
        }
        // It reads what it is asked from descriptor 3 and answers on 4.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<to 4>from", "chromium", "--headless", "--no-sandbox"]);
        command.args([
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-pipe",
        ]);
        command.arg(format!("--user-data-dir={}", home.path().join("profile").display()));
        command.current_dir(home.path()).env("HOME", home.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("a shell can be started");
        // Opening waits for the other end.
        let say = OpenOptions::new().write(true).open(&to).expect("it opens its end");
        let hear = BufReader::new(File::open(&from).expect("it opens its end"));
        let mut this = Self { child, say, hear, session: String::new(), number: 0, _home: home };
        let target = this.ask("Target.createTarget", &json!({ "url": url }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = this.ask("Target.attachToTarget", &target);
        attached["sessionId"].as_str().expect("a session").clone_into(&mut this.session);
        this
    }

    /// What an expression of the page's script comes to.
    pub fn value_of(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        self.ask("Runtime.evaluate", &asked)["result"]["value"].clone()
    }

    /// Waits until an expression is true. Panics with the text of the page if it isn't in time.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, expression: &str) {
        let so = wait::came_true(wait::LIMIT, || {
            std::thread::sleep(Duration::from_millis(40));
            self.value_of(expression) == Value::Bool(true)
        });
        if !so {
            let text = self.value_of("document.body.innerText");
            panic!("not so: {what}; the page says:\n{}", text.as_str().unwrap_or_default());
        }
    }

    /// Clicks in the middle of the element, as a mouse does: what lies above it gets the click instead.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let (x, y) = self.middle_of(selector);
        for (kind, buttons) in [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1 });
            self.ask("Input.dispatchMouseEvent", &event);
        }
    }

    /// Points at the middle of the element.
    #[track_caller]
    pub fn point_at(&mut self, selector: &str) {
        let (x, y) = self.middle_of(selector);
        self.ask("Input.dispatchMouseEvent", &json!({ "type": "mouseMoved", "x": x, "y": y }));
    }

    /// Types a text into what has the focus.
    pub fn type_text(&mut self, text: &str) {
        self.ask("Input.insertText", &json!({ "text": text }));
    }

    /// From now on the page's reader likes it `dark` or `light`.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    #[track_caller]
    fn middle_of(&mut self, selector: &str) -> (f64, f64) {
        let place = format!(
            "(() => {{ const it = document.querySelector({}); it.scrollIntoView({{ block: 'center' }}); \
             const box = it.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            Value::from(selector)
        );
        let place = self.value_of(&place);
        let at =
            |nth: usize| place[nth].as_f64().unwrap_or_else(|| panic!("there is no {selector} on the page"));
        (at(0), at(1))
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        self.say.write_all(format!("{message}\0").as_bytes()).expect("it listens");
        loop {
            let mut answer = Vec::new();
            self.hear.read_until(0, &mut answer).expect("it answers");
            assert!(!answer.is_empty(), "the browser ended");
            answer.pop();
            let answer: Value = serde_json::from_slice(&answer).expect("it answers in JSON");
            if answer["id"] == self.number {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}
