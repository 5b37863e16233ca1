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
