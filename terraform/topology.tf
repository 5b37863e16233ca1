# Who there is, what each may do, and who may talk to whom. Everything else is derived from here and from infra/kafka/pipeline.json.
locals {
  topology = jsondecode(file("${path.module}/../infra/kafka/pipeline.json"))

  # Roles that run all the time, and the one-off role ops: `eventflow admin ...`, `smoke`, `dlq ...` as tasks with another command.
  services = toset(concat(["producer", "validator", "analytics", "persistence", "recovery", "registry"], local.settings.simulator ? ["simulator"] : []))
  roles    = setunion(local.services, ["ops"])

  # Principals of the matrix that this stack runs. On the own broker ops is the superuser admin.
  principals  = { for role, may in local.topology.principals : role => may if contains(local.services, role) }
  on_kafka    = setunion(keys(local.principals), ["ops"])
  on_registry = toset(["validator", "analytics", "persistence", "recovery", "ops"])
  on_database = toset(["persistence", "recovery", "ops"])
  on_webhooks = toset(concat(["producer", "recovery", "ops"], local.settings.simulator ? ["simulator"] : []))

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
    {
      "webhook"              = "Signing secret of the built-in source payment-authorized"
      "database/persistence" = "Password of the database user eventflow_persistence"
      "database/recovery"    = "Password of the database user eventflow_recovery"
    },
    local.own_broker ? { for user in setunion(keys(local.principals), ["admin"]) : "kafka/${user}" => "Password of the Kafka user ${user}" } : {},
  )
  # Which of them a role's task is started with; nothing else is readable for it.
  secrets_of = { for role in local.roles : role => concat(
    local.own_broker && contains(local.on_kafka, role) ? ["kafka/${role == "ops" ? "admin" : role}"] : [],
    contains(local.on_webhooks, role) ? ["webhook"] : [],
    contains(["persistence", "recovery"], role) ? ["database/${role}"] : [],
    role == "ops" ? ["database/persistence", "database/recovery"] : [],
  ) }
}
