//! A cluster's access control lists, compared with what the pipeline's principals need and brought to it.

use anyhow::Context;
use contracts::pipeline::Pipeline;
use kafka_protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use kafka_protocol::messages::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use kafka_protocol::messages::describe_acls_request::DescribeAclsRequest;
use kafka_protocol::protocol::StrBytes;
use runtime::admin::wire::{Connection, check};
use runtime::kafka::{KafkaArgs, Security};
use std::collections::BTreeSet;
use std::fmt;

/// Version of the requests: understood by Kafka 2.4 and later.
const VERSION: i16 = 2;
/// Kafka's error of a cluster without an authorizer.
const SECURITY_DISABLED: i16 = 54;
// The numbers of Kafka's ResourceType, PatternType, AclOperation and AclPermissionType.
const ANY: i8 = 1;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const ALLOW: i8 = 3;

/// What an ACL is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Resource {
    Topic,
    Group,
    TransactionalId,
    /// Any other, by Kafka's number
    Other(i8),
}

impl Resource {
    fn number(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Group => 3,
            Self::TransactionalId => 5,
            Self::Other(number) => number,
        }
    }

    fn of(number: i8) -> Self {
        [Self::Topic, Self::Group, Self::TransactionalId]
            .into_iter()
            .find(|known| known.number() == number)
            .unwrap_or(Self::Other(number))
    }
}

/// What it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Read,
    Write,
    Describe,
    /// Any other, by Kafka's number
    Other(i8),
}

impl Operation {
    fn number(self) -> i8 {
        match self {
            Self::Read => 3,
            Self::Write => 4,
            Self::Describe => 8,
            Self::Other(number) => number,
        }
    }

    fn of(number: i8) -> Self {
        let known = [Self::Read, Self::Write, Self::Describe];
        known
            .into_iter()
            .find(|operation| operation.number() == number)
            .unwrap_or(Self::Other(number))
    }
}

/// One access control list entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Acl {
    principal: String,
    resource: Resource,
    name: String,
    pattern: i8,
    host: String,
    operation: Operation,
    permission: i8,
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let may = if self.permission == ALLOW {
            "may"
        } else {
            "may not"
        };
        write!(
            f,
            "{} {may} {:?} {:?} {}",
            self.principal, self.operation, self.resource, self.name
        )?;
        if self.pattern != LITERAL {
            write!(f, "*")?;
        }
        if self.host != "*" {
            write!(f, " from {}", self.host)?;
        }
        Ok(())
    }
}

/// The principals' names on the cluster, and the wildcard principal: an ACL of theirs that the pipeline does not need is unexpected.
pub(super) fn principals(pipeline: &Pipeline, principal: &str) -> BTreeSet<String> {
    let rights = pipeline.principals();
    let ours = rights.keys().map(|role| principal.replace("{}", role));
    ours.chain(["User:*".to_owned()]).collect()
}

/// Every ACL the principals need. Read and write include describe, and writing includes the idempotent producer's right since Kafka 3.0.
pub(super) fn wanted(pipeline: &Pipeline, principal: &str) -> BTreeSet<Acl> {
    let mut all = BTreeSet::new();
    for (role, rights) in &pipeline.principals() {
        let (write, read, describe) = (Operation::Write, Operation::Read, Operation::Describe);
        let lists = [
            (Resource::Topic, LITERAL, write, &rights.write),
            (Resource::Topic, LITERAL, read, &rights.read),
            (Resource::Group, LITERAL, read, &rights.groups),
            (Resource::Group, LITERAL, describe, &rights.describe_groups),
            (
                Resource::TransactionalId,
                PREFIXED,
                write,
                &rights.transactional_ids,
            ),
        ];
        for (resource, pattern, operation, names) in lists {
            all.extend(names.iter().map(|name| Acl {
                principal: principal.replace("{}", role),
                resource,
                name: name.clone(),
                pattern,
                host: "*".to_owned(),
                operation,
                permission: ALLOW,
            }));
        }
    }
    all
}

