//! Everything on the way from a webhook to its row, running.

use crate::bench::Bench;
use crate::figures::Cpu;
use crate::process::{Process, cpu_of_server};
use crate::world::{World, load};
use contracts::kafka::topics;
use sandbox::postgres::PrivatePostgres;
use sqlx::{Connection, PgConnection};
use std::time::{Duration, Instant};

/// Longest wait for the last fate, beside what the number of events needs.
const SETTLE: Duration = Duration::from_secs(180);

/// A PostgreSQL and a connection to it, whose server's CPU is counted.
pub(crate) struct Database {
    pub(crate) connection: PgConnection,
    backend: u32,
}

impl Database {
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await?;
        Ok(Self {
            connection,
            backend: u32::try_from(backend)?,
        })
    }

    /// CPU time of the whole server.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of_server(self.backend)
    }

    /// How many records persistence has read and settled; none before its tables are there.
    pub(crate) async fn settled(&mut self) -> anyhow::Result<u64> {
        let exists: bool =
            sqlx::query_scalar("SELECT to_regclass('persistence.consumer_offsets') IS NOT NULL")
                .fetch_one(&mut self.connection)
                .await?;
        if !exists {
            return Ok(0);
        }
        let stored =
            "SELECT coalesce(sum(stored + duplicate), 0)::bigint FROM persistence.consumer_offsets";
        let stored: i64 = sqlx::query_scalar(stored)
            .fetch_one(&mut self.connection)
            .await?;
        Ok(u64::try_from(stored)?)
    }
}

/// A private PostgreSQL with fsync.
pub(crate) async fn durable_postgres() -> anyhow::Result<PrivatePostgres> {
    Ok(tokio::task::spawn_blocking(|| PrivatePostgres::start(true)).await??)
}

/// A world with every role of the way.
pub(crate) struct Pipeline {
    pub(crate) world: World,
    /// First the producer. Before the database's owner, or its end would wait for their connections.
    pub(crate) roles: Vec<Process>,
    pub(crate) database: Database,
    pub(crate) address: String,
    pub(crate) postgres: PrivatePostgres,
}

impl Pipeline {
    pub(crate) async fn start(bench: &Bench, partitions: i32) -> anyhow::Result<Self> {
        Self::with(bench, partitions, &[]).await
    }

    /// `sources` are flags of the roles that know the sources.
    pub(crate) async fn with(
        bench: &Bench,
        partitions: i32,
        sources: &[String],
    ) -> anyhow::Result<Self> {
        let world = World::start(bench, partitions).await?;
        let postgres = durable_postgres().await?;
        let (producer, address) = world.producer(sources).await?;
        let mut validator = world.validator_with(sources)?;
        let mut persistence = world.persistence(&postgres.url())?;
        validator.until_ready().await?;
        persistence.until_ready().await?;
        let database = Database::connect(&postgres.url()).await?;
        Ok(Self {
            world,
            roles: vec![producer, validator, persistence],
            database,
            address,
            postgres,
        })
    }

    /// CPU time of every process that the events pass.
    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        let mut cpu: Cpu = self
            .roles
            .iter()
            .map(|role| Ok((role.name, role.cpu()?)))
            .collect::<anyhow::Result<_>>()?;
        cpu.push((self.world.cluster.name(), self.world.cluster.cpu()?));
        cpu.push(("postgresql", self.database.cpu()?));
        Ok(cpu)
    }

    /// Connections are made and schemas known before anything counts. How many events that took.
    pub(crate) async fn warm_up(&mut self) -> anyhow::Result<u64> {
        load(&self.address, &["--rate=1000", "--duration=1s"]).await?;
        self.until_settled().await
    }

    /// Waits until every raw record is a row, a duplicate or a dead letter; how many there are.
    pub(crate) async fn until_settled(&mut self) -> anyhow::Result<u64> {
        let raw = self.world.count(topics::RAW).await?;
        let deadline = Instant::now() + SETTLE + Duration::from_millis(raw);
        loop {
            let settled = self.database.settled().await? + self.world.count(topics::DLQ).await?;
            if settled >= raw {
                return Ok(settled);
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "only {settled} of {raw} events have a fate in time"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
