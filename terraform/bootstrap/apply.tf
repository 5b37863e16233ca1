# apply: one role per environment. Its policy is bounded twice: by its own permissions boundary, which no later policy can widen, and by the
# boundary that it must put on every role it creates, so that it cannot create a stronger one.
locals {
  region_account = "${var.region}:${local.account}"

  # Services whose resources have the stack's name: only those of this environment.
  named = { for environment in var.environments : environment => flatten([for stack in ["${var.name}-${environment}"] : [
    "arn:aws:budgets::${local.account}:budget/${stack}*",
    "arn:aws:cloudwatch:${local.region_account}:alarm:${stack}*",
    "arn:aws:cloudwatch::${local.account}:dashboard/${stack}*",
    "arn:aws:ecr:${local.region_account}:repository/${stack}*",
    "arn:aws:ecs:${local.region_account}:*/${stack}*",
    "arn:aws:elasticloadbalancing:${local.region_account}:*/${stack}*",
    "arn:aws:elasticloadbalancing:${local.region_account}:*/app/${stack}*",
    "arn:aws:kafka:${local.region_account}:*/${stack}*",
    "arn:aws:logs:${local.region_account}:log-group:*${stack}*",
    "arn:aws:rds:${local.region_account}:*:${stack}*",
    "arn:aws:scheduler:${local.region_account}:*/${stack}*",
    "arn:aws:secretsmanager:${local.region_account}:secret:${stack}*",
    "arn:aws:sns:${local.region_account}:${stack}*",
    "arn:aws:ssm:${local.region_account}:parameter/${stack}*",
    "arn:aws:wafv2:${local.region_account}:*/${stack}*",
    "arn:aws:s3:::${stack}*",
  ]]) }
}

