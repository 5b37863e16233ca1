output "address" {
  description = "Host name"
  value       = aws_db_instance.this.address
}

output "url" {
  description = "For EVENTFLOW_DATABASE_URL: without user and password, which come as PGUSER and PGPASSWORD; the certificate is checked"
  value       = "postgres://${aws_db_instance.this.address}:5432/eventflow?sslmode=verify-full&sslrootcert=/etc/eventflow/rds-ca.pem"
}

output "identifier" {
  description = "Identifier of the instance"
  value       = aws_db_instance.this.identifier
}

output "arn" {
  description = "ARN of the instance"
  value       = aws_db_instance.this.arn
}

output "master_secret_arn" {
  description = "Secret RDS keeps: JSON with username and password"
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}
