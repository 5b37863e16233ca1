output "roles" {
  description = "For the repository's variables: AWS_PLAN_ROLE, AWS_PUSH_ROLE, and AWS_APPLY_ROLE in each environment"
  value       = { for name, role in aws_iam_role.github : name => role.arn }
}

output "workload_boundary_arn" {
  description = "Permissions boundary of every role that a stack creates (variable permissions_boundary_arn of the root): CI may create no other"
  value       = aws_iam_policy.workload_boundary.arn
}

output "backend" {
  description = "`terraform output -raw backend > ../backend.hcl`, then `terraform init -backend-config=backend.hcl -backend-config=key=eventflow-demo.tfstate`"
  value       = <<-EOT
    bucket       = "${aws_s3_bucket.state.bucket}"
    region       = "${var.region}"
    encrypt      = true
    kms_key_id   = "${aws_kms_key.state.arn}"
    use_lockfile = true
  EOT
}
