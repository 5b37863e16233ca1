# Two IAM roles for each EventFlow role. The execution role starts the task: it pulls the image, opens the log stream and reads the
# secrets of this task. The task role is what the program itself may do: use Kafka on MSK, and nothing else.
locals {
  # Only ECS, for this account's tasks (confused deputy).
  trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = var.account_id }
        ArnLike      = { "aws:SourceArn" = "arn:aws:ecs:${var.region}:${var.account_id}:*" }
      }
    }]
  })
}

resource "aws_iam_role" "execution" {
  for_each             = var.roles
  name                 = "${var.name}-${each.key}-execution"
  permissions_boundary = var.permissions_boundary_arn
  description          = "Starts the ${each.key} task"
  assume_role_policy   = local.trust
}

resource "aws_iam_role" "task" {
  for_each             = var.roles
  name                 = "${var.name}-${each.key}-task"
  permissions_boundary = var.permissions_boundary_arn
  description          = "What the ${each.key} role may do itself"
  assume_role_policy   = local.trust
}

resource "aws_iam_role_policy" "execution" {
  for_each = var.roles
  name     = "start"
  role     = aws_iam_role.execution[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    # Each kind of statement is a list filtered by `if`: a conditional needs both sides to have one type.
    Statement = concat([
      {
        # The one action here that AWS cannot restrict to a resource. It gives a token, which allows only what the next statement allows.
        Sid      = "EcrLogin"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = "*"
      },
      {
        Sid      = "PullTheImage"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = [var.repository_arn]
      },
      {
        Sid      = "WriteItsLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["arn:aws:logs:${var.region}:${var.account_id}:log-group:/${var.name}/${each.key}:*"]
      }],
      [for arns in [each.value.secret_arns] : {
        Sid      = "ReadItsSecrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = arns
      } if length(arns) > 0],
      [for arns in [each.value.secret_arns] : {
        Sid      = "DecryptItsSecrets"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = [var.kms_key_arn]
        Condition = { StringEquals = {
          "kms:ViaService"                  = ["secretsmanager.${var.region}.amazonaws.com"]
          "kms:EncryptionContext:SecretARN" = arns
        } }
      } if length(arns) > 0],
      [for arns in [each.value.parameter_arns] : {
        Sid      = "ReadTheBrokersCertificate"
        Effect   = "Allow"
        Action   = ["ssm:GetParameters"]
        Resource = arns
      } if length(arns) > 0],
    )
  })
}
