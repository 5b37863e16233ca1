# The audit, on a schedule: recovery's task definition with another command. Its answer is one JSON line in recovery's log group, from which
# the metrics come. It needs no agent, no sidecar, and no permission to write metrics.
resource "aws_scheduler_schedule_group" "this" {
  name = "${var.name}-audit"
}

data "aws_iam_policy_document" "scheduler_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }
    # Not on behalf of another account's schedule (confused deputy).
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_scheduler_schedule_group.this.arn]
    }
  }
}

resource "aws_iam_role" "audit" {
  name                 = "${var.name}-audit-scheduler"
  permissions_boundary = var.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.scheduler_trust.json
}

data "aws_iam_policy_document" "audit" {
  statement {
    sid     = "RunTheAuditTask"
    actions = ["ecs:RunTask"]
    # Every revision of that one family, since a deploy adds one; and the family itself, which the schedule names.
    resources = [local.audit_family, "${local.audit_family}:*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [var.audit.cluster_arn]
    }
  }
  statement {
    sid       = "HandItItsRoles"
    actions   = ["iam:PassRole"]
    resources = var.audit.role_arns
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
  statement {
    sid       = "ReadItsSchedule"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]
  }
}

resource "aws_iam_role_policy" "audit" {
  name   = "run-audit"
  role   = aws_iam_role.audit.id
  policy = data.aws_iam_policy_document.audit.json
}

locals {
  # arn:aws:ecs:REGION:ACCOUNT:task-definition/FAMILY, without the revision
  audit_family = replace(var.audit.task_definition_arn, "/:[0-9]+$/", "")

  # Whole hours only: the first audit runs when everything has started.
  hours = var.office_hours == null ? "" : format("%d-%d", tonumber(split(":", var.office_hours.start)[0]) + 1, tonumber(split(":", var.office_hours.stop)[0]) - 1)
}

resource "aws_scheduler_schedule" "audit" {
  name        = "${var.name}-audit"
  description = "Does every accepted webhook have exactly one fate?"
  group_name  = aws_scheduler_schedule_group.this.name
  kms_key_arn = var.kms_key_arn

  schedule_expression          = var.office_hours == null ? "rate(${var.audit.every_minutes} minutes)" : "cron(0/${var.audit.every_minutes} ${local.hours} ? * ${var.office_hours.days} *)"
  schedule_expression_timezone = try(var.office_hours.timezone, "UTC")

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = var.audit.cluster_arn
    role_arn = aws_iam_role.audit.arn
    input = jsonencode({
      containerOverrides = [{ name = var.audit.container, command = ["audit", "--database", "--json"] }]
    })

    ecs_parameters {
      task_definition_arn = local.audit_family
      launch_type         = "FARGATE"
      network_configuration {
        subnets          = var.audit.subnet_ids
        security_groups  = var.audit.security_group_ids
        assign_public_ip = false
      }
    }
    # No retry: the next audit comes soon enough.
    retry_policy {
      maximum_retry_attempts       = 1
      maximum_event_age_in_seconds = 300
    }
  }
}
