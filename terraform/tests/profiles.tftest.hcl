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

run "demo" {
  command = plan
  variables {
    profile = "demo"
  }

  assert {
    condition     = output.monthly_usd < 80
    error_message = "The demo costs ${output.monthly_usd} USD a month: the limit is 80."
  }
  assert {
    condition     = toset([for role, s in module.service : role if s.running != null]) == toset(["producer", "validator", "analytics", "persistence", "recovery", "registry", "simulator"])
    error_message = "The demo runs every role and the simulator."
  }
  assert {
    condition     = module.database.guards.backup_days == 1 && module.edge.guards.throttle > 0 && toset(module.edge.guards.routes) == toset(["POST /api/webhooks/{proxy+}", "GET /openapi.json"])
    error_message = "The demo: a day of point-in-time recovery, a throttled edge, two routes."
  }

  assert {
    condition = alltrue([for role, s in module.service : s.container.readonlyRootFilesystem && !s.container.privileged && s.container.user == "65532:65532"
    && s.container.linuxParameters.capabilities.drop == ["ALL"] && s.container.stopTimeout == 60])
    error_message = "A container that may write its root, runs as another user, keeps a capability, or is killed before it has drained."
  }
  assert {
    condition     = alltrue([for role, s in module.service : role == "ops" ? s.running == null : s.container.healthCheck.command == ["CMD", "/eventflow", "healthcheck"]])
    error_message = "A service without a health check, or ops as a service."
  }
  assert {
    condition     = alltrue([for role, s in module.service : s.running == null ? role == "ops" : !s.running.public_ip && s.running.rollback && s.running.architecture == "ARM64"])
    error_message = "A service with a public address, without rollback, or not on ARM."
  }
  assert {
    condition     = alltrue([for role, s in module.service : s.running == null ? true : s.running.security_groups == toset([module.network.security_group_ids[role]])])
    error_message = "A service in a security group that is not its own."
  }
  assert {
    condition     = alltrue([for s in values(module.service) : endswith(s.container.image, "@sha256:0000000000000000000000000000000000000000000000000000000000000000")])
    error_message = "An image that is not named by its digest."
  }
  # The load balancer checks the producer's own port; the registry has one port for everything.
  assert {
    condition = { for role, s in module.service : role => one([for e in s.container.environment : e.value if e.name == "EVENTFLOW_OPS_LISTEN"]) if role != "simulator" } == {
      producer    = "0.0.0.0:9100", registry = "0.0.0.0:8081", validator = "127.0.0.1:9100", analytics = "127.0.0.1:9100"
      persistence = "127.0.0.1:9100", recovery = "127.0.0.1:9100", ops = "127.0.0.1:9100"
    }
    error_message = "An operations port that is reached from outside its task."
  }
  # What ECS fills in is only named here; what is written out is not secret.
  assert {
    condition     = !anytrue(flatten([for s in values(module.service) : [for e in s.container.environment : can(regex("(?i)(password|secret|token)", e.name))]]))
    error_message = "A setting that sounds like a secret is written out in a task definition."
  }
  assert {
    condition = { for role, s in module.service : role => toset([for e in s.container.environment : e.name if e.name == "EVENTFLOW_DATABASE_URL"]) if length([for e in s.container.environment : e if e.name == "EVENTFLOW_DATABASE_URL"]) > 0 } == {
    persistence = toset(["EVENTFLOW_DATABASE_URL"]), recovery = toset(["EVENTFLOW_DATABASE_URL"]), ops = toset(["EVENTFLOW_DATABASE_URL"]) }
    error_message = "Persistence, recovery and ops know the database, and nobody else."
  }
  assert {
    condition     = alltrue(flatten([for s in values(module.service) : [for e in s.container.environment : strcontains(e.value, "sslmode=verify-full") && !strcontains(e.value, "@") if e.name == "EVENTFLOW_DATABASE_URL"]]))
    error_message = "The database's URL checks the certificate and has no password."
  }
  assert {
    condition     = toset([for rule in module.network.rules.in : rule if strcontains(rule, " to database ")]) == toset(["from persistence to database 5432-5432", "from recovery to database 5432-5432", "from ops to database 5432-5432"])
    error_message = "Only persistence, recovery and ops reach the database: ${jsonencode(module.network.rules.in)}"
  }
  assert {
    condition     = alltrue([for rule in module.network.rules.out : rule == "0.0.0.0/0 tcp 443-443"]) && !module.network.public_by_default
    error_message = "A way out that is not HTTPS, or a subnet that gives out public addresses: ${jsonencode(module.network.rules.out)}"
  }
  assert {
    condition     = module.database.guards.encrypted && !module.database.guards.public && module.database.guards.managed && module.database.guards.tls_only && module.database.guards.groups == toset([module.network.security_group_ids["database"]])
    error_message = "The database: encrypted, private, TLS only, its master password RDS's own business."
  }
  assert {
    condition     = alltrue([for role, s in module.service : try(s.running.max_tasks, null) == null ? true : s.running.max_tasks <= lookup({ validator = 6, persistence = 6, analytics = 6 }, role, 100)])
    error_message = "More consumers than partitions."
  }
}

