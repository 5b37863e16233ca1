# The whole demo, without what the fake cannot do and what only takes time. Added to the root's copy, beside provider_override.tf.
provider "aws" {
  alias                       = "passwords"
  access_key                  = "fake"
  secret_key                  = "fake"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
}

# The provider waits minutes for any database, even one that exists at once: the outputs are made up (database/main.tf).
module "database" {
  source = "./checks/fake-aws/database"
}
