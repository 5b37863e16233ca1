# Every alarm is data: the metrics it reads, an expression over them, a threshold, and what missing data means.
locals {
  audit_period = var.audit.every_minutes * 60
  of_audit     = { for name in keys(local.from_audit) : name => { namespace = local.namespace, metric = name, stat = "Maximum", period = local.audit_period, dimensions = {} } }
  of_logs      = { for name in ["StageHeld", "Errors"] : name => { namespace = local.namespace, metric = name, stat = "Sum", period = 300, dimensions = {} } }

  # Does every accepted webhook have one fate? Gaps are webhooks without one.
  fate_alarms = {
    unaccounted = {
      text       = "Webhooks without a fate, or with two: run `eventflow audit`"
      read       = { g = local.of_audit.Gaps, d = local.of_audit.DoubleFates }
      expression = "g + d", above = 0, periods = 1, silence = "ignore"
    }
    audit-silent = {
      text       = "The audit does not finish: recovery, the database or the audit task does not work"
      read       = { m = local.of_audit.CheckpointAge }
      expression = "m", above = 900, periods = 2, silence = "breaching"
    }
    in-flight = {
      text       = "Accepted webhooks wait to be stored: a stage is down, held or too slow"
      read       = { m = local.of_audit.InFlight }
      expression = "m", above = var.thresholds.in_flight_records, periods = 2, silence = "notBreaching"
    }
    dead-letters = {
      text       = "Too large a share of webhooks is dead-lettered: `eventflow dlq groups` says why"
      read       = { d = local.of_audit.DeadLetters, r = local.of_audit.Records }
      expression = "IF(DIFF(d) > 9, 100 * DIFF(d) / DIFF(r), 0)" # at least ten: one of two is no trend
      above      = var.thresholds.dead_letter_percent, periods = 1, silence = "notBreaching"
    }
    stage-held = {
      text       = "A stage is stopped until a person acts (breaker open, or records deleted before they were read): see its /ready or its log"
      read       = { m = local.of_logs.StageHeld }
      expression = "m", above = 0, periods = 1, silence = "notBreaching"
    }
    errors = {
      text       = "A role logged an error; they log few"
      read       = { m = local.of_logs.Errors }
      expression = "m", above = 0, periods = 1, silence = "notBreaching"
    }
  }

  # A healthy stack that receives nothing may be at fault: vendors may have the wrong address.
  quiet_alarm = var.thresholds.quiet_minutes == 0 ? {} : {
    quiet = {
      text       = "No webhook was accepted for ${var.thresholds.quiet_minutes} minutes"
      read       = { r = local.of_audit.Records }
      expression = "0 - DIFF(r)", above = -1, periods = ceil(var.thresholds.quiet_minutes / var.audit.every_minutes), silence = "notBreaching"
    }
  }

  edge_dimensions = var.edge.kind == "http_api" ? { ApiId = var.edge.api_id } : { LoadBalancer = var.edge.load_balancer }
  edge_read = {
    http_api = {
      n = { namespace = "AWS/ApiGateway", metric = "Count", stat = "Sum", period = 300, dimensions = local.edge_dimensions }
      e = { namespace = "AWS/ApiGateway", metric = "5xx", stat = "Sum", period = 300, dimensions = local.edge_dimensions }
    }
    alb = {
      n = { namespace = "AWS/ApplicationELB", metric = "RequestCount", stat = "Sum", period = 300, dimensions = local.edge_dimensions }
      e = { namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", stat = "Sum", period = 300, dimensions = local.edge_dimensions }
      b = { namespace = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", stat = "Sum", period = 300, dimensions = local.edge_dimensions }
    }
  }[var.edge.kind]
  edge_errors = join(" + ", [for id in setsubtract(keys(local.edge_read), ["n"]) : "FILL(${id}, 0)"])
  edge_alarms = {
    edge-5xx = {
      text       = "The edge refuses webhooks it should accept: Kafka down, or no healthy task"
      read       = local.edge_read
      expression = "IF(n > 20, 100 * (${local.edge_errors}) / n, 0)"
      above      = var.thresholds.errors_5xx_percent, periods = 2, silence = "notBreaching"
    }
  }

  # The number of CPU samples in a minute is the number of tasks that run; this needs no Container Insights.
  down_alarms = { for role, service in var.services : "down-${role}" => {
    text       = "No task of ${role} runs"
    read       = { m = { namespace = "AWS/ECS", metric = "CPUUtilization", stat = "SampleCount", period = 60, dimensions = { ClusterName = var.ecs_cluster_name, ServiceName = service.service_name } } }
    expression = "1 - m", above = 0, periods = 5, silence = "breaching"
  } if service.tasks > 0 }

  msk = { for metric in ["KafkaDataLogsDiskUsed", "CPUCreditBalance", "ActiveControllerCount", "OfflinePartitionsCount", "EstimatedMaxTimeLag"] : metric =>
    { namespace = "AWS/Kafka", metric = metric, stat = "Maximum", period = 300, dimensions = { "Cluster Name" = coalesce(var.kafka.cluster_name, "none") } }
  }
  msk_alarms = merge({
    kafka-offline = {
      text       = "Kafka has partitions without a leader, or no controller"
      read       = { o = local.msk.OfflinePartitionsCount, c = local.msk.ActiveControllerCount }
      expression = "IF(c < 1, 1, o)", above = 0, periods = 2, silence = "breaching"
    } }, {
    for broker in range(1, var.kafka.brokers + 1) : "kafka-disk-${broker}" => {
      text       = "Broker ${broker}'s disk is filling up: lengthen it (it cannot shrink), or shorten retention"
      read       = { m = merge(local.msk.KafkaDataLogsDiskUsed, { dimensions = merge(local.msk.KafkaDataLogsDiskUsed.dimensions, { "Broker ID" = tostring(broker) }) }) }
      expression = "m", above = var.thresholds.disk_percent, periods = 2, silence = "notBreaching"
    } }, {
    for group, topic in var.consumer_groups : "lag-${group}" => {
      text       = "${group} is ${var.thresholds.lag_seconds} s behind ${topic}"
      read       = { m = merge(local.msk.EstimatedMaxTimeLag, { dimensions = merge(local.msk.EstimatedMaxTimeLag.dimensions, { "Consumer Group" = group, Topic = topic }) }) }
      expression = "m", above = var.thresholds.lag_seconds, periods = 2, silence = "notBreaching"
    }
  })

  own_dimensions = { InstanceId = coalesce(var.kafka.instance_id, "none") }
  own_alarms = {
    kafka-down = {
      text       = "The broker's instance fails its checks"
      read       = { m = { namespace = "AWS/EC2", metric = "StatusCheckFailed", stat = "Maximum", period = 60, dimensions = local.own_dimensions } }
      expression = "m", above = 0, periods = 3, silence = "breaching"
    }
    kafka-credits = {
      text       = "The broker has nearly used up its CPU credits: it will be slow, or cost more"
      read       = { m = { namespace = "AWS/EC2", metric = "CPUCreditBalance", stat = "Minimum", period = 300, dimensions = local.own_dimensions } }
      expression = "24 - m", above = 0, periods = 3, silence = "notBreaching"
    }
    kafka-disk = {
      text       = "The broker's disk is filling up: lengthen it, or shorten retention"
      read       = { m = { namespace = local.namespace, metric = "BrokerDiskUsed", stat = "Maximum", period = 300, dimensions = {} } }
      expression = "m", above = var.thresholds.disk_percent, periods = 2, silence = "breaching"
    }
  }

  db_dimensions = { DBInstanceIdentifier = var.database.identifier }
  db_alarms = merge({
    db-storage = {
      text       = "Less than a quarter of the database's storage is free"
      read       = { m = { namespace = "AWS/RDS", metric = "FreeStorageSpace", stat = "Minimum", period = 300, dimensions = local.db_dimensions } }
      expression = "100 - 100 * m / ${var.database.storage_gb * 1024 * 1024 * 1024}"
      above      = var.thresholds.disk_percent, periods = 2, silence = "breaching"
    }
    db-cpu = {
      text       = "The database's CPU is used up"
      read       = { m = { namespace = "AWS/RDS", metric = "CPUUtilization", stat = "Average", period = 300, dimensions = local.db_dimensions } }
      expression = "m", above = 90, periods = 3, silence = "notBreaching"
    }
    }, var.database.burstable ? {
    db-credits = {
      text       = "The database has nearly used up its CPU credits: it will cost more"
      read       = { m = { namespace = "AWS/RDS", metric = "CPUCreditBalance", stat = "Minimum", period = 300, dimensions = local.db_dimensions } }
      expression = "24 - m", above = 0, periods = 3, silence = "notBreaching"
    }
  } : {})

  # A conditional needs both sides to have one type; a filter does not.
  alarms = merge(local.fate_alarms, local.quiet_alarm, local.edge_alarms, local.down_alarms, local.db_alarms,
    { for name, alarm in local.msk_alarms : name => alarm if var.kafka.kind == "msk" },
    { for name, alarm in local.own_alarms : name => alarm if var.kafka.kind == "ec2" },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.text}. What to do: docs/ALERTS.md#on-aws, ${each.key}"
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.silence
  alarm_actions       = [aws_sns_topic.alerts.arn]
  ok_actions          = [aws_sns_topic.alerts.arn]

  metric_query {
    id          = "value"
    label       = each.key
    expression  = each.value.expression
    return_data = true
  }

  dynamic "metric_query" {
    for_each = each.value.read
    content {
      id = metric_query.key
      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.metric
        stat        = metric_query.value.stat
        period      = metric_query.value.period
        dimensions  = metric_query.value.dimensions
      }
    }
  }
}
