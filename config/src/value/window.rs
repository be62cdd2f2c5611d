//! Times of the week with their bandwidth: `mon-fri 08:00-18:00 500 kbit/s`, `22:00-06:00 unlimited`, `sun pause`.

use super::rate::{parse_rate, show_rate};
use crate::problem::{Complaint, code};
use crate::raw::Given;
use crate::settings::{Allowance, Window};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ALL: u8 = 0b111_1111;
const MIDNIGHT: u16 = 24 * 60;

/// One window.
pub(crate) fn window(given: Given<'_>) -> Result<Window, Complaint> {
    let text = given.text()?;
    let mut rest = text.trim();
    let mut days = None;
    let mut times = None;
    if let Some((word, after)) = first_word(rest)
        && let Some(read) = read_days(word)
    {
        (days, rest) = (Some(read), after);
    }
    if let Some((word, after)) = first_word(rest)
        && let Some(read) = read_times(word)
    {
        (times, rest) = (Some(read), after);
    }
    if days.is_none() && times.is_none() {
        return Err(not_a_window(&text));
    }
    let allows = match rest {
        "pause" => Allowance::Nothing,
        rate => Allowance::Rate(parse_rate(rate).map_err(|_| not_a_window(&text))?),
    };
    let (from, to) = times.unwrap_or((0, MIDNIGHT));
    Ok(Window { days: days.unwrap_or(ALL), from, to, allows })
}

/// Written so that it reads back as the same.
pub(crate) fn show_window(window: &Window) -> String {
    let mut words = Vec::new();
    if window.days != ALL || window.is_whole_day() {
        let named = DAYS.iter().enumerate().filter(|(nth, _)| window.days & (1 << nth) != 0);
        words.push(named.map(|(_, name)| *name).collect::<Vec<_>>().join(","));
    }
    if !window.is_whole_day() {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        words.push(format!("{}-{}", clock(window.from), clock(window.to)));
    }
    words.push(match window.allows {
        Allowance::Nothing => "pause".to_owned(),
        Allowance::Rate(rate) => show_rate(rate),
    });
    words.join(" ")
}

fn first_word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(' ')?;
    Some((word, rest.trim_start()))
}

/// `mon-fri,sun`
fn read_days(word: &str) -> Option<u8> {
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let mut days = 0;
    for part in word.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // `sat-mon` goes round.
        let count = (last + 7 - first) % 7;
        (0..=count).for_each(|after| days |= 1 << ((first + after) % 7));
    }
    Some(days)
}

/// `08:00-18:00`
fn read_times(word: &str) -> Option<(u16, u16)> {
    let clock = |text: &str| -> Option<u16> {
        let (hour, minute) = text.split_once(':')?;
        let is_number =
            |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if !is_number(hour) || !is_number(minute) || minute.len() != 2 {
            return None;
        }
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (minute < 60 && hour * 60 + minute <= MIDNIGHT).then_some(hour * 60 + minute)
    };
    let (from, to) = word.split_once('-')?;
    let (from, to) = (clock(from)?, clock(to)?);
    (from < MIDNIGHT).then_some((from, to))
}

fn not_a_window(text: &str) -> Complaint {
    Complaint::new(code::BAD_SCHEDULE, format!("{text:?} is not a time of the week with its bandwidth"))
        .suggest(
            r#"write one such as "mon-fri 08:00-18:00 500 kbit/s", "22:00-06:00 unlimited" or "sun pause""#,
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;
    use crate::raw::Node;

    fn parse(text: &str) -> Result<Window, Complaint> {
        window(Given::new(&Node::text(text), &Environment::default()))
    }

    #[test]
    fn windows_read_as_they_are_meant() {
        let rate = |bits| Allowance::Rate(Some(bits));
        for (text, days, from, to, allows) in [
            ("mon-fri 08:00-18:00 500 kbit/s", 0b001_1111, 480, 1080, rate(500_000)),
            ("22:00-06:00 unlimited", ALL, 1320, 360, Allowance::Rate(None)),
            ("Sat,sun pause", 0b110_0000, 0, 1440, Allowance::Nothing),
            ("sat-mon 0:00-24:00 1 MiB/s", 0b110_0001, 0, 1440, rate(8 << 20)),
        ] {
            let read = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
            assert_eq!(read, Window { days, from, to, allows }, "{text}");
            assert_eq!(parse(&show_window(&read)), Ok(read), "{text} comes back");
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "pause",
            "1 Mbit/s",
            "mon",
            "mon 8-18 pause",
            "mon 25:00-26:00 pause",
            "noday 08:00-09:00 pause",
            "08:60-09:00 pause",
            "24:00-01:00 pause",
            "08:00-09:00 fast",
            "mon 08:00-09:00",
        ] {
            assert_eq!(parse(text).expect_err(text).code, code::BAD_SCHEDULE, "{text}");
        }
    }
}
