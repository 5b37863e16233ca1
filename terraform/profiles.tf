# The two presets, with the overrides applied. Everything else reads local.settings.
locals {
  presets = {
    demo = {
      kafka_kind          = "ec2"
      kafka_instance      = "t4g.small"
      kafka_brokers       = 1
      kafka_gb            = 20
      db_class            = "db.t4g.micro"
      db_multi_az         = false
      db_gb               = 20
      db_backup_days      = 1
      egress              = "nat_instance"
      edge                = "http_api"
      zones               = 2
      tasks               = {}
      max_tasks           = {}
      spot                = { validator = true, analytics = true, persistence = true, recovery = true, registry = true, simulator = true }
      log_days            = 7
      container_insights  = false
      deletion_protection = false
      simulator           = true
    }
    production = {
      kafka_kind     = "msk"
      kafka_instance = "kafka.m7g.large"
      kafka_brokers  = 3
      kafka_gb       = 100
      db_class       = "db.t4g.small"
      db_multi_az    = true
      db_gb          = 50
      db_backup_days = 14
      egress         = "endpoints"
      edge           = "alb"
      zones          = 3
      tasks          = { producer = 2, validator = 2, persistence = 2, registry = 2 }
      max_tasks      = { producer = 6, validator = 6, analytics = 3, persistence = 6 }
      # Roles that only measure or repair may be interrupted; those that vendors and rows wait for may not.
      spot                = { analytics = true, recovery = true }
      log_days            = 365
      container_insights  = true
      deletion_protection = true
      simulator           = false
    }
  }
  # tasks, max_tasks and spot are overridden role by role.
  settings = merge(local.presets[var.profile],
    { for name, value in var.overrides : name => value if value != null },
    { for name in ["tasks", "max_tasks", "spot"] : name => merge(local.presets[var.profile][name], var.overrides[name] == null ? {} : var.overrides[name]) },
  )

  stack = "${var.name}-${var.profile}"
  azs   = [for letter in coalesce(var.azs, slice(["a", "b", "c"], 0, local.settings.zones)) : "${var.region}${letter}"]
  # Stack: the budget counts by this tag, and CI's apply role recognizes its keys by it.
  tags = merge({ Stack = "${var.name}-${var.profile}", Project = var.name, Profile = var.profile, ManagedBy = "terraform" }, var.tags)
}
