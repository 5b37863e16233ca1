variable "profile" {
  description = "demo: the cheapest that is still private, encrypted and authenticated. production: three zones, MSK, load balancer with WAF"
  type        = string

  validation {
    condition     = contains(["demo", "production"], var.profile)
    error_message = "profile is demo or production (production-small is production with profiles/production-small.tfvars)."
  }
}

variable "name" {
  description = "Prefix of everything; name and profile together are the stack's name"
  type        = string
  default     = "eventflow"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}[a-z0-9]$", var.name))
    error_message = "name is 3 to 16 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "region" {
  description = "AWS region"
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}-[a-z]+-[0-9]$", var.region))
    error_message = "region is an AWS region such as us-east-1 (partitions other than aws are not supported)."
  }
}

variable "account_id" {
  description = "The account of this stack; any other is refused"
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is the account's 12 digits: aws sts get-caller-identity --query Account --output text"
  }
}

variable "azs" {
  description = "Availability zones (letters); null: the first two or three of the region, as the profile says"
  type        = list(string)
  default     = null

  validation {
    condition     = var.azs == null || (length(coalesce(var.azs, [])) >= 2 && length(coalesce(var.azs, [])) <= 3 && alltrue([for az in coalesce(var.azs, []) : can(regex("^[a-f]$", az))]))
    error_message = "azs is two or three zone letters, such as [\"a\", \"b\"]."
  }
}

variable "vpc_cidr" {
  description = "Addresses of the VPC, a /16"
  type        = string
  default     = "10.42.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && endswith(var.vpc_cidr, "/16")
    error_message = "vpc_cidr is an IPv4 /16, such as 10.42.0.0/16."
  }
}

variable "image_digest" {
  description = "Digest of the image in the stack's ECR repository. null: everything but the tasks (the first apply: nothing can have been pushed yet)"
  type        = string
  default     = null

  validation {
    condition     = var.image_digest == null || can(regex("^sha256:[0-9a-f]{64}$", var.image_digest))
    error_message = "image_digest is sha256: and 64 hexadecimal digits. Tags are refused: they can be moved."
  }
}

variable "overrides" {
  description = "Changes to the profile; null keeps the profile's value (profiles.tf)"
  type = object({
    kafka_kind          = optional(string)
    kafka_instance      = optional(string)
    kafka_brokers       = optional(number)
    kafka_gb            = optional(number)
    db_class            = optional(string)
    db_multi_az         = optional(bool)
    db_gb               = optional(number)
    db_backup_days      = optional(number)
    egress              = optional(string)
    edge                = optional(string)
    zones               = optional(number)
    tasks               = optional(map(number))
    max_tasks           = optional(map(number))
    spot                = optional(map(bool))
    log_days            = optional(number)
    container_insights  = optional(bool)
    deletion_protection = optional(bool)
    simulator           = optional(bool)
  })
  default = {}

  validation {
    condition     = contains(["ec2", "msk"], coalesce(var.overrides.kafka_kind, "msk"))
    error_message = "overrides.kafka_kind is ec2 or msk."
  }
  validation {
    condition     = contains(["nat_instance", "nat_gateway", "endpoints"], coalesce(var.overrides.egress, "endpoints"))
    error_message = "overrides.egress is nat_instance, nat_gateway or endpoints."
  }
  validation {
    condition     = contains(["http_api", "alb"], coalesce(var.overrides.edge, "alb"))
    error_message = "overrides.edge is http_api or alb."
  }
  validation {
    condition     = contains([2, 3], coalesce(var.overrides.zones, 2))
    error_message = "overrides.zones is 2 or 3."
  }
  validation {
    condition = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
    coalesce(var.overrides.log_days, 7))
    error_message = "overrides.log_days must be a retention CloudWatch has: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, ..."
  }
  validation {
    condition = alltrue([for role in setunion(keys(coalesce(var.overrides.tasks, {})), keys(coalesce(var.overrides.max_tasks, {})), keys(coalesce(var.overrides.spot, {}))) :
    contains(concat(["producer", "recovery", "registry", "simulator"], keys(local.stages)), role)])
    error_message = "overrides.tasks, max_tasks and spot are keyed by role: producer, recovery, registry, simulator, ${join(", ", keys(local.stages))}."
  }
}

variable "domain_name" {
  description = "Name vendors post to when edge is alb; point it at the output edge_target"
  type        = string
  default     = null
}

variable "certificate_arn" {
  description = "ACM certificate of domain_name, in the same region; required when edge is alb: there is no plain HTTP"
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:aws:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn is the ARN of a certificate in ACM."
  }
  validation {
    # Checked by name: the variables alone decide the edge, so this fails before anything is planned.
    condition     = local.settings.edge != "alb" || (var.certificate_arn != null && var.domain_name != null)
    error_message = "edge alb needs certificate_arn and domain_name: webhooks are not taken over plain HTTP."
  }
}

variable "secrets_version" {
  description = "Generation of the generated passwords: raise it to rotate all of them (terraform/README.md says what to restart)"
  type        = number
  default     = 1

  validation {
    condition     = var.secrets_version >= 1 && floor(var.secrets_version) == var.secrets_version
    error_message = "secrets_version is 1, 2, 3, ..."
  }
}

variable "ami_id" {
  description = "Amazon Linux 2023 (ARM) of the NAT instance and of our own broker; null: today's, kept until the instance is replaced"
  type        = string
  default     = null

  validation {
    condition     = var.ami_id == null || can(regex("^ami-[0-9a-f]{8,17}$", var.ami_id))
    error_message = "ami_id is an image id such as ami-0123456789abcdef0."
  }
}

variable "kafka_mirror" {
  description = "Maven repository from which our own broker fetches Apache Kafka (every file has its pinned SHA-256); HTTPS"
  type        = string
  default     = "https://repo1.maven.org/maven2"

  validation {
    condition     = startswith(var.kafka_mirror, "https://")
    error_message = "kafka_mirror is an https:// URL."
  }
}

variable "engine_version" {
  description = "PostgreSQL: a major version (minor ones come by themselves in the maintenance window)"
  type        = string
  default     = "17"

  validation {
    condition     = can(regex("^17(\\.[0-9]+)?$", var.engine_version))
    error_message = "engine_version is 17 or 17.x: the parameter group is for PostgreSQL 17."
  }
}

variable "alert_email" {
  description = "Where alarms and budget mails go; AWS asks that address to confirm"
  type        = string
  default     = null
}

variable "monthly_budget_usd" {
  description = "AWS Budget; null: 80 for demo, 900 for production"
  type        = number
  default     = null
}

variable "office_hours" {
  description = "Park the stack outside these hours; null: never"
  type = object({
    timezone = optional(string, "Europe/Berlin")
    days     = optional(string, "MON-FRI")
    start    = optional(string, "08:00")
    stop     = optional(string, "18:00")
  })
  default = null
}

variable "tags" {
  description = "Further tags of everything"
  type        = map(string)
  default     = {}
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of every role created here (terraform/bootstrap: workload_boundary_arn): CI's apply role may create none without it"
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:aws:iam::[0-9]{12}:policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn is the ARN of a managed policy."
  }
}
