variable "name" {
  description = "Prefix of everything"
  type        = string
}

variable "region" {
  description = "Region of the stack"
  type        = string
}

variable "account_id" {
  description = "Account of the stack: the roles can be assumed only on its behalf"
  type        = string
}

variable "repository_arn" {
  description = "ECR repository of the image"
  type        = string
}

variable "kms_key_arn" {
  description = "Key of the secrets"
  type        = string
}

variable "roles" {
  description = "By EventFlow role: what the agent that starts its task may read (secrets and parameters of that task, no others)"
  type = map(object({
    secret_arns    = list(string)
    parameter_arns = list(string)
  }))
}

variable "principals" {
  description = "What each role may do on Kafka, derived from infra/kafka/pipeline.json"
  type = map(object({
    write             = list(string)
    read              = list(string)
    groups            = list(string)
    describe_groups   = list(string)
    transactional_ids = list(string)
  }))

  validation {
    condition     = alltrue([for name in flatten([for p in values(var.principals) : concat(p.write, p.read, p.groups, p.describe_groups, p.transactional_ids)]) : can(regex("^[A-Za-z0-9._-]+$", name))])
    error_message = "principals name topics and groups literally: no wildcards."
  }
}

variable "topics" {
  description = "Every topic, which the ops role may create and alter"
  type        = list(string)
}

variable "msk_cluster_arn" {
  description = "The MSK cluster; null: our own broker, which has ACLs of its own"
  type        = string
  default     = null
}

variable "msk" {
  description = "Whether msk_cluster_arn will be given (it is not known before apply)"
  type        = bool
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the roles created here"
  type        = string
  default     = null
}
