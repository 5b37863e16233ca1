output "topic_arn" {
  description = "Where alarms go"
  value       = aws_sns_topic.alerts.arn
}

output "alarms" {
  description = "Alarms by name: ARN"
  value       = { for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name => alarm.arn }
}

output "liveness_alarms" {
  description = "Names of the alarms that take silence for a fault: modules/schedule mutes them while the stack is parked"
  value       = sort([for name, alarm in local.alarms : "${var.name}-${name}" if alarm.silence == "breaching"])
}

output "counts" {
  description = "For the cost module: what is billed by the piece"
  value       = { alarms = length(local.alarms), custom_metrics = length(local.dimensionless) }
}

output "dashboard_url" {
  description = "The dashboard"
  value       = "https://${var.region}.console.aws.amazon.com/cloudwatch/home?region=${var.region}#dashboards/dashboard/${aws_cloudwatch_dashboard.this.dashboard_name}"
}
