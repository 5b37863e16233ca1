variable "name" {
  description = "Prefix of what is made here, and of every stack's name (eventflow-demo, eventflow-production)"
  type        = string
  default     = "eventflow"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}$", var.name))
    error_message = "name is lower case letters, digits and dashes, 2 to 21 of them: it becomes part of a bucket's name."
  }
}

variable "region" {
  description = "Region of the state and of every stack: CI may create nothing elsewhere"
  type        = string
  default     = "us-east-1"
}

variable "github_repository" {
  description = "owner/repository whose workflows may assume the roles"
  type        = string

  # No "*": the name is part of what is trusted, and must be one repository.
  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository is owner/repository, such as octocat/eventflow."
  }
}

variable "github_owner_id" {
  description = "Number of the owner, where the repository was made or renamed since 2026-07-15: gh api repos/OWNER/REPOSITORY --jq .owner.id"
  type        = string
  default     = null

  validation {
    condition     = var.github_owner_id == null || can(regex("^[0-9]+$", var.github_owner_id))
    error_message = "github_owner_id is a number: gh api repos/OWNER/REPOSITORY --jq .owner.id"
  }
  validation {
    condition     = (var.github_owner_id == null) == (var.github_repository_id == null)
    error_message = "github_owner_id and github_repository_id are given together, or neither is."
  }
}

variable "github_repository_id" {
  description = "Number of the repository, where it was made or renamed since 2026-07-15: gh api repos/OWNER/REPOSITORY --jq .id"
  type        = string
  default     = null

  validation {
    condition     = var.github_repository_id == null || can(regex("^[0-9]+$", var.github_repository_id))
    error_message = "github_repository_id is a number: gh api repos/OWNER/REPOSITORY --jq .id"
  }
}

variable "environments" {
  description = "GitHub environments that may apply, each with a role of its own. Give each required reviewers and a tag rule in GitHub"
  type        = set(string)
  default     = ["demo", "production"]

  validation {
    condition     = alltrue([for environment in var.environments : can(regex("^[a-z][a-z0-9-]{0,20}$", environment))])
    error_message = "environments are lower case letters, digits and dashes."
  }
}

variable "create_oidc_provider" {
  description = "False if the account has an OIDC provider for GitHub already: there can be only one"
  type        = bool
  default     = true
}
