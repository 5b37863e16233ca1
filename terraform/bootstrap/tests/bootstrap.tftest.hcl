# The statements are checked as they are written; their JSON is mocked.
mock_provider "aws" {
  # Plans only: the state bucket refuses to be destroyed, even a mocked one.
  override_during = plan

  override_data {
    target = data.aws_caller_identity.this
    values = { account_id = "123456789012" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}", minified_json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::eventflow-state-123456789012" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/mocked" }
  }
  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }
}

variables {
  github_repository = "octocat/eventflow"
}

run "who_may_take_which_role" {
  command = plan
  assert {
    condition = { for role, document in data.aws_iam_policy_document.trust : role => toset(flatten([for c in document.statement[0].condition : c.values if endswith(c.variable, ":sub")])) } == {
      plan             = toset(["repo:octocat/eventflow:environment:plan"])
      push             = toset(["repo:octocat/eventflow:environment:build"])
      apply-demo       = toset(["repo:octocat/eventflow:environment:demo"])
      apply-production = toset(["repo:octocat/eventflow:environment:production"])
    }
    error_message = "Each role is for exactly these subjects."
  }
  assert {
    condition = alltrue(flatten([for document in data.aws_iam_policy_document.trust : [
      for c in document.statement[0].condition : c.test == "StringEquals" && alltrue([for value in c.values : !strcontains(value, "*")])
    ]]))
    error_message = "Subjects are exact: no StringLike, no asterisk."
  }
  assert {
    condition     = aws_iam_role.github["apply-demo"].permissions_boundary != null && aws_iam_role.github["apply-production"].permissions_boundary != null
    error_message = "What may apply is bounded."
  }
  assert {
    condition = { for role, made in aws_iam_role.github : role => made.max_session_duration } == {
      plan = 3600, push = 3600, apply-demo = 7200, apply-production = 7200
    }
    error_message = "Only an apply may take two hours."
  }
}

# Made or renamed since 2026-07-15: owner and repository by name and number.
run "a_repository_that_says_its_numbers" {
  command = plan
  variables {
    github_owner_id      = "583231"
    github_repository_id = "1296269"
  }
  assert {
    condition = { for role, document in data.aws_iam_policy_document.trust : role => flatten([for c in document.statement[0].condition : c.values if endswith(c.variable, ":sub")]) } == {
      plan             = ["repo:octocat@583231/eventflow@1296269:environment:plan"]
      push             = ["repo:octocat@583231/eventflow@1296269:environment:build"]
      apply-demo       = ["repo:octocat@583231/eventflow@1296269:environment:demo"]
      apply-production = ["repo:octocat@583231/eventflow@1296269:environment:production"]
    }
    error_message = "Each role is for exactly these subjects."
  }
}

run "half_of_the_numbers_is_refused" {
  command = plan
  variables {
    github_owner_id = "583231"
  }
  expect_failures = [var.github_owner_id]
}

run "a_number_that_is_none_is_refused" {
  command = plan
  variables {
    github_owner_id      = "583231"
    github_repository_id = "*"
  }
  expect_failures = [var.github_repository_id]
}

run "push_can_only_push" {
  command = plan
  assert {
    condition     = alltrue([for statement in data.aws_iam_policy_document.push.statement : alltrue([for action in statement.actions : startswith(action, "ecr:")])])
    error_message = "The build touches ECR alone."
  }
  assert {
    condition     = toset([for attachment in aws_iam_role_policy_attachment.read : attachment.role]) == toset(["eventflow-ci-plan", "eventflow-ci-apply-demo", "eventflow-ci-apply-production"])
    error_message = "The build does not read the account."
  }
}

run "the_state_is_private_encrypted_and_kept" {
  command = plan
  assert {
    condition = (aws_s3_bucket_public_access_block.state.block_public_acls && aws_s3_bucket_public_access_block.state.block_public_policy
    && aws_s3_bucket_public_access_block.state.ignore_public_acls && aws_s3_bucket_public_access_block.state.restrict_public_buckets)
    error_message = "Nothing public."
  }
  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms" && aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "KMS and versions."
  }
}

run "a_role_that_a_stack_makes_is_bounded" {
  command = plan
  assert {
    condition = alltrue([for document in data.aws_iam_policy_document.apply : length([
      for statement in document.statement : statement
      if contains(statement.actions, "iam:CreateRole") && length([for c in statement.condition : c if c.variable == "iam:PermissionsBoundary"]) == 1
    ]) == 1])
    error_message = "iam:CreateRole is allowed only with the workload boundary."
  }
  assert {
    condition = alltrue([for environment, document in data.aws_iam_policy_document.apply : alltrue([
      for statement in document.statement : alltrue([for resource in statement.resources : !strcontains(resource, "role/eventflow-${environment == "demo" ? "production" : "demo"}")])
    ])])
    error_message = "One environment's role does not reach the other's roles."
  }
}

# AWS allows 6144 characters in a managed policy. This counts a few more than the JSON will have, which is not known before the state's key
# exists; the resource itself counts exactly, and fails.
run "the_policies_fit" {
  command = plan
  assert {
    condition = alltrue([for document in concat(values(data.aws_iam_policy_document.apply), [data.aws_iam_policy_document.apply_boundary, data.aws_iam_policy_document.workload_boundary]) :
      length(jsonencode([for s in document.statement : merge(
        { Sid = s.sid, Effect = "Allow", Action = s.actions, Resource = s.resources },
        { for c in s.condition : "Condition ${c.test} ${c.variable}" => c.values },
      )])) <= 6144
    ])
    error_message = "A managed policy may be too long."
  }
}

run "any_repository_of_an_owner_is_refused" {
  command = plan
  variables {
    github_repository = "octocat/*"
  }
  expect_failures = [var.github_repository]
}
