# The roles as ECS tasks: the settings of each, and how many run.
locals {
  deploy    = var.image_digest != null
  image     = local.deploy ? "${module.registry.url}@${var.image_digest}" : null
  namespace = aws_service_discovery_private_dns_namespace.this.name

  commands = merge({ for role in local.services : role => [role] }, { ops = ["admin", "--help"] })

  # Settings of single roles. The operations port is on loopback, where the container's health check reads it; the image's default is every
  # address, for networks in which something scrapes metrics.
  own_settings = {
    producer = { EVENTFLOW_PRODUCER_LISTEN = "0.0.0.0:${local.port.producer}", EVENTFLOW_OPS_LISTEN = "0.0.0.0:${local.port.health}" }
    # Registry and simulator have one port; `eventflow healthcheck` reads it from this setting.
    registry = { EVENTFLOW_REGISTRY_LISTEN = "0.0.0.0:${local.port.registry}", EVENTFLOW_OPS_LISTEN = "0.0.0.0:${local.port.registry}" }
    simulator = {
      EVENTFLOW_WEBHOOK_URL         = "http://producer.${local.namespace}:${local.port.producer}/api/webhooks/payment-authorized"
      EVENTFLOW_OPS_LISTEN          = "127.0.0.1:8080"
      SIMULATOR_AUTO_STREAM_ENABLED = "true"
      SIMULATOR_AUTO_STREAM_RPS     = "1"
    }
    # Beyond loopback its API would need a certificate of its own; on-call uses one-off tasks on the database.
    recovery = { EVENTFLOW_RECOVERY_LISTEN = "127.0.0.1:8004" }
    ops      = { EVENTFLOW_TOPIC_REPLICATION = tostring(module.kafka.replicas) }
  }

  environment = { for role in local.roles : role => merge(
    { EVENTFLOW_LOG_JSON = "true", AWS_REGION = var.region, EVENTFLOW_OPS_LISTEN = "127.0.0.1:${local.port.health}" },
    { for name, value in module.kafka.environment : name => value if contains(local.on_kafka, role) },
    { for name in ["EVENTFLOW_KAFKA_USERNAME"] : name => role == "ops" ? "admin" : role if local.own_broker && contains(local.on_kafka, role) },
    { for name in ["EVENTFLOW_REGISTRY_URL"] : name => "http://registry.${local.namespace}:${local.port.registry}" if contains(local.on_registry, role) },
    { for name in ["EVENTFLOW_DATABASE_URL"] : name => module.database.url if contains(local.on_database, role) },
    # The load balancer appends the address it was called from.
    { for name in ["EVENTFLOW_TRUSTED_PROXIES"] : name => var.vpc_cidr if role == "producer" && local.settings.edge == "alb" },
    { for name in ["PGUSER"] : name => "eventflow_${role}" if contains(local.database_users, role) },
    lookup(local.own_settings, role, {}),
  ) }

  task_secrets = { for role in local.roles : role => merge(
    { for name in local.secrets_of[role] : "EVENTFLOW_WEBHOOK_SIGNING_SECRET" => module.secrets.arns[name] if name == "webhook" },
    { for name in local.secrets_of[role] : "EVENTFLOW_KAFKA_PASSWORD" => module.secrets.arns[name] if startswith(name, "kafka/") },
    # The one-off role has the passwords of all users; a role has only its own.
    { for name in local.secrets_of[role] : role == "ops" ? "EVENTFLOW_${upper(trimprefix(name, "database/"))}_DATABASE_PASSWORD" : "PGPASSWORD" => module.secrets.arns[name]
    if startswith(name, "database/") },
    { for name in ["EVENTFLOW_KAFKA_CA"] : name => module.kafka.ca_parameter_arn if local.own_broker && contains(local.on_kafka, role) },
    # RDS changes the master password every week: a task reads it when it starts.
    { for name, key in { PGUSER = "username", PGPASSWORD = "password" } : name => "${module.database.master_secret_arn}:${key}::" if role == "ops" },
  ) }

  # A stage has no use for more tasks than its topic has partitions.
  tasks = { for role in local.services : role => lookup(local.settings.tasks, role, 1) }
  max_tasks = { for role in local.services : role => max(local.tasks[role], min(
    lookup(local.settings.max_tasks, role, local.tasks[role]),
    try(local.pipeline.topics[local.stages[role].reads].partitions, 100),
  )) }
}

resource "aws_ecs_cluster" "this" {
  name = local.stack

  setting {
    name  = "containerInsights"
    value = local.settings.container_insights ? "enabled" : "disabled"
  }

  lifecycle {
    precondition {
      condition     = alltrue([for role, stage in local.stages : local.tasks[role] <= local.pipeline.topics[stage.reads].partitions])
      error_message = "More tasks of a consumer than its topic has partitions: the rest would idle. See infra/kafka/pipeline.json."
    }
    precondition {
      condition     = length(local.azs) == local.settings.zones && (local.own_broker || local.settings.kafka_brokers % min(local.settings.kafka_brokers, local.settings.zones) == 0)
      error_message = "azs must name as many zones as the profile (or overrides.zones) has, and MSK wants a multiple of them as brokers."
    }
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

module "service" {
  source      = "./modules/service"
  for_each    = local.roles
  name        = local.stack
  role        = each.key
  region      = var.region
  deploy      = local.deploy
  image       = local.image
  command     = local.commands[each.key]
  environment = local.environment[each.key]
  secrets     = local.task_secrets[each.key]
  ports       = lookup({ producer = [local.port.producer, local.port.health], registry = [local.port.registry] }, each.key, [])
  roles       = { execution = module.identity.execution_role_arns[each.key], task = module.identity.task_role_arns[each.key] }
  log         = { days = local.settings.log_days, kms_key_arn = module.secrets.kms_key_arn }
  discovered  = contains(["producer", "registry"], each.key)
  balanced    = each.key == "producer" && local.settings.edge == "alb"

  service = each.key == "ops" ? null : {
    cluster_arn   = aws_ecs_cluster.this.arn
    cluster_name  = aws_ecs_cluster.this.name
    subnet_ids    = module.network.private_subnet_ids
    group_id      = module.network.security_group_ids[each.key]
    tasks         = local.tasks[each.key]
    max_tasks     = local.max_tasks[each.key]
    spot          = lookup(local.settings.spot, each.key, false)
    burst_on_spot = contains(keys(local.stages), each.key) # consumers: what an interrupted task had not committed is read again
    namespace_id  = contains(["producer", "registry"], each.key) ? aws_service_discovery_private_dns_namespace.this.id : null
    srv           = each.key == "producer" && local.settings.edge == "http_api"
    target_group  = each.key == "producer" ? local.target_group : null
    parked        = var.office_hours != null
  }

  scale_on_lag = local.own_broker || !contains(keys(local.stages), each.key) ? null : {
    cluster = module.kafka.cluster_name
    group   = local.stages[each.key].group
    topic   = local.stages[each.key].reads
    records = 2000
  }

  depends_on = [aws_ecs_cluster_capacity_providers.this]
}

locals {
  target_group = module.edge.target_group_arn
}
