# Metrics from log lines. A test in terraform/checks compares the field names with the source of the roles.
locals {
  namespace = "EventFlow/${var.name}"

  # From the audit's answer, in recovery's log group
  from_audit = {
    Gaps          = "$.gaps"
    DoubleFates   = "$.double_fates"
    InFlight      = "$.in_flight"
    Records       = "$.records"
    DeadLetters   = "$.dead_lettered.open"
    CheckpointAge = "$.checkpoint_age_seconds"
  }

  # Roles with a consumer loop, whose breaker can open and whose records can be deleted before they are read
  stages = setsubtract(keys(var.services), ["producer", "registry", "simulator"])

  dimensionless = concat(keys(local.from_audit), ["StageHeld", "Errors"], var.kafka.kind == "ec2" ? ["BrokerDiskUsed"] : [])
}

resource "aws_cloudwatch_log_metric_filter" "audit" {
  for_each       = local.from_audit
  name           = "${var.name}-audit-${each.key}"
  log_group_name = var.services["recovery"].log_group_name
  pattern        = "{ $.gaps >= 0 && $.double_fates >= 0 && ${each.value} >= 0 }"

  metric_transformation {
    namespace = local.namespace
    name      = each.key
    value     = each.value
  }
}

# A stage that needs a person: its breaker is open (too many records would be dead-lettered), or records were deleted before it read
# them.
resource "aws_cloudwatch_log_metric_filter" "held" {
  for_each       = local.stages
  name           = "${var.name}-held-${each.key}"
  log_group_name = var.services[each.key].log_group_name
  pattern        = "{ $.event = \"check_failing\" && ($.check = \"breaker\" || $.check = \"offset_out_of_range\") }"

  metric_transformation {
    namespace     = local.namespace
    name          = "StageHeld"
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_log_metric_filter" "errors" {
  for_each       = var.services
  name           = "${var.name}-errors-${each.key}"
  log_group_name = each.value.log_group_name
  pattern        = "{ $.level = \"ERROR\" }"

  metric_transformation {
    namespace     = local.namespace
    name          = "Errors"
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_log_metric_filter" "broker_disk" {
  count          = var.kafka.kind == "ec2" ? 1 : 0
  name           = "${var.name}-broker-disk"
  log_group_name = var.kafka.log_group_name
  pattern        = "{ $.event = \"broker_disk\" }"

  metric_transformation {
    namespace = local.namespace
    name      = "BrokerDiskUsed"
    value     = "$.used_percent"
  }
}
