# terraform/checks/fake-aws/run adds this to a copy of a root: a fake AWS on this machine instead of the real one (AWS_ENDPOINT_URL).
# It cannot be used by accident: only the copy has it.
terraform {
  backend "local" {}
}

provider "aws" {
  access_key                  = "fake"
  secret_key                  = "fake"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = false
}
