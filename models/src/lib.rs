//! Small models of the state machines that matter, every reachable state of which is checked (`cargo test -p models`).
//!
//! A model has few records and members, and every order of their steps: crashes, outages and rebalances in between, too. Each step names
//! the function of the code that it stands for; a change there is a change here. A model can also be made with one [bug](consumer::Bug): then
//! the checker must find the way to the broken property, which shows that the property says something.
//!
//! - [`consumer`]: offsets are committed only past what has its outcome.
//! - [`replay`]: one claim, one record in the retry topic; and no event with two fates.
//! - [`audit`]: what is called accounted for has its fate, and what is called a gap has none on its way.

pub mod audit;
pub mod consumer;
pub mod replay;

#[cfg(test)]
mod tests {
    use stateright::{Checker, HasDiscoveries, Model};
    use std::fmt::Debug;
    use std::hash::Hash;

    /// Checks every reachable state: all that must hold does, all that must be possible is. Answers how many states there are.
    pub(crate) fn holds<M>(model: M) -> usize
    where
        M: Model + Send + Sync + 'static,
        M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
        M::Action: Clone + Debug + PartialEq + Send + Sync,
    {
        let checked = model.checker().spawn_bfs().join();
        checked.assert_properties();
        assert!(checked.is_done());
        checked.unique_state_count()
    }

    /// The first property that the checker finds broken, by a shortest way.
    pub(crate) fn broken<M>(model: M) -> Option<&'static str>
    where
        M: Model + Send + Sync + 'static,
        M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
        M::Action: Clone + Debug + PartialEq + Send + Sync,
    {
        let checker = model.checker();
        let checked = checker
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let found = checked.discoveries();
        let failed = found.into_iter().find(|(name, _)| {
            checked.discovery_classification(name).to_string() == "counterexample"
        });
        failed.map(|(name, path)| {
            println!("{name}:\n{path}");
            name
        })
    }
}