data "aws_iam_policy_document" "apply" {
  #checkov:skip=CKV_AWS_107:secrets are written through write-only arguments and read by tasks only; see the boundary's denials
  #checkov:skip=CKV_AWS_109:roles may be made only with the workload boundary, and the CI's own roles are out of reach
  #checkov:skip=CKV_AWS_110:see CKV_AWS_109
  #checkov:skip=CKV_AWS_111:services whose resources have ids, not names, cannot be distinguished before they exist; bounded to one region and account
  #checkov:skip=CKV_AWS_356:create calls of VPCs, kafka configurations and the like know no resource; bounded to one region
  for_each = var.environments

  statement {
    sid = "WhatCarriesTheStacksName"
    actions = [
      "budgets:*Budget", "budgets:*Tag*", "cloudwatch:*", "ecr:*", "ecs:*", "elasticloadbalancing:*", "kafka:*", "logs:*", "rds:*", "s3:*", "scheduler:*", "secretsmanager:*",
      "sns:*", "ssm:*Parameter*", "ssm:*TagsFrom*", "ssm:*TagsTo*", "wafv2:*",
    ]
    resources = local.named[each.key]
  }
  statement {
    sid       = "WhatHasIdsOnly"
    actions   = ["ec2:*", "apigateway:*", "servicediscovery:*"]
    resources = ["arn:aws:ec2:${local.region_account}:*", "arn:aws:ec2:${var.region}::image/*", "arn:aws:ec2:${var.region}::snapshot/*", "arn:aws:apigateway:${var.region}::*", "arn:aws:servicediscovery:${local.region_account}:*"]
  }
  statement {
    sid = "CallsWithoutAResource"
    actions = [
      "application-autoscaling:*", "ec2:CreateVpc", "ecr:GetAuthorizationToken",
      "ecs:DeregisterTaskDefinition", "ecs:RegisterTaskDefinition", "elasticloadbalancing:SetWebAcl", "kafka:CreateClusterV2", "kafka:CreateConfiguration",
      "kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias", "logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:GetLogDelivery",
      "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery", "route53:AssociateVPCWithHostedZone", "route53:ChangeResourceRecordSets",
      "route53:ChangeTagsForResource", "route53:CreateHostedZone", "route53:DeleteHostedZone", "secretsmanager:GetRandomPassword", "servicediscovery:CreateHttpNamespace",
      "servicediscovery:CreatePrivateDnsNamespace",
    ]
    resources = ["*"]
  }
  statement {
    sid     = "WithWhatAwsNames" # the option group of a database that wants none; AWS' own rules, which an ACL refers to
    actions = ["rds:CreateDBInstance", "rds:ModifyDBInstance", "wafv2:CreateWebACL", "wafv2:UpdateWebACL"]
    resources = [
      "arn:aws:rds:${local.region_account}:db:${var.name}-${each.key}*", "arn:aws:rds:${local.region_account}:og:default*",
      "arn:aws:wafv2:${local.region_account}:regional/managedruleset/*",
    ]
  }
  statement {
    sid       = "RdsKeepsTheMasterPassword" # in a secret that RDS names and creates with the permissions of whoever creates the database
    actions   = ["secretsmanager:CreateSecret", "secretsmanager:TagResource"]
    resources = ["arn:aws:secretsmanager:${local.region_account}:secret:rds!db-*"]
  }
  statement {
    # A key has an id, not a name: it is recognized by the tag that every resource of a stack has. While a key is created the tag is not
    # there yet, and a role that may tag any key could take it over. So a person does a stack's first apply, which creates its one key.
    sid = "ItsOwnKey"
    actions = [
      "kms:CreateGrant", "kms:Decrypt", "kms:DisableKey", "kms:EnableKeyRotation", "kms:Encrypt", "kms:GenerateDataKey*", "kms:PutKeyPolicy",
      "kms:RetireGrant", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateKeyDescription",
    ]
    resources = ["arn:aws:kms:${local.region_account}:key/*"]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Stack"
      values   = ["${var.name}-${each.key}"]
    }
  }
  statement {
    sid       = "RolesWithTheWorkloadBoundaryOnly"
    actions   = ["iam:AttachRolePolicy", "iam:CreateRole", "iam:DetachRolePolicy", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
    resources = ["arn:aws:iam::${local.account}:role/${var.name}-${each.key}*"]
    condition {
      test     = "ArnEquals"
      variable = "iam:PermissionsBoundary"
      values   = [aws_iam_policy.workload_boundary.arn]
    }
  }
  statement {
    sid = "TheStacksRolesOtherwise"
    actions = [
      "iam:AddRoleToInstanceProfile", "iam:CreateInstanceProfile", "iam:DeleteInstanceProfile", "iam:DeleteRole", "iam:DeleteRolePolicy",
      "iam:RemoveRoleFromInstanceProfile", "iam:TagInstanceProfile", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole",
    ]
    resources = ["arn:aws:iam::${local.account}:role/${var.name}-${each.key}*", "arn:aws:iam::${local.account}:instance-profile/${var.name}-${each.key}*"]
  }
  statement {
    sid       = "HandRolesToTheseServices"
    actions   = ["iam:PassRole"]
    resources = ["arn:aws:iam::${local.account}:role/${var.name}-${each.key}*"]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com", "ecs-tasks.amazonaws.com", "monitoring.rds.amazonaws.com", "scheduler.amazonaws.com", "vpc-flow-logs.amazonaws.com"]
    }
  }
  statement {
    sid       = "ServicesOwnRoles"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["arn:aws:iam::${local.account}:role/aws-service-role/*"]
    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values = [
        "ecs.amazonaws.com", "ecs.application-autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com", "kafka.amazonaws.com",
        "ops.apigateway.amazonaws.com", "rds.amazonaws.com", "wafv2.amazonaws.com",
      ]
    }
  }
  statement {
    sid       = "ItsOwnState"
    actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.state.arn}/${var.name}-${each.key}.tfstate", "${aws_s3_bucket.state.arn}/${var.name}-${each.key}.tfstate.tflock"]
  }
  statement {
    sid       = "ReadAndWriteTheStateEncrypted"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.state.arn]
  }
}

