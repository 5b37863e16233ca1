variable "kind" {
  description = "http_api: API Gateway, TLS without a domain of your own. alb: load balancer with WAF under your own name"
  type        = string

  validation {
    condition     = contains(["http_api", "alb"], var.kind)
    error_message = "kind is http_api or alb."
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

variable "account_id" {
  description = "Account of the stack"
  type        = string
}

variable "vpc_id" {
  description = "The VPC"
  type        = string
}

variable "private_subnet_ids" {
  description = "http_api: where its link to the VPC ends"
  type        = list(string)
}

variable "public_subnet_ids" {
  description = "alb: public subnets of the load balancer"
  type        = list(string)
}

variable "group_id" {
  description = "Security group of the edge: what may reach the producer"
  type        = string
}

variable "port" {
  description = "The producer's port"
  type        = number
}

variable "producer" {
  description = "http_api: the producer's Cloud Map service; null before there is a producer"
  type        = string
  default     = null
}

variable "deploy" {
  description = "Whether there is a producer"
  type        = bool
}

variable "routes" {
  description = "Routes that the public may call; for all others the edge itself answers 404 or 403"
  type        = list(string)
  default     = ["POST /api/webhooks/{proxy+}", "GET /openapi.json"]
}

variable "throttle" {
  description = "Requests per second, and burst"
  type        = object({ rate = number, burst = number })
  default     = { rate = 500, burst = 1000 }
}

variable "rate_limit" {
  description = "alb: requests in five minutes from one address"
  type        = number
  default     = 30000
}

variable "domain_name" {
  description = "alb: the name vendors post to"
  type        = string
  default     = null
}

variable "certificate_arn" {
  description = "alb: its certificate"
  type        = string
  default     = null

  validation {
    condition     = var.kind != "alb" || var.certificate_arn != null
    error_message = "An alb needs a certificate: webhooks are not taken over plain HTTP."
  }
}

variable "protected" {
  description = "alb: deletion protection, and its access logs are kept"
  type        = bool
}

variable "kms_key_arn" {
  description = "Key of the logs"
  type        = string
}

variable "log_days" {
  description = "How long access logs are kept"
  type        = number
}
