# AWS's managed rules, and a limit by address. What the rules find in a webhook's body is only counted: a signed body may contain anything,
# and an event refused by a guess would be lost. The signature decides.
locals {
  managed = {
    AWSManagedRulesCommonRuleSet          = ["SizeRestrictions_BODY", "CrossSiteScripting_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY", "NoUserAgent_HEADER"]
    AWSManagedRulesKnownBadInputsRuleSet  = ["JavaDeserializationRCE_BODY", "Log4JRCE_BODY"]
    AWSManagedRulesAmazonIpReputationList = []
  }
}

resource "aws_wafv2_web_acl" "this" {
  count       = local.alb
  name        = var.name
  description = "In front of the load balancer"
  scope       = "REGIONAL"

  default_action {
    allow {}
  }

  rule {
    name     = "rate"
    priority = 0
    action {
      block {
        custom_response {
          response_code = 429
        }
      }
    }
    statement {
      rate_based_statement {
        aggregate_key_type = "IP"
        limit              = var.rate_limit
      }
    }
    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "rate"
      sampled_requests_enabled   = false
    }
  }

  dynamic "rule" {
    for_each = { for index, name in sort(keys(local.managed)) : name => index + 1 }
    content {
      name     = rule.key
      priority = rule.value
      override_action {
        none {}
      }
      statement {
        managed_rule_group_statement {
          vendor_name = "AWS"
          name        = rule.key
          dynamic "rule_action_override" {
            for_each = local.managed[rule.key]
            content {
              name = rule_action_override.value
              action_to_use {
                count {}
              }
            }
          }
        }
      }
      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = rule.key
        sampled_requests_enabled   = false # samples would store signatures
      }
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = var.name
    sampled_requests_enabled   = false
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  count        = local.alb
  resource_arn = aws_lb.this[0].arn
  web_acl_arn  = aws_wafv2_web_acl.this[0].arn
}

resource "aws_cloudwatch_log_group" "waf" {
  count             = local.alb
  name              = "aws-waf-logs-${var.name}" # the prefix is AWS's rule
  retention_in_days = var.log_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_wafv2_web_acl_logging_configuration" "this" {
  count                   = local.alb
  resource_arn            = aws_wafv2_web_acl.this[0].arn
  log_destination_configs = [aws_cloudwatch_log_group.waf[0].arn]

  # Only blocked requests.
  logging_filter {
    default_behavior = "DROP"
    filter {
      behavior    = "KEEP"
      requirement = "MEETS_ANY"
      condition {
        action_condition {
          action = "BLOCK"
        }
      }
      condition {
        action_condition {
          action = "COUNT"
        }
      }
    }
  }
  redacted_fields {
    single_header {
      name = "x-provider-signature"
    }
  }
}
