# One page: the audit first, then the edge and the stages, then the machines.
locals {
  widgets = concat([
    { title = "Raw records, in flight, open dead letters", metrics = [
      [local.namespace, "Records", { stat = "Maximum" }], [local.namespace, "InFlight", { stat = "Maximum" }], [local.namespace, "DeadLetters", { stat = "Maximum" }],
    ] },
    { title = "Records without a fate, or with two: must be 0", metrics = [
      [local.namespace, "Gaps", { stat = "Maximum" }], [local.namespace, "DoubleFates", { stat = "Maximum" }],
    ] },
    { title = "Edge: requests and 5xx", metrics = [
      for query in values(local.edge_read) : concat([query.namespace, query.metric], flatten([for name, value in query.dimensions : [name, value]]), [{ stat = "Sum" }])
    ] },
    { title = "Errors logged, stages held by a check", metrics = [
      [local.namespace, "Errors", { stat = "Sum" }], [local.namespace, "StageHeld", { stat = "Sum" }],
    ] },
    { title = "CPU of each role, %", metrics = [
      for service in values(var.services) : ["AWS/ECS", "CPUUtilization", "ClusterName", var.ecs_cluster_name, "ServiceName", service.service_name, { stat = "Average" }]
    ] },
    { title = "Memory of each role, %", metrics = [
      for service in values(var.services) : ["AWS/ECS", "MemoryUtilization", "ClusterName", var.ecs_cluster_name, "ServiceName", service.service_name, { stat = "Maximum" }]
    ] },
    { title = "Database: CPU, connections", metrics = [
      for metric in ["CPUUtilization", "DatabaseConnections"] : ["AWS/RDS", metric, "DBInstanceIdentifier", var.database.identifier, { stat = "Average" }]
    ] },
    ], [for widget in [
      { kind = "msk", title = "Lag of each group, seconds", metrics = [
        for group, topic in var.consumer_groups : ["AWS/Kafka", "EstimatedMaxTimeLag", "Cluster Name", coalesce(var.kafka.cluster_name, "none"), "Consumer Group", group, "Topic", topic, { stat = "Maximum" }]
      ] },
      { kind = "ec2", title = "Broker: disk used, CPU, %", metrics = [
        [local.namespace, "BrokerDiskUsed", { stat = "Maximum" }], ["AWS/EC2", "CPUUtilization", "InstanceId", local.own_dimensions.InstanceId, { stat = "Average" }],
      ] },
  ] : { title = widget.title, metrics = widget.metrics } if widget.kind == var.kafka.kind])
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for i, widget in local.widgets : {
      type   = "metric"
      width  = 12
      height = 6
      x      = (i % 2) * 12
      y      = floor(i / 2) * 6
      properties = {
        title   = widget.title
        region  = var.region
        metrics = widget.metrics
        period  = 300
        view    = "timeSeries"
      }
    }]
  })
}
