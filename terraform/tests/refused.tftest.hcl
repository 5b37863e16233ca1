mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

# Mocks have no ephemeral resources: this provider is real, and a plan never calls it.
provider "aws" {
  alias                       = "passwords"
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

variables {
  account_id      = "123456789012"
  image_digest    = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
  domain_name     = "hooks.example.com"
  certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
}

run "a_tag_instead_of_a_digest" {
  command = plan
  variables {
    profile      = "demo"
    image_digest = "latest"
  }
  expect_failures = [var.image_digest]
}

run "a_digest_that_is_too_short" {
  command = plan
  variables {
    profile      = "demo"
    image_digest = "sha256:00"
  }
  expect_failures = [var.image_digest]
}

run "a_load_balancer_without_a_certificate" {
  command = plan
  variables {
    profile         = "production"
    certificate_arn = null
  }
  expect_failures = [var.certificate_arn]
}

run "another_profile" {
  command = plan
  variables {
    profile = "staging"
  }
  expect_failures = [var.profile]
}

run "an_override_nobody_knows" {
  command = plan
  variables {
    profile   = "demo"
    overrides = { tasks = { prodcer = 2 } }
  }
  expect_failures = [var.overrides]
}

run "more_consumers_than_partitions" {
  command = plan
  variables {
    profile   = "demo"
    overrides = { tasks = { validator = 7 } }
  }
  expect_failures = [aws_ecs_cluster.this]
}
