# GitHub's workflows assume one of these roles with the token of their run: there is no access key anywhere.
# Each role trusts an exact `sub`, never a pattern.
resource "aws_iam_openid_connect_provider" "github" {
  count          = var.create_oidc_provider ? 1 : 0
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_openid_connect_provider" "github" {
  count = var.create_oidc_provider ? 0 : 1
  url   = "https://token.actions.githubusercontent.com"
}

locals {
  github = "token.actions.githubusercontent.com"
  issuer = one(concat(aws_iam_openid_connect_provider.github[*].arn, data.aws_iam_openid_connect_provider.github[*].arn))

  # Repositories made or renamed since 2026-07-15 identify themselves by number, too, so that a name which another owner has taken over is not
  # trusted. Name and number are joined by "@".
  identity = [var.github_owner_id, var.github_repository_id]
  subject  = "repo:${join("/", [for i, part in split("/", var.github_repository) : join("@", compact([part, local.identity[i]]))])}"

  # The `sub` of a job with an environment has the environment, and neither the branch nor the event.
  trusted = merge({
    plan = ["${local.subject}:environment:plan"]
    push = ["${local.subject}:environment:build"]
  }, { for environment in var.environments : "apply-${environment}" => ["${local.subject}:environment:${environment}"] })
}

data "aws_iam_policy_document" "trust" {
  for_each = local.trusted

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [local.issuer]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.github}:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.github}:sub"
      values   = each.value
    }
  }
}

resource "aws_iam_role" "github" {
  for_each             = local.trusted
  name                 = "${var.name}-ci-${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  permissions_boundary = startswith(each.key, "apply-") ? aws_iam_policy.apply_boundary.arn : null
  # A first apply with MSK takes most of an hour, and credentials must not expire during it.
  max_session_duration = startswith(each.key, "apply-") ? 7200 : 3600
}

# push: images into this project's repositories, nothing else.
data "aws_iam_policy_document" "push" {
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken can be allowed on "*" only; what its token may do is the other statement
  statement {
    sid       = "LogIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
  statement {
    sid = "PushAndLookUp"
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:DescribeImages",
      "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
    ]
    resources = ["arn:aws:ecr:${var.region}:${local.account}:repository/${var.name}*"]
  }
}

resource "aws_iam_role_policy" "push" {
  name   = "push"
  role   = aws_iam_role.github["push"].id
  policy = data.aws_iam_policy_document.push.json
}

# plan: reads and compares. It takes no lock (`terraform plan -lock=false`), so it can write nothing at all.
resource "aws_iam_role_policy_attachment" "read" {
  for_each   = { for role in keys(local.trusted) : role => role if role != "push" }
  role       = aws_iam_role.github[each.key].name
  policy_arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
}

# ReadOnlyAccess also reads data. A plan needs to know which resources exist, not what is in them.
data "aws_iam_policy_document" "plan" {
  statement {
    sid       = "ReadTheState"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${aws_s3_bucket.state.arn}/*"]
  }
  statement {
    sid       = "DecryptTheState"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.state.arn]
  }
  statement {
    # A plan generates ephemeral passwords and throws them away. ReadOnlyAccess does not include that call.
    sid       = "MakeUpPasswords"
    actions   = ["secretsmanager:GetRandomPassword"]
    resources = ["*"]
  }
  statement {
    sid       = "ReadTheBudgetsTags" # nor does it include this one
    actions   = ["budgets:ListTagsForResource"]
    resources = ["arn:aws:budgets::${local.account}:budget/${var.name}-*"]
  }
  statement {
    sid           = "NoOtherObjects"
    effect        = "Deny"
    actions       = ["s3:GetObject", "s3:GetObjectVersion"]
    not_resources = ["${aws_s3_bucket.state.arn}/*"]
  }
  statement {
    sid           = "NothingElseDecrypted"
    effect        = "Deny"
    actions       = ["kms:Decrypt"]
    not_resources = [aws_kms_key.state.arn]
  }
  statement {
    sid    = "NoContents"
    effect = "Deny"
    actions = [
      "dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "kafka-cluster:*",
      "logs:FilterLogEvents", "logs:GetLogEvents", "logs:StartQuery", "secretsmanager:GetSecretValue", "sqs:ReceiveMessage",
    ]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "plan" {
  name   = "state-and-no-contents"
  role   = aws_iam_role.github["plan"].id
  policy = data.aws_iam_policy_document.plan.json
}