run "production_small" {
  command = plan
  variables {
    profile = "production"
    overrides = {
      kafka_instance     = "kafka.t3.small"
      kafka_brokers      = 2
      kafka_gb           = 20
      db_class           = "db.t4g.micro"
      db_gb              = 20
      egress             = "nat_instance"
      zones              = 2
      container_insights = false
      tasks              = { validator = 1, persistence = 1, registry = 1 }
      max_tasks          = { producer = 4, validator = 3, analytics = 2, persistence = 3 }
    }
  }

  assert {
    condition     = output.monthly_usd < 206
    error_message = "production-small costs ${output.monthly_usd} USD a month: the limit is 206."
  }
  assert {
    condition     = module.service["validator"].running.scales_on == "lag" && module.service["producer"].running.scales_on == "cpu"
    error_message = "Consumers scale on lag, the producer on CPU."
  }

  assert {
    condition = alltrue([for role, s in module.service : s.container.readonlyRootFilesystem && !s.container.privileged && s.container.user == "65532:65532"
    && s.container.linuxParameters.capabilities.drop == ["ALL"] && s.container.stopTimeout == 60])
    error_message = "A container that may write its root, runs as another user, keeps a capability, or is killed before it has drained."
  }
  assert {
    condition     = alltrue([for role, s in module.service : role == "ops" ? s.running == null : s.container.healthCheck.command == ["CMD", "/eventflow", "healthcheck"]])
    error_message = "A service without a health check, or ops as a service."
  }
  assert {
    condition     = alltrue([for role, s in module.service : s.running == null ? role == "ops" : !s.running.public_ip && s.running.rollback && s.running.architecture == "ARM64"])
    error_message = "A service with a public address, without rollback, or not on ARM."
  }
  assert {
    condition     = alltrue([for role, s in module.service : s.running == null ? true : s.running.security_groups == toset([module.network.security_group_ids[role]])])
    error_message = "A service in a security group that is not its own."
  }
  assert {
    condition     = alltrue([for s in values(module.service) : endswith(s.container.image, "@sha256:0000000000000000000000000000000000000000000000000000000000000000")])
    error_message = "An image that is not named by its digest."
  }
  # The load balancer checks the producer's own port; the registry has one port for everything.
  assert {
    condition = { for role, s in module.service : role => one([for e in s.container.environment : e.value if e.name == "EVENTFLOW_OPS_LISTEN"]) if role != "simulator" } == {
      producer    = "0.0.0.0:9100", registry = "0.0.0.0:8081", validator = "127.0.0.1:9100", analytics = "127.0.0.1:9100"
      persistence = "127.0.0.1:9100", recovery = "127.0.0.1:9100", ops = "127.0.0.1:9100"
    }
    error_message = "An operations port that is reached from outside its task."
  }
  # What ECS fills in is only named here; what is written out is not secret.
  assert {
    condition     = !anytrue(flatten([for s in values(module.service) : [for e in s.container.environment : can(regex("(?i)(password|secret|token)", e.name))]]))
    error_message = "A setting that sounds like a secret is written out in a task definition."
  }
  assert {
    condition = { for role, s in module.service : role => toset([for e in s.container.environment : e.name if e.name == "EVENTFLOW_DATABASE_URL"]) if length([for e in s.container.environment : e if e.name == "EVENTFLOW_DATABASE_URL"]) > 0 } == {
    persistence = toset(["EVENTFLOW_DATABASE_URL"]), recovery = toset(["EVENTFLOW_DATABASE_URL"]), ops = toset(["EVENTFLOW_DATABASE_URL"]) }
    error_message = "Persistence, recovery and ops know the database, and nobody else."
  }
  assert {
    condition     = alltrue(flatten([for s in values(module.service) : [for e in s.container.environment : strcontains(e.value, "sslmode=verify-full") && !strcontains(e.value, "@") if e.name == "EVENTFLOW_DATABASE_URL"]]))
    error_message = "The database's URL checks the certificate and has no password."
  }
  assert {
    condition     = toset([for rule in module.network.rules.in : rule if strcontains(rule, " to database ")]) == toset(["from persistence to database 5432-5432", "from recovery to database 5432-5432", "from ops to database 5432-5432"])
    error_message = "Only persistence, recovery and ops reach the database: ${jsonencode(module.network.rules.in)}"
  }
  assert {
    condition     = alltrue([for rule in module.network.rules.out : rule == "0.0.0.0/0 tcp 443-443"]) && !module.network.public_by_default
    error_message = "A way out that is not HTTPS, or a subnet that gives out public addresses: ${jsonencode(module.network.rules.out)}"
  }
  assert {
    condition     = module.database.guards.encrypted && !module.database.guards.public && module.database.guards.managed && module.database.guards.tls_only && module.database.guards.groups == toset([module.network.security_group_ids["database"]])
    error_message = "The database: encrypted, private, TLS only, its master password RDS's own business."
  }
  assert {
    condition     = alltrue([for role, s in module.service : try(s.running.max_tasks, null) == null ? true : s.running.max_tasks <= lookup({ validator = 6, persistence = 6, analytics = 6 }, role, 100)])
    error_message = "More consumers than partitions."
  }
}

