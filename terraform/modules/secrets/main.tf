# One key for what this stack stores (secrets, logs, disks, images, alerts), and the secrets. A secret is one value, and never in state or
# plan: an ephemeral resource generates it, and a write-only argument passes it on.
resource "aws_kms_key" "this" {
  description             = "${var.name}: secrets, logs, disks, images, alerts"
  enable_key_rotation     = true
  deletion_window_in_days = 7

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # AWS requires it: without it nobody could ever change the key again. In a key policy "*" is this key, no other.
        Sid       = "IamDecides"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::${var.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "LogsOfThisStack"
        Effect    = "Allow"
        Principal = { Service = "logs.${var.region}.amazonaws.com" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey"]
        Resource  = "*"
        Condition = {
          ArnLike = {
            "kms:EncryptionContext:aws:logs:arn" = [
              "arn:aws:logs:${var.region}:${var.account_id}:log-group:/${var.name}/*",
              "arn:aws:logs:${var.region}:${var.account_id}:log-group:aws-waf-logs-${var.name}",
              "arn:aws:logs:${var.region}:${var.account_id}:log-group:/aws/rds/instance/${var.name}/*",
            ]
          }
        }
      },
      {
        # AWS' own key for SNS does not allow them.
        Sid       = "AlarmsAndBudgetsPublishEncrypted"
        Effect    = "Allow"
        Principal = { Service = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"] }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"]
        Resource  = "*"
        Condition = {
          StringEquals = {
            "aws:SourceAccount"                      = var.account_id
            "kms:EncryptionContext:aws:sns:topicArn" = "arn:aws:sns:${var.region}:${var.account_id}:${var.name}-alerts"
          }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_secretsmanager_secret" "this" {
  for_each                = var.secrets
  name                    = "${var.name}/${each.key}"
  description             = each.value
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.recovery_days
}

resource "terraform_data" "generation" {
  triggers_replace = var.generation
}

ephemeral "aws_secretsmanager_random_password" "this" {
  for_each            = var.secrets
  provider            = aws.passwords
  password_length     = 48
  exclude_punctuation = true # still 285 bits, and no quoting is needed anywhere
  # Never true. An id exists only after apply, so that a first plan asks AWS for nothing.
  exclude_numbers = terraform_data.generation.id == ""
}

resource "aws_secretsmanager_secret_version" "this" {
  for_each                 = var.secrets
  secret_id                = aws_secretsmanager_secret.this[each.key].id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.this[each.key].random_password
  secret_string_wo_version = var.generation
}
