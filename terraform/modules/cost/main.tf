# What a month costs, in US dollars: us-east-1, on demand, without free tier, tax and data between zones.
# No provider: the price table is data, looked up by hand (terraform/README.md says when and where). When a price changes, change its
# line here; a test fails until the README has it, too.
locals {
  month = 730 # hours, as AWS counts

  price = {
    fargate_vcpu_hour = 0.03238 # Linux/ARM
    fargate_gb_hour   = 0.00356

    instance_hour = { # EC2, Linux
      "t4g.nano"   = 0.0042
      "t4g.micro"  = 0.0084
      "t4g.small"  = 0.0168
      "t4g.medium" = 0.0336
    }
    ebs_gb = 0.08 # gp3

    msk_broker_hour = {
      "kafka.t3.small"  = 0.0456
      "kafka.m7g.large" = 0.204
    }
    msk_gb = 0.10

    db_hour = { # RDS for PostgreSQL, one zone; Multi-AZ is listed, not doubled: the two differ by rounding
      "db.t4g.micro" = { single = 0.016, multi = 0.032 }
      "db.t4g.small" = { single = 0.032, multi = 0.065 }
    }
    db_gb = { single = 0.115, multi = 0.23 }

    http_api_million = 1.00
    alb_hour         = 0.0225
    lcu_hour         = 0.008
    waf_acl          = 5.00
    waf_rule         = 1.00
    waf_million      = 0.60

    nat_gateway_hour = 0.045
    endpoint_hour    = 0.01 # an interface endpoint in one zone
    public_ipv4_hour = 0.005
    nat_root_gb      = 8
    broker_root_gb   = 8
    kms_key          = 1.00
    secret           = 0.40
    alarm            = 0.10
    custom_metric    = 0.30
    dns_zone         = 0.50
    log_gb           = 0.50
    image_gb         = 0.10
  }

  task_hour = { for name, s in var.shape.services : name => s.cpu / 1024 * local.price.fargate_vcpu_hour + s.memory_mb / 1024 * local.price.fargate_gb_hour }
  fargate = sum(concat([0], [
    for name, s in var.shape.services : local.task_hour[name] * s.tasks * var.hours * (s.spot ? var.spot_share : 1)
  ]))
  # The audit is a short task, of recovery's size; Fargate bills at least a minute.
  audit = try(local.task_hour["recovery"], 0) / 60 * var.shape.audits_hourly * var.hours

  own_broker = var.shape.kafka_kind == "ec2"
  kafka = (local.own_broker
    ? var.shape.kafka_brokers * (local.price.instance_hour[var.shape.kafka_instance] * var.hours + (var.shape.kafka_gb + local.price.broker_root_gb) * local.price.ebs_gb)
    # MSK cannot be stopped: it costs the whole month, parked or not.
    : var.shape.kafka_brokers * (local.price.msk_broker_hour[var.shape.kafka_instance] * local.month + var.shape.kafka_gb * local.price.msk_gb)
  )

  zones    = var.shape.db_multi_az ? "multi" : "single"
  database = local.price.db_hour[var.shape.db_class][local.zones] * var.hours + var.shape.db_gb * local.price.db_gb[local.zones]

  edge = (var.shape.edge == "http_api"
    ? var.shape.requests_m * local.price.http_api_million
    : (local.price.alb_hour + var.shape.lcu * local.price.lcu_hour) * local.month
    + var.shape.azs * local.price.public_ipv4_hour * local.month
    + (var.shape.waf_rules > 0 ? local.price.waf_acl + var.shape.waf_rules * local.price.waf_rule + var.shape.requests_m * local.price.waf_million : 0)
  )

  egress = {
    nat_instance = local.price.instance_hour["t4g.nano"] * var.hours + local.price.public_ipv4_hour * local.month + local.price.nat_root_gb * local.price.ebs_gb
    nat_gateway  = (local.price.nat_gateway_hour + local.price.public_ipv4_hour) * local.month
    endpoints    = var.shape.endpoints * var.shape.azs * local.price.endpoint_hour * local.month
  }[var.shape.egress]

  components = {
    fargate  = local.fargate + local.audit
    kafka    = local.kafka
    database = local.database
    edge     = local.edge
    egress   = local.egress
    keys     = var.shape.kms_keys * local.price.kms_key + var.shape.secrets * local.price.secret
    watching = (var.shape.alarms * local.price.alarm + var.shape.custom_metrics * local.price.custom_metric
    + var.shape.log_gb * local.price.log_gb)
    storage = var.shape.image_gb * local.price.image_gb + var.shape.dns_zones * local.price.dns_zone
  }
}
