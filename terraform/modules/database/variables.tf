variable "name" {
  description = "Prefix of everything, and the instance's identifier"
  type        = string
}

variable "engine_version" {
  description = "PostgreSQL 17 or 17.x"
  type        = string
}

variable "class" {
  description = "Instance class"
  type        = string
}

variable "multi_az" {
  description = "A standby in another zone"
  type        = bool
}

variable "storage_gb" {
  description = "Storage to begin with; it grows by itself up to five times as much"
  type        = number
}

variable "backup_days" {
  description = "Point-in-time recovery reaches back so far"
  type        = number

  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "backup_days is 1 to 35: a database without backups is refused."
  }
}

variable "protected" {
  description = "Deletion protection and a final snapshot"
  type        = bool
}

variable "subnet_ids" {
  description = "Private subnets in at least two zones"
  type        = list(string)
}

variable "group_id" {
  description = "Its security group"
  type        = string
}

variable "kms_key_arn" {
  description = "Key of storage, backups, master secret and logs"
  type        = string
}

variable "log_days" {
  description = "How long its logs are kept"
  type        = number
}
