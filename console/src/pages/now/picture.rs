//! The pipeline as a picture, twice: lying for wide screens, standing for narrow ones. Style sheets show one of them, and move what flows.
//!
//! The tables below say the same in words; for those who cannot see it, the picture is one sentence.

use super::layout::{Carries, Kind, Layout, Link, Node, layout};
use crate::view::{duration, number, points, rate};
use maud::{Markup, html};
use recovery::model::{Now, RoleNow, RoleState};

/// A picture's measures, in its own units.
struct Shape {
    /// Whether the path goes down instead of to the right
    standing: bool,
    /// From step to step and from lane to lane
    step: f64,
    lane: f64,
    /// Of a role
    width: f64,
    height: f64,
    /// Around everything
    margin: f64,
}

const LYING: Shape = Shape {
    standing: false,
    step: 176.0,
    lane: 124.0,
    width: 148.0,
    height: 84.0,
    margin: 14.0,
};
const STANDING: Shape = Shape {
    standing: true,
    step: 108.0,
    lane: 172.0,
    width: 160.0,
    height: 84.0,
    margin: 8.0,
};
/// Height of a topic.
const TOPIC: f64 = 34.0;
/// Room for a status word beside its dot.
const DOT: f64 = 5.0;

impl Shape {
    /// Where a node's middle is.
    fn middle(&self, node: &Node) -> (f64, f64) {
        let (along, lane) = (node.along as f64, node.lane as f64);
        if self.standing {
            (
                self.margin + self.width / 2.0 + lane * self.lane,
                self.margin + self.height / 2.0 + along * self.step,
            )
        } else {
            (
                self.margin + self.width / 2.0 + along * self.step,
                self.margin + self.height / 2.0 + lane * self.lane,
            )
        }
    }

    fn size(&self, layout: &Layout) -> (f64, f64) {
        let (along, lanes) = layout.size();
        let (along, lanes) = (
            along.saturating_sub(1) as f64,
            lanes.saturating_sub(1) as f64,
        );
        let (width, height) = if self.standing {
            (lanes * self.lane, along * self.step)
        } else {
            (along * self.step, lanes * self.lane)
        };
        (
            width + self.width + 2.0 * self.margin,
            height + self.height + 2.0 * self.margin,
        )
    }

    fn half(&self, node: &Node) -> (f64, f64) {
        let height = if node.kind == Kind::Topic {
            TOPIC
        } else {
            self.height
        };
        (self.width / 2.0, height / 2.0)
    }
}

pub(super) fn picture(now: &Now) -> Markup {
    let layout = layout(now);
    html! {
        div.pipeline {
            (drawn(now, &layout, &LYING, "lying"))
            (drawn(now, &layout, &STANDING, "standing"))
        }
    }
}

fn drawn(now: &Now, layout: &Layout, shape: &Shape, name: &str) -> Markup {
    let (width, height) = shape.size(layout);
    html! {
        svg class={ "picture " (name) } viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(sentence(now)) {
            @for one in &layout.links { (link(one, layout, shape)) }
            @for node in &layout.nodes { (self::node(now, node, shape)) }
        }
    }
}

/// What the picture says.
fn sentence(now: &Now) -> String {
    let path: Vec<&str> = now
        .roles
        .iter()
        .filter(|role| role.on_path)
        .map(|role| role.name.as_str())
        .collect();
    let edge = now.roles.first().and_then(|role| role.rate);
    let flows = edge.map_or_else(
        || "no figures yet".to_owned(),
        |it| format!("{it:.1} events a second"),
    );
    format!(
        "Events pass {} to the rows: {flows}. The tables below have the figures.",
        path.join(", ")
    )
}

