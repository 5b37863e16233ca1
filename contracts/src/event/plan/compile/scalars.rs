//! Texts, numbers and amounts, and the Avro types that hold them.

use super::Compiler;
use crate::event::derive;
use crate::event::money::AmountRule;
use crate::event::plan::{CurrencyAt, Rule, WriteNumber, WriteText};
use crate::event::schema::{self, TextKind, TextSchema};
use apache_avro::Schema as Avro;
use apache_avro::schema::{DecimalSchema, InnerDecimalSchema, UuidSchema};

impl Compiler<'_> {
    pub(super) fn text(&self, text: TextSchema, avro: Option<&Avro>) -> Result<Rule, String> {
        let write = match (text.kind, avro) {
            (TextKind::Time, None | Some(Avro::TimestampMicros)) => WriteText::Micros,
            (TextKind::Date, None | Some(Avro::Date)) => WriteText::Days,
            (TextKind::Uuid, Some(Avro::Uuid(UuidSchema::String)))
            | (_, None | Some(Avro::String)) => WriteText::Text,
            (_, Some(Avro::Enum(symbols))) => {
                let known = |one: &String| symbols.symbols.contains(one);
                if !text
                    .allowed
                    .as_ref()
                    .is_some_and(|all| all.iter().all(known))
                {
                    return Err(self.unfit(
                        "is an enum, so schema.json must list its values (enum), and each must be a symbol here",
                    ));
                }
                WriteText::Enum(symbols.symbols.clone())
            }
            (TextKind::Time, Some(other)) => return Err(self.mismatch("a time", other)),
            (TextKind::Date, Some(other)) => return Err(self.mismatch("a date", other)),
            (_, Some(other)) => return Err(self.mismatch("a string", other)),
        };
        Ok(Rule::Text { text, write })
    }

    pub(super) fn number(&self, integer: bool, avro: Option<&Avro>) -> Result<WriteNumber, String> {
        match (integer, avro) {
            (true, None | Some(Avro::Long)) => Ok(WriteNumber::Long),
            (true, Some(Avro::Int)) => Ok(WriteNumber::Int),
            (false, None | Some(Avro::Double)) => Ok(WriteNumber::Double),
            (_, Some(Avro::Decimal(decimal))) => {
                let (precision, scale, size) = self.decimal(decimal)?;
                if integer && scale > 0 {
                    return Err(self.unfit("is an integer, so its scale must be 0"));
                }
                Ok(WriteNumber::Decimal {
                    precision,
                    scale,
                    size,
                })
            }
            (true, Some(other)) => Err(self.mismatch("an integer", other)),
            (false, Some(other)) => Err(self.mismatch("a number", other)),
        }
    }

    pub(super) fn amount(
        &self,
        amount: schema::AmountSchema,
        avro: Option<&Avro>,
    ) -> Result<Rule, String> {
        let (precision, scale, size) = match avro {
            None => (derive::PRECISION, derive::scale(&amount.unit), None),
            Some(Avro::Decimal(decimal)) => self.decimal(decimal)?,
            Some(other) => {
                return Err(self.mismatch("an amount, which must be a decimal", other));
            }
        };
        let currency = self
            .around
            .iter()
            .rev()
            .enumerate()
            .find_map(|(out, around)| {
                let (field, case) = around.currency?;
                Some(CurrencyAt { out, field, case })
            });
        if currency.is_none() && matches!(amount.unit, schema::Unit::Minor(_)) {
            return Err(format!(
                "schema.json: {}: counts minor units, but no field beside it or around it has x-eventflow \"currency\"; mark that field, or say how many \"digits\" the unit has",
                self.pointer()
            ));
        }
        Ok(Rule::Amount {
            number: amount.number,
            text: amount.text,
            rule: AmountRule {
                bounds: amount.bounds,
                unit: amount.unit,
                precision,
                scale,
            },
            currency,
            size,
        })
    }

    /// Precision, scale, and the bytes of a fixed.
    fn decimal(&self, decimal: &DecimalSchema) -> Result<(u32, u32, Option<usize>), String> {
        let size = match &decimal.inner {
            InnerDecimalSchema::Bytes => None,
            InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
        };
        match (
            u32::try_from(decimal.precision),
            u32::try_from(decimal.scale),
        ) {
            (Ok(precision @ ..=38), Ok(scale)) => Ok((precision, scale, size)),
            (_, _) => Err(self.unfit("a decimal has at most 38 digits here")),
        }
    }
}