/// How a cluster's ACLs differ from those the pipeline needs.
pub(super) enum Acls {
    /// The cluster has no ACLs, and why
    Elsewhere(&'static str),
    /// ACLs that are missing, and unexpected ACLs of our principals
    Known {
        connection: Box<Connection>,
        missing: Vec<Acl>,
        unexpected: Vec<Acl>,
    },
}

impl Acls {
    pub(super) async fn compare(
        mut connection: Connection,
        kafka: &KafkaArgs,
        ours: &BTreeSet<String>,
        wanted: &BTreeSet<Acl>,
    ) -> anyhow::Result<Self> {
        if kafka.kafka_security == Security::AwsMskIam {
            return Ok(Self::Elsewhere(
                "this cluster has IAM policies instead of ACLs",
            ));
        }
        let all = DescribeAclsRequest::default()
            .with_resource_type_filter(ANY)
            .with_resource_name_filter(None)
            .with_principal_filter(None)
            .with_host_filter(None)
            .with_pattern_type_filter(ANY)
            .with_operation(ANY)
            .with_permission_type(ANY);
        let answer = connection.ask(&all, VERSION).await?;
        if answer.error_code == SECURITY_DISABLED {
            return Ok(Self::Elsewhere(
                "this cluster has no authorizer: every client may do everything",
            ));
        }
        check(answer.error_code, answer.error_message.as_deref())
            .context("cannot list the ACLs")?;
        let mut found = BTreeSet::new();
        for resource in answer.resources {
            for acl in resource
                .acls
                .into_iter()
                .filter(|acl| ours.contains(acl.principal.as_str()))
            {
                found.insert(Acl {
                    principal: acl.principal.to_string(),
                    resource: Resource::of(resource.resource_type),
                    name: resource.resource_name.to_string(),
                    pattern: resource.pattern_type,
                    host: acl.host.to_string(),
                    operation: Operation::of(acl.operation),
                    permission: acl.permission_type,
                });
            }
        }
        let (missing, unexpected) = (
            wanted.difference(&found).cloned().collect(),
            found.difference(wanted).cloned().collect(),
        );
        Ok(Self::Known {
            connection: Box::new(connection),
            missing,
            unexpected,
        })
    }

    /// Prints the differences; how many there are.
    pub(super) fn report(&self) -> usize {
        match self {
            Self::Elsewhere(why) => {
                println!("acls\t{why}");
                0
            }
            Self::Known {
                missing,
                unexpected,
                ..
            } => {
                missing
                    .iter()
                    .for_each(|acl| println!("acls\tmissing ACL: {acl}"));
                unexpected
                    .iter()
                    .for_each(|acl| println!("acls\tunexpected ACL: {acl}"));
                if missing.is_empty() && unexpected.is_empty() {
                    println!("acls\tin sync");
                }
                missing.len() + unexpected.len()
            }
        }
    }

    /// Creates the missing ACLs, then deletes the unexpected ones.
    pub(super) async fn apply(self) -> anyhow::Result<()> {
        let Self::Known {
            mut connection,
            missing,
            unexpected,
        } = self
        else {
            self.report();
            return Ok(());
        };
        if !missing.is_empty() {
            let creations = missing.iter().map(creation).collect();
            let answer = connection
                .ask(
                    &CreateAclsRequest::default().with_creations(creations),
                    VERSION,
                )
                .await?;
            anyhow::ensure!(
                answer.results.len() == missing.len(),
                "the broker answered about other ACLs than it was sent; run this again"
            );
            for (acl, result) in missing.iter().zip(&answer.results) {
                check(result.error_code, result.error_message.as_deref())
                    .with_context(|| format!("cannot create ACL: {acl}"))?;
                println!("acls\tcreated ACL: {acl}");
            }
        }
        if !unexpected.is_empty() {
            let filters = unexpected.iter().map(filter).collect();
            let answer = connection
                .ask(&DeleteAclsRequest::default().with_filters(filters), VERSION)
                .await?;
            anyhow::ensure!(
                answer.filter_results.len() == unexpected.len(),
                "the broker answered about other ACLs than it was sent; run this again"
            );
            for (acl, result) in unexpected.iter().zip(&answer.filter_results) {
                check(result.error_code, result.error_message.as_deref())
                    .with_context(|| format!("cannot delete ACL: {acl}"))?;
                for one in &result.matching_acls {
                    check(one.error_code, one.error_message.as_deref())
                        .with_context(|| format!("cannot delete ACL: {acl}"))?;
                }
                println!("acls\tdeleted ACL: {acl}");
            }
        }
        if missing.is_empty() && unexpected.is_empty() {
            println!("acls\tin sync");
        }
        Ok(())
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn creation(acl: &Acl) -> AclCreation {
    AclCreation::default()
        .with_resource_type(acl.resource.number())
        .with_resource_name(text(&acl.name))
        .with_resource_pattern_type(acl.pattern)
        .with_principal(text(&acl.principal))
        .with_host(text(&acl.host))
        .with_operation(acl.operation.number())
        .with_permission_type(acl.permission)
}

fn filter(acl: &Acl) -> DeleteAclsFilter {
    DeleteAclsFilter::default()
        .with_resource_type_filter(acl.resource.number())
        .with_resource_name_filter(Some(text(&acl.name)))
        .with_pattern_type_filter(acl.pattern)
        .with_principal_filter(Some(text(&acl.principal)))
        .with_host_filter(Some(text(&acl.host)))
        .with_operation(acl.operation.number())
        .with_permission_type(acl.permission)
}
