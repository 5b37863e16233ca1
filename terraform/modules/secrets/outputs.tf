output "kms_key_arn" {
  description = "The stack's key"
  value       = aws_kms_key.this.arn
  depends_on  = [aws_kms_alias.this]
}

output "arns" {
  description = "Secrets by name: their ARNs, once they have a value"
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.arn }
  depends_on  = [aws_secretsmanager_secret_version.this]
}