/// A line, and on it what moves: the more a second, the faster.
fn link(link: &Link, layout: &Layout, shape: &Shape) -> Markup {
    let (from, to) = (&layout.nodes[link.from], &layout.nodes[link.to]);
    let kind = match link.carries {
        Carries::Events => "events",
        Carries::DeadLetters => "dead",
        Carries::Replays => "replays",
    };
    let path = path(from, to, link.carries, shape);
    html! {
        path class={ "link " (kind) } d=(path) {}
        @if let Some(speed) = speed(link.rate) { path class={ "flow " (kind) " at-" (speed) } d=(path) {} }
    }
}

/// Four speeds; nothing moves where nothing flows.
fn speed(rate: Option<f64>) -> Option<u8> {
    match rate? {
        rate if rate <= 0.0 => None,
        rate if rate < 1.0 => Some(1),
        rate if rate < 20.0 => Some(2),
        rate if rate < 500.0 => Some(3),
        _ => Some(4),
    }
}

/// From border to border, leaving and arriving straight.
fn path(from: &Node, to: &Node, carries: Carries, shape: &Shape) -> String {
    let ((x1, y1), (x2, y2)) = (shape.middle(from), shape.middle(to));
    let ((w1, h1), (w2, h2)) = (shape.half(from), shape.half(to));
    // Replays go beside the dead letters they come from.
    let aside = if carries == Carries::Replays {
        22.0
    } else {
        0.0
    };
    let along = from.lane == to.lane || carries == Carries::Events;
    match (along, shape.standing) {
        (true, false) => curve((x1 + w1, y1), (x2 - w2, y2), true),
        (true, true) => curve((x1, y1 + h1), (x2, y2 - h2), false),
        // Across: to the lane of dead letters, or back from it.
        (false, false) => {
            let down = y2 > y1;
            let (start, end) = if down {
                (y1 + h1, y2 - h2)
            } else {
                (y1 - h1, y2 + h2)
            };
            curve((x1 + aside, start), (x2 + aside, end), false)
        }
        (false, true) => {
            let right = x2 > x1;
            let (start, end) = if right {
                (x1 + w1, x2 - w2)
            } else {
                (x1 - w1, x2 + w2)
            };
            curve((start, y1 + aside), (end, y2 + aside), true)
        }
    }
}

/// A curve that begins and ends in one direction: to the side, or up and down.
fn curve((x1, y1): (f64, f64), (x2, y2): (f64, f64), side: bool) -> String {
    let (x, y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0);
    let ((ax, ay), (bx, by)) = if side {
        ((x, y1), (x, y2))
    } else {
        ((x1, y), (x2, y))
    };
    format!("M{x1:.1} {y1:.1}C{ax:.1} {ay:.1} {bx:.1} {by:.1} {x2:.1} {y2:.1}")
}

fn node(now: &Now, node: &Node, shape: &Shape) -> Markup {
    let (x, y) = shape.middle(node);
    let (w, h) = shape.half(node);
    let (left, top) = (x - w, y - h);
    let figures = |class: &str, name: &str, figure: &str, under: &str, href: &str| {
        html! {
            a class={ "node " (class) } href=(href) {
                rect x=(left) y=(top) width=(2.0 * w) height=(2.0 * h) rx="12" {}
                text.name x=(left + 14.0) y=(top + 22.0) { (name) }
                text.figure x=(left + 14.0) y=(top + 48.0) { (figure) }
                text.under x=(left + 14.0) y=(top + 69.0) { (under) }
            }
        }
    };
    match node.kind {
        Kind::Topic => html! {
            g.node.topic {
                rect x=(left) y=(top) width=(2.0 * w) height=(2.0 * h) rx=(h) {}
                text.name x=(x) y=(y + 4.0) text-anchor="middle" { (shortened(&node.name, 23)) }
            }
        },
        Kind::Sources => {
            let sending = now
                .sources
                .iter()
                .filter(|source| source.rate.is_some_and(|rate| rate > 0.0))
                .count();
            figures(
                "sources",
                "sources",
                &number(now.sources.len() as i64),
                &format!("{sending} sending now"),
                "#sources",
            )
        }
        Kind::Rows => figures(
            "rows",
            "rows",
            &number(now.fates.stored),
            "stored",
            "/events?fate=stored",
        ),
        Kind::DeadLetters => {
            let class = if now.dead_letters.open > 0 {
                "letters some"
            } else {
                "letters"
            };
            figures(
                class,
                "dead letters",
                &number(now.dead_letters.open),
                "open",
                "/groups",
            )
        }
        Kind::Role => match now.roles.iter().find(|role| role.name == node.name) {
            Some(role) => self::role(role, left, top, shape),
            None => html! {},
        },
    }
}

