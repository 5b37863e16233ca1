variable "name" {
  description = "Prefix of everything"
  type        = string
}

variable "role" {
  description = "EventFlow role: names task definition, service and log group"
  type        = string
}

variable "region" {
  description = "Region, for the log driver and MSK's log-in"
  type        = string
}

variable "image" {
  description = "Image by digest; null: the log group only"
  type        = string
  default     = null

  validation {
    condition     = var.image == null || can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image is repository@sha256:DIGEST: a tag can be moved."
  }
}

variable "deploy" {
  description = "Whether there is an image to run"
  type        = bool
}

variable "command" {
  description = "Role and flags"
  type        = list(string)
}

variable "cpu" {
  description = "Fargate CPU units"
  type        = number
  default     = 256
}

variable "memory_mb" {
  description = "Fargate memory"
  type        = number
  default     = 512
}

variable "environment" {
  description = "Settings that are not secret"
  type        = map(string)
}

variable "secrets" {
  description = "Settings that ECS fills in when the task starts: name and ARN (secret or parameter, ARN:key:: for a key of a JSON secret)"
  type        = map(string)
}

variable "ports" {
  description = "Ports the role listens on for others"
  type        = list(number)
}

variable "roles" {
  description = "IAM: execution and task role"
  type        = object({ execution = string, task = string })
}

variable "log" {
  description = "How long logs are kept, and under which key"
  type        = object({ days = number, kms_key_arn = string })
}

variable "service" {
  description = "How it is kept running; null: a task definition only, for one-off tasks"
  type = object({
    cluster_arn   = string
    cluster_name  = string
    subnet_ids    = list(string)
    group_id      = string
    tasks         = number
    max_tasks     = number
    spot          = bool
    burst_on_spot = optional(bool, false) # on demand up to tasks, on Spot beyond
    namespace_id  = optional(string)      # others reach it as ROLE.NAMESPACE
    srv           = optional(bool, false)
    target_group  = optional(string)
    parked        = optional(bool, false)
  })
  default = null

  validation {
    condition     = try(var.service.tasks >= 0 && var.service.max_tasks >= var.service.tasks, true)
    error_message = "max_tasks is at least tasks."
  }
}

variable "balanced" {
  description = "Whether service.target_group will be given (it is not known before apply)"
  type        = bool
  default     = false
}

variable "discovered" {
  description = "Whether service.namespace_id will be given (it is not known before apply)"
  type        = bool
  default     = false
}

variable "scale_on_lag" {
  description = "MSK consumer lag to keep: cluster, group, topic, records a task may be behind; null: scale on CPU"
  type        = object({ cluster = string, group = string, topic = string, records = number })
  default     = null
}
