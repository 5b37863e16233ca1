# PostgreSQL: encrypted, TLS only, restorable to any second. RDS keeps the master password itself and changes it every week. The roles
# have database users of their own, with fewer privileges, which `eventflow admin migrate` creates.
resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name        = "${var.name}-postgres17"
  family      = "postgres17"
  description = "TLS only; what is slow, waits or connects is logged, what is written is not"

  dynamic "parameter" {
    for_each = {
      "rds.force_ssl"              = "1"
      "log_connections"            = "1"
      "log_disconnections"         = "1"
      "log_lock_waits"             = "1"
      "log_min_duration_statement" = "1000"
      # Slow statements are logged without their values, which are vendors' payloads.
      "log_parameter_max_length"          = "0"
      "log_parameter_max_length_on_error" = "0"
    }
    content {
      name  = parameter.key
      value = parameter.value
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

# Created here, or RDS would create them without a key and keep them for ever.
resource "aws_cloudwatch_log_group" "this" {
  for_each          = toset(["postgresql", "upgrade"])
  name              = "/aws/rds/instance/${var.name}/${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_db_instance" "this" {
  identifier     = var.name
  engine         = "postgres"
  engine_version = var.engine_version
  instance_class = var.class
  multi_az       = var.multi_az

  db_name                       = "eventflow"
  username                      = "eventflow_master"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.kms_key_arn
  # Users log in with passwords: an IAM token every 15 minutes would need an AWS SDK in each role.
  iam_database_authentication_enabled = false

  storage_type          = "gp3"
  allocated_storage     = var.storage_gb
  max_allocated_storage = var.storage_gb * 5
  storage_encrypted     = true
  kms_key_id            = var.kms_key_arn

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [var.group_id]
  publicly_accessible    = false
  parameter_group_name   = aws_db_parameter_group.this.name
  ca_cert_identifier     = "rds-ca-rsa2048-g1" # its certificate is in the image

  backup_retention_period    = var.backup_days
  backup_window              = "02:00-03:00"
  maintenance_window         = "sun:03:30-sun:04:30"
  auto_minor_version_upgrade = true
  apply_immediately          = false
  copy_tags_to_snapshot      = true
  delete_automated_backups   = !var.protected
  deletion_protection        = var.protected
  skip_final_snapshot        = !var.protected
  final_snapshot_identifier  = var.protected ? "${var.name}-final" : null

  performance_insights_enabled          = true # seven days are free
  performance_insights_retention_period = 7
  performance_insights_kms_key_id       = var.kms_key_arn
  enabled_cloudwatch_logs_exports       = ["postgresql", "upgrade"]

  depends_on = [aws_cloudwatch_log_group.this]
}