run "production" {
  command = plan
  variables {
    profile = "production"
  }

  assert {
    condition     = toset([for role, s in module.service : role if s.running != null]) == toset(["producer", "validator", "analytics", "persistence", "recovery", "registry"])
    error_message = "Production runs every role, and no simulator."
  }
  assert {
    condition = (module.service["validator"].running.capacity == { FARGATE = { base = 2, weight = 0 }, FARGATE_SPOT = { base = 0, weight = 1 } }
      && module.service["producer"].running.capacity == { FARGATE = { base = 0, weight = 1 } }
    && module.service["analytics"].running.capacity == { FARGATE_SPOT = { base = 0, weight = 1 } })
    error_message = "Production: the edge on demand, consumers beyond their usual number on Spot, what only measures on Spot."
  }
  assert {
    condition     = length(module.network.rules.out) == 0 && module.network.nat_instance == null
    error_message = "Production has no way to the internet: ${jsonencode(module.network.rules.out)}"
  }
  assert {
    condition     = module.database.guards.multi_az && module.database.guards.backup_days == 14 && module.database.guards.protected && module.database.guards.snapshot
    error_message = "Production's database: two zones, fourteen days, protected, with a last snapshot."
  }
  assert {
    condition     = startswith(module.edge.guards.tls_policy, "ELBSecurityPolicy-TLS13-") && module.edge.guards.plain_http == "HTTPS" && module.edge.guards.firewall && module.edge.guards.drops_broken && module.edge.guards.protected
    error_message = "Production's edge: TLS 1.3, plain HTTP redirected, a firewall, protected: ${jsonencode(module.edge.guards)}"
  }

  assert {
    condition = alltrue([for role, s in module.service : s.container.readonlyRootFilesystem && !s.container.privileged && s.container.user == "65532:65532"
    && s.container.linuxParameters.capabilities.drop == ["ALL"] && s.container.stopTimeout == 60])
    error_message = "A container that may write its root, runs as another user, keeps a capability, or is killed before it has drained."
  }
  assert {
    condition     = alltrue([for role, s in module.service : role == "ops" ? s.running == null : s.container.healthCheck.command == ["CMD", "/eventflow", "healthcheck"]])
    error_message = "A service without a health check, or ops as a service."
  }
  assert {
    condition     = alltrue([for role, s in module.service : s.running == null ? role == "ops" : !s.running.public_ip && s.running.rollback && s.running.architecture == "ARM64"])
    error_message = "A service with a public address, without rollback, or not on ARM."
  }
  assert {
    condition     = alltrue([for role, s in module.service : s.running == null ? true : s.running.security_groups == toset([module.network.security_group_ids[role]])])
    error_message = "A service in a security group that is not its own."
  }
  assert {
    condition     = alltrue([for s in values(module.service) : endswith(s.container.image, "@sha256:0000000000000000000000000000000000000000000000000000000000000000")])
    error_message = "An image that is not named by its digest."
  }
  # The load balancer checks the producer's own port; the registry has one port for everything.
  assert {
    condition = { for role, s in module.service : role => one([for e in s.container.environment : e.value if e.name == "EVENTFLOW_OPS_LISTEN"]) if role != "simulator" } == {
      producer    = "0.0.0.0:9100", registry = "0.0.0.0:8081", validator = "127.0.0.1:9100", analytics = "127.0.0.1:9100"
      persistence = "127.0.0.1:9100", recovery = "127.0.0.1:9100", ops = "127.0.0.1:9100"
    }
    error_message = "An operations port that is reached from outside its task."
  }
  # What ECS fills in is only named here; what is written out is not secret.
  assert {
    condition     = !anytrue(flatten([for s in values(module.service) : [for e in s.container.environment : can(regex("(?i)(password|secret|token)", e.name))]]))
    error_message = "A setting that sounds like a secret is written out in a task definition."
  }
  assert {
    condition = { for role, s in module.service : role => toset([for e in s.container.environment : e.name if e.name == "EVENTFLOW_DATABASE_URL"]) if length([for e in s.container.environment : e if e.name == "EVENTFLOW_DATABASE_URL"]) > 0 } == {
    persistence = toset(["EVENTFLOW_DATABASE_URL"]), recovery = toset(["EVENTFLOW_DATABASE_URL"]), ops = toset(["EVENTFLOW_DATABASE_URL"]) }
    error_message = "Persistence, recovery and ops know the database, and nobody else."
  }
  assert {
    condition     = alltrue(flatten([for s in values(module.service) : [for e in s.container.environment : strcontains(e.value, "sslmode=verify-full") && !strcontains(e.value, "@") if e.name == "EVENTFLOW_DATABASE_URL"]]))
    error_message = "The database's URL checks the certificate and has no password."
  }
  assert {
    condition     = toset([for rule in module.network.rules.in : rule if strcontains(rule, " to database ")]) == toset(["from persistence to database 5432-5432", "from recovery to database 5432-5432", "from ops to database 5432-5432"])
    error_message = "Only persistence, recovery and ops reach the database: ${jsonencode(module.network.rules.in)}"
  }
  assert {
    condition     = alltrue([for rule in module.network.rules.out : rule == "0.0.0.0/0 tcp 443-443"]) && !module.network.public_by_default
    error_message = "A way out that is not HTTPS, or a subnet that gives out public addresses: ${jsonencode(module.network.rules.out)}"
  }
  assert {
    condition     = module.database.guards.encrypted && !module.database.guards.public && module.database.guards.managed && module.database.guards.tls_only && module.database.guards.groups == toset([module.network.security_group_ids["database"]])
    error_message = "The database: encrypted, private, TLS only, its master password RDS's own business."
  }
  assert {
    condition     = alltrue([for role, s in module.service : try(s.running.max_tasks, null) == null ? true : s.running.max_tasks <= lookup({ validator = 6, persistence = 6, analytics = 6 }, role, 100)])
    error_message = "More consumers than partitions."
  }
}

run "nothing_runs_before_there_is_an_image" {
  command = plan
  variables {
    profile      = "demo"
    image_digest = null
  }

  assert {
    condition     = alltrue([for s in values(module.service) : s.task_definition_arn == null && s.running == null]) && output.repository != ""
    error_message = "Without an image there is a repository, and no task."
  }
}
