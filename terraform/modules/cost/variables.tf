variable "shape" {
  description = <<-EOT
    What is deployed, as far as it costs money. The root passes what it really makes (not a preset), so that overrides are in the price;
    terraform/check compares these numbers with the resources of the plan.
  EOT
  type = object({
    # Fargate, ARM: one entry per service
    services = map(object({ cpu = number, memory_mb = number, tasks = number, spot = bool }))

    kafka_kind     = string # ec2 | msk
    kafka_instance = string # t4g.small, kafka.t3.small, kafka.m7g.large, ...
    kafka_brokers  = number
    kafka_gb       = number # per broker

    db_class    = string # db.t4g.micro, ...
    db_multi_az = bool
    db_gb       = number

    edge      = string # http_api | alb
    egress    = string # nat_instance | nat_gateway | endpoints
    azs       = number
    endpoints = optional(number, 0) # interface endpoints, each in every AZ
    waf_rules = optional(number, 0)

    kms_keys       = number
    secrets        = number
    alarms         = number
    custom_metrics = number
    dns_zones      = optional(number, 0)
    log_gb         = optional(number, 1) # ingested per month
    image_gb       = optional(number, 0.5)
    requests_m     = optional(number, 1) # million requests per month at the edge
    lcu            = optional(number, 1) # load balancer capacity units used, on average
    audits_hourly  = optional(number, 4) # scheduled audit tasks, billed a minute each (Fargate's minimum)
  })

  validation {
    condition     = contains(["ec2", "msk"], var.shape.kafka_kind)
    error_message = "shape.kafka_kind is ec2 or msk."
  }
  validation {
    condition     = contains(["http_api", "alb"], var.shape.edge)
    error_message = "shape.edge is http_api or alb."
  }
  validation {
    condition     = contains(["nat_instance", "nat_gateway", "endpoints"], var.shape.egress)
    error_message = "shape.egress is nat_instance, nat_gateway or endpoints."
  }
}

variable "spot_share" {
  description = "Fargate Spot's price as a share of on demand. It moves: 0.3 to 0.5 were usual; the default is the cautious end"
  type        = number
  default     = 0.5
}

variable "hours" {
  description = "Hours a month that tasks, broker instance and database run: 730, or fewer when parked"
  type        = number
  default     = 730
}
