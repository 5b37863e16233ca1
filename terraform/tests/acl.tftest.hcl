mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

# Mocks have no ephemeral resources: this provider is real, and a plan never calls it.
provider "aws" {
  alias                       = "passwords"
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

variables {
  account_id      = "123456789012"
  image_digest    = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
  domain_name     = "hooks.example.com"
  certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
}

# The ACLs, written by hand a second time: a change of infra/kafka/pipeline.json must be made here, too.
run "msk" {
  command = plan
  variables {
    profile = "production"
  }

  assert {
    condition = toset(flatten([for s in module.identity.policies["producer"].kafka : [for a in s.Action : [for r in s.Resource : "${a} ${split("/", r)[length(split("/", r)) - 1]}"]]])) == toset([
      "kafka-cluster:Connect 11111111-2222-3333-4444-555555555555-1",
      "kafka-cluster:WriteDataIdempotently 11111111-2222-3333-4444-555555555555-1",
      "kafka-cluster:DescribeTopic events.raw.v1", "kafka-cluster:WriteData events.raw.v1",
      "kafka-cluster:DescribeTopic events.rejections.v1", "kafka-cluster:WriteData events.rejections.v1",
    ])
    error_message = "The producer writes events.raw.v1 and events.rejections.v1, and does nothing else: ${jsonencode(module.identity.policies["producer"].kafka)}"
  }
  assert {
    condition = toset(flatten([for s in module.identity.policies["persistence"].kafka : [for a in s.Action : [for r in s.Resource : "${a} ${split("/", r)[length(split("/", r)) - 1]}"]]])) == toset([
      "kafka-cluster:Connect 11111111-2222-3333-4444-555555555555-1",
      "kafka-cluster:WriteDataIdempotently 11111111-2222-3333-4444-555555555555-1",
      "kafka-cluster:DescribeTopic events.validated.v1", "kafka-cluster:ReadData events.validated.v1",
      "kafka-cluster:DescribeTopic events.retry.eventflow-persistence.v1", "kafka-cluster:ReadData events.retry.eventflow-persistence.v1",
      "kafka-cluster:DescribeTopic events.dlq.v1", "kafka-cluster:WriteData events.dlq.v1",
      "kafka-cluster:AlterGroup eventflow-persistence", "kafka-cluster:DescribeGroup eventflow-persistence",
    ])
    error_message = "Persistence reads validated and its retry topic, writes dead letters, is in its group: ${jsonencode(module.identity.policies["persistence"].kafka)}"
  }
  # Who may write what, over all roles.
  assert {
    condition = toset(flatten([for role, p in module.identity.policies : [for s in p.kafka : [for r in s.Resource : "${role} ${split("/", r)[3]}" if length(split("/", r)) == 4] if contains(s.Action, "kafka-cluster:WriteData")]])) == toset([
      "producer events.raw.v1", "producer events.rejections.v1", "validator events.validated.v1", "validator events.dlq.v1", "persistence events.dlq.v1",
      "recovery events.retry.eventflow-validator.v1", "recovery events.retry.eventflow-persistence.v1",
    ])
    error_message = "Another role may write, or to another topic."
  }
  # Who may use transactions, and under which ids, over all roles.
  assert {
    condition = toset(flatten([for role, p in module.identity.policies : [for s in p.kafka : [for r in s.Resource : "${role} ${split("/", r)[3]}"] if contains(s.Action, "kafka-cluster:AlterTransactionalId")]])) == toset([
      "validator eventflow-validator-*",
    ])
    error_message = "Another role may use transactions, or under other ids."
  }
  # Who may read what, over all roles.
  assert {
    condition = toset(flatten([for role, p in module.identity.policies : [for s in p.kafka : [for r in s.Resource : "${role} ${split("/", r)[3]}"] if contains(s.Action, "kafka-cluster:ReadData")]])) == toset([
      "validator events.raw.v1", "validator events.retry.eventflow-validator.v1", "analytics events.validated.v1",
      "persistence events.validated.v1", "persistence events.retry.eventflow-persistence.v1",
      "recovery events.raw.v1", "recovery events.validated.v1", "recovery events.dlq.v1", "recovery events.rejections.v1",
      "recovery events.retry.eventflow-validator.v1", "recovery events.retry.eventflow-persistence.v1",
      "ops events.raw.v1", "ops events.validated.v1", "ops events.dlq.v1", "ops events.rejections.v1",
      "ops events.retry.eventflow-validator.v1", "ops events.retry.eventflow-persistence.v1",
    ])
    error_message = "Another role may read, or another topic."
  }
  assert {
    condition = alltrue(flatten([for p in values(module.identity.policies) : [for s in p.kafka : [for r in s.Resource :
      can(regex("^arn:aws:kafka:us-east-1:123456789012:((cluster|topic|group)/eventflow-production/11111111-2222-3333-4444-555555555555-1(/[A-Za-z0-9._-]+)?|transactional-id/eventflow-production/11111111-2222-3333-4444-555555555555-1/[A-Za-z0-9._-]+-[*])$", r))
    ]]]))
    error_message = "A Kafka right that is not for one cluster, topic or group of this stack by name, or for the transactional ids of one group."
  }
  assert {
    condition     = !anytrue(flatten([for p in values(module.identity.policies) : [for s in p.kafka : [for a in s.Action : strcontains(a, "*") || strcontains(a, "Delete")]]]))
    error_message = "A Kafka right with a wildcard, or to delete."
  }
  assert {
    condition     = !anytrue(flatten([for s in module.identity.policies["ops"].kafka : [for a in s.Action : strcontains(a, "Write") || endswith(a, "AlterGroup")]]))
    error_message = "The ops role keeps topics and audits; it writes no record and moves no group."
  }
  assert {
    condition = toset(flatten([for s in module.identity.policies["ops"].kafka : [for r in s.Resource : split("/", r)[3]] if contains(s.Action, "kafka-cluster:DescribeGroup")])) == toset([
      "eventflow-validator", "eventflow-persistence",
    ])
    error_message = "An audit needs the offsets of the validator and of persistence."
  }
  assert {
    condition     = length(module.identity.policies["registry"].kafka) == 0
    error_message = "The registry does not talk to Kafka."
  }
  assert {
    condition = (module.kafka.guards.msk.client_broker == "TLS" && module.kafka.guards.msk.in_cluster && !module.kafka.guards.msk.unauthenticated
    && module.kafka.guards.msk.iam && startswith(module.kafka.guards.msk.at_rest, "arn:aws:kms:"))
    error_message = "MSK: TLS only, IAM only, encrypted at rest with our key."
  }
  assert {
    condition = alltrue([for wanted in ["auto.create.topics.enable=false", "allow.everyone.if.no.acl.found=false", "min.insync.replicas=2", "unclean.leader.election.enable=false"] :
    contains(module.kafka.guards.msk.properties, wanted)])
    error_message = "MSK's configuration: ${jsonencode(module.kafka.guards.msk.properties)}"
  }
  # No `*` except the one that AWS requires.
  assert {
    condition = alltrue(flatten([for p in values(module.identity.policies) : [for s in p.start :
    s.Sid == "EcrLogin" ? join(",", s.Action) == "ecr:GetAuthorizationToken" : alltrue([for r in flatten([s.Resource]) : r != "*"])]]))
    error_message = "An execution role with Resource \"*\" for more than the log-in to ECR."
  }
}

run "own_broker" {
  command = plan
  variables {
    profile = "demo"
  }

  assert {
    condition     = alltrue([for p in values(module.identity.policies) : length(p.kafka) == 0])
    error_message = "With a broker of our own no task needs any right in AWS."
  }
  # Every role's own password, and nobody else's.
  assert {
    condition = { for role, p in module.identity.policies : role => toset(flatten([for s in p.start : s.Resource if s.Sid == "ReadItsSecrets"])) } == {
      producer    = toset([module.secrets.arns["kafka/producer"], module.secrets.arns["webhook"]])
      validator   = toset([module.secrets.arns["kafka/validator"]])
      analytics   = toset([module.secrets.arns["kafka/analytics"]])
      persistence = toset([module.secrets.arns["kafka/persistence"], module.secrets.arns["database/persistence"]])
      recovery    = toset([module.secrets.arns["kafka/recovery"], module.secrets.arns["database/recovery"], module.secrets.arns["webhook"]])
      registry    = toset([])
      simulator   = toset([module.secrets.arns["webhook"]])
      ops = toset([module.secrets.arns["kafka/admin"], module.secrets.arns["webhook"], module.secrets.arns["database/persistence"],
      module.secrets.arns["database/recovery"], module.database.master_secret_arn])
    }
    error_message = "A role's task is started with other secrets than its own."
  }
  assert {
    condition = alltrue(flatten([for p in values(module.identity.policies) : [for s in p.trust :
    s.Principal.Service == "ecs-tasks.amazonaws.com" && s.Condition.StringEquals["aws:SourceAccount"] == "123456789012"]]))
    error_message = "A role that others than this account's tasks may take on."
  }
  assert {
    condition = (module.kafka.guards.ec2.metadata_tokens == "required" && module.kafka.guards.ec2.disks_encrypted
    && alltrue(flatten([for s in module.kafka.guards.ec2.may : [for r in flatten([s.Resource]) : r != "*"]])))
    error_message = "The own broker: IMDSv2 only, encrypted disks, no right to everything."
  }
  assert {
    condition     = module.kafka.guards.ec2.user_data_bytes <= 16384
    error_message = "User data is at most 16 KiB; it is ${module.kafka.guards.ec2.user_data_bytes} bytes."
  }
  assert {
    condition = toset(flatten([for s in module.kafka.guards.ec2.may : s.Resource if s.Sid == "ReadItsUsersPasswords"])) == toset([for user in ["admin", "producer", "validator", "analytics", "persistence", "recovery"] :
    module.secrets.arns["kafka/${user}"]])
    error_message = "The broker reads its users' passwords, and neither the webhook's secret nor the database's."
  }
}
