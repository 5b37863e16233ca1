# What the instance of our own broker may do: read its users' passwords, publish its certificate, write its log, and open a session.
resource "aws_iam_role" "broker" {
  count                = local.ec2
  name                 = "${var.name}-kafka"
  permissions_boundary = var.permissions_boundary_arn
  description          = "The own broker's instance"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })
}

resource "aws_iam_instance_profile" "broker" {
  count = local.ec2
  name  = "${var.name}-kafka"
  role  = aws_iam_role.broker[0].name
}

# A shell by Session Manager instead of an open SSH port.
resource "aws_iam_role_policy_attachment" "session" {
  count      = local.ec2
  role       = aws_iam_role.broker[0].name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_role_policy" "broker" {
  count = local.ec2
  name  = "broker"
  role  = aws_iam_role.broker[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "ReadItsUsersPasswords"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = values(var.user_secrets)
      },
      {
        Sid      = "DecryptThem"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = [var.kms_key_arn]
        Condition = {
          StringEquals = {
            "kms:ViaService"                  = "secretsmanager.${var.region}.amazonaws.com"
            "kms:EncryptionContext:SecretARN" = values(var.user_secrets)
          }
        }
      },
      {
        Sid      = "PublishItsCertificate"
        Effect   = "Allow"
        Action   = ["ssm:PutParameter"]
        Resource = [aws_ssm_parameter.ca[0].arn]
      },
      {
        Sid      = "WriteItsLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        Resource = [aws_cloudwatch_log_group.this.arn, "${aws_cloudwatch_log_group.this.arn}:*"]
      },
    ]
  })
}
