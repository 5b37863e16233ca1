# Alarms, dashboard, budget and parking once there is an image to run; and the costs.
module "observability" {
  source                   = "./modules/observability"
  permissions_boundary_arn = var.permissions_boundary_arn
  count                    = local.deploy ? 1 : 0
  name                     = local.stack
  region                   = var.region
  account_id               = var.account_id
  alert_email              = var.alert_email
  monthly_budget_usd       = coalesce(var.monthly_budget_usd, var.profile == "demo" ? 80 : 900)
  ecs_cluster_name         = aws_ecs_cluster.this.name
  services                 = { for role in local.services : role => { service_name = role, log_group_name = module.service[role].log_group_name, tasks = local.tasks[role] } }
  kms_key_arn              = module.secrets.kms_key_arn
  edge                     = module.edge.watch
  office_hours             = var.office_hours
  # The simulator corrupts about 7 % of what it sends, on purpose.
  thresholds = local.settings.simulator ? { dead_letter_percent = 20 } : {}

  audit = {
    cluster_arn         = aws_ecs_cluster.this.arn
    task_definition_arn = "arn:aws:ecs:${var.region}:${var.account_id}:task-definition/${local.stack}-recovery"
    container           = "recovery"
    subnet_ids          = module.network.private_subnet_ids
    security_group_ids  = [module.network.security_group_ids["recovery"]]
    role_arns           = [module.identity.execution_role_arns["recovery"], module.identity.task_role_arns["recovery"]]
  }
  kafka = {
    kind           = local.settings.kafka_kind
    cluster_name   = module.kafka.cluster_name
    brokers        = local.settings.kafka_brokers
    instance_id    = local.own_broker ? module.kafka.instance.id : null
    log_group_name = module.kafka.log_group_name
  }
  consumer_groups = { for stage in values(local.stages) : stage.group => stage.reads }
  database        = { identifier = module.database.identifier, storage_gb = local.settings.db_gb, burstable = startswith(local.settings.db_class, "db.t") }
}

module "schedule" {
  source                   = "./modules/schedule"
  permissions_boundary_arn = var.permissions_boundary_arn
  count                    = local.deploy && var.office_hours != null ? 1 : 0
  name                     = local.stack
  region                   = var.region
  account_id               = var.account_id
  office_hours             = var.office_hours
  cluster                  = { name = aws_ecs_cluster.this.name, arn = aws_ecs_cluster.this.arn }
  services                 = { for role in local.services : role => { name = role, arn = module.service[role].service_arn, tasks = local.tasks[role] } }
  database                 = { identifier = module.database.identifier, arn = module.database.arn }
  kms_key_arn              = module.secrets.kms_key_arn
  instances = merge(
    { for purpose in ["kafka"] : purpose => module.kafka.instance if local.own_broker },
    { for purpose in ["nat"] : purpose => module.network.nat_instance if local.settings.egress == "nat_instance" },
  )
  alarms = { for name in module.observability[0].liveness_alarms : name => module.observability[0].alarms[name] }
}

module "cost" {
  source = "./modules/cost"
  hours  = var.office_hours == null ? 730 : try(module.schedule[0].hours_a_month, 730)
  shape = {
    services       = { for role in local.services : role => { cpu = 256, memory_mb = 512, tasks = local.tasks[role], spot = lookup(local.settings.spot, role, false) } }
    kafka_kind     = local.settings.kafka_kind
    kafka_instance = local.settings.kafka_instance
    kafka_brokers  = local.settings.kafka_brokers
    kafka_gb       = local.settings.kafka_gb
    db_class       = local.settings.db_class
    db_multi_az    = local.settings.db_multi_az
    db_gb          = local.settings.db_gb
    edge           = local.settings.edge
    egress         = local.settings.egress
    azs            = length(local.azs)
    endpoints      = module.network.interface_endpoints
    waf_rules      = module.edge.waf_rules
    kms_keys       = 1
    secrets        = length(local.secrets) + 1 # and the one that RDS keeps
    alarms         = try(module.observability[0].counts.alarms, 0)
    custom_metrics = try(module.observability[0].counts.custom_metrics, 0)
    dns_zones      = 1
  }
}
