output "execution_role_arns" {
  description = "By EventFlow role"
  value       = { for role, iam in aws_iam_role.execution : role => iam.arn }
  depends_on  = [aws_iam_role_policy.execution]
}

output "task_role_arns" {
  description = "By EventFlow role"
  value       = { for role, iam in aws_iam_role.task : role => iam.arn }
  depends_on  = [aws_iam_role_policy.kafka]
}

output "policies" {
  description = "Statements by EventFlow role, of the execution role (start) and of the task role (kafka), for tests and reviews"
  value = { for role in keys(var.roles) : role => {
    start = jsondecode(aws_iam_role_policy.execution[role].policy).Statement
    kafka = contains(keys(local.kafka), role) ? jsondecode(aws_iam_role_policy.kafka[role].policy).Statement : []
    trust = jsondecode(aws_iam_role.task[role].assume_role_policy).Statement
  } }
}
