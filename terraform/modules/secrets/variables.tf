variable "name" {
  description = "Prefix of everything"
  type        = string
}

variable "region" {
  description = "Region: CloudWatch Logs has a name of its own in each"
  type        = string
}

variable "account_id" {
  description = "Account of the stack"
  type        = string
}

variable "secrets" {
  description = "Secrets to generate: name and what it is for"
  type        = map(string)
}

variable "generation" {
  description = "Raise it to generate all of them again"
  type        = number
}

variable "recovery_days" {
  description = "How long a deleted secret can be restored; 0 deletes at once, so that a demo can be made again under its name"
  type        = number
}
