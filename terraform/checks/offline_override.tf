# terraform/check adds this to a copy of the root: a plan without a network and without an account.
terraform {
  backend "local" {}
}

provider "aws" {
  access_key                  = "offline"
  secret_key                  = "offline"
  allowed_account_ids         = null
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
}

provider "aws" {
  alias                       = "passwords"
  access_key                  = "offline"
  secret_key                  = "offline"
  allowed_account_ids         = null
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
}
