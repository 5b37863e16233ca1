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

output "container" {
  description = "The container's definition, for tests and reviews; null without an image"
  value       = try(jsondecode(aws_ecs_task_definition.this[0].container_definitions)[0], null)
}

output "running" {
  description = "How it is run, for tests and reviews; null when it is not"
  value = one([for service in aws_ecs_service.this : {
    public_ip       = service.network_configuration[0].assign_public_ip
    security_groups = service.network_configuration[0].security_groups
    rollback        = service.deployment_circuit_breaker[0].enable && service.deployment_circuit_breaker[0].rollback
    architecture    = aws_ecs_task_definition.this[0].runtime_platform[0].cpu_architecture
    capacity        = { for strategy in service.capacity_provider_strategy : strategy.capacity_provider => { base = strategy.base, weight = strategy.weight } }
    max_tasks       = one(aws_appautoscaling_target.this[*].max_capacity)
    scales_on       = one(concat([for policy in aws_appautoscaling_policy.lag : "lag"], [for policy in aws_appautoscaling_policy.cpu : "cpu"]))
  }])
}
