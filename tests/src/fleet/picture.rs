//! The courses as a picture: how much of the fleet has delivered over time, and who was refused how often.

#![expect(clippy::cast_precision_loss, reason = "places on a page")]

use std::fmt::Write as _;

use ::skiff::size::number;

use super::{Course, Policy};
use crate::svg::Sheet;

const HEIGHT: usize = 520;
const LEFT: f64 = 60.0;
const TOP: f64 = 80.0;
const PLOT_WIDTH: f64 = 810.0;
const PLOT_HEIGHT: f64 = 250.0;
const TABLE_TOP: usize = 395;

const STYLE: &str = "\
.line{stroke-width:2.5}.c0{stroke:#0969da;fill:#0969da}.c1{stroke:#54aeff;fill:#54aeff}\
.c2{stroke:#1a7f37;fill:#1a7f37}.c3{stroke:#bc4c00;fill:#bc4c00}.c4{stroke:#8250df;fill:#8250df}.line{fill:none}";

/// Draws them.
pub fn as_picture(courses: &[(Policy, Course)]) -> String {
    let agents = courses.iter().map(|(_, course)| course.agents).max().unwrap_or(0);
    // One that never drains must not make all others a spike at the left.
    let drained = courses.iter().filter(|(_, course)| course.drained.is_some());
    let longest = drained.map(|(_, course)| course.curve.len()).max().unwrap_or(60).max(2);
    let mut svg = String::new();
    axes(&mut svg, longest);
    for (nth, (_, course)) in courses.iter().enumerate() {
        line(&mut svg, nth, course, agents, longest);
    }
    table(&mut svg, courses);
    let title = format!("{} agents come back to a collector after half an hour", number(agents as u64));
    let sheet = Sheet {
        height: HEIGHT,
        label: "A fleet that comes back",
        styles: [STYLE, ""],
        title: &title,
        subtitle: "Simulated: sshd with MaxStartups 10:30:100 and 1,000 connections on 2 cores; share that has \
                   delivered, by minutes",
    };
    sheet.around(&svg)
}

fn axes(svg: &mut String, longest: usize) {
    for share in 0..=4_u8 {
        let y = TOP + PLOT_HEIGHT * (1.0 - f64::from(share) / 4.0);
        let _infallible = writeln!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\"/>\
             <text class=\"dim\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{} %</text>",
            LEFT + PLOT_WIDTH,
            LEFT - 8.0,
            y + 4.0,
            u32::from(share) * 25,
        );
    }
    let minutes = longest as u64 * Course::point().as_secs() / 60;
    let step = [1, 2, 5, 10, 20, 60, 120].into_iter().find(|step| minutes / step <= 10).unwrap_or(240);
    for minute in (0..=minutes).step_by(usize::try_from(step).expect("a small number")) {
        let x = x_of(minute as f64 * 60.0 / Course::point().as_secs_f64(), longest);
        let _infallible = writeln!(
            svg,
            "<text class=\"dim\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{minute}</text>",
            TOP + PLOT_HEIGHT + 18.0
        );
    }
}

fn x_of(point: f64, longest: usize) -> f64 {
    LEFT + PLOT_WIDTH * point / (longest - 1) as f64
}

fn line(svg: &mut String, nth: usize, course: &Course, agents: usize, longest: usize) {
    let point = |(at, delivered): (usize, &usize)| {
        let y = TOP + PLOT_HEIGHT * (1.0 - *delivered as f64 / agents.max(1) as f64);
        format!("{:.1},{y:.1}", x_of(at as f64, longest))
    };
    let points: Vec<_> = course.curve.iter().enumerate().take(longest).map(point).collect();
    let _infallible = writeln!(svg, "<polyline class=\"line c{nth}\" points=\"{}\"/>", points.join(" "));
}

fn table(svg: &mut String, courses: &[(Policy, Course)]) {
    let columns =
        [("half delivered", 420), ("all delivered", 560), ("refused", 700), ("at worst, in a second", 870)];
    for (head, x) in columns {
        let _infallible = writeln!(
            svg,
            "<text class=\"dim\" x=\"{x}\" y=\"{}\" text-anchor=\"end\">{head}</text>",
            TABLE_TOP - 6
        );
    }
    for (nth, (policy, course)) in courses.iter().enumerate() {
        let y = TABLE_TOP + 18 + nth * 22;
        let time = |time: Option<std::time::Duration>| {
            time.map_or_else(
                || "not in 6 h".to_owned(),
                |time| format!("{:.1} min", time.as_secs_f64() / 60.0),
            )
        };
        let values = [
            time(course.half),
            time(course.drained),
            number(course.refused),
            number(course.refused_at_worst),
        ];
        let _infallible = writeln!(
            svg,
            "<rect class=\"c{nth}\" x=\"60\" y=\"{}\" width=\"14\" height=\"4\"/>\
             <text x=\"84\" y=\"{y}\">tries again: {}</text>",
            y - 7,
            policy.title(),
        );
        for (value, (_, x)) in values.iter().zip(columns) {
            let _infallible = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{value}</text>");
        }
    }
}
