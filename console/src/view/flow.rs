//! Rates, durations, and lines of the last hour.

use maud::{Markup, html};

/// `0.4/s`, `97/s`, `1,200/s`; nothing where it is not known.
pub(crate) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => String::new(),
        Some(rate) if rate <= 0.0 => "0/s".to_owned(),
        Some(rate) if rate < 0.1 => "<0.1/s".to_owned(),
        Some(rate) if rate < 10.0 => format!("{rate:.1}/s"),
        Some(rate) => format!("{}/s", super::number(whole(rate))),
    }
}

/// `4 ms`, `1.2 s`, `3 min`.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.0005 => "0 ms".to_owned(),
        seconds if seconds < 0.01 => format!("{:.1} ms", seconds * 1000.0),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        seconds if seconds < 10.0 => format!("{seconds:.1} s"),
        seconds => runtime::text::span(whole(seconds).unsigned_abs()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "shown to people")]
fn whole(value: f64) -> i64 {
    value.round().clamp(0.0, 1e15) as i64
}

/// Width and height of a line, in units of its picture.
const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 24.0;
/// Values of a full line; and of one that has just begun, so that it is seen.
const FULL: usize = 120;
const SHORT: usize = 12;

/// The points of a line of `values` in a box, the newest at its right end. The highest value is at its top.
pub(crate) fn points(values: &[f64], x: f64, y: f64, width: f64, height: f64) -> String {
    let values = &values[values.len().saturating_sub(FULL)..];
    let top = values.iter().copied().fold(0.0, f64::max);
    let step = width / (values.len().max(SHORT) - 1) as f64;
    let start = x + width - step * values.len().saturating_sub(1) as f64;
    let mut points = String::new();
    for (place, value) in values.iter().enumerate() {
        let up = if top > 0.0 { value / top * height } else { 0.0 };
        let (x, y) = (start + step * place as f64, y + height - up);
        points.push_str(&format!("{x:.1},{y:.1} "));
    }
    points
}

/// A line of the last hour. What it says is beside it in numbers: for those who cannot see it, it is nothing.
pub(crate) fn sparkline(values: &[f64]) -> Markup {
    html! {
        svg.spark viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT) aria-hidden="true" {
            @if values.len() > 1 { polyline points=(points(values, 1.0, 2.0, WIDTH - 2.0, HEIGHT - 4.0)) {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_durations_are_short() {
        let rates = [
            None,
            Some(0.0),
            Some(0.04),
            Some(0.44),
            Some(9.96),
            Some(1234.5),
        ]
        .map(rate);
        assert_eq!(rates, ["", "0/s", "<0.1/s", "0.4/s", "10.0/s", "1,235/s"]);
        let durations = [0.0, 0.0042, 0.25, 1.25, 75.0, 7300.0].map(duration);
        assert_eq!(
            durations,
            ["0 ms", "4.2 ms", "250 ms", "1.2 s", "75 s", "2 h"]
        );
    }

    #[test]
    fn a_line_ends_at_the_right_and_stays_in_its_box() {
        assert_eq!(
            points(&[0.0, 5.0, 10.0], 0.0, 0.0, 11.0, 10.0),
            "9.0,10.0 10.0,5.0 11.0,0.0 "
        );
        assert_eq!(
            points(&[0.0, 0.0], 0.0, 0.0, 11.0, 10.0),
            "10.0,10.0 11.0,10.0 "
        );
        let many = points(&[1.0; 500], 0.0, 0.0, 119.0, 10.0);
        assert!(many.starts_with("0.0,0.0 ") && many.split(' ').count() == 121);
    }
}
