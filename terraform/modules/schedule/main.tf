# Parking: outside office hours everything that can be stopped is stopped. In the morning database, broker and NAT start first, the roles a
# quarter of an hour later, and the alarms last; in the evening the other way round.
locals {
  day  = "2000-01-01T%s:00Z" # any day: only to add minutes to a time of day
  open = format(local.day, var.office_hours.start)
  shut = format(local.day, var.office_hours.stop)

  steps = {
    machines-start = timeadd(local.open, "-15m")
    roles-start    = local.open
    alarms-start   = timeadd(local.open, "30m")
    alarms-stop    = timeadd(local.shut, "-5m")
    roles-stop     = local.shut
    machines-stop  = timeadd(local.shut, "10m")
  }
  cron = { for step, at in local.steps : step =>
    "cron(${tonumber(formatdate("mm", at))} ${tonumber(formatdate("hh", at))} ? * ${var.office_hours.days} *)"
  }

  # Each is one call of an AWS API, which the scheduler makes directly, without a function. Every key is known before apply.
  database_calls = { for step, action in { machines-start = "startDBInstance", machines-stop = "stopDBInstance" } : "database-${step}" => {
    step = step, action = "rds:${action}", input = jsonencode({ DbInstanceIdentifier = try(var.database.identifier, "") })
  } if var.database != null }
  instance_calls = { for step, action in { machines-start = "startInstances", machines-stop = "stopInstances" } : "instances-${step}" => {
    step = step, action = "ec2:${action}", input = jsonencode({ InstanceIds = [for name in sort(keys(var.instances)) : var.instances[name].id] })
  } if length(var.instances) > 0 }
  service_calls = merge([for role, service in var.services : {
    for step, tasks in { roles-start = service.tasks, roles-stop = 0 } : "${role}-${step}" => {
      step                           = step, action = "ecs:updateService", input = jsonencode({ Cluster = var.cluster.name, Service = service.name, DesiredCount = tasks })
    }
  }]...)
  alarm_calls = { for step, action in { alarms-start = "enableAlarmActions", alarms-stop = "disableAlarmActions" } : step => {
    step = step, action = "cloudwatch:${action}", input = jsonencode({ AlarmNames = sort(keys(var.alarms)) })
  } if length(var.alarms) > 0 }

  calls = merge(local.database_calls, local.instance_calls, local.service_calls, local.alarm_calls)
}

resource "aws_scheduler_schedule_group" "this" {
  name = "${var.name}-parking"
}

resource "aws_scheduler_schedule" "this" {
  for_each                     = local.calls
  name                         = "${var.name}-${each.key}"
  group_name                   = aws_scheduler_schedule_group.this.name
  schedule_expression          = local.cron[each.value.step]
  schedule_expression_timezone = var.office_hours.timezone
  kms_key_arn                  = var.kms_key_arn

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = "arn:aws:scheduler:::aws-sdk:${each.value.action}"
    role_arn = aws_iam_role.this.arn
    input    = each.value.input

    # A database that is still starting cannot be stopped: retry for an hour.
    retry_policy {
      maximum_retry_attempts       = 10
      maximum_event_age_in_seconds = 3600
    }
  }
}

data "aws_iam_policy_document" "trust" {
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

resource "aws_iam_role" "this" {
  name                 = "${var.name}-parking"
  permissions_boundary = var.permissions_boundary_arn
  description          = "Starts and stops exactly this stack's services, database and instances"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "this" {
  statement {
    sid       = "ScaleTheServices"
    actions   = ["ecs:UpdateService"]
    resources = [for service in values(var.services) : service.arn]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [var.cluster.arn]
    }
  }
  dynamic "statement" {
    for_each = var.database == null ? [] : [var.database.arn]
    content {
      sid       = "StopAndStartTheDatabase"
      actions   = ["rds:StartDBInstance", "rds:StopDBInstance"]
      resources = [statement.value]
    }
  }
  dynamic "statement" {
    for_each = length(var.instances) == 0 ? [] : [[for instance in values(var.instances) : instance.arn]]
    content {
      sid       = "StopAndStartTheInstances"
      actions   = ["ec2:StartInstances", "ec2:StopInstances"]
      resources = statement.value
    }
  }
  # Whoever starts an instance with encrypted disks must be allowed to let EC2 use the key. Only EC2 may call, on the role's behalf, and the
  # grant must be for an AWS resource: nobody can use the key itself.
  dynamic "statement" {
    for_each = length(var.instances) == 0 ? [] : [var.kms_key_arn]
    content {
      sid       = "LetEc2OpenTheDisks"
      actions   = ["kms:CreateGrant"]
      resources = [statement.value]
      condition {
        test     = "Bool"
        variable = "kms:GrantIsForAWSResource"
        values   = ["true"]
      }
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["ec2.${var.region}.amazonaws.com"]
      }
    }
  }
  dynamic "statement" {
    for_each = length(var.alarms) == 0 ? [] : [values(var.alarms)]
    content {
      sid       = "MuteTheAlarms"
      actions   = ["cloudwatch:DisableAlarmActions", "cloudwatch:EnableAlarmActions"]
      resources = statement.value
    }
  }
  statement {
    sid       = "ReadTheSchedules"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "park"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.this.json
}
