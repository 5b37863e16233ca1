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

output "guards" {
  description = "What protects the data, for tests and reviews"
  value = {
    encrypted   = aws_db_instance.this.storage_encrypted
    public      = aws_db_instance.this.publicly_accessible
    multi_az    = aws_db_instance.this.multi_az
    backup_days = aws_db_instance.this.backup_retention_period
    protected   = aws_db_instance.this.deletion_protection
    snapshot    = !aws_db_instance.this.skip_final_snapshot
    managed     = aws_db_instance.this.manage_master_user_password
    tls_only    = contains([for parameter in aws_db_parameter_group.this.parameter : "${parameter.name}=${parameter.value}"], "rds.force_ssl=1")
    groups      = aws_db_instance.this.vpc_security_group_ids
  }
}
