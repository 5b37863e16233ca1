//! What the roles of this process counted themselves, read from its metrics recorder.

/// All counters at one time.
pub(super) struct Counters(String);

impl Counters {
    pub(super) fn now() -> Self {
        Self(runtime::telemetry::metrics_handle().render())
    }

    /// A counter, summed over its labels.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a counter is a whole number"
    )]
    pub(super) fn sum(&self, name: &str) -> u64 {
        let samples = runtime::exposition::samples(&self.0);
        let values = samples.filter(|sample| sample.name == name);
        values.map(|sample| sample.value as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_its_own_labels_only() {
        let text = "# HELP a_total what\na_total{stage=\"x\",code=\"p\"} 3\na_total{stage=\"y\",code=\"p\"} 4\n\
                    a_total{stage=\"y\",code=\"q\"} 5\na_total_more{code=\"q\"} 100\nb_total 7\n";
        let counters = Counters(text.to_owned());
        assert_eq!(
            (
                counters.sum("a_total"),
                counters.sum("b_total"),
                counters.sum("c_total")
            ),
            (12, 7, 0)
        );
    }
}
