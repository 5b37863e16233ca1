//! Changes of plain values: what they may be, and what they mean.

use super::{Breaks, Walk};
use crate::event::money::Decimal;
use crate::event::schema::{
    AmountSchema, Bound, Bounds, Case, MAX_ID_LENGTH, NumberSchema, TextKind, TextSchema, Unit,
};

impl Walk {
    pub(super) fn text(&mut self, old: &TextSchema, new: &TextSchema) {
        if old.kind != new.kind {
            let was = format!("was {}, is {}", kind_name(old.kind), kind_name(new.kind));
            let (narrower, wider) = (
                !kind_within(old.kind, new.kind),
                !kind_within(new.kind, old.kind),
            );
            self.compare(narrower, wider, || was);
        }
        self.compare(new.least > old.least, new.least < old.least, || {
            format!("minLength was {}, is {}", old.least, new.least)
        });
        // An id is bounded without a word, which its kind says already.
        let most = |text: &TextSchema| match (text.kind, text.most) {
            (TextKind::Id, MAX_ID_LENGTH) => usize::MAX,
            (_, most) => most,
        };
        self.most("maxLength", most(old), most(new));
        self.allowed(old.allowed.as_deref(), new.allowed.as_deref());
    }

    pub(super) fn number(&mut self, old: &NumberSchema, new: &NumberSchema) {
        self.compare(
            new.integer && !old.integer,
            old.integer && !new.integer,
            || {
                let name = |integer: bool| if integer { "an integer" } else { "a number" };
                format!("was {}, is {}", name(old.integer), name(new.integer))
            },
        );
        self.bounds(&old.bounds, &new.bounds);
        self.allowed(old.allowed.as_deref(), new.allowed.as_deref());
    }

    pub(super) fn amount(&mut self, old: &AmountSchema, new: &AmountSchema) {
        if old.unit != new.unit {
            let was = format!(
                "was in {}, is in {}",
                unit_name(&old.unit),
                unit_name(&new.unit)
            );
            self.say(Breaks::Both, was);
        }
        for (name, before, after) in [
            ("numbers", old.number, new.number),
            ("texts", old.text, new.text),
        ] {
            self.compare(before && !after, after && !before, || {
                let takes = if after { "takes" } else { "takes no" };
                format!("{takes} {name} now")
            });
        }
        // Without a lower bound it must be above zero.
        let with_default = |bounds: &Bounds| {
            let above_zero = Bound {
                at: Decimal {
                    unscaled: 0,
                    scale: 0,
                },
                exclusive: true,
            };
            Bounds {
                least: bounds.least.or(Some(above_zero)),
                ..bounds.clone()
            }
        };
        self.bounds(&with_default(&old.bounds), &with_default(&new.bounds));
    }

    fn bounds(&mut self, old: &Bounds, new: &Bounds) {
        let old_fits = lower_within(old.least, new.least);
        let new_fits = lower_within(new.least, old.least);
        self.compare(!old_fits, !new_fits, || {
            let words = ["minimum", "exclusiveMinimum"];
            format!(
                "was {}, is {}",
                bound_name(old.least, words),
                bound_name(new.least, words)
            )
        });
        let old_fits = upper_within(old.most, new.most);
        let new_fits = upper_within(new.most, old.most);
        self.compare(!old_fits, !new_fits, || {
            let words = ["maximum", "exclusiveMaximum"];
            format!(
                "was {}, is {}",
                bound_name(old.most, words),
                bound_name(new.most, words)
            )
        });
        let old_fits = multiple_within(old.multiple_of, new.multiple_of);
        let new_fits = multiple_within(new.multiple_of, old.multiple_of);
        self.compare(!old_fits, !new_fits, || {
            let name = |of: Option<Decimal>| of.map_or("none".to_owned(), |of| of.to_string());
            format!(
                "multipleOf was {}, is {}",
                name(old.multiple_of),
                name(new.multiple_of)
            )
        });
    }

