variable "name" {
  description = "Prefix of everything"
  type        = string
}

variable "region" {
  description = "Region, for the endpoints' names"
  type        = string
}

variable "account_id" {
  description = "Account: flow logs are taken only on its behalf"
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC, a /16"
  type        = string
}

variable "azs" {
  description = "Availability zones"
  type        = list(string)
}

variable "egress" {
  description = "How private subnets reach AWS: nat_instance (cheapest), nat_gateway, or endpoints (no way to the internet at all)"
  type        = string
}

variable "public_subnets" {
  description = "Whether a load balancer needs public subnets (a NAT makes them too)"
  type        = bool
}

variable "endpoints" {
  description = "AWS services that get an interface endpoint when egress is endpoints"
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "logs", "secretsmanager"]
}

variable "security_groups" {
  description = "Security groups: name and purpose"
  type        = map(string)
}

variable "flows" {
  description = "Every allowed connection: from one group to a TCP port of another"
  type        = list(object({ from = string, to = string, port = number }))
}

variable "uses_aws" {
  description = "Groups that call AWS APIs over HTTPS (through the NAT or the endpoints)"
  type        = set(string)
}

variable "kms_key_arn" {
  description = "Key of the flow logs and of the NAT instance's disk"
  type        = string
}

variable "log_days" {
  description = "How long flow logs are kept"
  type        = number
}

variable "ami_id" {
  description = "Amazon Linux 2023 (ARM) of the NAT instance"
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the roles created here"
  type        = string
  default     = null
}
