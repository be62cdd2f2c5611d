//! Lines as a gateway logs them: times, levels, requests, sensors and now and then a trace. The same ones each time.

use std::fmt::Write as _;

const LEVELS: [&str; 8] = ["INFO", "INFO", "INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"];
const PATHS: [&str; 6] =
    ["/api/v1/readings", "/api/v1/devices", "/healthz", "/api/v1/upload", "/metrics", "/api/v1/config"];
const SENSORS: [&str; 5] = ["temperature", "humidity", "vibration", "pressure", "current"];

/// An endless log of one machine.
pub(super) struct LogLines {
    machine: u64,
    state: u64,
    time_ms: u64,
}

impl LogLines {
    pub(super) fn of(machine: u64) -> Self {
        LogLines { machine, state: 0x9e37_79b9_7f4a_7c15 ^ (machine + 1), time_ms: 1_767_225_600_000 }
    }

    /// xorshift64: as random as a log is.
    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        let place = self.below(words.len() as u64);
        words[usize::try_from(place).expect("few words")]
    }

    /// The next line, with its end.
    pub(super) fn next_line(&mut self) -> String {
        self.time_ms += self.below(40);
        let seconds = self.time_ms / 1000;
        let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
        let (day, millis) = (seconds / 86_400 % 28 + 1, self.time_ms % 1000);
        let (machine, level) = (self.machine, self.one_of(&LEVELS));
        let mut line = format!(
            "2026-01-{day:02}T{hour:02}:{minute:02}:{:02}.{millis:03}Z edge-{machine:02} gateway[4312]: {level} ",
            seconds % 60
        );
        self.add_message(&mut line);
        line.push('\n');
        line
    }

    fn add_message(&mut self, line: &mut String) {
        let written = if self.below(3) == 0 {
            let sensor = self.one_of(&SENSORS);
            let (number, whole, part, quality) =
                (self.below(64), self.below(100), self.below(1000), self.below(100));
            write!(line, "reading sensor={sensor}-{number:02} value={whole}.{part:03} quality={quality}")
        } else {
            let (path, client, id) = (self.one_of(&PATHS), self.below(250), self.below(u64::MAX));
            let (micros, bytes) = (self.below(90_000), self.below(20_000));
            let status = if self.below(50) == 0 { 503 } else { 200 };
            write!(
                line,
                "request id={id:016x} client=10.0.3.{client} method=POST path={path} status={status} \
                 bytes={bytes} took={micros}us"
            )
        };
        written.expect("a text takes more text");
    }
}
