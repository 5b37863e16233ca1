# The cost module: no provider, no mock. The inputs are written by hand, not read from the profiles: terraform/check prices what the profiles
# really create, from the plan.

variables {
  shape = {
    services = {
      producer    = { cpu = 256, memory_mb = 512, tasks = 1, spot = false }
      validator   = { cpu = 256, memory_mb = 512, tasks = 1, spot = true }
      analytics   = { cpu = 256, memory_mb = 512, tasks = 1, spot = true }
      persistence = { cpu = 256, memory_mb = 512, tasks = 1, spot = true }
      recovery    = { cpu = 256, memory_mb = 512, tasks = 1, spot = true }
      registry    = { cpu = 256, memory_mb = 512, tasks = 1, spot = true }
      simulator   = { cpu = 256, memory_mb = 512, tasks = 1, spot = true }
    }
    kafka_kind     = "ec2"
    kafka_instance = "t4g.small"
    kafka_brokers  = 1
    kafka_gb       = 20
    db_class       = "db.t4g.micro"
    db_multi_az    = false
    db_gb          = 20
    edge           = "http_api"
    egress         = "nat_instance"
    azs            = 2
    kms_keys       = 1
    secrets        = 9
    alarms         = 12
    custom_metrics = 8
    dns_zones      = 1
  }
}

run "demo" {
  command = plan
  module {
    source = "./modules/cost"
  }
  assert {
    condition     = output.monthly_usd < 80
    error_message = "The demo costs ${output.monthly_usd} USD a month: the limit is 80."
  }
  # Calculated by hand, so that a wrong rate in the table is noticed unless it is wrong here, too.
  assert {
    condition     = output.by_component.database == 13.98 && output.by_component.egress == 7.36 && output.by_component.edge == 1
    error_message = "Database 13.98 (11.68 + 2.30), NAT instance 7.36 (3.07 + 3.65 + 0.64), edge 1.00: ${jsonencode(output.by_component)}"
  }
  assert {
    condition     = output.by_component.kafka == 14.50 && output.by_component.keys == 4.60 && output.by_component.watching == 4.10
    error_message = "Broker 14.50 (12.26 + 28 GB), key and secrets 4.60, watching 4.10: ${jsonencode(output.by_component)}"
  }
  # One task on demand and six on Spot at half price are four whole ones: 4 x 7.20875; the audit is 4 minutes an hour.
  assert {
    condition     = output.by_component.fargate == 29.32
    error_message = "Fargate 29.32 (28.84 + 0.48): ${output.by_component.fargate}"
  }
  assert {
    condition     = abs(sum(values(output.by_component)) - output.monthly_usd) < 0.05
    error_message = "The components do not add up to the total."
  }
}

run "spot_at_its_usual_price" {
  command = plan
  module {
    source = "./modules/cost"
  }
  variables {
    spot_share = 0.3
  }
  assert {
    condition     = output.by_component.fargate < run.demo.by_component.fargate && output.monthly_usd < run.demo.monthly_usd
    error_message = "A cheaper Spot must make the month cheaper."
  }
}

run "parked_outside_office_hours" {
  command = plan
  module {
    source = "./modules/cost"
  }
  variables {
    hours = 217 # 50 hours a week
  }
  assert {
    condition     = output.monthly_usd < 45 && output.by_component.keys == run.demo.by_component.keys
    error_message = "Parking saves what runs, not what is kept: ${output.monthly_usd}"
  }
}

run "demo_on_msk" {
  command = plan
  module {
    source = "./modules/cost"
  }
  variables {
    shape = merge(var.shape, { kafka_kind = "msk", kafka_instance = "kafka.t3.small", kafka_brokers = 2, kafka_gb = 10 })
  }
  assert {
    condition     = output.by_component.kafka == 68.58
    error_message = "Two kafka.t3.small with 10 GB each are 66.58 + 2.00: ${output.by_component.kafka}"
  }
}

run "msk_costs_the_same_when_parked" {
  command = plan
  module {
    source = "./modules/cost"
  }
  variables {
    shape = merge(var.shape, { kafka_kind = "msk", kafka_instance = "kafka.t3.small", kafka_brokers = 2, kafka_gb = 10 })
    hours = 217
  }
  assert {
    condition     = output.by_component.kafka == 68.58
    error_message = "MSK cannot be stopped."
  }
}

run "production_small" {
  command = plan
  module {
    source = "./modules/cost"
  }
  variables {
    shape = {
      services = {
        producer    = { cpu = 256, memory_mb = 512, tasks = 2, spot = false }
        validator   = { cpu = 256, memory_mb = 512, tasks = 1, spot = false }
        analytics   = { cpu = 256, memory_mb = 512, tasks = 1, spot = true }
        persistence = { cpu = 256, memory_mb = 512, tasks = 1, spot = false }
        recovery    = { cpu = 256, memory_mb = 512, tasks = 1, spot = true }
        registry    = { cpu = 256, memory_mb = 512, tasks = 1, spot = false }
      }
      kafka_kind     = "msk"
      kafka_instance = "kafka.t3.small"
      kafka_brokers  = 2
      kafka_gb       = 20
      db_class       = "db.t4g.micro"
      db_multi_az    = true
      db_gb          = 20
      edge           = "alb"
      egress         = "nat_instance"
      azs            = 2
      waf_rules      = 3
      lcu            = 0.3
      kms_keys       = 1
      secrets        = 4
      alarms         = 22
      custom_metrics = 8
      dns_zones      = 1
    }
  }
  assert {
    condition     = output.monthly_usd < 206
    error_message = "production-small costs ${output.monthly_usd} USD a month: the original, hardened in nothing, costs 206."
  }
  assert {
    condition     = output.by_component.database == 27.96 && output.by_component.kafka == 70.58
    error_message = "Multi-AZ micro is 27.96, two brokers with 20 GB 70.58: ${jsonencode(output.by_component)}"
  }
  # Load balancer 16.43 + 0.3 LCU 1.75, two addresses 7.30, WAF 5 + 3 rules + 0.60
  assert {
    condition     = output.by_component.edge == 34.08
    error_message = "Edge 34.08: ${output.by_component.edge}"
  }
}

run "an_unknown_edge_is_refused" {
  command = plan
  module {
    source = "./modules/cost"
  }
  variables {
    shape = merge(var.shape, { edge = "carrier_pigeon" })
  }
  expect_failures = [var.shape]
}
