variable "name" {
  description = "Prefix of everything this module makes, such as eventflow-demo"
  type        = string
}

variable "region" {
  description = "Region of the stack (for the dashboard)"
  type        = string
}

variable "account_id" {
  description = "Account of the stack"
  type        = string
}

variable "alert_email" {
  description = "Where alarms and the budget's mails go (AWS asks that address to confirm); null makes the topic without a subscriber"
  type        = string
  default     = null
}

variable "monthly_budget_usd" {
  description = "AWS Budget: mails at 80 % and 100 % of it, and when the forecast exceeds it; null for none"
  type        = number
  default     = null
}

variable "ecs_cluster_name" {
  description = "ECS cluster the roles run in"
  type        = string
}

variable "services" {
  description = "By role (producer, validator, ...): ECS service name, log group name, number of tasks it should run"
  type        = map(object({ service_name = string, log_group_name = string, tasks = number }))
}

variable "audit" {
  description = <<-EOT
    How the audit runs on a schedule: the recovery role's task definition (family ARN without revision is best) is run
    with `audit --database --json`. Its answer, one JSON line, becomes the metrics behind "unaccounted", "lag" and "dead letters".
  EOT
  type = object({
    cluster_arn         = string
    task_definition_arn = string
    container           = string
    subnet_ids          = list(string)
    security_group_ids  = list(string)
    role_arns           = list(string) # task and execution role of that task definition, which the scheduler must pass
    every_minutes       = optional(number, 15)
  })
}

variable "kms_key_arn" {
  description = "Key of the audit's schedule and of the alerts: its policy must let CloudWatch and Budgets use it"
  type        = string
}

variable "edge" {
  description = "Public edge: kind http_api (api_id) or alb (load_balancer and target_group as ARN suffixes)"
  type = object({
    kind          = string
    api_id        = optional(string)
    load_balancer = optional(string)
    target_group  = optional(string)
  })

  validation {
    condition     = contains(["http_api", "alb"], var.edge.kind)
    error_message = "edge.kind is http_api or alb."
  }
}

variable "kafka" {
  description = <<-EOT
    kind msk: cluster_name, brokers. Lag comes from MSK's own free metrics.
    kind ec2: instance_id, and log_group_name where the broker writes {"event":"broker_disk","used_percent":N} once a minute
    (EC2 knows nothing of how full a file system is; a log line needs no permission on "*", unlike PutMetricData).
  EOT
  type = object({
    kind           = string
    cluster_name   = optional(string)
    brokers        = optional(number, 0)
    instance_id    = optional(string)
    log_group_name = optional(string)
  })

  validation {
    condition     = contains(["msk", "ec2"], var.kafka.kind)
    error_message = "kafka.kind is msk or ec2."
  }
}

variable "consumer_groups" {
  description = "Topic that each consumer group must keep up with, for MSK's lag metrics"
  type        = map(string)
  default = {
    eventflow-validator   = "events.raw.v1"
    eventflow-analytics   = "events.validated.v1"
    eventflow-persistence = "events.validated.v1"
  }
}

variable "database" {
  description = "RDS instance: identifier, storage in GB, and whether its class is burstable (t4g): then CPU credits are watched"
  type        = object({ identifier = string, storage_gb = number, burstable = bool })
}

variable "thresholds" {
  description = "When to alarm"
  type = object({
    lag_seconds         = optional(number, 120)
    in_flight_records   = optional(number, 10000)
    dead_letter_percent = optional(number, 5)
    errors_5xx_percent  = optional(number, 1)
    disk_percent        = optional(number, 75)
    quiet_minutes       = optional(number, 30) # no webhook for so long; 0 switches the alarm off
  })
  default = {}
}

variable "office_hours" {
  description = "Where the stack is parked (modules/schedule): then it is audited only while it runs; null: day and night"
  type        = object({ timezone = string, days = string, start = string, stop = string })
  default     = null
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the roles created here (terraform/bootstrap: workload_boundary_arn); CI's apply role may create no role without it"
  type        = string
  default     = null
}