    pub(super) fn most(&mut self, keyword: &str, old: usize, new: usize) {
        self.compare(new < old, new > old, || {
            let name = |most: usize| match most {
                usize::MAX => "none".to_owned(),
                most => most.to_string(),
            };
            format!("{keyword} was {}, is {}", name(old), name(new))
        });
    }

    pub(super) fn allowed<T: PartialEq + std::fmt::Display>(
        &mut self,
        old: Option<&[T]>,
        new: Option<&[T]>,
    ) {
        let (old, new) = match (old, new) {
            (None, None) => return,
            (Some(_), None) => return self.say(Breaks::Forward, "takes any value now"),
            (None, Some(new)) => {
                return self.say(
                    Breaks::Backward,
                    format!("takes only {} now", list(new.iter())),
                );
            }
            (Some(old), Some(new)) => (old, new),
        };
        let gone = list(old.iter().filter(|one| !new.contains(one)));
        let more = list(new.iter().filter(|one| !old.contains(one)));
        if !gone.is_empty() {
            self.say(Breaks::Backward, format!("no longer takes {gone}"));
        }
        if !more.is_empty() {
            self.say(Breaks::Forward, format!("takes {more} too"));
        }
    }
}

fn list<'t, T: std::fmt::Display + 't>(values: impl Iterator<Item = &'t T>) -> String {
    values
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Every text of one kind is of the other.
fn kind_within(one: TextKind, other: TextKind) -> bool {
    let is_filled = matches!(
        one,
        TextKind::Uuid | TextKind::Date | TextKind::Time | TextKind::Currency(_)
    );
    one == other
        || other == TextKind::Plain
        || (is_filled && other == TextKind::Id)
        || (matches!(one, TextKind::Currency(_)) && other == TextKind::Currency(Case::Any))
}

fn kind_name(kind: TextKind) -> &'static str {
    match kind {
        TextKind::Plain => "a string",
        TextKind::Id => "an id",
        TextKind::Currency(Case::Upper) => "a currency in capital letters",
        TextKind::Currency(Case::Lower) => "a currency in lower-case letters",
        TextKind::Currency(Case::Any) => "a currency",
        TextKind::Time => "a date-time",
        TextKind::Date => "a date",
        TextKind::Uuid => "a uuid",
    }
}

fn unit_name(unit: &Unit) -> String {
    match unit {
        Unit::Major => "major units".to_owned(),
        Unit::Minor(own) if own.is_empty() => "minor units".to_owned(),
        Unit::Minor(own) => format!("minor units, with digits of its own for {own:?}"),
        Unit::Fixed(digits) => format!("units of {digits} digits"),
    }
}

fn bound_name(bound: Option<Bound>, [plain, exclusive]: [&str; 2]) -> String {
    match bound {
        None => format!("without {plain}"),
        Some(bound) if bound.exclusive => format!("{exclusive} {}", bound.at),
        Some(bound) => format!("{plain} {}", bound.at),
    }
}

/// Every number above the one bound is above the other.
fn lower_within(one: Option<Bound>, other: Option<Bound>) -> bool {
    match (one, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(one), Some(other)) => {
            one.at > other.at || (one.at == other.at && (one.exclusive || !other.exclusive))
        }
    }
}

fn upper_within(one: Option<Bound>, other: Option<Bound>) -> bool {
    match (one, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(one), Some(other)) => {
            one.at < other.at || (one.at == other.at && (one.exclusive || !other.exclusive))
        }
    }
}

fn multiple_within(one: Option<Decimal>, other: Option<Decimal>) -> bool {
    match (one, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(one), Some(other)) => {
            let scale = one.scale.max(other.scale);
            match (one.rescaled(scale), other.rescaled(scale)) {
                (Some(one), Some(other)) if other != 0 => one % other == 0,
                (_, _) => false,
            }
        }
    }
}
