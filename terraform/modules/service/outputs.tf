output "log_group_name" {
  description = "Where it logs"
  value       = aws_cloudwatch_log_group.this.name
}

output "task_definition_arn" {
  description = "The task definition, with its revision; null without an image"
  value       = one(aws_ecs_task_definition.this[*].arn)
}

output "service_name" {
  description = "The ECS service; null when there is none"
  value       = one(aws_ecs_service.this[*].name)
}

output "service_arn" {
  description = "The ECS service; null when there is none"
  value       = one(aws_ecs_service.this[*].id)
}

output "discovery_arn" {
  description = "Its Cloud Map service; null when there is none"
  value       = one(aws_service_discovery_service.this[*].arn)
}
