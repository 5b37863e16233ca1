# One role as an ECS task: ARM, a user that exists nowhere else, nothing writable, no capabilities, secrets filled in at start.
resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/${var.role}"
  retention_in_days = var.log.days
  kms_key_id        = var.log.kms_key_arn
}

resource "aws_ecs_task_definition" "this" {
  count                    = var.deploy ? 1 : 0
  family                   = "${var.name}-${var.role}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory_mb
  execution_role_arn       = var.roles.execution
  task_role_arn            = var.roles.task

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "ARM64"
  }

  container_definitions = jsonencode([merge({
    name                   = var.role
    image                  = var.image
    command                = var.command
    essential              = true
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    privileged             = false
    stopTimeout            = 60 # a role stops within 25 s
    linuxParameters        = { capabilities = { drop = ["ALL"] }, initProcessEnabled = false }
    portMappings           = [for port in var.ports : { containerPort = port, hostPort = port, protocol = "tcp" }]
    environment            = [for name in sort(keys(var.environment)) : { name = name, value = var.environment[name] }]
    secrets                = [for name in sort(keys(var.secrets)) : { name = name, valueFrom = var.secrets[name] }]
    mountPoints            = []
    volumesFrom            = []
    systemControls         = []
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.this.name
        "awslogs-region"        = var.region
        "awslogs-stream-prefix" = var.role
        # Logs that cannot be delivered must not hold up records.
        "mode"            = "non-blocking"
        "max-buffer-size" = "4m"
      }
    }
    }, var.service == null ? {} : {
    # /health, not /ready: a restart does not help a role that waits for Kafka or the database.
    healthCheck = { command = ["CMD", "/eventflow", "healthcheck"], interval = 15, timeout = 5, retries = 4, startPeriod = 30 }
  })])
}

locals {
  runs = var.deploy && var.service != null
}

resource "aws_service_discovery_service" "this" {
  count = local.runs && var.discovered ? 1 : 0
  name  = var.role

  dns_config {
    namespace_id   = var.service.namespace_id
    routing_policy = "MULTIVALUE"
    dns_records {
      type = "A"
      ttl  = 10
    }
    # The API gateway takes the port from here.
    dynamic "dns_records" {
      for_each = var.service.srv ? ["SRV"] : []
      content {
        type = dns_records.value
        ttl  = 10
      }
    }
  }
}

resource "aws_ecs_service" "this" {
  count                              = local.runs ? 1 : 0
  name                               = var.role
  cluster                            = var.service.cluster_arn
  task_definition                    = aws_ecs_task_definition.this[0].arn
  desired_count                      = var.service.tasks
  platform_version                   = "1.4.0"
  propagate_tags                     = "SERVICE"
  enable_ecs_managed_tags            = true
  enable_execute_command             = false # the image has no shell; one-off commands run as the ops task
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = var.balanced ? 60 : null

  # Spot is for tasks that may be interrupted (they get two minutes and need 25 s): whole roles, or the tasks that scaling adds to those that
  # always run.
  dynamic "capacity_provider_strategy" {
    for_each = (var.service.spot ? { FARGATE_SPOT = { base = 0, weight = 1 } }
      : var.service.burst_on_spot ? { FARGATE = { base = var.service.tasks, weight = 0 }, FARGATE_SPOT = { base = 0, weight = 1 } }
    : { FARGATE = { base = 0, weight = 1 } })
    content {
      capacity_provider = capacity_provider_strategy.key
      base              = capacity_provider_strategy.value.base
      weight            = capacity_provider_strategy.value.weight
    }
  }

  network_configuration {
    subnets          = var.service.subnet_ids
    security_groups  = [var.service.group_id]
    assign_public_ip = false
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "service_registries" {
    for_each = aws_service_discovery_service.this
    content {
      registry_arn   = service_registries.value.arn
      container_name = var.service.srv ? var.role : null
      container_port = var.service.srv ? var.ports[0] : null
    }
  }

  dynamic "load_balancer" {
    for_each = var.balanced ? [var.service.target_group] : []
    content {
      target_group_arn = load_balancer.value
      container_name   = var.role
      container_port   = var.ports[0]
    }
  }

  lifecycle {
    # After the first start, scaling and parking decide how many run.
    ignore_changes = [desired_count]
  }
}
