# More tasks while the role is behind, but never more than partitions: further tasks would be idle.
locals {
  scales = local.runs && try(var.service.max_tasks > var.service.tasks, false)
}

resource "aws_appautoscaling_target" "this" {
  count              = local.scales ? 1 : 0
  service_namespace  = "ecs"
  resource_id        = "service/${var.service.cluster_name}/${aws_ecs_service.this[0].name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.service.parked ? 0 : var.service.tasks # a parked service stays at 0
  max_capacity       = var.service.max_tasks
}

resource "aws_appautoscaling_policy" "lag" {
  count              = local.scales && var.scale_on_lag != null ? 1 : 0
  name               = "${var.name}-${var.role}-lag"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  resource_id        = aws_appautoscaling_target.this[0].resource_id
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = var.scale_on_lag.records
    scale_out_cooldown = 60
    scale_in_cooldown  = 600 # every change of the group's members is a rebalance

    customized_metric_specification {
      namespace   = "AWS/Kafka"
      metric_name = "SumOffsetLag"
      statistic   = "Average"

      dimensions {
        name  = "Cluster Name"
        value = var.scale_on_lag.cluster
      }
      dimensions {
        name  = "Consumer Group"
        value = var.scale_on_lag.group
      }
      dimensions {
        name  = "Topic"
        value = var.scale_on_lag.topic
      }
    }
  }
}

resource "aws_appautoscaling_policy" "cpu" {
  count              = local.scales && var.scale_on_lag == null ? 1 : 0
  name               = "${var.name}-${var.role}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  resource_id        = aws_appautoscaling_target.this[0].resource_id
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 60
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
