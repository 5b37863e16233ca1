output "monthly_usd" {
  description = "US dollars a month"
  value       = floor(sum(values(local.components)) * 100 + 0.5) / 100
}

output "by_component" {
  description = "The same, by what it is spent on"
  value       = { for name, usd in local.components : name => floor(usd * 100 + 0.5) / 100 }
}

output "shape" {
  description = "What was priced, for terraform/check to hold against the plan"
  value       = var.shape
}
