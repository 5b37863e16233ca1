//! Numbers of a schema, exact.

use super::read::Keywords;
use super::{Bound, Bounds};
use crate::event::money::Decimal;
use crate::json::Json;

/// The number a JSON value is.
pub(super) fn decimal(json: &Json) -> Option<Decimal> {
    match json {
        Json::Scalar(text) => Decimal::parse(text).ok(),
        Json::Array(_) | Json::Object(_) => None,
    }
}

/// The integer a JSON value is, as JSON Schema means it: 2.0 is one.
pub(super) fn integer(json: &Json) -> Option<i64> {
    i64::try_from(decimal(json)?.rescaled(0)?).ok()
}

impl Keywords<'_> {
    pub(super) fn bounds(&mut self) -> Result<Bounds, String> {
        let least = [
            self.bound("minimum", false)?,
            self.bound("exclusiveMinimum", true)?,
        ];
        let most = [
            self.bound("maximum", false)?,
            self.bound("exclusiveMaximum", true)?,
        ];
        let multiple_of = self.bound("multipleOf", false)?.map(|bound| bound.at);
        if multiple_of.is_some_and(|of| of.unscaled <= 0) {
            return Err(self.fault("multipleOf", "must be above zero"));
        }
        // Of two bounds the narrower counts; at the same number the exclusive one.
        let narrower = |bounds: [Option<Bound>; 2], lower: bool| match bounds {
            [Some(plain), Some(exclusive)] => {
                let plain_is_narrower = if lower {
                    plain.at > exclusive.at
                } else {
                    plain.at < exclusive.at
                };
                Some(if plain_is_narrower { plain } else { exclusive })
            }
            [plain, exclusive] => plain.or(exclusive),
        };
        Ok(Bounds {
            least: narrower(least, true),
            most: narrower(most, false),
            multiple_of,
        })
    }

    fn bound(&mut self, keyword: &str, exclusive: bool) -> Result<Option<Bound>, String> {
        let Some(json) = self.take(keyword) else {
            return Ok(None);
        };
        match decimal(&json) {
            Some(at) => Ok(Some(Bound { at, exclusive })),
            None => Err(self.fault(keyword, "must be a number of at most 38 digits")),
        }
    }
}
