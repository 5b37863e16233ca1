variable "kind" {
  description = "msk, or ec2: one broker of our own on an instance"
  type        = string

  validation {
    condition     = contains(["msk", "ec2"], var.kind)
    error_message = "kind is msk or ec2."
  }
  validation {
    condition     = var.kind == "ec2" ? var.brokers == 1 : var.brokers >= 2
    error_message = "ec2 is one broker; MSK has at least two, in as many zones."
  }
  validation {
    condition     = startswith(var.instance, "kafka.") == (var.kind == "msk")
    error_message = "instance is kafka.* for MSK (kafka.t3.small), an EC2 type of ARM for ec2 (t4g.small)."
  }
}

variable "name" {
  description = "Prefix of everything"
  type        = string
}

variable "region" {
  description = "Region of the stack"
  type        = string
}

variable "instance" {
  description = "Type of the brokers"
  type        = string
}

variable "brokers" {
  description = "How many"
  type        = number
}

variable "storage_gb" {
  description = "Storage of a broker"
  type        = number
}

variable "subnet_ids" {
  description = "Private subnets"
  type        = list(string)
}

variable "azs" {
  description = "Zones of the subnets, in the same order"
  type        = list(string)
}

variable "group_id" {
  description = "The brokers' security group"
  type        = string
}

variable "kms_key_arn" {
  description = "Key of disks, records and logs"
  type        = string
}

variable "log_days" {
  description = "How long the brokers' logs are kept"
  type        = number
}

variable "namespace" {
  description = "Cloud Map namespace of our own broker, which is kafka.NAMESPACE"
  type        = object({ id = string, name = string })
}

variable "user_secrets" {
  description = "ec2: ARN of each SCRAM user's password, admin among them"
  type        = map(string)
  default     = {}
}

variable "ami_id" {
  description = "ec2: Amazon Linux 2023 (ARM)"
  type        = string
  default     = null
}

variable "mirror" {
  description = "ec2: a Maven repository with Apache Kafka; every file is checked against kafka.sha256"
  type        = string
}

variable "egress" {
  description = "How private subnets reach the internet; our own broker must fetch Java and Kafka"
  type        = string

  validation {
    condition     = var.kind == "msk" || var.egress != "endpoints"
    error_message = "kafka_kind ec2 needs egress nat_instance or nat_gateway: the broker fetches Java and Kafka at its first boot."
  }
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the roles created here"
  type        = string
  default     = null
}
