//! `eventflow admin views`: typed SQL views over the stored rows, one for each contract.

use persistence::views::database::{self, Plan, State};
use persistence::views::{self, SCHEMA};
use std::path::PathBuf;
use store::{DEADLINE, DatabaseArgs};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Views {
    /// Create the view of each event type, recreate those whose contract has changed, and drop those whose contract is gone; a second run
    /// changes nothing
    #[command(
        after_help = "The views are in the schema events, named by the contract: select * from events.stripe_charge_refunded where amount > 100. \
                      Connect as the user of eventflow admin migrate, who then owns the views. People may read them as members of the role eventflow_reader, \
                      which this creates if the user may: GRANT eventflow_reader TO anna. Run it again with each change of the contracts."
    )]
    Apply {
        #[command(flatten)]
        wanted: Wanted,
        /// Print the SQL, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// List the views and how they differ from the contracts, and change nothing; exit 1 if any does
    Ls(Wanted),
    /// Drop all of these views, and nothing else
    Drop {
        #[command(flatten)]
        database: DatabaseArgs,
        /// Print the SQL, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which views a database should have.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Directory of further event contracts, the one that the validator has
    #[arg(long, env = "EVENTFLOW_CONTRACTS")]
    contracts: Option<PathBuf>,
}

impl Wanted {
    fn views(&self) -> anyhow::Result<Vec<views::View>> {
        self.database.check()?;
        Ok(views::of(&runtime::files::load_contracts(
            self.contracts.as_deref(),
        )?))
    }
}

pub(super) async fn run(config: Views) -> anyhow::Result<()> {
    match config {
        Views::Apply { wanted, dry_run } => {
            change(&wanted.database, &wanted.views()?, dry_run).await
        }
        Views::Drop { database, dry_run } => {
            database.check()?;
            change(&database, &[], dry_run).await
        }
        Views::Ls(wanted) => {
            let plan = compare(&wanted.database, &wanted.views()?).await?;
            print(&plan, |state| match state {
                State::InStep => "in step",
                State::Missing => "missing",
                State::Changed => "changed",
                State::Gone => "its contract is gone",
            });
            let differ = plan
                .steps
                .iter()
                .filter(|step| step.state != State::InStep)
                .count();
            anyhow::ensure!(
                differ == 0,
                "{differ} views are not in step with the contracts; run eventflow admin views apply"
            );
            Ok(())
        }
    }
}

async fn change(
    database: &DatabaseArgs,
    wanted: &[views::View],
    dry_run: bool,
) -> anyhow::Result<()> {
    if dry_run {
        let plan = compare(database, wanted).await?;
        plan.statements()
            .for_each(|statement| println!("{statement};"));
        return Ok(());
    }
    let pool = database::pool(&database.database_url)?;
    let plan = within(database::apply(&pool, wanted)).await?;
    print(&plan, |state| match state {
        State::InStep => "in step",
        State::Missing => "created",
        State::Changed => "changed",
        State::Gone => "dropped",
    });
    if plan.without_reader {
        println!(
            "there is no role {}, and this user may not create it: create it, and run this again, so that others may read",
            views::reader()
        );
    }
    Ok(())
}

async fn compare(database: &DatabaseArgs, wanted: &[views::View]) -> anyhow::Result<Plan> {
    let pool = database::pool(&database.database_url)?;
    within(async {
        let mut connection = pool.acquire().await?;
        database::compare(&mut connection, wanted).await
    })
    .await
}

/// A server may be silent.
async fn within<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(done) => done,
        Err(_) => Err(store::silent().into()),
    }
}

fn print(plan: &Plan, word: impl Fn(State) -> &'static str) {
    for step in &plan.steps {
        println!(
            "{SCHEMA}.{}\t{}\t{}",
            step.view,
            step.contract,
            word(step.state)
        );
    }
}