resource "aws_iam_policy" "apply" {
  #checkov:skip=CKV_AWS_287:see the document: its reasons are there
  #checkov:skip=CKV_AWS_288:see the document: its reasons are there
  #checkov:skip=CKV_AWS_289:see the document: its reasons are there
  #checkov:skip=CKV_AWS_290:see the document: its reasons are there
  #checkov:skip=CKV_AWS_355:see the document: its reasons are there
  for_each = var.environments
  name     = "${var.name}-ci-apply-${each.key}"
  policy   = data.aws_iam_policy_document.apply[each.key].minified_json

  lifecycle {
    precondition {
      condition     = length(data.aws_iam_policy_document.apply[each.key].minified_json) <= 6144
      error_message = "AWS takes 6144 characters in a managed policy."
    }
  }
}

resource "aws_iam_role_policy_attachment" "apply" {
  for_each   = var.environments
  role       = aws_iam_role.github["apply-${each.key}"].name
  policy_arn = aws_iam_policy.apply[each.key].arn
}

# A permissions boundary: it allows nothing by itself.
data "aws_iam_policy_document" "apply_boundary" {
  #checkov:skip=CKV_AWS_107:a boundary grants nothing
  #checkov:skip=CKV_AWS_108:a boundary grants nothing
  #checkov:skip=CKV_AWS_109:a boundary grants nothing
  #checkov:skip=CKV_AWS_110:a boundary grants nothing
  #checkov:skip=CKV_AWS_111:a boundary grants nothing
  #checkov:skip=CKV_AWS_356:a boundary grants nothing
  #checkov:skip=CKV_AWS_49:a boundary grants nothing
  #checkov:skip=CKV_AWS_1:a boundary grants nothing
  #checkov:skip=CKV2_AWS_40:a boundary grants nothing
  statement {
    sid       = "AtMostThis"
    actions   = ["*"]
    resources = ["*"]
  }
  statement {
    sid         = "NothingElsewhere"
    effect      = "Deny"
    not_actions = ["budgets:*", "iam:*", "route53:*", "s3:*", "sts:*", "cloudwatch:*Dashboard*"] # global services
    resources   = ["*"]
    condition {
      test     = "StringNotEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }
  statement {
    sid    = "NeverItself"
    effect = "Deny"
    actions = [
      "iam:AttachRolePolicy", "iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:DeleteRole", "iam:DeleteRolePermissionsBoundary",
      "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:PassRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy", "iam:SetDefaultPolicyVersion",
      "iam:UpdateAssumeRolePolicy",
    ]
    resources = [
      "arn:aws:iam::${local.account}:role/${var.name}-ci-*", "arn:aws:iam::${local.account}:policy/${var.name}-ci-*",
      "arn:aws:iam::${local.account}:policy/${var.name}-workload-boundary",
    ]
  }
  statement {
    sid    = "NoWayAround"
    effect = "Deny"
    actions = [
      "account:*", "iam:*AccessKey*", "iam:*Group*", "iam:*LoginProfile*", "iam:*MFADevice*", "iam:*OpenIDConnect*", "iam:*SAML*", "iam:*User*",
      "iam:CreatePolicy", "iam:DeleteRolePermissionsBoundary", "organizations:*", "sts:AssumeRole",
    ]
    resources = ["*"]
  }
  statement {
    sid       = "TheStateBucketStaysAsItIs"
    effect    = "Deny"
    actions   = ["s3:DeleteBucket*", "s3:DeleteObjectVersion", "s3:PutBucket*", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration"]
    resources = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]
  }
  statement {
    sid       = "SecretsAreForTasks" # Terraform writes them and never needs to read them
    effect    = "Deny"
    actions   = ["secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue"]
    resources = ["*"]
  }
}

resource "aws_iam_policy" "apply_boundary" {
  #checkov:skip=CKV_AWS_62:a boundary grants nothing
  #checkov:skip=CKV_AWS_63:a boundary grants nothing
  #checkov:skip=CKV_AWS_286:a boundary grants nothing
  #checkov:skip=CKV_AWS_287:a boundary grants nothing
  #checkov:skip=CKV_AWS_288:a boundary grants nothing
  #checkov:skip=CKV_AWS_289:a boundary grants nothing
  #checkov:skip=CKV_AWS_290:a boundary grants nothing
  #checkov:skip=CKV_AWS_355:a boundary grants nothing
  #checkov:skip=CKV2_AWS_40:a boundary grants nothing
  name   = "${var.name}-ci-apply-boundary"
  policy = data.aws_iam_policy_document.apply_boundary.minified_json

  lifecycle {
    precondition {
      condition     = length(data.aws_iam_policy_document.apply_boundary.minified_json) <= 6144
      error_message = "AWS takes 6144 characters in a managed policy."
    }
  }
}

# The permissions boundary of every role that a stack creates: all that tasks, the broker and the schedules ever need.
data "aws_iam_policy_document" "workload_boundary" {
  #checkov:skip=CKV_AWS_107:a boundary grants nothing
  #checkov:skip=CKV_AWS_108:a boundary grants nothing
  #checkov:skip=CKV_AWS_109:a boundary grants nothing
  #checkov:skip=CKV_AWS_110:a boundary grants nothing
  #checkov:skip=CKV_AWS_111:a boundary grants nothing
  #checkov:skip=CKV_AWS_356:a boundary grants nothing
  statement {
    sid = "AtMostThis"
    actions = [
      "cloudwatch:DisableAlarmActions", "cloudwatch:EnableAlarmActions", "ec2:AttachVolume", "ec2:DescribeVolumes", "ec2:DetachVolume", "ec2:ModifyInstanceAttribute",
      "ec2:StartInstances", "ec2:StopInstances", "ec2messages:*", "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetAuthorizationToken",
      "ecr:GetDownloadUrlForLayer", "ecs:RunTask", "ecs:UpdateService", "kafka-cluster:*", "kms:Decrypt", "kms:GenerateDataKey*", "logs:CreateLogStream",
      "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:PutLogEvents", "rds-db:connect", "rds:StartDBInstance", "rds:StopDBInstance", "s3:GetObject",
      "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "ssm:GetParameter", "ssm:GetParameters", "ssm:PutParameter", "ssm:UpdateInstanceInformation",
      "ssmmessages:*",
    ]
    resources = ["*"]
  }
  statement {
    sid       = "OpenDisksThroughEc2" # parking starts instances whose disks are encrypted
    actions   = ["kms:CreateGrant"]
    resources = ["arn:aws:kms:${local.region_account}:key/*"]
    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["ec2.${var.region}.amazonaws.com"]
    }
  }
  statement {
    sid       = "PassOnlyTheStacksRoles"
    actions   = ["iam:PassRole"]
    resources = ["arn:aws:iam::${local.account}:role/${var.name}-*"]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_policy" "workload_boundary" {
  #checkov:skip=CKV_AWS_286:a boundary grants nothing
  #checkov:skip=CKV_AWS_287:a boundary grants nothing
  #checkov:skip=CKV_AWS_288:a boundary grants nothing
  #checkov:skip=CKV_AWS_289:a boundary grants nothing
  #checkov:skip=CKV_AWS_290:a boundary grants nothing
  #checkov:skip=CKV_AWS_355:a boundary grants nothing
  name   = "${var.name}-workload-boundary"
  policy = data.aws_iam_policy_document.workload_boundary.minified_json

  lifecycle {
    precondition {
      condition     = length(data.aws_iam_policy_document.workload_boundary.minified_json) <= 6144
      error_message = "AWS takes 6144 characters in a managed policy."
    }
  }
}