fn role(role: &RoleNow, left: f64, top: f64, shape: &Shape) -> Markup {
    let (class, word) = state(role);
    let lag = role.lag_seconds.map(|lag| format!("lag {}", duration(lag)));
    let under = match (word, lag) {
        (Some(word), _) => word.to_owned(),
        (None, Some(lag)) => lag,
        (None, None) => String::new(),
    };
    let line = points(
        &role.history,
        left + shape.width - 66.0,
        top + 32.0,
        54.0,
        18.0,
    );
    html! {
        a class={ "node role is-" (class) } href="#roles" {
            rect x=(left) y=(top) width=(shape.width) height=(shape.height) rx="12" {}
            @if role.history.len() > 1 { polyline.spark points=(line) {} }
            circle.dot cx=(left + 14.0 + DOT) cy=(top + 17.5) r=(DOT) {}
            text.name x=(left + 14.0 + 3.0 * DOT) y=(top + 22.0) { (shortened(&role.name, 16)) }
            text.figure x=(left + 14.0) y=(top + 50.0) { (rate(role.rate)) }
            text.under x=(left + 14.0) y=(top + 70.0) { (under) }
        }
    }
}

/// The colour, and a word where colour is not all there is to say.
pub(super) fn state(role: &RoleNow) -> (&'static str, Option<&'static str>) {
    match role.state {
        _ if role.breaker_open => ("wrong", Some("held by its breaker")),
        RoleState::Ready => ("fine", None),
        RoleState::PartlyReady => ("waiting", Some("partly ready")),
        RoleState::NotReady => ("wrong", Some("not ready")),
        RoleState::Silent => ("wrong", Some("does not answer")),
        RoleState::NotConfigured => ("none", Some("not configured")),
        RoleState::Unknown => ("none", Some("not looked at yet")),
    }
}

fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let start: String = name.chars().take(most - 1).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::super::layout::tests::{now, role as made, usual};
    use super::*;

    #[test]
    fn the_picture_moves_where_something_flows_and_names_what_does_not_work() {
        let shown = picture(&usual()).into_string();
        assert_eq!(shown.matches("<svg").count(), 2);
        assert!(
            shown.contains("flow events at-2") && shown.contains("flow dead at-1"),
            "{shown}"
        );
        assert!(
            !shown.contains("style="),
            "no style that the policy would refuse"
        );
        assert!(!shown.contains("NaN"));
        let mut roles = vec![
            made("producer", "edge", &[], &["raw"]),
            made("<i>validator</i>", "stage", &["raw"], &["dlq"]),
            made("recovery", "recovery", &["dlq"], &[]),
        ];
        roles[1]["state"] = "silent".into();
        roles[1]["rate"] = 0.0.into();
        let shown = picture(&now(&roles)).into_string();
        assert!(
            shown.contains("does not answer") && shown.contains("&lt;i&gt;validato"),
            "{shown}"
        );
    }

    #[test]
    fn nothing_is_drawn_over_the_edge() {
        let layout = layout(&usual());
        for shape in [&LYING, &STANDING] {
            let (width, height) = shape.size(&layout);
            for node in &layout.nodes {
                let ((x, y), (w, h)) = (shape.middle(node), shape.half(node));
                assert!(
                    x - w >= 0.0 && y - h >= 0.0 && x + w <= width && y + h <= height,
                    "{node:?}"
                );
            }
        }
    }
}
