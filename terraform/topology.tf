# The roles, what each may do, and who may connect to whom. Everything else follows from this file and infra/kafka/pipeline.json.
locals {
  pipeline = jsondecode(file("${path.module}/../infra/kafka/pipeline.json"))

  # The pipeline's defaults, written out: contracts/src/pipeline.rs defines them.
  stages = { for stage in local.pipeline.stages : stage.name => {
    group   = stage.group
    reads   = stage.reads
    writes  = try(stage.writes, [])
    retry   = try([stage.retry], []) # none: it dead-letters nothing, and may write nothing
    on_path = try(stage.on_path, false)
    offsets = try(stage.offsets, "kafka")
  } }
  retry_topics = flatten([for stage in values(local.stages) : stage.retry])
  store_stages = [for name, stage in local.stages : name if stage.offsets == "database"]

  # Roles that run all the time, and the one-off role ops: `eventflow admin ...`, `smoke`, `dlq ...` as tasks with another command.
  services = toset(concat(["producer", "recovery", "registry"], keys(local.stages), local.settings.simulator ? ["simulator"] : []))
  roles    = setunion(local.services, ["ops"])

  # What each may do on Kafka, as `Pipeline::principals` has it. On our own broker, ops is the superuser admin.
  principals = merge(
    {
      producer = { write = [local.pipeline.raw, local.pipeline.rejections], read = [], groups = [], describe_groups = [], transactional_ids = [] }
      recovery = {
        write             = local.retry_topics
        read              = distinct(concat([local.pipeline.raw, local.pipeline.dead_letters, local.pipeline.rejections], values(local.stages)[*].reads, local.retry_topics))
        groups            = [local.pipeline.recovery.group, local.pipeline.recovery.rejections_group]
        describe_groups   = [for stage in values(local.stages) : stage.group if length(stage.retry) > 0 || stage.on_path]
        transactional_ids = []
      }
    },
    { for name, stage in local.stages : name => {
      write             = concat(stage.writes, length(stage.retry) > 0 ? [local.pipeline.dead_letters] : [])
      read              = concat([stage.reads], stage.retry)
      groups            = [stage.group]
      describe_groups   = []
      transactional_ids = length(stage.writes) > 0 ? ["${stage.group}-"] : []
    } },
  )
  on_kafka    = setunion(keys(local.principals), ["ops"])
  on_registry = setunion(keys(local.stages), ["recovery", "ops"])
  # Each logs in to the database as a user of its own, eventflow_<role>.
  database_users = concat(local.store_stages, ["recovery"])
  on_database    = setunion(local.database_users, ["ops"])
  on_webhooks    = toset(concat(["producer", "recovery", "ops"], local.settings.simulator ? ["simulator"] : []))

  own_broker = local.settings.kafka_kind == "ec2"
  port       = { producer = 8000, health = 9100, registry = 8081, database = 5432, kafka = local.own_broker ? 9096 : 9098 }

  flows = concat(
    [for role in local.on_kafka : { from = role, to = "kafka", port = local.port.kafka }],
    [for role in local.on_registry : { from = role, to = "registry", port = local.port.registry }],
    [for role in local.on_database : { from = role, to = "database", port = local.port.database }],
    [for from in concat(["edge", "ops"], local.settings.simulator ? ["simulator"] : []) : { from = from, to = "producer", port = local.port.producer }],
    local.settings.edge == "alb" ? [{ from = "edge", to = "producer", port = local.port.health }] : [],
  )

  security_groups = merge(
    { for role in local.services : role => "Tasks of ${role}" },
    { ops = "One-off tasks", kafka = "Kafka brokers", database = "PostgreSQL", edge = "What is public: load balancer, or the API gateway's link" },
  )

  secrets = merge(
    { "webhook" = "Signing secret of the built-in source payment-authorized" },
    { for role in local.database_users : "database/${role}" => "Password of the database user eventflow_${role}" },
    local.own_broker ? { for user in setunion(keys(local.principals), ["admin"]) : "kafka/${user}" => "Password of the Kafka user ${user}" } : {},
  )
  # The secrets that a role's task starts with; it can read no others.
  secrets_of = { for role in local.roles : role => concat(
    local.own_broker && contains(local.on_kafka, role) ? ["kafka/${role == "ops" ? "admin" : role}"] : [],
    contains(local.on_webhooks, role) ? ["webhook"] : [],
    contains(local.database_users, role) ? ["database/${role}"] : [],
    role == "ops" ? [for user in local.database_users : "database/${user}"] : [],
  ) }
}
