variable "name" {
  description = "Prefix of everything this module makes, such as eventflow-demo"
  type        = string
}

variable "office_hours" {
  description = "When the stack runs. Outside these hours it is parked: no tasks, database and instances stopped"
  type = object({
    timezone = optional(string, "Europe/Berlin") # IANA name: the scheduler handles daylight saving
    days     = optional(string, "MON-FRI")       # a cron day-of-week field
    start    = optional(string, "08:00")
    stop     = optional(string, "18:00")
  })
  default = {}

  validation {
    condition = alltrue([
      for at in [var.office_hours.start, var.office_hours.stop] : can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", at))
    ])
    error_message = "office_hours.start and office_hours.stop are times of day, such as \"08:00\"."
  }
  validation {
    condition     = replace(var.office_hours.start, ":", "") < replace(var.office_hours.stop, ":", "")
    error_message = "office_hours.start must be before office_hours.stop: a window over midnight is not supported."
  }
  # Database, broker and NAT start a quarter of an hour earlier and stop ten minutes later, on the same day.
  validation {
    condition     = replace(var.office_hours.start, ":", "") >= "0015" && replace(var.office_hours.stop, ":", "") <= "2349"
    error_message = "office_hours must be within 00:15 and 23:49."
  }
  validation {
    condition     = can(regex("^(\\*|(MON|TUE|WED|THU|FRI|SAT|SUN)([-,](MON|TUE|WED|THU|FRI|SAT|SUN))*)$", var.office_hours.days))
    error_message = "office_hours.days is a cron day-of-week field, such as \"MON-FRI\", \"MON,WED\" or \"*\"."
  }
}

variable "cluster" {
  description = "ECS cluster: its name and ARN"
  type        = object({ name = string, arn = string })
}

variable "services" {
  description = "ECS services to park, by role: name, ARN and the number of tasks inside office hours"
  type        = map(object({ name = string, arn = string, tasks = number }))
}

variable "database" {
  description = "RDS instance to stop: identifier and ARN; null leaves the database running"
  type        = object({ identifier = string, arn = string })
  default     = null
}

variable "instances" {
  description = "EC2 instances to stop (own Kafka broker, NAT instance), by purpose: id and ARN. A map, so that ids unknown before apply are fine"
  type        = map(object({ id = string, arn = string }))
  default     = {}
}

variable "region" {
  description = "Region of the stack: its EC2 may use the key of the instances' disks"
  type        = string
}

variable "kms_key_arn" {
  description = "Key that encrypts the schedules and the instances' disks; its policy must leave the rest to IAM (the usual root statement)"
  type        = string
}

variable "account_id" {
  description = "Account of the stack: the schedules' role trusts the scheduler only on its behalf"
  type        = string
}

variable "alarms" {
  description = "ARNs, by name, of the alarms that take silence for a fault (modules/observability: alarms and liveness_alarms): muted while parked"
  type        = map(string)
  default     = {}
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the roles created here (terraform/bootstrap: workload_boundary_arn); CI's apply role may create no role without it"
  type        = string
  default     = null
}
